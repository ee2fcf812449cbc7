//! A peer that says no: whoever asked hears what it said, in words, and by the exit status. And the peer hears of ours.

use testing::interop::{Bench, Mode, Role, Row, SUITES, Suite, plain_row};
use testing::peer::Kind;
use testing::{Keys, Output, Testbed};

testing::in_test_kernel!(libreswan, libreswan_hears_that_we_cant_install);

/// strongSwan with ESP in user space, which needs no test kernel.
#[test]
fn strongswan() {
    refuses(Kind::Libipsec);
}

fn libreswan() {
    refuses(Kind::Libreswan);
}

/// Phase 1 as in `plain_row`, and another phase 2.
static OTHER_ESP: Suite = Suite {
    ours: ["aes128-sha1-modp2048", "aes256-sha2_512"],
    swanctl: ["aes128-sha1-modp2048", "aes256-sha512"],
    group: "modp2048",
    lacks: &[],
};

fn refuses(kind: Kind) {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, kind);
    let west = &bench.net().west;
    let theirs = plain_row(kind);
    let up = |ours: &Row, seconds: u32| -> Output {
        bench
            .load_apart((ours, "\tkeyingtries=1\n"), &theirs)
            .unwrap();
        let said = west.run(&format!("timeout {seconds} ipsec auto --up cell"));
        west.run("ipsec auto --delete cell").ok();
        said
    };
    let why = |said: &Output| format!("{said}\n{}\n{}", west.log(), bench.peer().log());

    // Phase 1: it comes in the clear, so that we go on trying, and say so.
    let suite = &SUITES[3];
    let said = up(&Row { suite, ..theirs }, 5);
    assert_eq!(said.status, 124, "{}", why(&said));
    assert!(
        said.contains("peer seems to answer NO_PROPOSAL_CHOSEN"),
        "{}",
        why(&said)
    );
    assert!(said.contains("compare ike="), "{}", why(&said));

    // Phase 2: it is protected, and final.
    let suite = &OTHER_ESP;
    let said = up(&Row { suite, ..theirs }, 20);
    assert_eq!(said.status, 214, "{}", why(&said));
    assert!(
        said.contains("refused by the peer: NO_PROPOSAL_CHOSEN"),
        "{}",
        why(&said)
    );

    // Between the hosts, where it has nets.
    let mode = Mode::Transport;
    let said = up(&Row { mode, ..theirs }, 20);
    assert_eq!(said.status, 218, "{}", why(&said));
    assert!(
        said.contains("refused by the peer: INVALID_ID_INFORMATION"),
        "{}",
        why(&said)
    );

    // Keys of another kind: strongSwan finds out when it looks for a connection of that name. libreswan says nothing to whoever wants
    // to sign and may not.
    if kind == Kind::Libreswan {
        return;
    }
    let keys = Keys::Rsa;
    let said = up(&Row { keys, ..theirs }, 5);
    assert_eq!(said.status, 124, "{}", why(&said));
    let answer = "peer answers AUTHENTICATION_FAILED: compare the secret or the public keys";
    assert!(said.contains(answer), "{}", why(&said));
}

#[test]
fn strongswan_hears_that_we_cant_install() {
    hears_that_we_cant_install(Kind::Libipsec, "received NO_PROPOSAL_CHOSEN error notify");
}

/// It shows what it hears, and goes on asking until it has asked often enough.
fn libreswan_hears_that_we_cant_install() {
    hears_that_we_cant_install(Kind::Libreswan, "informational payload NO_PROPOSAL_CHOSEN");
}

/// Our updown command fails, so that nothing can be routed: the peer's user reads why it does not come up.
fn hears_that_we_cant_install(kind: Kind, heard: &str) {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, kind);
    let row = plain_row(kind);
    let more = "\tleftupdown=/bin/false\n";
    bench.load_apart((&row, more), &row).unwrap();
    bench.up(Role::They).unwrap_err();
    let (west, log) = (&bench.net().west, bench.peer().log());
    assert!(log.contains(heard), "{}\n{log}", west.log());
    west.run("grep 'the IPsec SA could not be installed' /run/pluto/pluto.log")
        .ok();
    west.run("ipsec spi").ok().never_says("esp0x");

    // Mended, it comes up.
    bench.load(&row).unwrap();
    if let Err(error) = bench.up(Role::They) {
        panic!("{error}\n{}\n{}", west.log(), bench.peer().log());
    }
    west.run("ipsec spi").ok().says("esp0x");
}
