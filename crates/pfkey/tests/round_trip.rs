//! What is written is read back, and lies on the wire where RFC 2367 and KLIPS' header have it.

mod common;

use common::{IDS, comb, esp, every, flow, flow6, val};
use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, Spi};
use pfkey::*;

fn find(msg_type: MsgType, direction: Direction) -> Vec<u8> {
    every()
        .into_iter()
        .find(|(d, bytes)| *d == direction && bytes[1] == msg_type.number())
        .map(|(_, bytes)| bytes)
        .unwrap()
}

#[test]
fn every_message_is_read_back() {
    for (direction, bytes) in every() {
        let message = Message::new_checked(&bytes, direction).unwrap();
        assert_eq!(message.bytes(), bytes);
        assert_eq!(bytes.len() % 8, 0);
    }
}

#[test]
fn add_carries_everything() {
    let want = esp();
    let bytes = find(MsgType::Add, Direction::ToKlips);
    let got = Message::request(&bytes).unwrap();
    assert_eq!((got.seq(), got.pid(), got.errno()), (IDS.seq, IDS.pid, 0));
    assert_eq!(got.said(), Some(want.said));
    assert_eq!(got.src(), Some(Address::new(want.src)));
    let sa = got.sa().unwrap();
    assert_eq!(
        (sa.replay, sa.state, sa.flags, sa.sa_ref),
        (64, SaState::Mature, SaFlags::PFS, 0)
    );
    assert_eq!((sa.auth, sa.encrypt), (AuthAlg::SHA1_HMAC, EncAlg::AES_CBC));
    assert_eq!(got.key_auth().unwrap().bytes, want.auth_key);
    assert_eq!(got.key_encrypt().unwrap().bytes, want.enc_key);
    assert_eq!(got.key_encrypt().unwrap().bits, 192);
    assert_eq!(
        (got.lifetime_hard(), got.lifetime_soft()),
        (Some(want.hard), Some(want.soft))
    );
    assert_eq!(got.lifetime_current(), None);
    assert_eq!(got.selector(), want.inflow);
    assert_eq!(
        (got.ident_src(), got.ident_dst()),
        (want.ident_src, want.ident_dst)
    );
    assert_eq!(got.nat_t(), want.nat_t);
    assert!(
        !format!("{got:?} {want:?} {:?}", got.key_auth()).contains("238"),
        "no key in Debug"
    );
}

#[test]
fn requests_say_what_they_ask() {
    let all = every();
    let get = |n: MsgType, nth: usize| {
        let bytes = &all
            .iter()
            .filter(|(d, b)| *d == Direction::ToKlips && b[1] == n.number())
            .nth(nth)
            .unwrap()
            .1;
        Message::request(bytes).unwrap()
    };
    assert_eq!(
        get(MsgType::GetSpi, 0).spi_range(),
        Some((Spi(0x100), Spi(u32::MAX)))
    );
    assert_eq!(
        get(MsgType::GrpSa, 0).said(),
        Some(val("tun0x1001@192.0.2.1"))
    );
    assert_eq!(
        get(MsgType::GrpSa, 0).said2(),
        Some(val("esp0x1002@2001:db8::1"))
    );
    assert_eq!(get(MsgType::GrpSa, 1).said2(), None);
    let replace = get(MsgType::AddFlow, 0);
    assert_eq!(replace.selector(), Some(flow()));
    assert_eq!(replace.sa().unwrap().flags, SaFlags::REPLACEFLOW);
    let trap = get(MsgType::AddFlow, 1);
    assert_eq!(
        (trap.said(), trap.selector()),
        (Some(SaId::magic(MagicSpi::Trap)), Some(flow6()))
    );
    assert!(
        get(MsgType::AddFlow, 2)
            .sa()
            .unwrap()
            .flags
            .contains(SaFlags::INFLOW)
    );
    assert_eq!(get(MsgType::DelFlow, 0).selector(), Some(flow6()));
    assert_eq!(get(MsgType::DelFlow, 1).selector(), None);
    assert!(
        get(MsgType::DelFlow, 1)
            .sa()
            .unwrap()
            .flags
            .contains(SaFlags::CLEARFLOW)
    );
    assert_eq!(
        get(MsgType::Debug, 0).debug_flags(),
        Some(DebugFlags([7; 12]))
    );
    assert_eq!(
        get(MsgType::Debug, 0).debug_flags().unwrap().get("eroute"),
        Some(7)
    );
    assert!(get(MsgType::Promisc, 0).promisc_on());
    assert_eq!(get(MsgType::Acquire, 0).errno(), 110);
}

