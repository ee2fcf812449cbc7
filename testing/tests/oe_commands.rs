//! The commands that look into DNS, against real servers: what `ipsec verify` finds and tells to add, and whom `ipsec mailkey` writes to.

use std::net::UdpSocket;

use testing::internet::{ANCHOR, Internet, LIAR};
use testing::{Host, Output, Testbed};

const VERIFY: &str = "ipsec verify --nocolour";
const OWN: &str = "45.2.1.192.in-addr.arpa";

/// Opportunistic with everybody, by this identity or by the address.
fn configure(host: &Host, id: &str) {
    let id = match id {
        "" => String::new(),
        id => format!("\tleftid={id}\n"),
    };
    host.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n\n\
         conn me-to-anyone\n\tleft=%defaultroute\n{id}\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tauto=route\n"
    ));
}

/// The word behind a line of verify's.
fn finding(said: &Output, title: &str) -> String {
    let mut found = said.lines().filter_map(|line| line.strip_prefix(title));
    let word = found
        .next()
        .unwrap_or_else(|| panic!("no {title:?} in {said}"));
    word.trim().to_owned()
}

fn forward(said: &Output, name: &str) -> String {
    finding(said, &format!("Looking for forward key for {name} "))
}

/// What is said of the TXT and the KEY records in a reverse map.
fn reverse(said: &Output, name: &str) -> [String; 2] {
    ["TXT", "KEY"].map(|kind| finding(said, &format!("Looking for {kind} in reverse map: {name} ")))
}

/// The lines that are to be added to a name.
fn lines_for(said: &Output, owner: &str) -> Vec<String> {
    let start = format!("{owner}.\tIN\t");
    let mut lines: Vec<String> = said
        .lines()
        .map(|line| line.trim_start().to_owned())
        .filter(|line| line.starts_with(&start))
        .collect();
    lines.dedup();
    lines
}

fn publish(net: &Internet<'_>, lines: &[String]) {
    net.publish(&lines.join("\n"));
    net.commit();
}

#[test]
fn records_that_are_missing_are_told_and_found_once_added() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let west = &net.west.gateway;
    net.make_key(&net.west);
    configure(west, "");
    west.run("ipsec setup start").ok();
    let said = west.run(VERIFY).exits(1);
    said.clone()
        .says("Opportunistic Encryption DNS checks:")
        .says(&format!(
            "no TXT X-IPsec-Server or IPSECKEY record for {OWN} in DNS (signed)"
        ));
    assert_eq!(
        finding(
            &said,
            "Does the machine have at least one non-private address? "
        ),
        "[OK]"
    );
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    // The address within the subnet speaks for nobody outside.
    assert_eq!(
        reverse(&said, "254.1.0.192.in-addr.arpa"),
        ["[N/A]", "[N/A]"]
    );
    let lines = lines_for(&said, OWN);
    assert_eq!(lines.len(), 2, "{said}");
    publish(&net, &lines);
    let said = west.run(VERIFY).ok();
    assert_eq!(reverse(&said, OWN), ["[OK]", "[OK]"]);
    assert_eq!(lines_for(&said, OWN), Vec::<String>::new());

    // By name: the reverse map is another's business.
    configure(west, "@west.example");
    let said = west.run(VERIFY).exits(1);
    assert_eq!(forward(&said, "west.example"), "[FAILED]");
    let by_name = lines_for(&said, "west.example");
    publish(&net, &by_name);
    net.withdraw(&format!("{OWN}."), "TXT");
    net.withdraw(&format!("{OWN}."), "KEY");
    net.commit();
    let said = west.run(VERIFY).ok();
    assert_eq!(forward(&said, "west.example"), "[OK]");
    assert_eq!(reverse(&said, OWN), ["[N/A]", "[N/A]"]);

    // By whichever has the key, where nobody has said who this host is: now the host's name, of which that is not asked.
    configure(west, "%myid");
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    west.run("hostname west.example").ok();
    let said = west.run(VERIFY).ok();
    assert_eq!(forward(&said, "west.example"), "[OK]");
    assert_eq!(reverse(&said, OWN), ["[N/A]", "[N/A]"]);
    publish(&net, &lines);
    net.withdraw("west.example.", "KEY");
    net.commit();
    let said = west.run(VERIFY).ok();
    assert_eq!(forward(&said, "west.example"), "[N/A]");
    assert_eq!(reverse(&said, OWN), ["[OK]", "[OK]"]);
    net.withdraw(&format!("{OWN}."), "TXT");
    net.withdraw(&format!("{OWN}."), "KEY");
    publish(&net, &by_name);

    // Anyone may look.
    configure(&net.plain, "");
    let said = net.plain.run("ipsec verify --nocolour --host west.example");
    assert_eq!(forward(&said, "west.example"), "[OK]");
    said.says("key Aw");
}

