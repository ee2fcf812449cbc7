//! docs/interop.md word for word: its files are written, its commands typed, and the tunnels come up.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testing::peer::{Kind, Peer};
use testing::{Gateways, Keys, Testbed};

testing::in_test_kernel!(strongswan, libreswan);

fn strongswan() {
    follow("## strongSwan, shared secret", Kind::Strongswan);
    follow("## strongSwan, RSA keys", Kind::Strongswan);
}

fn libreswan() {
    follow("## libreswan, shared secret", Kind::Libreswan);
    follow("## libreswan, RSA keys", Kind::Libreswan);
}

/// The part below a title, up to the next.
fn chapter<'a>(document: &'a str, title: &str) -> &'a str {
    let from = document
        .find(&format!("{title}\n"))
        .unwrap_or_else(|| panic!("docs/interop.md has no {title:?}"));
    let rest = &document[from + title.len()..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Does what a chapter says, in its order, and sends pings through what came of it.
fn follow(title: &str, kind: Kind) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md");
    let document = fs::read_to_string(&path).expect("the guide can be read");
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let peer = Peer::unstarted(&net.east, kind);
    // The daemon of a peer that is installed runs, with nothing configured.
    net.east
        .conf("config setup\n\tikev1-policy=accept\n")
        .secrets("");
    net.east.write("/etc/swanctl/swanctl.conf", "");
    peer.start();

    let mut keys = ShownKeys::default();
    let mut lines = chapter(&document, title).lines();
    let mut before = String::new();
    let mut shown = String::new();
    let mut ups = 0;
    while let Some(line) = lines.next() {
        if line == "```" {
            let text: String = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .map(|line| keys.fill(line) + "\n")
                .collect();
            let file = before
                .split('`')
                .rfind(|word| word.starts_with("/etc/"))
                .unwrap_or_else(|| panic!("{title}: no file is named before\n{text}"));
            for (name, host) in [("west", &net.west), ("east", &net.east)] {
                let sentence = &before[before.find(file).unwrap_or(0)..];
                if sentence.contains(&format!("on {name}")) {
                    host.write(file, &text);
                }
            }
        } else if let Some(command) = line.strip_prefix("    ") {
            let output = if let Some(command) = command.strip_prefix("west# ") {
                net.west.run(command)
            } else if let Some(command) = command.strip_prefix("east# ") {
                peer.run(command)
            } else {
                // What the last command is said to print.
                assert!(
                    shown.lines().any(|shown| shown == command),
                    "{title}: no {command:?} in {shown}"
                );
                continue;
            };
            assert!(
                output.status == 0,
                "{title}: {output}\n{}\n{}",
                net.west.log(),
                peer.log()
            );
            shown = output.stdout.clone();
            keys.note(command, &output.stdout);
            if command.ends_with("showhostkey --pem") {
                net.east.write("/etc/swanctl/pubkey/west.pem", &shown);
            }
            if command.contains("--up ") || command.contains("--initiate") {
                ups += 1;
                // charon installs its SAs when our third message has arrived, which our command does not wait for.
                let first = "ping -n -q -c 1 -W 1 192.0.2.1";
                net.sunset.wait_for(first, Duration::from_secs(10));
                assert_eq!(
                    net.pings(5, "0.1", "ff"),
                    5,
                    "{title}: {command}\n{}\n{}\n{}",
                    net.west.log(),
                    peer.status(),
                    peer.log()
                );
            }
        } else if !line.is_empty() {
            before = line.to_owned();
        }
    }
    assert!(ups > 0, "{title}: nothing brings a tunnel up");
}

/// The public keys that commands printed, for the places that the text leaves for them.
#[derive(Default)]
struct ShownKeys {
    left: String,
    right: String,
}

impl ShownKeys {
    fn note(&mut self, command: &str, printed: &str) {
        let after = |name: &str| {
            let line = printed
                .lines()
                .find_map(|line| line.trim().strip_prefix(name));
            line.map(|key| key.trim().to_owned())
        };
        if command.contains("--outform dnskey") {
            self.right = format!("0s{}", printed.trim());
        }
        if let Some(key) = after("rightrsasigkey=") {
            self.right = key;
        }
        if let Some(key) = after("leftrsasigkey=") {
            self.left = key;
        }
    }

    fn fill(&self, line: &str) -> String {
        for (name, key) in [
            ("leftrsasigkey", &self.left),
            ("rightrsasigkey", &self.right),
        ] {
            if line.trim().starts_with(name) {
                assert!(!key.is_empty(), "no command printed {name}");
                return format!("\t{name}={key}");
            }
        }
        line.to_owned()
    }
}
