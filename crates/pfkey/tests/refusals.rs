//! Every kind of wrong message is refused for its own reason, and no change of octets makes the reader panic.

mod common;

use common::{IDS, esp, every, flow, val};
use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Selector, Spi};
use pfkey::request::{self, SaParams};
use pfkey::*;
use proptest::prelude::*;

fn refuse(bytes: &[u8]) -> ErrorKind {
    Message::request(bytes).unwrap_err().kind
}

fn build(
    msg_type: MsgType,
    satype: SaType,
    add: impl FnOnce(Builder<'_>) -> Builder<'_>,
) -> Vec<u8> {
    let mut buf = [0; MAX_MESSAGE_LEN];
    add(Builder::new(&mut buf, msg_type, satype, 1, 2))
        .finish()
        .unwrap()
        .to_vec()
}

fn add_message(params: &SaParams<'_>) -> Vec<u8> {
    request::add(&mut [0; MAX_MESSAGE_LEN], IDS, params)
        .unwrap()
        .to_vec()
}

#[test]
fn headers() {
    let good = add_message(&esp());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        refuse(&bytes)
    };
    assert_eq!(refuse(&good[..15]), ErrorKind::Truncated);
    assert!(matches!(
        refuse(&good[..16]),
        ErrorKind::MessageLength { actual: 16, .. }
    ));
    assert_eq!(
        refuse(&[good.as_slice(), &[0; MAX_MESSAGE_LEN]].concat()),
        ErrorKind::TooLong
    );
    assert_eq!(with(0, 1), ErrorKind::Version(1));
    assert_eq!(with(1, 0), ErrorKind::MsgType(0));
    assert_eq!(with(1, 18), ErrorKind::MsgType(18));
    assert_eq!(with(2, 1), ErrorKind::ErrnoInRequest(1));
    assert_eq!(with(3, 1), ErrorKind::SaType(1));
    assert_eq!(with(3, 0), ErrorKind::SaType(0));
    assert_eq!(with(6, 1), ErrorKind::Reserved);
    assert_eq!(
        Message::request(&good[..15]).unwrap_err().errno(),
        errno::EMSGSIZE
    );
    assert_eq!(Message::request(&good[..15]).unwrap_err().at, 0);
}

#[test]
fn extension_frames() {
    let good = request::register(&mut [0; 64], IDS, SaType::Esp)
        .unwrap()
        .to_vec();
    let with = |ext: &[u8]| {
        let mut bytes = [&good[..], ext].concat();
        let words = (bytes.len() / 8) as u16;
        bytes[4..6].copy_from_slice(&words.to_ne_bytes());
        let error = Message::request(&bytes).unwrap_err();
        assert_eq!((error.at, error.errno()), (16, errno::EINVAL));
        error.kind
    };
    let head =
        |words: u16, ext: u16| [words.to_ne_bytes(), ext.to_ne_bytes(), [0; 2], [0; 2]].concat();
    assert_eq!(with(&head(0, 1)), ErrorKind::ExtOverrun);
    assert_eq!(with(&head(2, 1)), ErrorKind::ExtOverrun);
    assert_eq!(with(&head(1, 0)), ErrorKind::ExtType(0));
    assert_eq!(with(&head(1, 31)), ErrorKind::ExtType(31));
    assert_eq!(
        with(&head(1, 26)),
        ErrorKind::NotPermitted(MsgType::Register, ExtType::Protocol)
    );
}

#[test]
fn required_and_permitted() {
    let sa = Sa::of_spi(Spi(0x100), SaFlags::NONE);
    let missing = |bytes: Vec<u8>| match refuse(&bytes) {
        ErrorKind::Missing(_, ext) => ext,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        missing(build(MsgType::Delete, SaType::Esp, |b| b)),
        ExtType::Sa
    );
    assert_eq!(
        missing(build(MsgType::Delete, SaType::Esp, |b| b.sa(&sa))),
        ExtType::AddressSrc
    );
    assert_eq!(
        missing(build(MsgType::DelFlow, SaType::Unspec, |b| b)),
        ExtType::AddressSrcFlow
    );
    assert_eq!(
        missing(build(MsgType::DelFlow, SaType::Unspec, |b| b.sa(&sa))),
        ExtType::AddressSrcFlow
    );
    assert_eq!(
        missing(build(MsgType::DelFlow, SaType::Unspec, |b| {
            b.address(ExtType::AddressSrcFlow, Address::new(val("10.0.0.0")))
        })),
        ExtType::AddressDstFlow
    );
    assert_eq!(
        missing(build(MsgType::Debug, SaType::Unspec, |b| b)),
        ExtType::Debug
    );
    assert_eq!(
        refuse(&build(MsgType::Expire, SaType::Esp, |b| b.sa(&sa))),
        ErrorKind::NotPermitted(MsgType::Expire, ExtType::Sa)
    );
    assert_eq!(
        Message::reply(&add_message(&esp())).unwrap_err().kind,
        ErrorKind::NotPermitted(MsgType::Add, ExtType::KeyAuth)
    );
    let mut buf = [0; 256];
    let twice = Builder::new(&mut buf, MsgType::Get, SaType::Esp, 1, 1)
        .sa(&sa)
        .sa(&sa)
        .finish();
    assert_eq!(twice.unwrap_err().kind, ErrorKind::Duplicate(ExtType::Sa));
    let mut twice = build(MsgType::Get, SaType::Esp, |b| b.sa(&sa));
    let ext = twice[16..].to_vec();
    twice.extend(ext);
    twice[4..6].copy_from_slice(&8u16.to_ne_bytes());
    assert_eq!(refuse(&twice), ErrorKind::Duplicate(ExtType::Sa));
}