#[test]
fn h12_groups_alone_are_looked_up_too() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let west = &net.west.gateway;
    net.make_key(&net.west);
    west.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n"
    ));
    west.run("mkdir -p /etc/ipsec.d/policies").ok();
    west.write("/etc/ipsec.d/policies/private-or-clear", "0.0.0.0/0\n");
    west.run("ipsec setup start").ok();
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    for line in [
        "Looking for a name server that answers",
        "Looking whether DNSSEC is validated here",
    ] {
        assert_eq!(finding(&said, line), "[OK]", "{said}");
    }
    publish(&net, &lines_for(&said, OWN));
    let said = west.run(VERIFY).ok();
    assert_eq!(reverse(&said, OWN), ["[OK]", "[OK]"]);
    net.stop_resolver();
    let said = west.run(VERIFY).exits(1);
    assert_eq!(
        finding(&said, "Looking for a name server that answers"),
        "[FAILED]"
    );
    // Without a group nobody is asked.
    west.write("/etc/ipsec.d/policies/private-or-clear", "");
    west.run(VERIFY).never_says("DNS checks");
}

#[test]
fn records_that_are_wrong_are_told() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let west = &net.west.gateway;
    net.make_key(&net.west);
    net.publish_site(&net.east);
    configure(west, "");
    west.run("ipsec setup start").ok();
    // Another's key.
    let other = net
        .east
        .gateway
        .run("ipsec showhostkey --txt 192.1.2.45")
        .ok()
        .stdout;
    let (_, other) = other.split_once("\tIN\tTXT\t").expect("a record");
    let key = net.east.gateway.run("ipsec showhostkey --key").ok().stdout;
    let (_, key) = key.split_once("\tIN\tKEY\t").expect("a record");
    net.replace(&format!("{OWN}."), "TXT", other);
    net.replace(&format!("{OWN}."), "KEY", key);
    net.commit();
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN)[0], "[FAILED]");
    let right = lines_for(&said, OWN);
    assert_eq!(right.len(), 2, "{said}");
    said.says("it has another key than ipsec.secrets");
    // Another gateway.
    let elsewhere = other.replace("192.1.2.45", "192.1.2.23");
    net.replace(&format!("{OWN}."), "TXT", &elsewhere);
    net.commit();
    west.run(VERIFY)
        .exits(1)
        .says("it names another gateway: 192.1.2.23");
    // The right one, with a signature that is wrong.
    net.withdraw(&format!("{OWN}."), "TXT");
    net.withdraw(&format!("{OWN}."), "KEY");
    net.damage(&format!("{OWN}."), "TXT", true);
    publish(&net, &right);
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[OK]"]);
    said.says(&format!("DNSSEC validation of {OWN} failed"))
        .says("whoever runs the zone must sign it anew");
    net.damage(&format!("{OWN}."), "TXT", false);
    net.commit();
    let said = west.run(VERIFY).ok();
    assert_eq!(reverse(&said, OWN), ["[OK]", "[OK]"]);

    // Nobody answers, or nobody is there.
    net.stop_resolver();
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    assert_eq!(lines_for(&said, OWN), Vec::<String>::new());
    said.says("answer");
    net.introduce(west, "192.1.2.99");
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    west.write("/etc/resolv.conf", "# nobody\n");
    west.run(VERIFY)
        .exits(1)
        .says("/etc/resolv.conf has no nameserver line");
}

