//! Pages of the documentation as tests follow them: chapters, the files between fences, and the commands indented by four.

use std::path::Path;

/// A page of the documentation.
pub struct Page {
    name: String,
    text: String,
}

impl Page {
    /// Reads a page by its name in the source tree, `docs/quickstart.md`.
    pub fn read(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Page {
            name: name.to_owned(),
            text,
        }
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is below a title (`## Look`), up to the next title of its rank or above it.
    pub fn chapter(&self, title: &str) -> &str {
        let from = self
            .text
            .find(title)
            .unwrap_or_else(|| panic!("{} has no {title:?}", self.name));
        let rest = &self.text[from + title.len()..];
        let rank = title.bytes().take_while(|b| *b == b'#').count();
        let end = (2..=rank).filter_map(|rank| rest.find(&format!("\n{} ", "#".repeat(rank))));
        &rest[..end.min().unwrap_or(rest.len())]
    }
}

/// What stands between fences, a text a block.
pub fn fenced(part: &str) -> Vec<&str> {
    part.split("```\n").skip(1).step_by(2).collect()
}

/// What is typed, without the comments behind it, each with the lines that the page shows after it; of the lines indented by four.
/// What begins with a digit or a capital letter is shown.
pub fn typed(part: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in part.lines().filter_map(|line| line.strip_prefix("    ")) {
        if line.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase()) {
            let (_, shown) = all.last_mut().expect("output follows a command");
            shown.push(line);
        } else {
            let command = line.split("  #").next().unwrap_or(line).trim();
            all.push((command, Vec::new()));
        }
    }
    all
}
