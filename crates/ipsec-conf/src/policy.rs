//! Policy group files, `ipsec.d/policies/NAME`: one CIDR block a line.

use crate::diagnostic::{self, Diagnostic};
use crate::source::{Source, Span};
use crate::value;
use ipsec_types::Subnet;

/// The blocks of a file, and complaints about lines that are none.
#[derive(Debug)]
pub struct PolicyGroup {
    /// The blocks in the order of the file.
    pub blocks: Vec<Subnet>,
    /// Complaints; the lines concerned are left out.
    pub problems: Vec<Diagnostic>,
    sources: Vec<Source>,
}

impl PolicyGroup {
    /// Reads a text called `name` in messages. A bare address is a block of one; `#` starts a comment.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut group = Self {
            blocks: Vec::new(),
            problems: Vec::new(),
            sources: vec![Source::new(name.into(), text.into())],
        };
        let mut start = 0;
        for raw in text.split_inclusive('\n') {
            let body = raw.split('#').next().unwrap_or("");
            let word = body.trim();
            if !word.is_empty() {
                let at = start + (body.len() - body.trim_start().len());
                match value::subnet(word) {
                    Ok(block) => group.blocks.push(block),
                    Err(error) => {
                        let span = Span {
                            file: 0,
                            bytes: at..at + word.len(),
                        };
                        group
                            .problems
                            .push(Diagnostic::error(error.message, Some(span)).help(error.help));
                    }
                }
            }
            start += raw.len();
        }
        group
    }

    /// A complaint as one line of text, with the file and the line that it is about.
    pub fn line(&self, problem: &Diagnostic) -> String {
        let place = problem
            .span
            .as_ref()
            .and_then(|span| Some(self.sources.get(span.file)?.place(span.bytes.start)));
        let place = place.map_or(String::new(), |place| {
            format!("{}, line {}: ", place.file, place.line)
        });
        let help = problem
            .help
            .as_deref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!("{place}{}{help}", problem.message)
    }

    /// A complaint with the line it is about.
    pub fn render(&self, problem: &Diagnostic, colour: bool) -> String {
        diagnostic::render(&self.sources, problem, colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_comments() {
        let group = PolicyGroup::parse(
            "private",
            "# all\n10.0.0.0/8 # site\n\n192.0.2.3\n2001:db8::/32\n10.0.0.1/8\nfoo\n",
        );
        assert_eq!(group.blocks.len(), 3);
        assert_eq!(group.problems.len(), 2);
        let shown = group.render(&group.problems[1], false);
        assert!(shown.contains("private:7:1"), "{shown}");
    }
}
