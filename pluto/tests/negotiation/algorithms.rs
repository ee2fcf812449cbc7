//! Two engines agree on every algorithm there is, and on nothing else.

use crate::world::*;
use ike::crypto::{AuthAlg, Cipher, EspCipher, Group, Hash, Standing};
use whack::Esn;

/// Cheap, for tests of what comes after it.
const QUICK: &str = "aes128-sha2_256-curve25519!";

fn with(ike: Option<&str>, esp: Option<&str>) -> whack::Connection {
    whack::Connection {
        ike: ike.map(str::to_owned),
        esp: esp.map(str::to_owned),
        ..net_to_net()
    }
}

/// East and west with a connection each; west brings it up. The status of both.
fn negotiate(east: whack::Connection, west: whack::Connection) -> (World, [String; 2]) {
    let mut world = World::new([PSK, PSK]);
    world.ask(0, add(east));
    world.ask(1, add(west));
    world.up(1, "net-to-net");
    world.run(5);
    let status = [world.status(0), world.status(1)];
    (world, status)
}

/// Both sides say that they use this.
fn agreed(conn: whack::Connection, line: &str) {
    let what = format!("{:?} {:?}", conn.ike, conn.esp);
    let (world, status) = negotiate(conn.clone(), conn);
    for side in status {
        assert!(
            side.contains(line),
            "{what}: {line}\n{side}{}",
            world.trace()
        );
    }
}

#[test]
fn every_cipher_and_hash_of_phase_1() {
    for cipher in Cipher::all() {
        for hash in Hash::all() {
            let list = format!("{cipher}-{hash}-curve25519!");
            let (cipher, hash) = (cipher.official(), hash.official());
            agreed(
                with(Some(&list), None),
                &format!("IKE algorithm newest: {cipher}-{hash}-DH31"),
            );
        }
    }
}

#[test]
fn every_group_in_both_phases() {
    for group in Group::all() {
        let mut conn = with(Some(&format!("aes256-sha2_256-{group}!")), None);
        let official = group.official();
        agreed(
            conn.clone(),
            &format!("IKE algorithm newest: AES_CBC_256-SHA2_256-{official}"),
        );
        conn.ike = Some(QUICK.into());
        conn.pfsgroup = Some(group.name().into());
        agreed(conn, &format!("; pfsgroup={official}"));
    }
}

#[test]
fn every_suite_of_esp_and_ah() {
    for cipher in EspCipher::all() {
        let official = cipher.official();
        if cipher.is_aead() {
            agreed(
                with(Some(QUICK), Some(&format!("{cipher}-null!"))),
                &format!("ESP algorithm newest: {official}-NONE; pfsgroup=<Phase1>"),
            );
            continue;
        }
        for auth in AuthAlg::all() {
            agreed(
                with(Some(QUICK), Some(&format!("{cipher}-{auth}!"))),
                &format!("ESP algorithm newest: {official}-{}", auth.official()),
            );
        }
    }
    for auth in AuthAlg::all() {
        let mut conn = with(Some(QUICK), Some(auth.name()));
        conn.policy.authenticate = true;
        conn.policy.encrypt = false;
        conn.policy.pfs = false;
        let official = auth.official();
        agreed(
            conn,
            &format!("AH algorithm newest: {official}; pfsgroup=<N/A>"),
        );
    }
}

#[test]
fn by_default_the_strongest_and_with_classic_peers_what_they_have() {
    agreed(
        with(None, None),
        "IKE algorithm newest: AES_CBC_256-SHA2_256-DH19",
    );
    agreed(
        with(None, None),
        "ESP algorithm newest: AES_GCM_16_256-NONE",
    );
    let classic = with(Some("3des-sha1-modp1536!"), Some("3des-sha1!"));
    for (east, west) in [
        (classic.clone(), with(None, None)),
        (with(None, None), classic),
    ] {
        let (world, status) = negotiate(east, west);
        for side in status {
            for line in [
                "IKE algorithm newest: 3DES_CBC_192-SHA1-MODP1536",
                "ESP algorithm newest: 3DES_CBC-HMAC_SHA1_96",
            ] {
                assert!(side.contains(line), "{line}\n{side}{}", world.trace());
            }
        }
    }
}

#[test]
fn what_must_be_named_is_not_taken_from_a_peer() {
    for group in Group::all().filter(|g| g.standing() == Standing::Named) {
        let west = with(Some(&format!("aes256-sha2_256-{group}!")), None);
        let (world, _) = negotiate(with(None, None), west);
        let why = format!("aes256-sha2_256-{group} is not allowed by ike= or the defaults");
        assert!(world.count(0, &why) > 0, "{}", world.trace());
        assert!(!world.is_up(0, "net-to-net"));
    }
    for (list, why) in [
        ("null-sha1!", "null-sha1 is not allowed by esp="),
        ("3des-md5!", "3des-md5 is not allowed by esp="),
    ] {
        let (world, _) = negotiate(with(Some(QUICK), None), with(Some(QUICK), Some(list)));
        assert!(world.count(0, why) > 0, "{}", world.trace());
        assert!(!world.is_up(0, "net-to-net"));
    }
}

#[test]
fn extended_sequence_numbers_are_agreed_on() {
    for (east, west, up) in [
        (Esn::Yes, Esn::Either, true),
        (Esn::Either, Esn::No, true),
        (Esn::No, Esn::Either, true),
        (Esn::No, Esn::Yes, false),
        (Esn::Yes, Esn::No, false),
    ] {
        let conn = |esn| {
            let mut conn = with(Some(QUICK), None);
            conn.policy.esn = esn;
            conn
        };
        let (world, _) = negotiate(conn(east), conn(west));
        assert_eq!(world.is_up(0, "net-to-net"), up, "{}", world.trace());
        assert_eq!(world.is_up(1, "net-to-net"), up, "{}", world.trace());
    }
}

#[test]
fn a_list_that_nobody_understands_is_refused_when_it_is_added() {
    let mut world = World::new([PSK, PSK]);
    world.ask(1, add(with(Some("aes265-sha1"), None)));
    assert_eq!(
        world.nodes[1]
            .said
            .first()
            .unwrap()
            .split_once("expected")
            .unwrap()
            .0,
        "030 ike=aes265-sha1: \"aes265-sha1\": \"aes265\" is not known here; did you mean \"aes256\"? "
    );
    assert_eq!(world.nodes[1].finished, [30]);
    assert!(!world.status(1).contains("net-to-net"));
}
