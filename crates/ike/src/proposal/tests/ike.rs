//! Phase 1: our offer, a peer's offer, a peer's answer.

use crate::crypto::{Cipher, CipherRefusal, Group, Hash};
use crate::proposal::{AnswerError, IkeAlgorithms, IkePolicy, IkeTransform, Refusal};
use crate::wire::tests::foreign::{AES_AND_RSA, MAIN_MODE};
use crate::wire::{
    Attribute, AuthMethod, GroupId, Message, NotifyType, OakleyAttribute as Oakley, Sa,
};

fn policy(list: &str, auth: &[AuthMethod]) -> IkePolicy {
    IkePolicy {
        auth: auth.to_vec(),
        algorithms: IkeAlgorithms::parse(list).unwrap(),
        life_seconds: 3600,
        fragmentation: true,
    }
}

fn default_policy() -> IkePolicy {
    let auth = vec![AuthMethod::RSA_SIG, AuthMethod::PRESHARED_KEY];
    IkePolicy {
        auth,
        algorithms: IkeAlgorithms::default(),
        life_seconds: 3600,
        fragmentation: true,
    }
}

/// The SA payload of a captured message.
fn captured(text: &str) -> Sa {
    let bytes = hex::decode(text.split_whitespace().collect::<String>()).unwrap();
    Message::new_checked(&bytes)
        .unwrap()
        .sa()
        .unwrap()
        .0
        .clone()
}

#[test]
fn two_of_us_agree_on_the_first_offer() {
    let (initiator, responder) = (default_policy(), default_policy());
    let offer = Sa::parse(&initiator.to_sa().to_body()).unwrap();
    assert_eq!(offer.proposals[0].transforms.len(), 24);
    let (chosen, answer) = responder.choose(&offer).unwrap();
    assert_eq!(
        chosen.to_string(),
        "aes256-sha2_256-ecp256 by OAKLEY_RSA_SIG"
    );
    assert_eq!((chosen.life_seconds(), chosen.by_signature()), (3600, true));
    assert_eq!(
        answer.proposals[0].transforms,
        offer.proposals[0].transforms[..1]
    );
    let answer = Sa::parse(&answer.to_body()).unwrap();
    assert_eq!(initiator.confirm(&answer), Ok(chosen));
}

#[test]
fn the_default_offer_fits_a_packet() {
    // IPv6's smallest MTU, its header and UDP's, our header and a few vendor ids.
    let room = 1280 - 40 - 8 - 28 - 8 * 20;
    assert!(default_policy().to_sa().to_body().len() < room);
}

#[test]
fn classic_peers_find_something_in_the_default_offer() {
    let psk = [AuthMethod::PRESHARED_KEY];
    for classic in [
        "3des-sha1-modp1536!",
        "3des-sha1-modp2048!",
        "aes128-sha1-modp1536!",
    ] {
        let theirs = policy(classic, &psk);
        let chosen = theirs.choose(&default_policy().to_sa()).unwrap().0;
        assert_eq!(chosen.suite(), theirs.algorithms.suites[0]);
        default_policy().choose(&theirs.to_sa()).unwrap();
    }
    // What FreeS/WAN 2.x offers, MD5 first.
    let freeswan = policy(
        "3des-md5-modp1536,3des-sha1-modp1536,3des-md5-modp1024",
        &psk,
    );
    let chosen = default_policy().choose(&freeswan.to_sa()).unwrap().0;
    assert_eq!(chosen.suite().to_string(), "3des-sha1-modp1536");
    assert_eq!(chosen.suite().official(), "3DES_CBC_192-SHA1-MODP1536");
}

#[test]
fn the_peers_order_decides() {
    let psk = [AuthMethod::PRESHARED_KEY];
    let ours = policy("aes256-sha1-modp2048,3des-md5-modp1536", &psk);
    let theirs = policy("3des-md5-modp1536,aes256-sha1-modp2048", &psk);
    let (chosen, _) = ours.choose(&theirs.to_sa()).unwrap();
    assert_eq!(chosen.suite().to_string(), "3des-md5-modp1536");
}

#[test]
fn ike_scan_is_answered() {
    let offer = captured(AES_AND_RSA);
    let (chosen, answer) = default_policy().choose(&offer).unwrap();
    assert_eq!(
        (chosen.cipher, chosen.hash, chosen.group),
        (Cipher::AES256, Hash::SHA1, Group::MODP2048)
    );
    assert_eq!(
        (chosen.auth, chosen.life_seconds()),
        (AuthMethod::PRESHARED_KEY, 28800)
    );
    assert_eq!(
        answer.proposals[0].transforms[0],
        offer.proposals[0].transforms[0]
    );
    // With RSA alone the second transform is the one.
    let rsa = policy("3des-md5-modp1536!", &[AuthMethod::RSA_SIG]);
    assert_eq!(
        rsa.choose(&offer).unwrap().1.proposals[0].transforms[0].number,
        2
    );
}

#[test]
fn weak_offers_are_refused_one_by_one() {
    let error = default_policy().choose(&captured(MAIN_MODE)).unwrap_err();
    assert_eq!(
        (error.refused.len(), error.notify()),
        (8, NotifyType::NO_PROPOSAL_CHOSEN)
    );
    let weak = policy("3des-sha1-modp1024", &[AuthMethod::PRESHARED_KEY]);
    for (number, why) in (1..).zip(&error.refused) {
        assert_eq!(why.transform, Some(number));
        let expected = match number {
            1 | 2 => matches!(why.why, Refusal::IkeSuite(s) if s.group == Group::MODP1024),
            3 | 4 | 7 | 8 => why.why == Refusal::Cipher(CipherRefusal::SingleDes),
            _ => why.why == Refusal::Group(GroupId::MODP768),
        };
        assert!(expected, "{why}");
    }
    assert!(
        error
            .to_string()
            .contains("proposal 1 PROTO_ISAKMP transform 3: single DES is never used"),
        "{error}"
    );
    // Named in ike=, group 2 is accepted; single DES still is not.
    assert_eq!(
        weak.choose(&captured(MAIN_MODE))
            .unwrap()
            .0
            .suite()
            .to_string(),
        "3des-sha1-modp1024"
    );
}

