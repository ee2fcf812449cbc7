//! A scanner that others wrote, asking pluto for all sorts of proposals.

use testing::{Gateways, Keys, NET_TO_NET, Output, Testbed};

testing::on_both_data_paths!(right_proposals_are_answered_and_wrong_ones_refused,);

/// Transforms as ike-scan writes them: encryption, hash, authentication, group.
const RIGHT: [(&str, &str); 11] = [
    ("5,2,1,5", "3DES"),
    ("7/128,2,1,14", "AES"),
    ("7/256,2,1,5", "AES"),
    ("7/256,4,1,14", "SHA2-256"),
    ("7/192,5,1,15", "SHA2-384"),
    ("7/256,6,1,16", "SHA2-512"),
    ("8/256,4,1,14", "Enc=Camellia"),
    ("8/128,2,1,5", "Enc=Camellia"),
    ("7/128,4,1,19", "Group=19"),
    ("7/256,5,1,20", "Group=20"),
    ("7/256,6,1,31", "Group=31"),
];
const WRONG: [(&str, &str); 10] = [
    ("1,2,1,5", "single DES"),
    ("1,1,1,1", "single DES and MODP 768"),
    ("5,2,1,1", "MODP 768"),
    ("5,2,1,2", "MODP 1024, which is off by default"),
    ("5,1,1,5", "MD5, which is off by default"),
    ("7/256,4,1,18", "MODP 8192, which is off by default"),
    ("7/160,4,1,14", "a key length that AES lacks"),
    ("8,4,1,14", "Camellia without a key length"),
    ("7/256,4,1,22", "a group of RFC 5114"),
    (
        "5,2,3,5",
        "RSA signatures where only a secret is configured",
    ),
];

fn right_proposals_are_answered_and_wrong_ones_refused() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = format!(
        "{NET_TO_NET}\nconn road\n\tleft=192.1.2.45\n\tleftid=@west\n\tleftsubnet=192.0.1.0/24\n\
         \tleftnexthop=192.1.2.254\n\tright=%any\n\tauto=add\n"
    );
    net.configure("", &conns);
    net.west
        .secrets(": PSK \"a secret for everybody on the road\"\n");
    net.west.run("ipsec setup start").ok();

    let scan = |trans: &str| {
        testbed.run(&format!(
            "ike-scan -M --retry=2 --timeout=800 --trans={trans} 192.1.2.45"
        ))
    };
    for (trans, expected) in RIGHT {
        let answer = scan(trans)
            .says("Main Mode Handshake returned")
            .says(expected);
        assert!(one_handshake(&answer), "{trans}: {answer}");
    }
    for (trans, why) in WRONG {
        let answer = scan(trans);
        assert!(
            answer.contains("NO-PROPOSAL-CHOSEN"),
            "{why} ({trans}): {answer}"
        );
        assert!(
            !answer.contains("Handshake returned"),
            "{why} ({trans}): {answer}"
        );
    }
    // It chooses the acceptable one among several.
    testbed
        .run("ike-scan -M --retry=2 --timeout=800 --trans=1,2,1,5 --trans=5,2,1,5 192.1.2.45")
        .says("Main Mode Handshake returned")
        .says("3DES");
    // A scan leaves no state behind.
    net.west
        .run("ipsec auto --status")
        .ok()
        .never_says("STATE_MAIN_R");
}

fn one_handshake(output: &Output) -> bool {
    output.contains("1 returned handshake")
}
