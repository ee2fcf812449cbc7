//! Whole configurations: what they mean, and what is said about those that mean nothing.

use ipsec_conf::{
    Auto, Config, ConnType, Host, Interface, NextHop, RpFilter, RsaKey, Selection, clashes,
};

const GOOD: &str = "\
version 2.0	# conforms to second version

config setup
	interfaces=\"ipsec0=eth0 ipsec1=ppp0\"
	klipsdebug=none
	plutodebug=\"control parsing\"
	overridemtu=1400

conn %default
	keyingtries=0
	authby=secret
	keylife=8.0h

conn net-to-net
	also=east
	alsoflip=west
	# a comment within
	x-note=\"mine # not a comment\"
	auto=start

conn east
	left=192.0.2.1
	leftsubnet = 10.0.1.0/24
	leftid=@east

conn west
	left=192.0.2.2
	leftsubnet=10.0.2.0/24
	leftnexthop=192.0.2.9
";

fn errors_of(text: &str) -> String {
    let config = Config::parse("/etc/ipsec.conf", text);
    let mut shown = String::new();
    let names: Vec<&str> = config.conn_names().collect();
    let mut problems = config.problems().to_vec();
    for name in names {
        problems.extend(config.conn(name).problems);
    }
    problems.extend(config.setup().problems);
    problems.dedup();
    for problem in problems {
        shown.push_str(&config.render(&problem, false));
        shown.push('\n');
    }
    shown
}

fn conn(body: &str) -> String {
    format!("version 2\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n{body}")
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    let shown = errors_of(text);
    for part in parts {
        assert!(shown.contains(part), "\"{part}\" is missing in:\n{shown}");
    }
}

