//! pluto's resolver against real servers and a lying one, on the small internet; and the commands that look into DNS.

use std::time::Duration;

use testing::internet::{ANCHOR, Internet, LIAR};
use testing::{Host, Testbed};

/// What the resolver says, in milliseconds and words, to each query in the order of the queries' texts.
fn look(host: &Host, options: &str, queries: &[&str]) -> Vec<(u64, String)> {
    let program = testing::internet::lookup_program();
    let output = host.run_for(
        &format!(
            "{program} --anchor {ANCHOR} {options} {}",
            queries.join(" ")
        ),
        Duration::from_secs(90),
    );
    let lines: Vec<(u64, String)> = output
        .ok()
        .stdout
        .lines()
        .filter_map(|line| {
            let (time, text) = line.trim_start().split_once(' ')?;
            Some((time.parse().ok()?, text.to_owned()))
        })
        .collect();
    lines
}

/// The one answer to one query.
fn one(host: &Host, query: &str) -> String {
    look(host, "", &[query]).pop().expect("an answer").1
}

const EAST: &str = "TXT\t\"X-IPsec-Server(10)=192.1.2.23\"";

#[test]
fn signed_unsigned_and_bogus() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish(&format!(
        "1.2.0.192.in-addr.arpa. IN {EAST}\n1.0/25.3.0.192.in-addr.arpa. IN {EAST}\n1.4.0.192.in-addr.arpa. IN {EAST}\n\
         2.2.0.192.in-addr.arpa. IN {EAST}\n2.2.0.192.in-addr.arpa. IN TXT \"X-IPsec-Server(5)=@gw.example\"\n\
         2.2.0.192.in-addr.arpa. IN IPSECKEY 7 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==\n3.2.0.192.in-addr.arpa. IN {EAST}\n*.1.0.192.in-addr.arpa. IN {EAST}\n\
         1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. IN TXT \"X-IPsec-Server(10)=2001:db8::23\"\n"
    ));
    net.damage("3.2.0.192.in-addr.arpa.", "TXT", true);
    net.commit();
    let host = &net.plain;
    let says = |query: &str, wanted: &[&str]| {
        let said = one(host, query);
        for part in wanted {
            assert!(
                said.contains(part),
                "{query}: {part:?} is not in {said:?}\n{}",
                net.nic.read("/run/dns/unbound.log")
            );
        }
    };
    says("client=192.0.2.1", &["Secure ttl ", "TXT 10 192.1.2.23 -"]);
    says(
        "client=192.0.3.1",
        &[
            "Secure ttl ",
            "alias 1.0/25.3.0.192.in-addr.arpa",
            "TXT 10 192.1.2.23",
        ],
    );
    says("client=192.0.4.1", &["Insecure ttl ", "TXT 10 192.1.2.23"]);
    says(
        "client=192.0.2.2",
        &[
            "Secure",
            " TXT 5 @gw.example - TXT 10 192.1.2.23 -",
            "fault (IPSECKEY record: modulus of 255 bits",
        ],
    );
    says("client=2001:db8::1", &["Secure", "TXT 10 2001:db8::23"]);
    says(
        "client=192.0.2.3",
        &[
            "Bogus",
            "DNSSEC validation of 3.2.0.192.in-addr.arpa failed",
        ],
    );
    says("client=192.0.1.99", &["Secure", "TXT 10 192.1.2.23"]);
    // Absence: by NSEC and NSEC3, of a kind and of a name, in signed zones and not.
    says("client=192.1.2.77", &["NoRecord", "security: Secure"]);
    says("client=192.1.2.78", &["NoRecord", "security: Secure"]);
    says("client=192.0.1.1", &["NoRecord", "security: Secure"]);
    says("client=2001:db8::2", &["NoRecord", "security: Secure"]);
    says("client=198.51.100.1", &["NoRecord", "security: Secure"]);
    says("client=192.0.4.9", &["NoRecord", "security: Insecure"]);
    says("gateway=@nobody.example", &["NoRecord", "security: Secure"]);
    says(
        "gateway=@nobody.unsigned.example",
        &["NoRecord", "security: Insecure"],
    );
    says("host=plain.example", &["Secure", "address 192.1.2.77"]);

    net.damage("3.2.0.192.in-addr.arpa.", "TXT", false);
    net.withdraw("1.2.0.192.in-addr.arpa.", "TXT");
    net.commit();
    says("client=192.0.2.3", &["Secure"]);
    says("client=192.0.2.1", &["NoRecord", "security: Secure"]);
}

