//! Phase 2: our offer, a peer's offer, a peer's answer.

use crate::crypto::{AuthAlg, EspCipher, Group};
use crate::proposal::{
    AhAlgorithms, AnswerError, Esn, EspAlgorithms, EspSuite, IpsecChoice, IpsecPolicy, Refusal,
    Spis, Supported,
};
use crate::wire::{Attribute, Encapsulation, EspTransformId, IpsecAttribute, Protocol, Sa};

const EAST: Spis = Spis {
    ah: 0x1001,
    esp: 0x1002,
    ipcomp: 0x1003,
};
const WEST: Spis = Spis {
    ah: 0x2001,
    esp: 0x2002,
    ipcomp: 0x2003,
};

fn esp() -> IpsecPolicy {
    IpsecPolicy {
        encrypt: true,
        authenticate: false,
        compress: false,
        esp: EspAlgorithms::parse("aes256-sha1,aes128-sha1,3des-sha1,3des-md5").unwrap(),
        ah: AhAlgorithms::parse("sha1,md5").unwrap(),
        supported: Supported::default(),
        esn: Esn::No,
        encapsulation: Encapsulation::TUNNEL,
        pfs_group: Some(Group::MODP1536),
        life_seconds: 28800,
    }
}

fn ah_esp() -> IpsecPolicy {
    IpsecPolicy {
        authenticate: true,
        ..esp()
    }
}

/// Negotiates over the wire and returns what each side holds.
fn negotiate(east: &IpsecPolicy, west: &IpsecPolicy) -> (IpsecChoice, IpsecChoice) {
    let offer = Sa::parse(&east.to_sa(&EAST).to_body()).unwrap();
    let at_west = west.choose(&offer).unwrap_or_else(|e| panic!("{e}"));
    let answer = Sa::parse(&at_west.answer(&WEST).to_body()).unwrap();
    let at_east = east.confirm(&answer).unwrap_or_else(|e| panic!("{e}"));
    (at_east, at_west)
}

#[test]
fn esp_alone() {
    let (at_east, at_west) = negotiate(&esp(), &esp());
    let (e, w) = (at_east.esp.unwrap(), at_west.esp.unwrap());
    assert_eq!(
        (e.spi, w.spi),
        (WEST.esp, EAST.esp),
        "each holds the other's inbound SPI"
    );
    assert_eq!(
        (e.suite, e.suite.to_string()),
        (w.suite, "aes256-sha1".to_owned())
    );
    for side in [&at_east, &at_west] {
        assert_eq!(
            (side.ah, side.ipcomp, side.group),
            (None, None, Some(Group::MODP1536))
        );
        assert_eq!(
            (side.encapsulation, side.life_seconds()),
            (Encapsulation::TUNNEL, 28800)
        );
        assert!(side.has(Protocol::ESP) && !side.has(Protocol::AH));
    }
}

#[test]
fn ah_with_esp() {
    let (at_east, at_west) = negotiate(&ah_esp(), &ah_esp());
    let ah = at_east.ah.unwrap();
    assert_eq!((ah.auth, ah.spi), (AuthAlg::SHA1, WEST.ah));
    let suite = at_west.esp.unwrap().suite;
    assert_eq!((suite.auth, suite.to_string()), (None, "aes256".to_owned()));
    let order: Vec<_> = at_west
        .answer(&WEST)
        .proposals
        .iter()
        .map(|p| p.protocol)
        .collect();
    assert_eq!(order, [Protocol::AH, Protocol::ESP]);
    let only_ah = IpsecPolicy {
        encrypt: false,
        ..ah_esp()
    };
    let (at_east, _) = negotiate(&only_ah, &only_ah);
    assert!(at_east.esp.is_none() && at_east.ah.is_some());
}

