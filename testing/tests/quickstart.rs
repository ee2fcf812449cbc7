//! docs/quickstart.md and README word for word: what they tell to type is typed, and what they show is seen.

use testing::page::{Page, fenced, typed};
use testing::{Gateways, Host, Keys, Output, Testbed};

testing::on_both_data_paths!(
    the_quickstart_by_rsa_keys,
    the_quickstart_by_a_shared_secret,
    what_readme_tells_to_type_after_the_installation,
);

/// Types a command of the document: after `west# ` at west, after `east# ` at east, else at both. Gives what each said.
fn at<'a>(net: &Gateways<'a>, command: &str) -> Vec<Output> {
    let both: [&Host; 2] = [&net.west, &net.east];
    let (hosts, command) = match command.split_once("# ") {
        Some(("west", command)) => (&both[..1], command),
        Some(("east", command)) => (&both[1..], command),
        _ => (&both[..], command),
    };
    let command = command.strip_prefix("sudo ").unwrap_or(command);
    hosts.iter().map(|host| host.run(command).ok()).collect()
}

/// Types the commands of a part in their order, and looks for what it shows after each.
fn follow(net: &Gateways<'_>, part: &str) -> String {
    let mut said = String::new();
    for (command, shown) in typed(part) {
        for output in at(net, command) {
            let mut lines = output.stdout.lines();
            for expected in &shown {
                assert!(
                    lines.any(|line| line == *expected),
                    "{expected:?} of {output}"
                );
            }
            said.push_str(&output.stdout);
        }
    }
    said
}

/// Puts the keys that were printed into the places that the text leaves for them.
fn with_keys(conf: &str, printed: &str) -> String {
    let fill = |line: &str| {
        let name = line.trim().split('=').next().unwrap_or("");
        if !name.ends_with("rsasigkey") {
            return line.to_owned();
        }
        let key = printed
            .lines()
            .find(|l| l.trim().starts_with(&format!("{name}=")));
        format!(
            "\t{}",
            key.unwrap_or_else(|| panic!("no {name} in {printed}"))
                .trim()
        )
    };
    conf.lines().map(|line| fill(line) + "\n").collect()
}

fn the_quickstart_by_rsa_keys() {
    let page = Page::read("docs/quickstart.md");
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Rsa);
    let printed = follow(&net, page.chapter("## 2. A key for each gateway"));
    let conf = with_keys(fenced(page.chapter("## 3. One connection"))[0], &printed);
    net.west.conf(&conf);
    net.east.conf(&conf);

    let capture = net.public.capture("ip and not multicast");
    let said = follow(&net, page.chapter("## 4. Start both"));
    assert!(said.contains("IPsec SA established"), "{said}");
    assert_eq!(net.pings(5, "0.1", "ff"), 5);
    let captured = capture.stop();
    assert_eq!(captured.packets("esp").len(), 10);
    assert_eq!(
        captured.packets("not esp and not udp port 500"),
        Vec::<String>::new()
    );

    let said = follow(&net, page.chapter("## 5. Look"));
    assert!(said.contains("net-to-net"), "{said}");
}

fn the_quickstart_by_a_shared_secret() {
    let page = Page::read("docs/quickstart.md");
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let blocks = fenced(page.chapter("## 3. One connection"));
    let conf: String = blocks[0]
        .lines()
        .filter(|line| !line.contains("rsasigkey"))
        .map(|line| line.replace("authby=rsasig", "authby=secret") + "\n")
        .collect();
    for gateway in [&net.west, &net.east] {
        gateway.conf(&conf);
        gateway.secrets(blocks[1]);
    }
    follow(&net, page.chapter("## 4. Start both"));
    assert_eq!(net.pings(5, "0.1", "ff"), 5);
}

fn what_readme_tells_to_type_after_the_installation() {
    let page = Page::read("README.md");
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Rsa);
    // make is for install.rs; what is edited is another's choice.
    let commands: Vec<&str> = typed(page.chapter("## Install it"))
        .into_iter()
        .map(|(command, _)| command)
        .filter(|command| !command.contains("make") && !command.starts_with("sudoedit"))
        .collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    let (keys, rest) = commands.split_at(2);
    for command in keys {
        at(&net, command);
    }
    net.configure("", testing::NET_TO_NET);
    net.east.run("ipsec setup start").ok();
    for command in rest {
        at(&net, &format!("west# {command}"));
    }
}