/// Whole reverse maps that are elsewhere by one record (RFC 6672).
#[test]
fn maps_that_are_renamed() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish(&format!(
        "113.0.203.in-addr.arpa. IN DNAME net113.example.\n7.net113.example. IN {EAST}\n\
         9.net113.example. IN CNAME 7.net113.example.\n\
         100.51.198.in-addr.arpa. IN DNAME net100.unsigned.example.\n7.net100.unsigned.example. IN {EAST}\n"
    ));
    net.commit();
    let says = |query: &str, wanted: &[&str]| {
        let said = one(&net.plain, query);
        for part in wanted {
            assert!(said.contains(part), "{query}: {part:?} is not in {said:?}");
        }
    };
    says(
        "client=203.0.113.7",
        &[
            "Secure ttl ",
            "alias 7.net113.example",
            "TXT 10 192.1.2.23 -",
        ],
    );
    says(
        "client=203.0.113.9",
        &[
            "Secure ttl ",
            "alias 9.net113.example",
            "alias 7.net113.example",
        ],
    );
    says("client=203.0.113.8", &["NoRecord", "security: Secure"]);
    says(
        "client=198.51.100.7",
        &["Insecure ttl ", "TXT 10 192.1.2.23 -"],
    );
    says("client=198.51.100.8", &["NoRecord", "security: Insecure"]);
    net.damage("113.0.203.in-addr.arpa.", "DNAME", true);
    net.commit();
    says("client=203.0.113.7", &["Bogus"]);
}

#[test]
fn keys_as_showhostkey_prints_them() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish_site(&net.east);
    net.publish_site(&net.north);
    net.publish_initiator(&net.west);
    let record = net
        .east
        .gateway
        .run("ipsec showhostkey --ipseckey --gateway 192.1.2.23")
        .ok()
        .stdout;
    let (_, rdata) = record.trim().rsplit_once("\tIPSECKEY\t").expect("a record");
    net.replace("9.2.0.192.in-addr.arpa.", "IPSECKEY", rdata);
    net.commit();
    let host = &net.plain;
    let key = one(host, "gateway=192.1.2.23");
    let key = key
        .rsplit("key ")
        .next()
        .expect("a key id")
        .trim()
        .to_owned();
    assert!(key.starts_with("Aw") && key.len() == 9, "{key}");
    let east = format!("10 192.1.2.23 {key}");
    for (query, wanted) in [
        ("client=192.0.2.1", format!("TXT {east}")),
        ("client=192.0.2.9", format!("IPSECKEY {east}")),
        ("client=192.0.3.1", "TXT 10 192.1.2.33 Aw".to_owned()),
        ("gateway=@west.example", "Secure ttl".to_owned()),
    ] {
        let said = one(host, query);
        assert!(
            said.contains(&wanted),
            "{query}: {wanted:?} is not in {said:?}"
        );
    }
}