#[test]
fn compression_is_preferred_and_not_required() {
    let compress = IpsecPolicy {
        compress: true,
        ..esp()
    };
    let offer = compress.to_sa(&EAST);
    let numbers: Vec<_> = offer
        .proposals
        .iter()
        .map(|p| (p.number, p.protocol))
        .collect();
    assert_eq!(
        numbers,
        [
            (1, Protocol::ESP),
            (1, Protocol::IPCOMP),
            (2, Protocol::ESP)
        ]
    );
    let (at_east, at_west) = negotiate(&compress, &esp());
    assert_eq!(
        (at_east.ipcomp.unwrap().cpi, at_west.ipcomp.unwrap().cpi),
        (WEST.ipcomp, EAST.ipcomp)
    );
    // A peer without IPCOMP takes the second proposal.
    let mut plain = offer.clone();
    plain.proposals.remove(1);
    plain.proposals.remove(0);
    let choice = esp().choose(&plain).unwrap();
    assert!(
        compress
            .confirm(&choice.answer(&WEST))
            .unwrap()
            .ipcomp
            .is_none()
    );
    // We did not offer it, so nobody may answer with it.
    assert!(matches!(
        esp().confirm(&at_west.answer(&WEST)),
        Err(AnswerError::NotOffered(_))
    ));
}

#[test]
fn through_a_nat_only_the_modes_in_udp_will_do_in_either_number() {
    let with = |encapsulation| IpsecPolicy {
        encapsulation,
        ..esp()
    };
    let taken = |ours, offered| with(ours).choose(&with(offered).to_sa(&EAST)).is_ok();
    use Encapsulation as E;
    assert!(taken(E::UDP_TUNNEL, E::UDP_TUNNEL));
    assert!(taken(E::UDP_TUNNEL, E::UDP_TUNNEL_DRAFTS));
    assert!(taken(E::UDP_TRANSPORT_DRAFTS, E::UDP_TRANSPORT));
    for (ours, offered) in [
        (E::UDP_TUNNEL, E::TUNNEL),
        (E::TUNNEL, E::UDP_TUNNEL),
        (E::UDP_TUNNEL, E::UDP_TRANSPORT),
        (E::TRANSPORT, E::UDP_TRANSPORT_DRAFTS),
    ] {
        assert!(!taken(ours, offered), "{ours} {offered}");
    }
}

#[test]
fn transport_mode_and_no_pfs() {
    let bare = IpsecPolicy {
        encapsulation: Encapsulation::TRANSPORT,
        pfs_group: None,
        ..esp()
    };
    let (at_east, _) = negotiate(&bare, &bare);
    assert_eq!(
        (at_east.encapsulation, at_east.group),
        (Encapsulation::TRANSPORT, None)
    );
    let (found, wanted) = (Encapsulation::TRANSPORT, Encapsulation::TUNNEL);
    let why = |policy: &IpsecPolicy, offer: &IpsecPolicy| {
        policy
            .choose(&offer.to_sa(&EAST))
            .unwrap_err()
            .refused
            .pop()
            .unwrap()
            .why
    };
    let tunnel = IpsecPolicy {
        pfs_group: None,
        ..esp()
    };
    assert_eq!(
        why(&tunnel, &bare),
        Refusal::Encapsulation { found, wanted }
    );
    assert_eq!(why(&esp(), &tunnel), Refusal::PfsMissing);
    // A peer may offer PFS where we don't ask for it, but not in a weak group.
    let (_, at_west) = negotiate(&esp(), &tunnel);
    assert_eq!(at_west.group, Some(Group::MODP1536));
    let weak = IpsecPolicy {
        pfs_group: Some(Group::MODP1024),
        ..esp()
    };
    assert_eq!(why(&tunnel, &weak), Refusal::PfsGroup(Group::MODP1024));
    assert_eq!(negotiate(&weak, &weak).0.group, Some(Group::MODP1024));
}

