//! Both sides of Main Mode against each other: every combination, meddling with every message.

use std::num::NonZeroU16;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rsa::{RsaPrivateKey, RsaPublicKey};

use super::*;
use crate::crypto::{Cipher, Group, Hash};
use crate::proposal::{IkeAlgorithms, IkeSuite};
use crate::v1::error::Error;
use crate::v1::nat::NatMethod;
use crate::wire::{AuthMethod, Cookie, Notify, NotifyType, Protocol};

const COOKIE: Cookie = Cookie([7; 8]);

pub(in crate::v1) struct Side {
    pub(in crate::v1) rng: StdRng,
    id: Identity,
    psk: Option<Arc<Secret>>,
    rsa: Option<Arc<RsaPrivateKey>>,
    peer_keys: Vec<RsaPublicKey>,
    ends: NatOffer,
}

/// Where the two are, by their own knowledge and by the other's.
fn ends(local: &str, remote: &str) -> NatOffer {
    NatOffer {
        enabled: true,
        force: false,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
    }
}

fn policy(auth: AuthMethod, suite: IkeSuite) -> IkePolicy {
    let algorithms = IkeAlgorithms {
        suites: vec![suite],
        strict: true,
    };
    IkePolicy {
        auth: vec![auth],
        algorithms,
        life_seconds: 3600,
        fragmentation: true,
    }
}

pub(in crate::v1) fn sides(psk: [&str; 2]) -> [Side; 2] {
    let mut rng = StdRng::seed_from_u64(3);
    let keys: Vec<RsaPrivateKey> = (0..2)
        .map(|_| RsaPrivateKey::new(&mut rng, 1024).unwrap())
        .collect();
    [0, 1].map(|n| Side {
        rng: StdRng::seed_from_u64(n as u64),
        id: Identity::Fqdn(["west", "east"][n].into()),
        psk: Some(Arc::new(Secret::new(psk[n].as_bytes().to_vec()))),
        rsa: Some(Arc::new(keys[n].clone())),
        peer_keys: vec![keys[1 - n].to_public_key()],
        ends: [
            ends("192.1.2.45:500", "192.1.2.23:500"),
            ends("192.1.2.23:500", "192.1.2.45:500"),
        ][n],
    })
}

impl Side {
    fn verdict(&self) -> Verdict {
        Verdict {
            peer_keys: self.peer_keys.clone(),
            my_id: self.id.clone(),
            my_key: self.rsa.clone(),
        }
    }

    /// Computes and decides until there is something to send or the exchange is done.
    fn settle(&mut self, mut step: Step) -> Result<Step, Refused<Option<Waiting>>> {
        loop {
            step = match step {
                Step::Compute { job, then } => then.resume(job.run(), &mut self.rng)?,
                Step::Identify(identified) => {
                    let verdict = self.verdict();
                    identified
                        .accept(verdict, &mut self.rng)
                        .map_err(|refused| Refused {
                            state: Some(refused.state),
                            error: refused.error,
                        })?
                }
                other => return Ok(other),
            };
        }
    }

    fn take(&mut self, state: Waiting, datagram: &[u8]) -> Result<Step, Refused<Option<Waiting>>> {
        let step = state
            .handle(datagram, &mut self.rng)
            .map_err(|refused| Refused {
                state: Some(refused.state),
                error: refused.error,
            })?;
        self.settle(step)
    }
}

/// What is done to a message.
type Spoil = dyn Fn(&mut Vec<u8>);

type Sas = (Arc<IsakmpSa>, Arc<IsakmpSa>);