#[test]
fn a_good_file_means_what_it_says() {
    let config = Config::parse("f", GOOD);
    let outcome = config.conn("net-to-net");
    assert_eq!(outcome.problems, []);
    let conn = outcome.value.unwrap();
    assert_eq!(conn.left.host, Host::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(conn.right.host, Host::Address("192.0.2.2".parse().unwrap()));
    assert_eq!(conn.right.subnet, Some("10.0.2.0/24".parse().unwrap()));
    assert_eq!(
        conn.right.next_hop,
        NextHop::Address("192.0.2.9".parse().unwrap())
    );
    assert_eq!(
        (conn.left.id.as_deref(), conn.keyingtries, conn.keylife),
        (Some("@east"), 0, 28_800)
    );
    assert!(conn.psk && !conn.rsasig && conn.pfs);
    assert_eq!((conn.conn_type, conn.auto), (ConnType::Tunnel, Auto::Start));
    assert_eq!(
        config.autos(),
        [
            ("net-to-net", Auto::Start),
            ("east", Auto::Ignore),
            ("west", Auto::Ignore)
        ]
    );
}

#[test]
fn setup_and_its_defaults() {
    let setup = Config::parse("f", GOOD).setup().value.unwrap();
    let pair = |v: &str, p: &str| Interface::Pair {
        virtual_device: v.into(),
        physical: p.into(),
    };
    assert_eq!(
        setup.interfaces,
        [pair("ipsec0", "eth0"), pair("ipsec1", "ppp0")]
    );
    assert_eq!(
        (
            setup.plutodebug.len(),
            setup.klipsdebug.len(),
            setup.overridemtu
        ),
        (2, 0, Some(1400))
    );
    let bare = Config::parse("f", "version 2\n").setup().value.unwrap();
    assert_eq!(bare.interfaces, [Interface::DefaultRoute]);
    assert!(bare.uniqueids && bare.hidetos && bare.fragicmp && bare.pluto && !bare.forwardcontrol);
    assert_eq!(bare.rp_filter, RpFilter::Loose);
}

#[test]
fn one_x_has_its_own_defaults() {
    let text = "config setup\n\tplutoload=\"a b\"\n\tplutostart=%search\n\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n";
    let config = Config::parse("f", text);
    let conn = config.conn("a").value.unwrap();
    assert!(conn.psk && !conn.rsasig && conn.keyingtries == 3 && conn.left.rsasigkey.is_none());
    let setup = config.setup().value.unwrap();
    assert_eq!(
        setup.plutoload,
        Selection::Names(vec!["a".into(), "b".into()])
    );
    assert_eq!(setup.plutostart, Selection::Search);
    assert!(!setup.uniqueids);
    let two = Config::parse(
        "f",
        "version 2\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n",
    )
    .conn("a")
    .value
    .unwrap();
    assert!(two.rsasig && two.keyingtries == 0 && two.left.rsasigkey == Some(RsaKey::DnsOnDemand));
}

#[test]
fn an_empty_value_is_the_systems_default() {
    let text = "version 2\nconn %default\n\tauthby=secret\n\tkeylife=1h\n\tpfs=no\nconn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tkeylife=\n";
    let conn = Config::parse("f", text).conn("a").value.unwrap();
    assert_eq!((conn.keylife, conn.pfs), (28_800, false));
}

#[test]
fn errors_have_place_and_remedy() {
    says(
        &conn("\tleftsubnt=10.0.0.0/8\n"),
        &[
            "unknown parameter \"leftsubnt\"",
            "/etc/ipsec.conf:6:2",
            "did you mean \"leftsubnet\"?",
        ],
    );
    says(
        &conn("\tleftsubnet=10.0.0.300/32\n"),
        &["bad number \"300\"", "/etc/ipsec.conf:6:13"],
    );
    says(
        &conn("\talso=nowhere\n"),
        &[
            "section \"nowhere\", which does not exist",
            ":6:7",
            "there are: a",
        ],
    );
    says(
        &conn("\tpfs=maybe\n"),
        &["neither yes nor no", ":6:6", "write yes or no"],
    );
    says(
        &conn("\tpfs=yes\n\tpfs=no\n"),
        &["duplicate parameter \"pfs\"", ":7:2", "first one is here"],
    );
    says(
        &conn("\nconn a\n\tleft=192.0.2.3\n"),
        &["duplicate section \"a\"", ":7:1"],
    );
    says(
        &conn("\n\tpfs=no\n"),
        &[
            "not within a section",
            "an empty line",
            "remove the empty line",
        ],
    );
    says(
        &conn("\tinterfaces=%none\n"),
        &["belongs into \"config setup\""],
    );
    says(
        &conn("\tauto=strat\n"),
        &["unknown value \"strat\"", "did you mean start?"],
    );
    says(&conn("\tkeylife=8x\n"), &["not a time"]);
    says(&conn("\tleftid=east.example\n"), &["write @east.example"]);
    says(
        "conn a\n\tright=192.0.2.2\n",
        &["conn \"a\" has no left=", ":1:1"],
    );
    says(
        "cnn a\n\tleft=192.0.2.1\n",
        &["unknown section type \"cnn\"", "did you mean \"conn\"?"],
    );
    says("version 3\n", &["unknown version \"3\"", "version 2"]);
    says("conn 1a\n", &["bad section name"]);
    says("left=192.0.2.1\n", &["must be indented"]);
    says(
        "config setup\n\tinterfaces=eth0\n",
        &["interface \"eth0\" not understood", ":2:13"],
    );
    says("config seutp\n", &["unknown config section"]);
}

#[test]
fn contradictions_are_found() {
    says(
        &conn("\tleftsubnet=10.0.1.0/24\n\trightsubnet=10.0.1.0/24\n"),
        &[
            "error: leftsubnet and rightsubnet overlap: both are 10.0.1.0/24",
            ":7:14",
            "renumber",
        ],
    );
    says(
        &conn("\ttype=transport\n\tleftsubnet=10.0.1.0/24\n"),
        &["type=transport is incompatible with leftsubnet"],
    );
    says(
        &conn("\tleftnexthop=192.0.2.1\n"),
        &["left and leftnexthop must not be the same"],
    );
    says(
        &conn("\tleftfirewall=yes\n\tleftupdown=/bin/true\n"),
        &["cannot have both firewall=yes and updown="],
    );
    says(&conn("\tkeylife=10m\n"), &["leaves no time", "1080s"]);
    says(&conn("\tkeylife=25h\n"), &["longer than a day"]);
    says(
        "conn a\n\tleft=%defaultroute\n\tright=%defaultroute\n",
        &["cannot both be %defaultroute"],
    );
    says(
        "conn a\n\tleft=192.0.2.1\n\tright=192.0.2.1\n",
        &["the same host"],
    );
    says(
        "conn a\n\tleft=%any\n\tright=%any\n",
        &["neither left nor right is a known host"],
    );
    says(
        "version 2\nconn a\n\tleft=192.0.2.1\n\tright=%any\n",
        &["right=%any cannot have an RSA key without rightid="],
    );
}

#[test]
fn everything_within_the_default_route_is_no_overlap() {
    assert_eq!(
        errors_of(&conn("\tleftsubnet=0.0.0.0/0\n\trightsubnet=10.0.1.0/24\n")),
        ""
    );
}

#[test]
fn a_part_of_the_other_sides_net_is_legal_but_remarked_on() {
    let text = conn("\tleftsubnet=10.0.0.0/8\n\trightsubnet=10.0.1.0/24\n");
    says(
        &text,
        &[
            "warning: leftsubnet and rightsubnet overlap: 10.0.1.0/24 lies within 10.0.0.0/8",
            "narrow 10.0.0.0/8",
        ],
    );
    assert!(Config::parse("f", &text).conn("a").value.is_some());
}

#[test]
fn a_shunt_may_be_for_packets_within_one_net() {
    let shunt = "conn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\ttype=passthrough\n\tauthby=never\n\
        \tleftsubnet=10.0.1.0/24\n\trightsubnet=10.0.1.0/24\n";
    assert_eq!(errors_of(shunt), "");
}

#[test]
fn also_loops_end() {
    says(
        "conn a\n\talso=b\nconn b\n\talso=a\n",
        &["takes section \"a\" a second time"],
    );
    says("conn a\n\talso=a\n", &["a second time"]);
    let deep: String = (0..20_000)
        .map(|i| format!("conn c{i}\n\talso=c{}\n", i + 1))
        .collect();
    let config = Config::parse(
        "f",
        &format!("{deep}conn c20000\n\tleft=192.0.2.1\n\tright=192.0.2.2\n"),
    );
    assert!(config.conn("c0").value.is_some());
}

#[test]
fn an_error_in_one_connection_leaves_the_others() {
    let config = Config::parse("f", &format!("{GOOD}\nconn broken\n\tlefft=1\n"));
    assert!(config.conn("net-to-net").value.is_some());
    assert!(config.conn("broken").value.is_none());
    assert!(
        config.conn("nett-to-net").problems[0]
            .help
            .as_deref()
            .unwrap()
            .contains("\"net-to-net\"")
    );
}

#[test]
fn obsolete_keywords_warn() {
    let config = Config::parse("f", "config setup\n\tno_eroute_pass=no\n");
    let outcome = config.setup();
    assert!(outcome.value.is_some() && !outcome.problems[0].is_error());
}

/// What says whom to trust is not passed over: the connection does not load, whether it says so itself or takes it from elsewhere.
#[test]
fn a3_a_connection_that_asks_for_certificates_does_not_load() {
    let base = "\tleft=192.0.2.1\n\tright=192.0.2.2\n\trightid=@peer\n";
    for asks in [
        "leftcert=east.pem",
        "rightcert=west.pem",
        "leftcert2=east.pem",
        "rightca=\"C=CA, O=us, CN=root\"",
        "leftca=%same",
        "rightgroups=staff",
        "rightcertpolicy=1.3.6.1.4.1.36906.1.2",
        "rightrsasigkey=%cert",
        "leftrsasigkey2=%cert",
        "leftid=%fromcert",
    ] {
        let also = format!("conn c\n{base}\talso=trust\nconn trust\n\t{asks}\n");
        for (line, text) in [
            (5, format!("conn c\n{base}\t{asks}\n")),
            (7, also),
            (2, format!("conn %default\n\t{asks}\nconn c\n{base}")),
        ] {
            let config = Config::parse("ipsec.conf", &text);
            let outcome = config.conn("c");
            assert!(outcome.value.is_none(), "{text}");
            let errors: Vec<String> = outcome
                .problems
                .iter()
                .map(|p| config.render(p, false))
                .collect();
            let errors = errors.join("\n");
            assert!(
                errors.contains("asks for certificates, which are not supported yet"),
                "{errors}"
            );
            assert!(
                errors.contains(&format!("ipsec.conf:{line}:")),
                "{line} in {errors}"
            );
            assert!(errors.contains("leftrsasigkey="), "{errors}");
        }
    }
    // An empty value asks for nothing, and whether a certificate would be sent is no trust.
    for harmless in ["leftcert=", "rightca=", "leftsendcert=never"] {
        let text = format!("conn c\n{base}\t{harmless}\n");
        assert!(
            Config::parse("f", &text).conn("c").value.is_some(),
            "{harmless}"
        );
    }
    let cancels = format!("conn %default\n\trightca=%same\nconn c\n{base}\trightca=\n");
    assert!(Config::parse("f", &cancels).conn("c").value.is_some());
}

#[test]
fn two_connections_for_the_same_packets_clash() {
    let text = "conn %default\n\tleft=192.0.2.1\n\tleftsubnet=10.0.1.0/24\n\trightsubnet=10.0.2.0/24\n\
        conn a\n\tright=192.0.2.2\nconn b\n\tright=192.0.2.3\nconn c\n\tright=192.0.2.4\n\trightsubnet=10.0.3.0/24\n";
    let config = Config::parse("f", text);
    let conns: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|n| config.conn(n).value.unwrap())
        .collect();
    let found = clashes(&conns);
    assert_eq!(found.len(), 1);
    assert!(
        config
            .render(&found[0], false)
            .contains("conn \"b\" and conn \"a\" are for the same packets")
    );
}

