//! `make install` and `make uninstall`: what lies where afterwards, and that the installed programs find each other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(the_installed_programs_make_a_tunnel, the_demo_needs_no_root,);

/// Runs `make` in the project on the programs beside this test, where there is no cargo, as root's PATH has none
/// under sudo.
fn make(target: &str, root: &Path) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("testing is in the project");
    let me = std::env::current_exe().expect("a running program has a name");
    let profile = me
        .ancestors()
        .nth(2)
        .expect("tests are in <target>/<profile>/deps");
    let name = |path: &Path| path.display().to_string();
    let output = Command::new("make")
        .arg("-C")
        .arg(project)
        .arg(target)
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!(
            "TARGET={}",
            name(
                profile
                    .parent()
                    .expect("a profile is in a target directory")
            )
        ))
        .arg(format!(
            "PROFILE={}",
            profile
                .file_name()
                .expect("a profile has a name")
                .to_string_lossy()
        ))
        // The module's source is looked at in dkms.rs.
        .args(["PREFIX=/usr/local", "CARGO=no-cargo", "KLIPS_SOURCE=/none"])
        .output()
        .expect("make can be run");
    assert!(
        output.status.success(),
        "make {target}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Every file below `root`, with its mode.
fn files(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut left: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("a directory can be read") {
            let path = entry.expect("an entry can be read").path();
            let about = fs::symlink_metadata(&path).expect("a file has metadata");
            if about.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("it is below root");
            found.insert(
                name.display().to_string(),
                about.permissions().mode() & 0o7777,
            );
        }
    }
    found
}

/// The policy groups.
const POLICIES: [&str; 5] = [
    "block",
    "clear",
    "clear-or-private",
    "private",
    "private-or-clear",
];

/// What `make install` puts where, by README.
fn expected() -> BTreeMap<String, u32> {
    let mut all = BTreeMap::from([
        ("usr/local/sbin/ipsec".to_owned(), 0o755),
        (
            "usr/local/lib/systemd/system/ipsec.service".to_owned(),
            0o644,
        ),
        ("etc/ipsec.conf".to_owned(), 0o644),
        ("etc/ipsec.secrets".to_owned(), 0o600),
    ]);
    for group in POLICIES {
        all.insert(format!("etc/ipsec.d/policies/{group}"), 0o644);
    }
    for program in ["pluto", "klipsd", "whack", "_updown"] {
        all.insert(format!("usr/local/libexec/ipsec/{program}"), 0o755);
    }
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man");
    for page in fs::read_dir(man).expect("man/ can be read") {
        let name = page.expect("an entry can be read").file_name();
        let name = name.to_string_lossy();
        let section = name.rsplit('.').next().expect("a page has a section");
        all.insert(format!("usr/local/share/man/man{section}/{name}"), 0o644);
    }
    all
}

#[test]
fn everything_is_put_in_its_place_and_taken_away_again() {
    let testbed = Testbed::new();
    let root = testbed.scratch("root");
    make("install", &root);
    assert_eq!(files(&root), expected());
    let unit = fs::read_to_string(root.join("usr/local/lib/systemd/system/ipsec.service"));
    let unit = unit.expect("the unit can be read");
    assert!(unit.contains("ExecStart=/usr/local/sbin/ipsec setup start\n"));
    assert!(!unit.contains('@'), "{unit}");

    let conf = root.join("etc/ipsec.conf");
    fs::write(&conf, "# the administrator's own\n").expect("it can be written");
    make("install", &root);
    let kept = fs::read_to_string(&conf).expect("it can be read");
    assert_eq!(kept, "# the administrator's own\n");

    make("uninstall", &root);
    let left = files(&root);
    let kept: Vec<String> = expected()
        .into_keys()
        .filter(|name| name.starts_with("etc/"))
        .collect();
    assert_eq!(left.into_keys().collect::<Vec<_>>(), kept);
}

fn the_installed_programs_make_a_tunnel() {
    let testbed = Testbed::new();
    let root = testbed.scratch("root");
    make("install", &root);
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    for gateway in [&net.west, &net.east] {
        let put = format!(
            "mount -t tmpfs local /usr/local && cp -r {}/usr/local/. /usr/local",
            root.display()
        );
        gateway.run(&put).ok();
        installed(gateway, "setup start").ok();
    }
    installed(&net.west, "auto --up net-to-net")
        .ok()
        .says("IPsec SA established");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    installed(&net.west, "--version").ok().says("FreeS/WAN");
    let help = installed(&net.west, "--help").ok().to_string();
    for page in expected().keys().filter_map(|name| {
        let page = name.rsplit('/').next()?;
        page.strip_prefix("ipsec_")?.strip_suffix(".8")
    }) {
        // These two are started by setup and auto; nobody types them.
        if !["klipsd", "pluto"].contains(&page) {
            assert!(help.contains(page), "`ipsec --help' lacks {page}: {help}");
        }
    }
    if net.west.run("command -v systemd-analyze").status == 0 {
        net.west
            .run("systemd-analyze verify --man=no /usr/local/lib/systemd/system/ipsec.service")
            .ok()
            .never_says("ipsec.service");
    } else {
        eprintln!("systemd-analyze is not installed: the unit is not verified");
    }
    installed(&net.west, "setup stop").ok();
    net.west.run("! pgrep -x 'pluto|klipsd'").ok();
}

fn the_demo_needs_no_root() {
    let testbed = Testbed::new();
    let root = testbed.scratch("root");
    make("install", &root);
    let demo = root.join("demo");
    fs::copy(env!("CARGO_BIN_EXE_demo"), &demo).expect("the demo can be copied");
    fs::set_permissions(testbed.scratch_dir(), fs::Permissions::from_mode(0o755))
        .expect("the scratch directory is ours");
    let mut command = if nix::unistd::geteuid().is_root() {
        // As udev has it: /dev/net/tun is everybody's. A machine without udev may keep it for root.
        let script = "mknod -m 666 \"$1\" c 10 200 && mount --bind \"$1\" /dev/net/tun && \
            exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- \"$2\"";
        let mut nobody = Command::new("unshare");
        nobody.args(["-m", "sh", "-c", script, "sh"]);
        nobody.args([root.join("tun"), demo]);
        nobody
    } else {
        Command::new(&demo)
    };
    let done = command
        .env("TESTBED_STAGE", root.join("usr/local"))
        .output()
        .expect("the demo can be run");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success()
            && said
                .lines()
                .filter(|line| line.starts_with("yes: "))
                .count()
                == 4,
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// `ipsec …` as it is found after an installation, without any of the testbed's own variables.
fn installed(host: &testing::Host, command: &str) -> testing::Output {
    host.run(&format!(
        "env -u IPSEC_EXECDIR PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin ipsec {command}"
    ))
}
