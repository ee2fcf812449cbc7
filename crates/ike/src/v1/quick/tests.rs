//! Both sides of Quick Mode against each other.

use ipsec_types::ProtoPort;

use super::super::main_mode::tests::{SUITE, Side, established};
use super::*;
use crate::crypto::Group;
use crate::proposal::{AhAlgorithms, Esn, EspAlgorithms, Supported};
use crate::wire::{Encapsulation, NotifyType};

fn policy() -> IpsecPolicy {
    IpsecPolicy {
        encrypt: true,
        authenticate: false,
        compress: false,
        esp: EspAlgorithms::default(),
        ah: AhAlgorithms::default(),
        supported: Supported::default(),
        esn: Esn::No,
        encapsulation: Encapsulation::TUNNEL,
        pfs_group: None,
        life_seconds: 600,
    }
}

fn clients() -> (Client, Client) {
    let client = |net: &str| Client::new(net.parse().unwrap(), ProtoPort::ANY);
    (client("10.0.1.0/24"), client("10.0.2.0/24"))
}

const OURS: Spis = Spis {
    ah: 0x1001,
    esp: 0x1002,
    ipcomp: 300,
};
const THEIRS: Spis = Spis {
    ah: 0x2001,
    esp: 0x2002,
    ipcomp: 400,
};

fn settle(mut step: Step) -> Step {
    loop {
        step = match step {
            Step::Compute { job, then } => then.resume(job.run()).unwrap(),
            other => return other,
        };
    }
}

/// Runs Quick Mode, each message first with one bit turned, which must be refused.
fn run(
    policy: &IpsecPolicy,
    clients: Option<(Client, Client)>,
    message_id: u32,
) -> (Agreed, Agreed) {
    run_over(established(SUITE), policy, clients, message_id)
}

fn hosts() -> (IpAddr, IpAddr) {
    ([10, 0, 0, 9].into(), [192, 1, 2, 23].into())
}

fn run_over(
    ([mut west, mut east], (ours, theirs)): ([Side; 2], (Arc<IsakmpSa>, Arc<IsakmpSa>)),
    policy: &IpsecPolicy,
    clients: Option<(Client, Client)>,
    message_id: u32,
) -> (Agreed, Agreed) {
    let request = Initiate {
        hosts: hosts(),
        message_id,
        policy: policy.clone(),
        spis: OURS,
        clients,
    };
    let Step::Send {
        message: qi1,
        next: i1,
    } = settle(initiate(&ours, request, &mut west.rng))
    else {
        panic!("QI1 is sent")
    };
    let spoilt = |message: &[u8]| {
        let mut spoilt = message.to_vec();
        let at = spoilt.len() - 20;
        spoilt[at] ^= 1;
        spoilt
    };
    Offer::read(&theirs, &spoilt(&qi1)).unwrap_err();
    let offer = Offer::read(&theirs, &qi1).unwrap();
    assert_eq!(offer.clients(), clients);
    let selected = offer.select(policy).unwrap();
    let Step::Answer {
        message: qr1,
        next: r1,
        agreed: theirs_agreed,
    } = settle(selected.answer(
        THEIRS,
        ([192, 1, 2, 23].into(), [192, 1, 2, 254].into()),
        &mut east.rng,
    ))
    else {
        panic!("QR1 is sent")
    };
    let i1 = i1.handle(&spoilt(&qr1)).unwrap_err().state;
    let Step::Finish {
        message: qi2,
        agreed,
    } = settle(i1.handle(&qr1).unwrap())
    else {
        panic!("QI2 is sent")
    };
    let refused = r1.handle(&spoilt(&qi2)).unwrap_err();
    assert!(matches!(
        refused.state.handle(&qi2).unwrap(),
        Step::Confirmed
    ));
    (*agreed, *theirs_agreed)
}

fn same(one: &Keys, other: &Keys) -> bool {
    one.cipher == other.cipher && one.auth == other.auth
}