/// Runs Main Mode; each message is first given with `bad` done to it, which must be refused.
fn run(
    [west, east]: &mut [Side; 2],
    auth: AuthMethod,
    suite: IkeSuite,
    bad: Option<&Spoil>,
) -> Result<Sas, Error> {
    let policy = policy(auth, suite);
    let request = Initiate {
        policy: policy.clone(),
        my_id: west.id.clone(),
        credentials: Credentials {
            psk: west.psk.clone(),
            rsa: west.rsa.clone(),
        },
        initial_contact: true,
        nat: west.ends,
        brief: false,
    };
    let (i1, mi1) = initiate(request, COOKIE);
    let half = HalfOpen::respond(&mi1, &policy, east.ends.enabled)?;
    let cookies = (COOKIE, Cookie([7; 8]));
    let mut initiator = Waiting::I1(Box::new(i1));
    let mut responder: Option<Waiting> = None;
    let mut message = half.mr1(cookies);
    loop {
        // The initiator's turn.
        initiator = spoil(west, initiator, &message, bad);
        let step = west
            .take(initiator, &message)
            .map_err(|refused| refused.error)?;
        let Step::Send {
            message: sent,
            next,
        } = step
        else {
            panic!("{step:?}")
        };
        (initiator, message) = (next, sent);
        if let Some(Waiting::R2(responder)) = &responder
            && west.psk == east.psk
        {
            objects_before_mi3(&initiator, responder, auth);
        }
        // The responder's.
        let step = match responder.take() {
            None => {
                let (psk, rng) = (east.psk.clone(), &mut east.rng);
                let step = half.handle(cookies, &message, psk, east.ends, rng)?;
                east.settle(step)
            }
            Some(state) => {
                let state = spoil(east, state, &message, bad);
                east.take(state, &message)
            }
        };
        match step.map_err(|refused| refused.error)? {
            Step::Send {
                message: sent,
                next,
            } => (responder, message) = (Some(next), sent),
            Step::Done(theirs) => {
                assert!(theirs.initial_contact);
                let mr3 = theirs.message.unwrap();
                let initiator = spoil(west, initiator, &mr3, bad);
                let step = west
                    .take(initiator, &mr3)
                    .map_err(|refused| refused.error)?;
                let Step::Done(ours) = step else {
                    panic!("{step:?}")
                };
                return Ok((ours.sa, theirs.sa));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The initiator reads an error that was sent before its MI3 arrived.
fn objects_before_mi3(initiator: &Waiting, responder: &responder::R2, auth: AuthMethod) {
    let error = Notify::new(Protocol::ISAKMP, &[], NotifyType::INVALID_PAYLOAD_TYPE);
    let sent = responder.object(&error, 9);
    let objection = initiator.read_informational(&sent).unwrap().unwrap();
    assert!(objection.before_mi3);
    assert_eq!(objection.genuine, auth == AuthMethod::PRESHARED_KEY);
    let kinds: Vec<NotifyType> = objection
        .said
        .notifications
        .iter()
        .map(|n| n.kind)
        .collect();
    assert_eq!(kinds, [NotifyType::INVALID_PAYLOAD_TYPE]);
    let mut forged = sent;
    *forged.last_mut().unwrap() ^= 1;
    assert!(initiator.read_informational(&forged).unwrap().is_err());
}

/// The state after a spoilt message was refused.
fn spoil(side: &mut Side, state: Waiting, message: &[u8], bad: Option<&Spoil>) -> Waiting {
    let Some(bad) = bad else { return state };
    let mut spoilt = message.to_vec();
    bad(&mut spoilt);
    match side.take(state, &spoilt) {
        Err(Refused {
            state: Some(state), ..
        }) => state,
        other => panic!("a spoilt message was not refused: {other:?}"),
    }
}

/// ISAKMP SAs of both sides, initiator's first.
pub(in crate::v1) fn established(suite: IkeSuite) -> ([Side; 2], Sas) {
    establish(sides(["secret", "secret"]), suite)
}

/// The same, with the initiator behind a NAT.
pub(in crate::v1) fn established_through_nat(suite: IkeSuite) -> ([Side; 2], Sas) {
    let mut sides = sides(["secret", "secret"]);
    sides[0].ends = ends("10.0.0.9:500", "192.1.2.23:500");
    sides[1].ends = ends("192.1.2.23:500", "192.1.2.254:61000");
    establish(sides, suite)
}

fn establish(mut sides: [Side; 2], suite: IkeSuite) -> ([Side; 2], Sas) {
    let sas = run(&mut sides, AuthMethod::PRESHARED_KEY, suite, None).unwrap();
    (sides, sas)
}

pub(in crate::v1) const SUITE: IkeSuite = IkeSuite {
    cipher: Cipher::TRIPLE_DES,
    hash: Hash::SHA1,
    group: Group::MODP1024,
};

#[test]
fn every_combination() {
    let mut sides = sides(["secret", "secret"]);
    let suite = |cipher, hash, group| IkeSuite {
        cipher,
        hash,
        group,
    };
    let mut suites: Vec<IkeSuite> = Vec::new();
    for cipher in Cipher::all() {
        suites.extend(Hash::all().map(|hash| suite(cipher, hash, Group::CURVE25519)));
    }
    suites.extend(Group::all().map(|group| suite(Cipher::AES256, Hash::SHA2_256, group)));
    for auth in [AuthMethod::PRESHARED_KEY, AuthMethod::RSA_SIG] {
        for suite in suites.clone() {
            let (ours, theirs) = run(&mut sides, auth, suite, None).unwrap();
            assert_eq!(ours.cookies(), theirs.cookies());
            assert_eq!(ours.agreed().suite(), suite);
            assert_eq!(ours.peer_id(), theirs.my_id());
            assert_eq!(theirs.peer_id(), ours.my_id());
            let delete = ours.delete_isakmp(77);
            let (initiator, responder) = ours.cookies();
            assert_eq!(
                theirs.read_informational(&delete).unwrap().deletions,
                [crate::v1::info::Deletion::Isakmp(initiator, responder)]
            );
        }
    }
}

#[test]
fn both_sides_find_the_nat_between_them() {
    let (_, (ours, theirs)) = established(SUITE);
    for sa in [&ours, &theirs] {
        assert_eq!(sa.nat().method, Some(NatMethod::Rfc3947));
        assert_eq!(sa.nat().to_string(), "no NAT detected");
        assert_eq!(sa.nat().used(), None);
    }
    let (_, (ours, theirs)) = established_through_nat(SUITE);
    assert_eq!(ours.nat().to_string(), "i am NATed");
    assert_eq!(theirs.nat().to_string(), "peer is NATed");
    for sa in [&ours, &theirs] {
        assert_eq!(sa.nat().used(), Some(NatMethod::Rfc3947));
    }
}

#[test]
fn a_peer_without_nat_traversal_is_met_without() {
    for without in 0..2 {
        let mut sides = sides(["secret", "secret"]);
        sides[0].ends = ends("10.0.0.9:500", "192.1.2.23:500");
        sides[without].ends.enabled = false;
        let (_, (ours, theirs)) = establish(sides, SUITE);
        assert_eq!((ours.nat().method, theirs.nat().method), (None, None));
    }
}

#[test]
fn encapsulation_is_forced_by_either_side() {
    for forcing in 0..2 {
        let mut sides = sides(["secret", "secret"]);
        sides[forcing].ends.force = true;
        let (_, (ours, theirs)) = establish(sides, SUITE);
        assert!(ours.nat().used().is_some() && theirs.nat().used().is_some());
    }
}

#[test]
fn a_spoilt_message_is_refused_and_the_exchange_survives() {
    for auth in [AuthMethod::PRESHARED_KEY, AuthMethod::RSA_SIG] {
        for bad in [
            &(|m: &mut Vec<u8>| m.truncate(m.len() - 1)) as &Spoil,
            &|m| m.truncate(28),
            &|m| m[28] = 99,
            // The length of the first payload, or a bit of the first encrypted block.
            &|m| m[30] ^= 0x80,
            &|m| m[19] ^= 1,
            &|m| m.clear(),
        ] {
            run(&mut sides(["secret", "secret"]), auth, SUITE, Some(bad)).unwrap();
        }
    }
}

#[test]
fn another_secret_is_told_from_rubbish() {
    let error = run(
        &mut sides(["one", "two"]),
        AuthMethod::PRESHARED_KEY,
        SUITE,
        None,
    )
    .unwrap_err();
    assert!(matches!(error, Error::WrongSecret(_)), "{error:?}");
    assert!(
        error.to_string().contains("mismatch of preshared secrets?"),
        "{error}"
    );
}

#[test]
fn another_rsa_key_is_refused() {
    let mut wrong = sides(["", ""]);
    wrong[1].peer_keys = wrong[0].peer_keys.clone();
    let error = run(&mut wrong, AuthMethod::RSA_SIG, SUITE, None).unwrap_err();
    assert_eq!(
        error,
        Error::Signature {
            id: "@west".into(),
            tried: 1
        }
    );
    assert_eq!(error.notify(), NotifyType::INVALID_SIGNATURE);
    wrong[1].peer_keys.clear();
    let error = run(&mut wrong, AuthMethod::RSA_SIG, SUITE, None).unwrap_err();
    assert_eq!(error, Error::NoPublicKey("@west".into()));
}

#[test]
fn nothing_acceptable_is_no_proposal_chosen() {
    let wanted = policy(AuthMethod::PRESHARED_KEY, SUITE);
    let request = Initiate {
        policy: policy(AuthMethod::RSA_SIG, SUITE),
        my_id: Identity::Fqdn("west".into()),
        credentials: Credentials::default(),
        initial_contact: false,
        nat: ends("192.1.2.45:500", "192.1.2.23:500"),
        brief: true,
    };
    let (_, mi1) = initiate(request, COOKIE);
    let error = HalfOpen::respond(&mi1, &wanted, true).unwrap_err();
    assert_eq!(error.notify(), NotifyType::NO_PROPOSAL_CHOSEN);
}

#[test]
fn cookies_depend_on_address_port_secret_and_answer() {
    let mut rng = StdRng::seed_from_u64(1);
    let (one, two) = (CookieSecret::new(&mut rng), CookieSecret::new(&mut rng));
    let peer = "192.1.2.45:500".parse().unwrap();
    let answer = |number, serial| Answer {
        number: NonZeroU16::new(number).unwrap(),
        serial,
    };
    let ours = answer(300, 5);
    let cookie = one.cookie(peer, COOKIE, ours);
    assert_eq!(cookie, one.cookie(peer, COOKIE, ours));
    assert_eq!(Answer::number_in(cookie), Some(ours.number));
    assert_eq!(Answer::number_in(Cookie::ZERO), None);
    assert!(one.fits(cookie, peer, COOKIE, ours));
    assert!(!two.fits(cookie, peer, COOKIE, ours));
    for (addr, initiator, answer) in [
        ("192.1.2.46:500", COOKIE, ours),
        ("192.1.2.45:501", COOKIE, ours),
        ("192.1.2.45:500", Cookie([8; 8]), ours),
        ("192.1.2.45:500", COOKIE, answer(300, 6)),
        ("192.1.2.45:500", COOKIE, answer(301, 5)),
    ] {
        assert!(!one.fits(cookie, addr.parse().unwrap(), initiator, answer));
    }
}
