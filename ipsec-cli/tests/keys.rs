//! The commands about keys, as a person runs them.

mod common;

use common::{Place, ok};
use ipsec_keys::{PublicKey, Secrets};

fn key_of<'a>(text: &'a str, before: &str) -> &'a str {
    let line = text.lines().find_map(|l| l.trim().strip_prefix(before));
    line.unwrap_or_else(|| panic!("no {before} in {text}"))
}

#[test]
fn a_new_host_key_is_shown_in_every_form() {
    let place = Place::new();
    let file = place.path("ipsec.secrets");
    ok(&place.ipsec(&[
        "newhostkey",
        "--output",
        &file,
        "--bits",
        "1024",
        "--hostname",
        "east.example",
    ]));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let (secrets, problems) = Secrets::load(file.as_ref());
    let weak = problems.iter().map(ToString::to_string).collect::<String>();
    assert!(
        problems[0].warning && weak.contains("it has 1024 bits, which is weak"),
        "{weak}"
    );
    assert_eq!(secrets.entries().len(), 1);

    let left = ok(&place.ipsec(&["showhostkey", "--left"]));
    let public = PublicKey::from_text(key_of(&left, "leftrsasigkey=")).unwrap();
    assert!(secrets.rsa_by_public_key(&public).is_some());
    assert!(left.contains("# RSA 1024 bits   east.example   "), "{left}");

    let right = ok(&place.ipsec(&["showhostkey", "--right"]));
    assert_eq!(key_of(&right, "rightrsasigkey="), public.to_text());
    let key = ok(&place.ipsec(&["showhostkey", "--key"]));
    assert_eq!(
        key_of(&key, "east.example.\tIN\tKEY\t0x4200 4 1 "),
        public.to_base64()
    );
    let txt = ok(&place.ipsec(&["showhostkey", "--txt", "192.0.2.1"]));
    assert_eq!(
        key_of(&txt, "IN\tTXT\t"),
        format!("\"X-IPsec-Server(10)=192.0.2.1 {}\"", public.to_base64())
    );
    let gateway = [
        "showhostkey",
        "--ipseckey",
        "--gateway",
        "192.0.2.1",
        "--precedence",
        "5",
    ];
    assert_eq!(
        key_of(
            &ok(&place.ipsec(&gateway)),
            "east.example.\tIN\tIPSECKEY\t5 1 2 192.0.2.1 "
        ),
        public.to_base64()
    );
    assert_eq!(
        key_of(
            &ok(&place.ipsec(&gateway[..2])),
            "east.example.\tIN\tIPSECKEY\t10 0 2 . "
        ),
        public.to_base64()
    );
    for wrong in [
        &["showhostkey", "--txt", "gateway.example"][..],
        &["showhostkey", "--key", "--gateway", "192.0.2.1"],
        &["showhostkey", "--ipseckey", "--precedence", "256"],
    ] {
        assert_eq!(place.ipsec(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let pem = ok(&place.ipsec(&["showhostkey", "--pem"]));
    assert_eq!(pem, public.to_pem().unwrap());
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
}

#[test]
fn a_long_key_is_cut_into_strings_for_dns() {
    let place = Place::new();
    let file = place.path("ipsec.secrets");
    ok(&place.ipsec(&["newhostkey", "--output", &file, "--bits", "2048"]));
    let txt = ok(&place.ipsec(&["showhostkey", "--txt", "@gw.example"]));
    let strings: Vec<&str> = key_of(&txt, "IN\tTXT\t")
        .trim_matches('"')
        .split("\" \"")
        .collect();
    assert!(
        strings.len() > 1 && strings.iter().all(|s| s.len() <= 255),
        "{strings:?}"
    );
    let joined = strings.concat();
    let key = joined
        .strip_prefix("X-IPsec-Server(10)=@gw.example ")
        .unwrap();
    assert_eq!(PublicKey::from_base64(key).unwrap().bits(), 2048);
}

#[test]
fn rsasigkey_prints_what_secrets_take_and_reads_it_back() {
    let place = Place::new();
    let lines = ok(&place.ipsec(&["rsasigkey", "--hostname", "h", "2048"]));
    let (secrets, problems) = Secrets::parse("t", &format!("@h: RSA {{\n{lines}\t}}\n"));
    assert_eq!(
        (secrets.entries().len(), problems.len()),
        (1, 0),
        "{problems:?}"
    );
    let file = place.write("old", &lines);
    let again = ok(&place.ipsec(&["rsasigkey", "--hostname", "h", "--oldkey", &file]));
    let numbers = |text: &str| {
        text.lines()
            .filter(|l| l.contains(": 0x"))
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&again), numbers(&lines));
    assert_eq!(numbers(&again).len(), 8);
}

#[test]
fn wrong_sizes_are_refused() {
    let place = Place::new();
    for bits in ["1000", "0", "20000", "x"] {
        let output = place.ipsec(&["rsasigkey", bits]);
        assert_eq!(output.status.code(), Some(1), "{bits}");
    }
    let short = place.ipsec(&["rsasigkey", "512"]);
    assert!(String::from_utf8_lossy(&short.stderr).contains("from 1024 to 8192"));
}

/// What is made unless somebody says otherwise is good for long.
#[test]
fn a5_new_keys_have_3072_bits_and_exponent_65537() {
    let place = Place::new();
    let lines = ok(&place.ipsec(&["rsasigkey"]));
    let (secrets, problems) = Secrets::parse("t", &format!(": RSA {{\n{lines}\t}}\n"));
    assert_eq!(problems, []);
    assert!(
        lines.contains("PublicExponent: 0x010001") || lines.contains("PublicExponent: 0x10001")
    );
    let public = key_of(&lines, "#pubkey=");
    assert_eq!(PublicKey::from_text(public).unwrap().bits(), 3072);
    assert_eq!(secrets.entries().len(), 1);
}

#[test]
fn a_key_is_never_overwritten() {
    let place = Place::new();
    let file = place.path("ipsec.secrets");
    for _ in 0..2 {
        ok(&place.ipsec(&["newhostkey", "--output", &file, "--bits", "1024"]));
    }
    assert_eq!(Secrets::load(file.as_ref()).0.entries().len(), 2);
    let output = place.ipsec(&["showhostkey", "--left"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("multiple default keys"));
}

#[test]
fn no_file_of_secrets_says_how_to_make_one() {
    let place = Place::new();
    let output = place.ipsec(&["showhostkey", "--left"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ipsec newhostkey"));
}

#[test]
fn random_bits_have_the_length_asked_for() {
    let place = Place::new();
    let plain = ok(&place.ipsec(&["ranbits", "--continuous", "128"]));
    assert!(
        plain.starts_with("0x") && plain.trim_end().len() == 2 + 32,
        "{plain}"
    );
    let grouped = ok(&place.ipsec(&["ranbits", "--quick", "--bytes", "9"]));
    let groups: Vec<usize> = grouped
        .trim_end()
        .strip_prefix("0x")
        .unwrap()
        .split('_')
        .map(str::len)
        .collect();
    assert_eq!(groups, [8, 8, 2]);
    assert_ne!(plain, ok(&place.ipsec(&["ranbits", "--continuous", "128"])));
    assert_eq!(place.ipsec(&["ranbits", "0"]).status.code(), Some(1));
    assert_eq!(place.ipsec(&["ranbits"]).status.code(), Some(2));
}