#[test]
fn a_responder_that_wants_a_shorter_life_has_it() {
    use crate::proposal::{read_responder_lifetime, responder_lifetime};
    for (offered, wanted, lives) in [(600, 300, 300), (300, 600, 300), (86_400, 70_000, 70_000)] {
        let with_life = |life_seconds| IpsecPolicy {
            life_seconds,
            ..policy()
        };
        let ([mut west, mut east], (ours, theirs)) = established(SUITE);
        let request = Initiate {
            hosts: hosts(),
            message_id: 5,
            policy: with_life(offered),
            spis: OURS,
            clients: Some(clients()),
        };
        let Step::Send { message, next } = settle(initiate(&ours, request, &mut west.rng)) else {
            panic!("QI1 is sent")
        };
        let offer = Offer::read(&theirs, &message).unwrap();
        let selected = offer.select(&with_life(wanted)).unwrap();
        let answer = settle(selected.answer(THEIRS, hosts(), &mut east.rng));
        let Step::Answer {
            message, agreed, ..
        } = answer
        else {
            panic!("QR1 is sent")
        };
        assert_eq!(agreed.life_seconds, lives);
        let Step::Finish { agreed, .. } = settle(next.handle(&message).unwrap()) else {
            panic!("QI2 is sent")
        };
        assert_eq!(agreed.life_seconds, lives, "{offered} {wanted}");
    }
    // Type 1 (seconds), then a duration of four octets.
    assert_eq!(
        read_responder_lifetime(&[0x80, 1, 0, 1, 0, 2, 0, 4, 0, 0, 0x0e, 0x10]),
        Some(3600)
    );
    // With the numbers of phase 1.
    assert_eq!(
        read_responder_lifetime(&[0x80, 11, 0, 1, 0x80, 12, 0x0e, 0x10]),
        Some(3600)
    );
    for bad in [&[][..], &[0x80, 1, 0, 1], &[0x80, 2, 0, 9], &[1, 2, 3]] {
        assert_eq!(read_responder_lifetime(bad), None, "{bad:?}");
    }
    assert_eq!(read_responder_lifetime(&responder_lifetime(77)), Some(77));
}

#[test]
fn every_bundle_with_and_without_pfs_in_both_modes() {
    for pfs_group in [None, Some(Group::MODP1536), Some(Group::ECP384)] {
        for encapsulation in [Encapsulation::TUNNEL, Encapsulation::TRANSPORT] {
            for (encrypt, authenticate, compress) in [
                (true, false, false),
                (true, false, true),
                (false, true, false),
                (true, true, true),
            ] {
                let policy = IpsecPolicy {
                    encrypt,
                    authenticate,
                    compress,
                    pfs_group,
                    encapsulation,
                    ..policy()
                };
                let (ours, theirs) = run(&policy, Some(clients()), 5);
                assert_eq!(
                    (ours.esp.is_some(), ours.ah.is_some()),
                    (encrypt, authenticate)
                );
                assert_eq!(ours.ipcomp.is_some(), compress);
                assert_eq!((ours.pfs, theirs.pfs), (pfs_group, pfs_group));
                assert_eq!(ours.tunnel, encapsulation == Encapsulation::TUNNEL);
                assert_eq!(ours.life_seconds, 600);
                assert_eq!(ours.clients.unwrap().0, theirs.clients.unwrap().1);
                if let (Some(a), Some(b)) = (&ours.esp, &theirs.esp) {
                    assert!(same(&a.inbound, &b.outbound) && same(&a.outbound, &b.inbound));
                    assert!(!same(&a.inbound, &a.outbound));
                    assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
                    assert_eq!((a.spi_in, a.spi_out), (OURS.esp, THEIRS.esp));
                }
                if let (Some(a), Some(b)) = (&ours.ah, &theirs.ah) {
                    assert!(same(&a.inbound, &b.outbound) && same(&a.outbound, &b.inbound));
                }
                if let (Some(a), Some(b)) = (&ours.ipcomp, &theirs.ipcomp) {
                    assert_eq!((a.cpi_in, a.cpi_out), (b.cpi_out, b.cpi_in));
                }
            }
        }
    }
}

#[test]
fn gateways_themselves_need_no_clients() {
    let (ours, theirs) = run(&policy(), None, 6);
    assert!(ours.clients.is_none() && theirs.clients.is_none());
}