fn one(attributes: Vec<Attribute>) -> Result<IkeTransform, Refusal> {
    let mut sa = policy("3des-md5-modp1536", &[AuthMethod::PRESHARED_KEY]).to_sa();
    sa.proposals[0].transforms[0].attributes = attributes;
    IkeTransform::decode(&sa.proposals[0].transforms[0])
}

#[test]
fn attributes_that_make_no_sense() {
    let a = |kind: Oakley, value| Attribute::number(kind.0, value);
    let good = [
        (Oakley::ENCRYPTION, 5),
        (Oakley::HASH, 1),
        (Oakley::AUTH_METHOD, 1),
        (Oakley::GROUP_DESCRIPTION, 5),
    ];
    let good: Vec<Attribute> = good.map(|(k, v)| a(k, v)).to_vec();
    let with = |more: &[Attribute]| one([&good[..], more].concat());
    assert!(with(&[]).is_ok());
    for missing in 0..good.len() {
        let mut some = good.clone();
        some.remove(missing);
        assert!(matches!(one(some), Err(Refusal::Missing(_))));
    }
    assert_eq!(
        with(&good[1..2]),
        Err(Refusal::Repeated("OAKLEY_HASH_ALGORITHM".to_owned()))
    );
    assert_eq!(with(&[a(Oakley::LIFE_TYPE, 1)]), Err(Refusal::Lifetime));
    assert_eq!(with(&[a(Oakley::LIFE_DURATION, 1)]), Err(Refusal::Lifetime));
    assert!(matches!(
        with(&[a(Oakley::LIFE_TYPE, 9)]),
        Err(Refusal::Value(_))
    ));
    assert!(matches!(
        with(&[a(Oakley::PRF, 1)]),
        Err(Refusal::Attribute(_))
    ));
    assert_eq!(
        with(&[a(Oakley::GROUP_PRIME, 23)]),
        Err(Refusal::PrivateGroup)
    );
    assert!(matches!(
        with(&[a(Oakley::KEY_LENGTH, 168)]),
        Err(Refusal::Cipher(CipherRefusal::KeyLength { .. }))
    ));
    let twice = [1, 2]
        .map(|unit| {
            [
                a(Oakley::LIFE_TYPE, unit),
                a(Oakley::LIFE_DURATION, 999_999),
            ]
        })
        .concat();
    let lives = with(&twice).unwrap();
    assert_eq!(
        (lives.lifetimes.seconds, lives.lifetimes.kilobytes),
        (Some(999_999), Some(999_999))
    );
    assert_eq!(lives.life_seconds(), 86400, "a day at most");
    assert_eq!(with(&[]).unwrap().life_seconds(), 28800);
}

#[test]
fn altered_answers_are_refused() {
    let ours = policy(
        "aes256-sha1-modp2048,3des-md5-modp1536",
        &[AuthMethod::PRESHARED_KEY],
    );
    let (chosen, answer) = ours.choose(&ours.to_sa()).unwrap();
    let altered = |alter: &dyn Fn(&mut Vec<Attribute>)| {
        let mut sa = answer.clone();
        alter(&mut sa.proposals[0].transforms[0].attributes);
        ours.confirm(&sa)
    };
    let reversed = altered(&|a| a.reverse()).unwrap_err();
    assert!(
        matches!(reversed, AnswerError::Refused(r) if r.why == Refusal::Lifetime),
        "a duration before its type"
    );
    assert_eq!(
        altered(&|a| a.rotate_left(2)),
        Ok(chosen),
        "another order means the same"
    );
    let set = |kind: Oakley, value| {
        altered(&move |a| {
            a.iter_mut()
                .filter(|x| x.kind == kind.0)
                .for_each(|x| *x = Attribute::number(kind.0, value))
        })
    };
    for (kind, value) in [
        (Oakley::KEY_LENGTH, 128),
        (Oakley::HASH, 1),
        (Oakley::GROUP_DESCRIPTION, 5),
        (Oakley::AUTH_METHOD, 3),
        (Oakley::LIFE_DURATION, 3601),
    ] {
        let error = set(kind, value).unwrap_err();
        assert!(
            matches!(error, AnswerError::NotOffered(_)),
            "{kind}: {error}"
        );
        assert_eq!(error.notify(), NotifyType::BAD_PROPOSAL_SYNTAX);
    }
    assert_eq!(
        ours.confirm(&ours.to_sa()),
        Err(AnswerError::NotOne {
            proposals: 1,
            transforms: 2
        })
    );
    assert_eq!(
        ours.confirm(&Sa::default()),
        Err(AnswerError::NotOne {
            proposals: 0,
            transforms: 0
        })
    );
}

#[test]
fn long_refusals_are_told_shortly() {
    let mut offer = captured(MAIN_MODE);
    let one = offer.proposals[0].transforms[0].clone();
    offer.proposals[0].transforms = (1..=255)
        .map(|number| crate::wire::Transform {
            number,
            ..one.clone()
        })
        .collect();
    let error = default_policy().choose(&offer).unwrap_err();
    assert_eq!(error.refused.len(), 255);
    assert!(error.to_string().ends_with("; and 239 more"), "{error}");
}