#[test]
fn new_sas() {
    let refuse = |params: SaParams<'_>| refuse(&add_message(&params));
    let esp = SaParams {
        inflow: None,
        ..esp()
    };
    let said = |text: &str| -> SaId { val(text) };
    assert!(Message::request(&add_message(&esp)).is_ok());
    assert_eq!(
        refuse(SaParams {
            said: said("esp0xff@192.0.2.1"),
            ..esp
        }),
        ErrorKind::ReservedSpi(255)
    );
    assert_eq!(
        refuse(SaParams {
            auth_key: &[1; 16],
            ..esp
        }),
        ErrorKind::KeyBits(128)
    );
    assert_eq!(
        refuse(SaParams {
            auth_key: &[],
            ..esp
        }),
        ErrorKind::KeyBits(0)
    );
    assert_eq!(
        refuse(SaParams {
            enc_key: &[1; 20],
            ..esp
        }),
        ErrorKind::KeyBits(160)
    );
    assert_eq!(
        refuse(SaParams {
            encrypt: EncAlg::NONE,
            enc_key: &[],
            ..esp
        }),
        ErrorKind::Algorithms
    );
    assert_eq!(
        refuse(SaParams {
            encrypt: EncAlg::NULL,
            auth: AuthAlg::NONE,
            enc_key: &[],
            auth_key: &[],
            ..esp
        }),
        ErrorKind::Algorithms
    );
    assert_eq!(
        refuse(SaParams {
            said: said("ah0x100@192.0.2.1"),
            ..esp
        }),
        ErrorKind::Algorithms
    );
    assert_eq!(
        refuse(SaParams {
            said: said("comp0x100@192.0.2.1"),
            ..esp
        }),
        ErrorKind::Algorithms
    );
    assert_eq!(
        refuse(SaParams {
            said: said("tun0x100@192.0.2.1"),
            ..esp
        }),
        ErrorKind::Algorithms
    );
    assert_eq!(
        refuse(SaParams {
            src: val("2001:db8::1"),
            ..esp
        }),
        ErrorKind::MixedFamilies
    );
    assert_eq!(
        refuse(SaParams {
            flags: SaFlags(16),
            ..esp
        }),
        ErrorKind::SaFlags(16)
    );
    let larval = build(MsgType::Add, SaType::Esp, |b| {
        b.sa(&Sa::of_spi(Spi(0x100), SaFlags::NONE))
            .addresses(val("::1"), val("::2"))
    });
    assert_eq!(self::refuse(&larval), ErrorKind::NotMature);
}

#[test]
fn flows() {
    let said: SaId = val("tun0x1001@192.0.2.1");
    let refuse = |flow: &Selector| {
        refuse(
            request::add_flow(&mut [0; MAX_MESSAGE_LEN], IDS, flow, said, SaFlags::NONE).unwrap(),
        )
    };
    assert_eq!(
        refuse(&Selector { proto: 0, ..flow() }),
        ErrorKind::PortWithoutProtocol
    );
    assert_eq!(
        refuse(&Selector {
            proto: 47,
            ..flow()
        }),
        ErrorKind::PortWithoutProtocol
    );
    assert_eq!(
        refuse(&Selector {
            dst: val("::/0"),
            ..flow()
        }),
        ErrorKind::MixedFamilies
    );
    let mut buf = [0; MAX_MESSAGE_LEN];
    let mut bytes = request::del_flow(&mut buf, IDS, &flow()).unwrap().to_vec();
    // The source mask's address: header 16, two flow addresses 24 each, then 4 + 4 + 4 in.
    bytes[16 + 48 + 12 + 1] = 0;
    assert_eq!(self::refuse(&bytes), ErrorKind::Mask);
}