#[test]
fn includes_with_patterns_and_relative_paths() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    write(
        "ipsec.conf",
        "version 2\ninclude sub/*.conf\ninclude none.*.conf\n",
    );
    write(
        "sub/1.conf",
        "conn one\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\tauthby=secret\n",
    );
    write("sub/2.conf", "conn two\n\talso=one\n\tlefft=x\n");
    let config = Config::load(&dir.path().join("ipsec.conf"));
    assert!(
        config.problems().iter().all(|p| !p.is_error()),
        "{:?}",
        config.problems()
    );
    assert!(config.conn("one").value.is_some());
    let shown = config.render(&config.conn("two").problems[0], false);
    assert!(shown.contains("sub/2.conf:3:2"), "{shown}");
}

#[test]
fn a_file_that_includes_itself_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipsec.conf");
    std::fs::write(&path, "include ipsec.conf\ninclude ipsec.conf\n").unwrap();
    let config = Config::load(&path);
    assert!(
        config
            .problems()
            .iter()
            .any(|p| p.message.contains("too many includes"))
    );
    assert!(config.setup().value.is_none());
}

#[test]
fn a_missing_file_is_an_error() {
    let config = Config::load(std::path::Path::new("/nonexistent/ipsec.conf"));
    assert!(
        config.conn("a").problems[0]
            .message
            .starts_with("cannot read /nonexistent/ipsec.conf")
    );
}

