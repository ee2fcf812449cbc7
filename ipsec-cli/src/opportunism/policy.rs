//! The file of the group `private-or-clear`, in which the blocks for everybody stand.

use crate::paths::Paths;
use crate::setup::used_groups;
use ipsec_conf::{Config, PolicyGroup};
use ipsec_types::Subnet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The group that `on` and `off` change.
pub const GROUP: &str = "private-or-clear";
/// Everybody.
pub const EVERYBODY: [Subnet; 2] = [Subnet::ALL_V4, Subnet::ALL_V6];

/// The file of a group.
pub fn file(group: &str) -> PathBuf {
    Paths::get().policies().join(group)
}

/// The groups that are in use and hold a block.
pub fn groups_with(config: &Config, block: Subnet) -> Vec<&'static str> {
    let holds = |group: &&'static str| {
        fs::read_to_string(file(group))
            .is_ok_and(|text| PolicyGroup::parse(group, &text).blocks.contains(&block))
    };
    used_groups(config).filter(holds).collect()
}

/// Adds blocks, a line each.
pub fn add(blocks: &[Subnet]) -> Result<(), String> {
    let mut text = read()?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for block in blocks {
        text.push_str(&format!("{block}\n"));
    }
    write(&text)
}

/// Takes the lines for everybody out; gives whether there were any.
pub fn remove() -> Result<bool, String> {
    let text = read()?;
    let left = without_everybody(&text);
    if left == text {
        return Ok(false);
    }
    write(&left).map(|()| true)
}

fn without_everybody(text: &str) -> String {
    let stays = |line: &&str| {
        let blocks = PolicyGroup::parse(GROUP, line).blocks;
        !blocks.iter().any(|block| EVERYBODY.contains(block))
    };
    text.split_inclusive('\n').filter(stays).collect()
}

fn read() -> Result<String, String> {
    let path = file(GROUP);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Puts the whole file in the place of the old one at once: pluto may read it at any time.
fn write(text: &str) -> Result<(), String> {
    let (path, new) = (file(GROUP), file(".private-or-clear.new"));
    let put = || -> std::io::Result<()> {
        fs::create_dir_all(Paths::get().policies())?;
        fs::write(&new, text)?;
        if let Ok(old) = fs::metadata(&path) {
            fs::set_permissions(&new, old.permissions())?;
        }
        fs::rename(&new, &path)
    };
    put().map_err(|error| {
        let _ = fs::remove_file(&new);
        format!("cannot write {}: {error}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::without_everybody;

    #[test]
    fn only_the_lines_for_everybody_go() {
        let text = "# Everybody:\n#0.0.0.0/0\n0.0.0.0/0\n10.0.0.0/8 # ours\n::/0\t# all\n";
        let left = "# Everybody:\n#0.0.0.0/0\n10.0.0.0/8 # ours\n";
        assert_eq!(without_everybody(text), left);
        assert_eq!(without_everybody(left), left);
    }
}