#[test]
fn refusals_have_reasons() {
    let reasons = |policy: &IpsecPolicy, alter: &dyn Fn(&mut Sa)| {
        let mut offer = esp().to_sa(&EAST);
        alter(&mut offer);
        policy.choose(&offer).unwrap_err().to_string()
    };
    let des = |sa: &mut Sa| {
        sa.proposals[0].transforms.truncate(1);
        sa.proposals[0].transforms[0].id = EspTransformId::DES.0;
    };
    let text = reasons(&esp(), &des);
    assert!(
        text.contains("proposal 1 PROTO_IPSEC_ESP transform 1: single DES is never used"),
        "{text}"
    );
    let no_auth = |sa: &mut Sa| {
        for t in &mut sa.proposals[0].transforms {
            t.attributes
                .retain(|a| a.kind != IpsecAttribute::AUTH_ALGORITHM.0);
        }
    };
    assert!(reasons(&esp(), &no_auth).contains("ESP without authentication"));
    let low_spi = |sa: &mut Sa| sa.proposals[0].spi = vec![0, 0, 0, 255];
    assert!(reasons(&esp(), &low_spi).contains("SPI 0xff is reserved"));
    let twice = |sa: &mut Sa| sa.proposals.push(sa.proposals[0].clone());
    assert!(reasons(&esp(), &twice).contains("stands twice"));
    let unknown = |sa: &mut Sa| {
        for t in &mut sa.proposals[0].transforms {
            t.attributes
                .push(Attribute::basic(IpsecAttribute::KEY_ROUNDS.0, 1));
        }
    };
    assert!(reasons(&esp(), &unknown).contains("KEY_ROUNDS is not supported"));
    let strict = IpsecPolicy {
        esp: EspAlgorithms::parse("3des-md5!").unwrap(),
        ..esp()
    };
    let only_aes = |sa: &mut Sa| sa.proposals[0].transforms.truncate(2);
    assert!(reasons(&strict, &only_aes).contains("aes256-sha1 is not allowed by esp="));
    assert_eq!(
        strict
            .choose(&esp().to_sa(&EAST))
            .unwrap()
            .esp
            .unwrap()
            .suite
            .to_string(),
        "3des-md5"
    );
    let only_ah = IpsecPolicy {
        encrypt: false,
        ..ah_esp()
    };
    let error = esp().choose(&only_ah.to_sa(&EAST)).unwrap_err();
    assert_eq!(error.refused.last().unwrap().why, Refusal::NeedsEsp);
    let mut bare = IpsecPolicy {
        compress: true,
        ..esp()
    }
    .to_sa(&EAST);
    bare.proposals.retain(|p| p.protocol == Protocol::IPCOMP);
    assert_eq!(
        only_ah.choose(&bare).unwrap_err().refused[0].why,
        Refusal::NeedsAh
    );
}

fn with_list(list: &str) -> IpsecPolicy {
    IpsecPolicy {
        esp: EspAlgorithms::parse(list).unwrap(),
        ..esp()
    }
}

#[test]
fn every_suite_is_negotiated() {
    for cipher in EspCipher::all() {
        let auths: Vec<Option<AuthAlg>> = if cipher.is_aead() {
            vec![None]
        } else {
            AuthAlg::all().map(Some).collect()
        };
        for auth in auths {
            let suite = EspSuite { cipher, auth };
            let policy = with_list(&format!("{suite}!"));
            let (at_east, at_west) = negotiate(&policy, &policy);
            assert_eq!(at_east.esp.unwrap().suite, suite);
            assert_eq!(at_west.esp.unwrap().suite, suite);
        }
    }
    for auth in AuthAlg::all() {
        let policy = IpsecPolicy {
            encrypt: false,
            ah: AhAlgorithms::parse(auth.name()).unwrap(),
            ..ah_esp()
        };
        assert_eq!(negotiate(&policy, &policy).0.ah.unwrap().auth, auth);
    }
}

#[test]
fn the_default_offer_ends_in_what_everybody_speaks() {
    let ours = IpsecPolicy {
        esp: EspAlgorithms::default(),
        ..esp()
    };
    assert_eq!(
        negotiate(&ours, &ours).0.esp.unwrap().suite.to_string(),
        "aes_gcm256"
    );
    for classic in ["3des-sha1!", "aes128-sha1!", "aes256-sha2_256!"] {
        let theirs = with_list(classic);
        assert_eq!(
            negotiate(&ours, &theirs).0.esp.unwrap().suite,
            theirs.esp.suites[0]
        );
        negotiate(&theirs, &ours);
    }
}