#[test]
fn fields() {
    let range = |min, max| {
        request::get_spi(
            &mut [0; 256],
            IDS,
            SaProto::Esp,
            val("::1"),
            val("::2"),
            (Spi(min), Spi(max)),
        )
        .map(|_| ())
    };
    assert!(range(0x100, 0x100).is_ok());
    assert_eq!(
        range(0x200, 0x100).unwrap_err().kind,
        ErrorKind::SpiRange {
            min: 0x200,
            max: 0x100
        }
    );
    assert_eq!(
        range(0xff, 0x100).unwrap_err().kind,
        ErrorKind::SpiRange {
            min: 0xff,
            max: 0x100
        }
    );
    let patched = |at: usize, value: u8| {
        let mut bytes = build(MsgType::Get, SaType::Esp, |b| {
            b.addresses(val("192.0.2.1"), val("192.0.2.2"))
                .sa(&Sa::of_spi(Spi(0x100), SaFlags::NONE))
        });
        bytes[at] = value;
        refuse(&bytes)
    };
    assert_eq!(patched(16 + 5, 24), ErrorKind::AddressPrefix(24));
    assert_eq!(patched(16 + 6, 1), ErrorKind::Reserved);
    assert_eq!(patched(16 + 23, 1), ErrorKind::Reserved);
    assert!(matches!(patched(16 + 8, 3), ErrorKind::AddressFamily(_)));
    assert!(matches!(
        patched(16 + 8, 10),
        ErrorKind::ExtLength(ExtType::AddressSrc) | ErrorKind::AddressFamily(_)
    ));
    assert_eq!(patched(64 + 9, 4), ErrorKind::SaState(4));
    assert_eq!(patched(64 + 20, 1), ErrorKind::Reserved);
    let label = Ident {
        kind: IdentType::Fqdn,
        id: 0,
        text: "a\0b",
    };
    let mut buf = [0; 256];
    let built = Builder::new(&mut buf, MsgType::Add, SaType::Esp, 1, 1)
        .ident_src(&label)
        .finish();
    assert_eq!(built.unwrap_err().kind, ErrorKind::IdentString);
    let crossed = Comb {
        soft: Lifetime {
            bytes: 2,
            ..Lifetime::NONE
        },
        hard: Lifetime {
            bytes: 1,
            ..Lifetime::NONE
        },
        ..Comb::default()
    };
    let built = Builder::new(&mut buf, MsgType::Acquire, SaType::Esp, 1, 1)
        .proposal(0, &[crossed])
        .finish();
    assert_eq!(built.unwrap_err().kind, ErrorKind::Proposal);
}

#[test]
fn identities_are_terminated() {
    let good = build(MsgType::AddFlow, SaType::Esp, |b| {
        b.ident_src(&Ident {
            kind: IdentType::Fqdn,
            id: 0,
            text: "seven77",
        })
        .sa(&Sa::of_spi(Spi(0x100), SaFlags::NONE))
        .addresses(val("0.0.0.0"), val("192.0.2.2"))
        .flow(&flow())
    });
    assert_eq!(
        Message::request(&good).unwrap().ident_src().unwrap().text,
        "seven77"
    );
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        refuse(&bytes)
    };
    assert_eq!(with(16 + 23, b'x'), ErrorKind::IdentString);
    assert_eq!(with(16 + 18, 0), ErrorKind::IdentString);
    assert_eq!(with(16 + 18, 0xff), ErrorKind::IdentString);
    assert_eq!(with(16 + 4, 9), ErrorKind::IdentType(9));
}

#[test]
fn no_room_is_said() {
    let params = esp();
    let need = add_message(&params).len();
    for len in 0..need {
        let mut buf = vec![0; len];
        assert_eq!(
            request::add(&mut buf, IDS, &params).unwrap_err().kind,
            ErrorKind::NoRoom
        );
    }
    assert!(request::add(&mut vec![0; need], IDS, &params).is_ok());
}

/// Every octet of every message set to telling values, and every shortening.
#[test]
fn every_octet_changed() {
    for (_, good) in every() {
        for at in 0..good.len() {
            for value in [
                0,
                1,
                2,
                3,
                7,
                8,
                16,
                0x7f,
                0x80,
                0xff,
                good[at] ^ 1,
                good[at] ^ 0x10,
            ] {
                let mut bytes = good.clone();
                bytes[at] = value;
                fuzz(&bytes);
            }
            fuzz(&good[..at]);
            let mut short = good[..at].to_vec();
            if at >= 16 && at % 8 == 0 {
                short[4..6].copy_from_slice(&((at / 8) as u16).to_ne_bytes());
                fuzz(&short);
            }
        }
    }
}

proptest! {
    #[test]
    fn many_octets_changed(which in 0usize..24, changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..12)) {
        let all = every();
        let mut bytes = all[which % all.len()].1.clone();
        for (at, value) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        fuzz(&bytes);
    }

    #[test]
    fn random_extensions(msg_type in 1u8..18, body in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut bytes = vec![2, msg_type, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for chunk in body.chunks(8) {
            bytes.extend([1, 0, chunk[0] % 32, 0, 0, 0, 0, 0]);
            let end = bytes.len();
            bytes[end - chunk.len().min(4)..].copy_from_slice(&chunk[..chunk.len().min(4)]);
        }
        let words = (bytes.len() / 8) as u16;
        bytes[4..6].copy_from_slice(&words.to_ne_bytes());
        fuzz(&bytes);
    }
}
