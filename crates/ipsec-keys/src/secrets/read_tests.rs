//! Tests of reading: the grammar, the places of errors, includes, permissions, and texts damaged at every byte.

use super::*;
use crate::secrets::secret_entry;
use std::os::unix::fs::PermissionsExt;

fn only_problem(text: &str) -> String {
    let (_, problems) = Secrets::parse("f", text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

#[test]
fn the_example_of_the_manual() {
    let text = "# sample\n10.1.0.1 10.2.0.1: PSK \"secret shared by two hosts\"\n\n\
        @a.example @b.example\n    10.6.0.1 10.7.0.1 1.8.0.1: PSK \"secret shared by 5\"\n\
        %any 0.0.0.0 : psk 0x0102\n@old \"no colon\"\n: PSK 'single' # comment\n@t: PSK 0t#x\n";
    let (secrets, problems) = Secrets::parse("f", text);
    assert_eq!(problems, []);
    let lengths: Vec<usize> = secrets.entries().iter().map(|e| e.indices.len()).collect();
    assert_eq!(lengths, [2, 5, 2, 1, 0, 1]);
    let Secret::Psk(psk) = &secrets.entries()[2].secret else {
        panic!("not a PSK")
    };
    assert_eq!(psk.as_bytes(), [1, 2]);
}

#[test]
fn a_written_key_is_read_back() {
    let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
    let text = secret_entry(&[], &key, "east.example", "Mon Nov 23 09:00:00 2026");
    let (secrets, problems) = Secrets::parse("f", &text);
    let weak = "f:1:1: warning: RSA key ";
    let said = problems.iter().map(ToString::to_string).collect::<String>();
    assert!(
        said.starts_with(weak) && said.contains("it has 1024 bits, which is weak"),
        "{said}"
    );
    let Secret::Rsa(read) = &secrets.entries()[0].secret else {
        panic!("not RSA")
    };
    assert_eq!(read.public(), key.public());
    assert_eq!(
        *read.to_secret_lines("h", "d"),
        *key.to_secret_lines("h", "d")
    );
}

#[test]
fn errors_have_a_place_and_a_remedy() {
    assert!(only_problem("@a @b: PSK\n").starts_with("f:1:8: PSK needs a secret"));
    assert!(only_problem("@a @b PSK \"x\"\n").starts_with("f:1:7: \"PSK\" is neither"));
    assert!(
        only_problem("  @a: PSK \"x\"\n")
            .starts_with("f:1:3: an entry must start at the left margin")
    );
    assert!(only_problem("@a: PSK \"x\n").contains("f:1:9: quote is not closed"));
    assert!(only_problem("@a: PSK \"x\"\n\tmore\n").starts_with("f:2:2: unexpected word"));
    assert!(only_problem("@a: DSA 0x00\n").contains("PSK or RSA"));
    assert!(only_problem("@a\n").contains("no secret"));
    assert!(only_problem(": RSA {\n\tModulus: 0x01\n").contains("indented \"}\""));
    assert!(only_problem(": RSA {\n\tModulo: 0x01\n\t}\n").starts_with("f:2:2: unknown field"));
    assert!(
        only_problem(": RSA {\n\tModulus: 0x01\n\t}\n")
            .starts_with("f:3:2: RSA key has no PublicExponent")
    );
    assert!(only_problem("include x\n").contains("not possible"));
}

#[test]
fn an_error_never_shows_the_secret() {
    for text in [
        "@a: PSK hunter2\n",
        "@a: hunter2\n",
        "@a: PSK \"x\" hunter2\n",
        "@a: PSK 0xhunter2\n",
    ] {
        assert!(!only_problem(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn a_bad_entry_leaves_the_others() {
    let (secrets, problems) = Secrets::parse("f", "@a: PSK \"1\"\n@b: nonsense\n@c: PSK \"3\"\n");
    assert_eq!((secrets.entries().len(), problems.len()), (2, 1));
}

#[test]
fn inconsistent_keys_are_refused() {
    let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
    let other = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
    let prime = |k: &PrivateKey| data::to_hex(&k.numbers().prime1);
    let text = secret_entry(&[], &key, "h", "d").replace(&prime(&key), &prime(&other));
    assert!(only_problem(&text).contains("Modulus is not Prime1 times Prime2"));
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn includes_follow_patterns_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("ipsec.secrets");
    write(&main, "include part.*.secrets\n@z: PSK \"z\"\n", 0o600);
    write(&dir.path().join("part.1.secrets"), "@a: PSK \"a\"\n", 0o600);
    write(&dir.path().join("part.2.secrets"), "@b: PSK \"b\"\n", 0o600);
    let (secrets, problems) = Secrets::load(&main);
    assert_eq!(problems, []);
    let order: Vec<String> = secrets
        .entries()
        .iter()
        .map(|e| e.indices[0].to_string())
        .collect();
    assert_eq!(order, ["@a", "@b", "@z"]);
}

#[test]
fn a_file_that_includes_itself_ends() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("s");
    write(&main, "include s\n", 0o600);
    let (_, problems) = Secrets::load(&main);
    assert!(
        problems
            .iter()
            .any(|p| p.message.contains("include itself")),
        "{problems:?}"
    );
}

#[test]
fn open_permissions_are_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("s");
    write(&main, "@a: PSK \"a\"\n", 0o644);
    let (secrets, problems) = Secrets::load(&main);
    assert_eq!(secrets.entries().len(), 1);
    assert!(
        problems[0].warning && problems[0].message.contains("chmod 600"),
        "{problems:?}"
    );
}

#[test]
fn a_missing_file_is_a_problem() {
    let (_, problems) = Secrets::load(Path::new("/nonexistent/ipsec.secrets"));
    assert!(problems[0].message.contains("cannot read"), "{problems:?}");
}

#[test]
fn damaged_texts_never_panic() {
    let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
    let text = format!(
        "@a 10.0.0.1: PSK \"é\"\n{}",
        *secret_entry(&["@b"], &key, "h", "d")
    );
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        for value in [b' ', b'\n', b'"', b'{', b':', b'#', b'0', 0, 0xff] {
            let mut bad = bytes.to_vec();
            bad[at] = value;
            crate::fuzz_secrets(&bad);
        }
        crate::fuzz_secrets(&bytes[..at]);
    }
}