#[test]
fn what_must_be_named_is_refused_unasked() {
    let why = |policy: &IpsecPolicy, offer: &str| {
        let error = policy.choose(&with_list(offer).to_sa(&EAST)).unwrap_err();
        error.refused[0].why.clone()
    };
    let plain = with_list("aes256-sha1");
    for list in ["3des-md5", "null-sha1"] {
        assert!(matches!(why(&plain, list), Refusal::EspSuite(_)), "{list}");
        let named = with_list(list);
        assert!(named.choose(&named.to_sa(&EAST)).is_ok());
    }
    // NULL without an authenticator is nothing at all.
    let mut bare = with_list("null-sha1").to_sa(&EAST);
    bare.proposals[0].transforms[0]
        .attributes
        .retain(|a| a.kind != IpsecAttribute::AUTH_ALGORITHM.0);
    let error = with_list("null-sha1").choose(&bare).unwrap_err();
    assert_eq!(error.refused[0].why, Refusal::NoAuthentication);
    // An authenticator beside AES-GCM.
    let mut twice = with_list("aes_gcm256").to_sa(&EAST);
    let sha1 = Attribute::basic(IpsecAttribute::AUTH_ALGORITHM.0, 2);
    twice.proposals[0].transforms[0].attributes.push(sha1);
    let error = plain.choose(&twice).unwrap_err();
    assert_eq!(
        error.refused[0].why,
        Refusal::AuthTwice(EspCipher::AES_GCM256)
    );
}

#[test]
fn what_klips_lacks_is_neither_offered_nor_accepted() {
    let old = IpsecPolicy {
        esp: EspAlgorithms::default(),
        supported: Supported::only([3, 12].into_iter(), [2, 3].into_iter()),
        ..esp()
    };
    let offered: Vec<u8> = old.to_sa(&EAST).proposals[0]
        .transforms
        .iter()
        .map(|t| t.id)
        .collect();
    assert_eq!(offered, [12, 12, 3], "AES and 3DES with SHA-1");
    let modern = with_list("aes_gcm256");
    let error = old.choose(&modern.to_sa(&EAST)).unwrap_err();
    assert_eq!(error.refused[0].why, Refusal::NotInKlips);
    assert!(!old.is_empty());
    assert!(
        IpsecPolicy {
            esp: modern.esp,
            ..old
        }
        .is_empty()
    );
}

#[test]
fn extended_sequence_numbers() {
    let with = |esn| IpsecPolicy { esn, ..esp() };
    for (east, west, expected) in [
        (Esn::No, Esn::No, Some(false)),
        (Esn::No, Esn::Either, Some(false)),
        (Esn::Either, Esn::No, Some(false)),
        (Esn::Either, Esn::Either, Some(true)),
        (Esn::Either, Esn::Yes, Some(true)),
        (Esn::Yes, Esn::Either, Some(true)),
        (Esn::Yes, Esn::No, None),
        (Esn::No, Esn::Yes, None),
    ] {
        let (east, west) = (with(east), with(west));
        match west.choose(&east.to_sa(&EAST)) {
            Ok(_) => {
                let (at_east, at_west) = negotiate(&east, &west);
                let found = (at_east.esp.unwrap().esn, at_west.esp.unwrap().esn);
                assert_eq!((Some(found.0), Some(found.1)), (expected, expected));
            }
            Err(error) => {
                assert_eq!(expected, None);
                assert!(error.to_string().contains("EXTENDED_SEQUENCE_NUMBER"));
            }
        }
    }
    // RFC 4304 knows the value 1 alone.
    let mut odd = with(Esn::Yes).to_sa(&EAST);
    for t in &mut odd.proposals[0].transforms {
        let attribute = Attribute::basic(IpsecAttribute::EXTENDED_SEQUENCE_NUMBER.0, 2);
        t.attributes.retain(|a| a.kind != attribute.kind);
        t.attributes.push(attribute);
    }
    let error = with(Esn::Either).choose(&odd).unwrap_err();
    assert!(matches!(error.refused[0].why, Refusal::Value(_)), "{error}");
}