/// A resolver that never answers is waited for once: what is asked of one address does not wait for what is asked of another.
#[test]
fn a_silent_resolver_is_waited_for_once() {
    const KEY: [u8; 2] = [0, 25];
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let west = &net.west.gateway;
    net.make_key(&net.west);
    configure(west, "");
    let silent = net
        .nic
        .in_network(|| UdpSocket::bind((LIAR, 53)).expect("a port that nobody has"));
    net.introduce(west, LIAR);
    let said = west.run(VERIFY).exits(1);
    assert_eq!(reverse(&said, OWN), ["[FAILED]", "[N/A]"]);
    said.says("answer");
    silent
        .set_nonblocking(true)
        .expect("a socket that does not block");
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut datagram = [0; 1500];
    while let Ok(length) = silent.recv(&mut datagram) {
        // The name behind the header ends in an empty label, then comes what is asked for.
        let question = &datagram[12..length];
        let end = question.iter().position(|octet| *octet == 0);
        let (name, kind) = question.split_at(end.expect("a name") + 1);
        if kind.starts_with(&KEY) {
            names.push(name.to_ascii_lowercase());
        }
    }
    assert!(
        names.len() >= 4,
        "two addresses, asked for again: {names:?}"
    );
    assert_ne!(names[0], names[1], "one waited for the other");
}

/// A reverse map that is delegated by aliases (RFC 2317) has its records behind them.
#[test]
fn records_behind_an_alias() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let host = &net.north.inside;
    host.run("ipsec newhostkey --output /etc/ipsec.secrets --bits 2048")
        .ok();
    configure(host, "");
    let owner = "1.0/25.3.0.192.in-addr.arpa";
    let said = host.run(VERIFY).exits(1);
    let lines = lines_for(&said, owner);
    assert_eq!(lines.len(), 2, "{said}");
    let mail = host
        .run("ipsec mailkey --me me@north.example --reverse 192.0.3.1 && cat ~/OE_mail_192.0.3.1")
        .ok();
    for line in &lines {
        assert!(mail.lines().any(|l| l == line), "{line} of {mail}");
    }
    mail.says("3.0.192.in-addr.arpa is run by hostmaster@example, says its SOA record.");
    publish(&net, &lines);
    let said = host.run(VERIFY);
    assert_eq!(reverse(&said, "1.3.0.192.in-addr.arpa"), ["[OK]", "[OK]"]);
    said.says(&format!("found behind an alias, {owner}"));
    configure(&net.plain, "");
    net.plain
        .run("ipsec verify --nocolour --ip 192.0.3.1")
        .ok()
        .says("TXT 10: gateway 192.0.3.1, key Aw");
}

#[test]
fn a_mail_to_who_runs_the_zone() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    let west = &net.west.gateway;
    net.make_key(&net.west);
    configure(west, "");
    west.run("ipsec mailkey --me me@west.example --reverse 192.1.2.45")
        .ok()
        .says("2.1.192.in-addr.arpa is run by hostmaster@example, says its SOA record.");
    // The script hands this to sendmail.
    let mail = west
        .run("test -x ~/OE_mail_192.1.2.45 && sed 's:/usr/sbin/sendmail -t:cat:' ~/OE_mail_192.1.2.45 | sh")
        .ok();
    let head: Vec<&str> = mail.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(
        head,
        [
            "To: hostmaster@example",
            "Reply-To: me@west.example",
            "Subject: DNS records for Opportunistic Encryption (192.1.2.45)"
        ]
    );
    let lines = lines_for(&mail, OWN);
    assert_eq!(lines.len(), 2, "{mail}");
    publish(&net, &lines);
    let said = west.run(VERIFY);
    assert_eq!(reverse(&said, OWN), ["[OK]", "[OK]"]);

    // A host's name within a zone, and the name of the zone.
    for (name, zone) in [
        ("gw.west.example", "example"),
        ("xy.example.com", "example.com"),
    ] {
        west.run(&format!(
            "ipsec mailkey --me me@west.example --forward {name}"
        ))
        .ok()
        .says(&format!("{zone} is run by hostmaster@example"));
    }
    // Nobody to ask: the mail is there, without an address, and is no program.
    net.stop_resolver();
    west.run("rm ~/OE_mail_*").ok();
    west.run("ipsec mailkey --me me@west.example --forward xy.example.com")
        .exits(1)
        .says("unable to find out who runs xy.example.com")
        .says("Sample mail file saved to:");
    let file = west
        .run("ls -l ~/OE_mail_xy.example.com && cat ~/OE_mail_xy.example.com")
        .ok();
    assert!(file.stdout.starts_with("-rw-------"), "{file}");
    assert_eq!(lines_for(&file, "xy.example.com").len(), 2, "{file}");
    west.run("rm /etc/ipsec.secrets; ipsec mailkey --me me@west.example --forward xy.example.com")
        .exits(1)
        .says("ipsec newhostkey --output /etc/ipsec.secrets");
}