#[test]
fn klips_tells() {
    let bytes = find(MsgType::Acquire, Direction::FromKlips);
    let acquire = Message::reply(&bytes).unwrap();
    let packet = acquire.acquired().unwrap();
    assert_eq!((packet.proto, packet.sport, packet.dport), (6, 1025, 80));
    assert_eq!(acquire.selector(), Some(flow()));
    let proposal = acquire.proposal().unwrap();
    assert_eq!(proposal.replay(), 64);
    assert_eq!(
        proposal.combs().collect::<Vec<_>>(),
        [comb(), Comb::default()]
    );

    let bytes = find(MsgType::Register, Direction::FromKlips);
    let register = Message::reply(&bytes).unwrap();
    assert_eq!(
        (
            register.supported_auth().count(),
            register.supported_encrypt().count()
        ),
        (1, 2)
    );
    assert_eq!(register.supported_encrypt().next().unwrap().max_bits, 192);
    let expire = find(MsgType::Expire, Direction::FromKlips);
    assert_eq!(
        Message::reply(&expire).unwrap().lifetime_hard(),
        Some(esp().hard)
    );
    assert_eq!(Message::reply(&expire).unwrap().lifetime_soft(), None);
}

#[test]
fn answers_repeat_the_request_without_keys() {
    let bytes = find(MsgType::Add, Direction::ToKlips);
    let request = Message::request(&bytes).unwrap();
    let mut buf = [0; MAX_MESSAGE_LEN];
    let answer = Message::reply(request::echo_reply(&mut buf, &request).unwrap()).unwrap();
    assert_eq!(
        (answer.said(), answer.seq(), answer.selector()),
        (request.said(), request.seq(), request.selector())
    );
    assert!(!answer.has(ExtType::KeyAuth) && !answer.has(ExtType::KeyEncrypt));

    let refused = request::error_reply(&mut buf, &bytes, errno::EEXIST).unwrap();
    assert_eq!(refused.len(), 16);
    let refused = Message::reply(refused).unwrap();
    assert_eq!(
        (refused.errno(), refused.msg_type(), refused.seq()),
        (errno::EEXIST, MsgType::Add, IDS.seq)
    );
    assert_eq!(
        request::error_reply(&mut buf, &bytes[..15], errno::EINVAL),
        None
    );
}

/// Octet by octet, against the structs of RFC 2367 and KLIPS.
#[test]
fn layout_of_addflow() {
    let mut buf = [0; MAX_MESSAGE_LEN];
    let bytes = request::add_flow(
        &mut buf,
        IDS,
        &flow(),
        val("tun0x1001@192.0.2.1"),
        SaFlags::REPLACEFLOW,
    )
    .unwrap();
    let mut want = vec![2, 14, 0, 9];
    let u16s =
        |want: &mut Vec<u8>, list: &[u16]| list.iter().for_each(|n| want.extend(n.to_ne_bytes()));
    let u32s =
        |want: &mut Vec<u8>, list: &[u32]| list.iter().for_each(|n| want.extend(n.to_ne_bytes()));
    u16s(&mut want, &[2 + 3 + 6 * 3 + 1, 0]);
    u32s(&mut want, &[IDS.seq, IDS.pid]);
    u16s(&mut want, &[3, 1]);
    want.extend([0, 0, 0x10, 1, 0, 0, 0, 0]);
    u32s(&mut want, &[2, 0, 0]);
    for (ext, port, addr) in [
        (5, 0u16, [0, 0, 0, 0]),
        (6, 0, [192, 0, 2, 1]),
        (21, 500, [10, 0, 1, 0]),
        (22, 1701, [10, 0, 2, 0]),
        (23, 0xffff, [255, 255, 255, 0]),
        (24, 0xffff, [255, 255, 254, 0]),
    ] {
        u16s(&mut want, &[3, ext]);
        want.extend([0; 4]);
        u16s(&mut want, &[2]);
        want.extend(port.to_be_bytes());
        want.extend(addr);
        want.extend([0; 8]);
    }
    u16s(&mut want, &[1, 26]);
    want.extend([17, 0, 0, 0]);
    assert_eq!(bytes, want);
}

#[test]
fn the_short_forms_of_rfc_2367_are_read() {
    let mut bytes = vec![2, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ext = |bytes: &mut Vec<u8>, words: u16, ext: ExtType, body: &[u8]| {
        bytes.extend(words.to_ne_bytes());
        bytes.extend(ext.number().to_ne_bytes());
        bytes.extend(body);
    };
    ext(
        &mut bytes,
        2,
        ExtType::Sa,
        &[0, 0, 1, 0, 32, 1, 2, 3, 0, 0, 0, 0],
    );
    ext(&mut bytes, 4, ExtType::LifetimeCurrent, &[0; 28]);
    for which in [ExtType::AddressSrc, ExtType::AddressDst] {
        let mut body = vec![17, 32, 0, 0];
        body.extend(2u16.to_ne_bytes());
        body.extend([1, 244, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        ext(&mut bytes, 3, which, &body);
    }
    let words = (bytes.len() / 8) as u16;
    bytes[4..6].copy_from_slice(&words.to_ne_bytes());
    let message = Message::reply(&bytes).unwrap();
    assert_eq!(message.said(), Some(val("esp0x100@192.0.2.1")));
    assert_eq!(message.src().unwrap().port, 500);
    assert_eq!(message.lifetime_current(), Some(Lifetime::NONE));
}
