//! What pluto goes on needing once it has started, see [`ipsec_daemon::confine`].

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use ipsec_daemon::{Needs, confine::Capabilities};

use super::options::Options;

/// Directories that are read: configuration, the resolver's, time zones, and what the kernel tells.
const READ: [&str; 6] = [
    "/etc",
    "/run",
    "/usr/share",
    "/proc",
    "/sys",
    "/dev/urandom",
];

/// Everything of `options`.
pub fn needs(options: &Options) -> Needs {
    let parent = |path: &Path| path.parent().map(Path::to_path_buf);
    let mut reads: Vec<PathBuf> = READ.map(PathBuf::from).to_vec();
    reads.extend(parent(&options.secrets_file));
    reads.extend(included(&options.secrets_file));
    reads.extend(parent(&options.policies));
    // The directory of the groups may be made later.
    reads.extend(options.policies.ancestors().nth(2).map(Path::to_path_buf));
    reads.extend(options.dnssec_rootkey_file.as_deref().and_then(parent));
    let mut writes = vec![PathBuf::from("/dev/null"), options.rundir.clone()];
    writes.extend(parent(&options.control_socket));
    // `dumpdir=`: setup starts us there.
    let core_files = env::var_os("DUMPDIR").is_some_and(|dir| !dir.is_empty());
    if core_files {
        writes.extend(env::current_dir());
    }
    Needs {
        // Ports below 1024 on addresses that come later, PF_KEY and ESP in UDP in the kernel.
        capabilities: Capabilities::NET_ADMIN | Capabilities::NET_BIND_SERVICE,
        reads,
        writes,
        families: vec![libc::AF_INET, libc::AF_INET6, libc::AF_KEY],
        core_files,
    }
}

/// The directories of what a file of secrets includes, as far as they are named without wildcards.
fn included(file: &Path) -> Vec<PathBuf> {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = (words.next()? == "include").then(|| words.next())??;
        Some(file.parent()?.join(name.trim_matches('"')))
    });
    names
        .filter_map(|name| {
            let wild = |dir: &&Path| !dir.to_string_lossy().contains(['*', '?', '[']);
            name.ancestors().skip(1).find(wild).map(Path::to_path_buf)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g11_directories_of_included_secrets_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ipsec.secrets");
        let text = ": PSK \"include /not/this\"\ninclude /srv/keys/*.secrets\ninclude \"sub/one\"\ninclude /a/*/b/c\n";
        fs::write(&file, text).unwrap();
        let sub = dir.path().join("sub");
        let expected = [Path::new("/srv/keys"), &sub, Path::new("/a")];
        assert_eq!(included(&file), expected);
        assert_eq!(included(Path::new("/nonexistent")), [] as [PathBuf; 0]);
    }
}