#[test]
fn exchanges_over_one_isakmp_sa_do_not_mix() {
    let ([mut west, _], (ours, theirs)) = established(SUITE);
    let mut start = |message_id| {
        let request = Initiate {
            hosts: hosts(),
            message_id,
            policy: policy(),
            spis: OURS,
            clients: Some(clients()),
        };
        match settle(initiate(&ours, request, &mut west.rng)) {
            Step::Send { message, .. } => message,
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (start(1), start(2));
    // In any order.
    assert_eq!(Offer::read(&theirs, &second).unwrap().message_id(), 2);
    assert_eq!(Offer::read(&theirs, &first).unwrap().message_id(), 1);
    // A message under another's id is not genuine.
    let mut mixed = first.clone();
    mixed[20..24].copy_from_slice(&second[20..24]);
    Offer::read(&theirs, &mixed).unwrap_err();
}

#[test]
fn missing_pfs_is_no_proposal_chosen() {
    let ([mut west, _], (ours, theirs)) = established(SUITE);
    let request = Initiate {
        hosts: hosts(),
        message_id: 9,
        policy: policy(),
        spis: OURS,
        clients: None,
    };
    let Step::Send { message, .. } = settle(initiate(&ours, request, &mut west.rng)) else {
        panic!()
    };
    let strict = IpsecPolicy {
        pfs_group: Some(Group::MODP1536),
        ..policy()
    };
    let error = Offer::read(&theirs, &message)
        .unwrap()
        .select(&strict)
        .unwrap_err();
    assert_eq!(error.notify(), NotifyType::NO_PROPOSAL_CHOSEN);
}

#[test]
fn no_mutation_panics_or_passes() {
    let ([mut west, _], (ours, theirs)) = established(SUITE);
    let request = Initiate {
        hosts: hosts(),
        message_id: 9,
        policy: policy(),
        spis: OURS,
        clients: Some(clients()),
    };
    let Step::Send { message, .. } = settle(initiate(&ours, request, &mut west.rng)) else {
        panic!()
    };
    for at in 0..message.len() {
        let mut mutant = message.clone();
        mutant[at] ^= 0x55;
        // The cookies and the exchange type are the engine's to look at; everything else is protected.
        if at >= 16 && at != 18 {
            assert!(Offer::read(&theirs, &mutant).is_err(), "octet {at}");
        }
        assert!(Offer::read(&theirs, &message[..at]).is_err());
        let _ = theirs.read_informational(&mutant);
    }
}

#[test]
fn through_nat_the_modes_are_those_in_udp_and_transport_mode_tells_addresses() {
    use super::super::main_mode::tests::established_through_nat;
    for mode in [Encapsulation::UDP_TUNNEL, Encapsulation::UDP_TRANSPORT] {
        let policy = IpsecPolicy {
            encapsulation: mode,
            ..policy()
        };
        let (ours, theirs) = run_over(established_through_nat(SUITE), &policy, None, 7);
        let tunnel = mode == Encapsulation::UDP_TUNNEL;
        assert_eq!((ours.tunnel, theirs.tunnel), (tunnel, tunnel));
        let known = |addr: [u8; 4]| (!tunnel).then_some(IpAddr::from(addr));
        assert_eq!(theirs.peer_oa, known([10, 0, 0, 9]));
        assert_eq!(ours.peer_oa, known([192, 1, 2, 23]));
    }
}

#[test]
fn keymat_has_room_for_salts_and_long_keys() {
    for (list, cipher, auth) in [
        ("aes_gcm256!", 36, 0),
        ("chacha20_poly1305!", 36, 0),
        ("aes_ctr128-sha2_512!", 20, 64),
        ("camellia192-sha2_384!", 24, 48),
        ("null-aes_xcbc!", 0, 16),
    ] {
        let policy = IpsecPolicy {
            esp: EspAlgorithms::parse(list).unwrap(),
            esn: Esn::Either,
            ..policy()
        };
        let (ours, theirs) = run(&policy, None, 5);
        let (a, b) = (ours.esp.unwrap(), theirs.esp.unwrap());
        assert_eq!(
            (a.inbound.cipher.len(), a.inbound.auth.len()),
            (cipher, auth)
        );
        assert!(same(&a.inbound, &b.outbound) && same(&a.outbound, &b.inbound));
        assert!(a.esn && b.esn);
    }
}