/// A name with a CNAME may have a KEY of its own (RFC 3007, RFC 4035 section 2.5), so named does not follow the alias when asked for
/// one: it says, with proof, that the alias itself has none.
#[test]
fn a_key_behind_an_alias() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.make_key(&net.east);
    let record = net.east.gateway.run("ipsec showhostkey --key").ok().stdout;
    let (_, rdata) = record.trim().split_once("\tKEY\t").expect("a record");
    net.publish(&format!(
        "host.example. IN KEY {rdata}\nhost.unsigned.example. IN KEY {rdata}\n"
    ));
    // Of each kind several: once a resolver has met the alias it follows it by itself.
    let zones = [("example", "Secure"), ("unsigned.example", "Insecure")];
    for (zone, _) in zones {
        for n in 0..10 {
            net.publish(&format!("alias{n}.{zone}. IN CNAME host.{zone}.\n"));
        }
    }
    net.commit();
    for (zone, security) in zones {
        for n in 0..10 {
            let said = one(&net.plain, &format!("gateway=@alias{n}.{zone}"));
            let is_found = said.contains(&format!(": {security} ttl "))
                && said.contains(&format!(" alias host.{zone} key Aw"));
            assert!(is_found, "{said}");
        }
    }
}

#[test]
fn dead_servers_and_lies() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish(&format!(
        "1.2.0.192.in-addr.arpa. IN {EAST}\n2.2.0.192.in-addr.arpa. IN {EAST}\n"
    ));
    net.commit();
    let host = &net.plain;
    let liar = net.start_liar("--forge 3.2.0.192.in-addr.arpa --deny 2.2.0.192.in-addr.arpa");
    net.introduce(host, LIAR);
    let cases = [
        ("client=192.0.9.1", "Insecure ttl"),
        ("client=192.0.9.2", "Timeout"),
        ("client=192.0.9.3", "Timeout"),
        ("client=192.0.9.4", "ServerFailure"),
        ("client=192.0.9.5", "AliasLoop"),
        ("client=192.0.9.7", "AliasLoop"),
        ("client=192.0.9.8", "TooMuch"),
        ("client=192.0.9.9", "Malformed"),
        ("client=192.0.9.10", "Insecure ttl"),
        ("client=192.0.9.11", "Timeout"),
        ("client=192.0.9.12", "ServerFailure"),
        ("client=192.0.9.13", "Refused"),
        ("client=192.0.9.14", "Timeout"),
        ("client=192.0.9.15", "Malformed"),
        ("client=192.0.9.18", "TooMuch"),
        ("client=192.0.9.19", "Malformed"),
        ("client=192.0.9.20", "NoRecord"),
        // The liar passes these on, and can't lie about what is signed.
        ("client=192.0.2.1", "Secure ttl"),
        ("client=192.0.2.2", "Bogus"),
        ("client=192.0.2.3", "Bogus"),
    ];
    let queries: Vec<&str> = cases.iter().map(|(query, _)| *query).collect();
    let said = look(host, "--time 8", &queries);
    let all = said
        .iter()
        .map(|(ms, text)| format!("{ms} {text}\n"))
        .collect::<String>();
    for (query, wanted) in cases {
        let address = query.trim_start_matches("client=");
        let start = format!("gateway for {address}: ");
        let (_, text) = said
            .iter()
            .find(|(_, text)| text.starts_with(&start))
            .unwrap_or_else(|| panic!("no answer to {query} in {all}"));
        assert!(
            text.contains(wanted),
            "{query}: {wanted:?} is not in {text:?}\n{all}"
        );
    }
    // A silent zone stalls no other: a hundred and fifty of its names are asked first, and others are answered before it.
    let queries = ["clients=192.0.9.100+150", "client=192.0.2.1"];
    let said = look(host, "--time 4", &queries);
    let (_, first) = said.first().expect("an answer");
    assert!(
        first.starts_with("gateway for 192.0.2.1: Secure"),
        "{first}"
    );
    assert_eq!(said.len(), 151);
    net.nic.run("pkill -x dns-liar").ok();
    drop(liar);

    let started = std::time::Instant::now();
    let said = one(host, "client=192.0.2.1");
    assert!(
        said.contains("Timeout") || said.contains("ServerFailure"),
        "{said}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    host.write("/etc/resolv.conf", "# nobody\n");
    let said = one(host, "client=192.0.2.1");
    assert!(
        said.contains("/etc/resolv.conf has no nameserver line"),
        "{said}"
    );
}