#[test]
fn five_thousand_connections() {
    let text: String = (0..5000)
        .map(|i| {
            format!(
                "conn c{i}\n\tleft=192.0.2.1\n\tright=10.{}.{}.1\n\tauto=add\n",
                i / 256,
                i % 256
            )
        })
        .collect();
    let config = Config::parse("f", &text);
    assert_eq!(config.autos().len(), 5000);
    assert!(config.conn("c4999").value.is_some());
}

#[test]
fn damaged_texts_never_panic() {
    let bytes = GOOD.as_bytes();
    for at in 0..bytes.len() {
        for value in [b' ', b'\n', b'\t', b'"', b'#', b'=', b'%', b'9', 0, 0xff] {
            let mut bad = bytes.to_vec();
            bad[at] = value;
            ipsec_conf::fuzz(&bad);
        }
        ipsec_conf::fuzz(&bytes[..at]);
        ipsec_conf::fuzz(&bytes[at..]);
    }
}

#[test]
fn the_installed_sample_has_no_complaints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/ipsec.conf");
    let config = Config::load(path.as_ref());
    assert_eq!(config.problems(), []);
    let setup = config.setup();
    assert_eq!(setup.problems, []);
    assert_eq!(setup.value.unwrap().interfaces, [Interface::DefaultRoute]);
    // The connections in it are commented out; without the marks they are good, but for the keys.
    let text = std::fs::read_to_string(path).unwrap();
    let uncommented: String = text
        .lines()
        .map(|l| {
            l.strip_prefix('#')
                .filter(|l| l.starts_with(['\t']) || l.starts_with("conn "))
                .unwrap_or(l)
        })
        .filter(|l| !l.contains("0sAQ..."))
        .map(|l| format!("{l}\n"))
        .collect();
    let config = Config::parse("sample", &uncommented);
    for name in ["net-to-net", "road"] {
        assert_eq!(config.conn(name).problems, [], "{name}");
    }
}
