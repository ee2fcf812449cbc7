//! The files of policy groups, `ipsec.d/policies/NAME`.

use std::{fs, io, path::Path};

use ipsec_conf::PolicyGroup;

use crate::engine::GroupFile;

/// The longest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file of each group. One that is not there has no blocks.
pub fn read(dir: &Path, names: Vec<String>) -> Vec<GroupFile> {
    names.into_iter().map(|name| one(dir, name)).collect()
}

fn one(dir: &Path, name: String) -> GroupFile {
    let path = dir.join(&name);
    let shown = path.display().to_string();
    let problem = |text: String| GroupFile {
        name: name.clone(),
        blocks: Vec::new(),
        problems: vec![text],
    };
    // A name is a file of that directory, and nothing else.
    if name.contains('/') || name.starts_with('.') {
        return problem(format!(
            "\"{name}\" is no name for a policy group: it would be a file outside {}",
            dir.display()
        ));
    }
    match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return GroupFile {
                name,
                ..GroupFile::default()
            };
        }
        Ok(meta) if !meta.is_file() => return problem(format!("{shown} is no file")),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return problem(format!("{shown} is longer than {MAX_BYTES} bytes"));
        }
        _ => {}
    }
    match fs::read_to_string(&path) {
        Err(e) => problem(format!("cannot read {shown}: {e}")),
        Ok(text) => {
            let group = PolicyGroup::parse(&shown, &text);
            let problems = group.problems.iter().map(|p| group.line(p)).collect();
            GroupFile {
                name,
                blocks: group.blocks,
                problems,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_groups() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("private"),
            "10.0.0.0/8\n10.0.0.1/8\n192.0.2.7\n",
        )
        .unwrap();
        let files = read(
            dir.path(),
            ["private", "clear", "../secret"].map(str::to_owned).into(),
        );
        assert_eq!(files[0].blocks.len(), 2);
        assert!(
            files[0].problems[0].contains("private, line 2: "),
            "{:?}",
            files[0].problems
        );
        assert!(files[1].blocks.is_empty() && files[1].problems.is_empty());
        assert!(files[2].problems[0].contains("no name for a policy group"));
    }
}