#[test]
fn bundles_with_different_groups_are_refused() {
    let mut offer = ah_esp().to_sa(&EAST);
    for t in &mut offer.proposals[1].transforms {
        t.attributes
            .retain(|a| a.kind != IpsecAttribute::GROUP_DESCRIPTION.0);
    }
    assert_eq!(
        ah_esp()
            .choose(&offer)
            .unwrap_err()
            .refused
            .pop()
            .unwrap()
            .why,
        Refusal::Bundle
    );
}

#[test]
fn an_answer_given_again_without_compression_is_one_answer() {
    let compress = IpsecPolicy {
        compress: true,
        ..esp()
    };
    let answer = compress
        .choose(&compress.to_sa(&EAST))
        .unwrap()
        .answer(&WEST);
    let with_more = |alter: &dyn Fn(&mut crate::wire::Proposal)| {
        let mut sa = answer.clone();
        let mut again = sa
            .proposals
            .iter()
            .find(|p| p.protocol == Protocol::ESP)
            .unwrap()
            .clone();
        again.number += 1;
        alter(&mut again);
        sa.proposals.push(again);
        compress.confirm(&sa)
    };
    assert_eq!(with_more(&|_| ()), compress.confirm(&answer));
    assert!(with_more(&|again| again.spi[0] ^= 1).is_err());
    assert!(with_more(&|again| again.transforms[0].attributes.clear()).is_err());
}

#[test]
fn altered_answers_are_refused() {
    let answer = esp().choose(&esp().to_sa(&EAST)).unwrap().answer(&WEST);
    let altered = |alter: &dyn Fn(&mut Sa)| {
        let mut sa = answer.clone();
        alter(&mut sa);
        esp().confirm(&sa)
    };
    let set = |kind: IpsecAttribute, value: u16| {
        altered(&move |sa| {
            let attributes = &mut sa.proposals[0].transforms[0].attributes;
            attributes
                .iter_mut()
                .filter(|a| a.kind == kind.0)
                .for_each(|a| *a = Attribute::basic(kind.0, value));
        })
    };
    use IpsecAttribute as A;
    assert!(altered(&|_| ()).is_ok());
    let changes = [
        (A::KEY_LENGTH, 192),
        (A::LIFE_DURATION, 28801),
        (A::GROUP_DESCRIPTION, 14),
        (A::ENCAPSULATION_MODE, 2),
    ];
    for (kind, value) in changes {
        assert!(
            matches!(set(kind, value), Err(AnswerError::NotOffered(_))),
            "{kind}"
        );
    }
    let two = |sa: &mut Sa| {
        sa.proposals.push(crate::wire::Proposal {
            number: 9,
            ..sa.proposals[0].clone()
        })
    };
    assert_eq!(
        altered(&two),
        Err(AnswerError::NotOne {
            proposals: 2,
            transforms: 1
        })
    );
    let twin = |sa: &mut Sa| sa.proposals.push(sa.proposals[0].clone());
    assert!(matches!(altered(&twin), Err(AnswerError::NotOffered(_))));
    // Half a bundle is not what we offered.
    let mut half = ah_esp()
        .choose(&ah_esp().to_sa(&EAST))
        .unwrap()
        .answer(&WEST);
    half.proposals.remove(0);
    assert!(matches!(
        ah_esp().confirm(&half),
        Err(AnswerError::NotOffered(_))
    ));
}

#[test]
fn hostile_bundles_cost_little() {
    // 85 transforms each of AH, ESP and IPCOMP that never agree: each ESP names a group of its own.
    let mut offer = IpsecPolicy {
        compress: true,
        ..ah_esp()
    }
    .to_sa(&EAST);
    offer.proposals.truncate(3);
    for p in &mut offer.proposals {
        let mut one = p.transforms[0].clone();
        if p.protocol == Protocol::ESP {
            one.attributes
                .retain(|a| a.kind != IpsecAttribute::GROUP_DESCRIPTION.0);
        }
        p.transforms = (1..=85)
            .map(|number| crate::wire::Transform {
                number,
                ..one.clone()
            })
            .collect();
    }
    let error = ah_esp().choose(&offer).unwrap_err();
    assert_eq!(error.refused.len(), 1, "{error}");
    assert_eq!(error.refused[0].why, Refusal::Bundle);
}
