//! Messages that no exchange has, from a peer that means them or from somebody who has changed them on the way: reserved fields,
//! payloads and notifications that nobody knows.

use std::net::SocketAddr;
use std::sync::Arc;

use ike::v1::IsakmpSa;
use ike::v1::info::{Informational, Notification};
use ike::wire::{
    Cookie, ExchangeType, Header, Message, MessageBuilder, Notify, NotifyType, PayloadType,
    Protocol,
};
use whack::Request;

use super::gateway::{Gateway, net, net_to_net};
use super::pair::Pair;
use crate::engine::Event;

/// A type that no RFC gives out.
const UNKNOWN: u8 = 99;
/// One of those for private use.
const PRIVATE: u8 = 200;

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

fn ask_for(pair: &mut Pair, name: &str) {
    pair.west.ask(Request::Initiate {
        name: name.into(),
        asynchronous: false,
    });
}

/// A pair whose tunnel is up, and west's first message for another one, which has not come to east.
fn offering() -> (Pair, (SocketAddr, SocketAddr, Vec<u8>)) {
    let mut pair = Pair::new();
    let mut other = net_to_net("other");
    other.left.client = Some(net("10.0.3.0/24"));
    other.lifetimes.keying_tries = 1;
    pair.add(other);
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    ask_for(&mut pair, "other");
    let qi1 = pair.west.sent.pop().unwrap();
    assert!(pair.west.sent.is_empty());
    (pair, qi1)
}

pub(super) fn isakmp_sa(gateway: &Gateway) -> Arc<IsakmpSa> {
    gateway.engine.isakmp_sas().next().unwrap().clone()
}

/// East gets a datagram where it got others from west; what it sends upon it.
pub(super) fn east_gets(
    pair: &mut Pair,
    came: &(SocketAddr, SocketAddr, Vec<u8>),
    bytes: &[u8],
) -> Vec<Vec<u8>> {
    let (remote, local, _) = *came;
    pair.east.give(Event::Datagram {
        local,
        remote,
        bytes: bytes.to_vec(),
    });
    let sent = pair.east.sent.drain(..);
    sent.map(|(_, _, bytes)| bytes).collect()
}

/// The one notification that was sent, encrypted.
#[track_caller]
pub(super) fn notified(sa: &IsakmpSa, sent: &[Vec<u8>]) -> NotifyType {
    let [message] = sent else {
        panic!("{} messages", sent.len())
    };
    let said = sa.read_informational(message).unwrap();
    let [Notification { kind, .. }] = &said.notifications[..] else {
        panic!("{said:?}")
    };
    *kind
}

/// Where each payload of a chain begins.
pub(super) fn starts(chain: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    loop {
        let at = *starts.last().unwrap();
        if chain[at] == 0 {
            return starts;
        }
        starts.push(at + usize::from(u16::from_be_bytes([chain[at + 2], chain[at + 3]])));
    }
}

/// The tunnel that stands, and the one that was asked for, are well.
#[track_caller]
fn unharmed(mut pair: Pair, qi1: (SocketAddr, SocketAddr, Vec<u8>)) {
    assert!(!pair.east.status_text().contains("STATE_QUICK_R0"));
    pair.carries("10.0.2.1", "10.0.1.1");
    pair.west.sent.push(qi1);
    pair.settle();
    pair.carries("10.0.2.1", "10.0.3.1");
    assert_eq!(
        isakmp_sa(&pair.east).cookies(),
        isakmp_sa(&pair.west).cookies()
    );
    assert_eq!(count(&pair.east, "initiating Main Mode"), 0);
    assert_eq!(count(&pair.west, "initiating Main Mode"), 1);
}

#[test]
fn a_quick_mode_with_reserved_fields_is_answered_and_over() {
    let (mut pair, qi1) = offering();
    let sa = isakmp_sa(&pair.west);
    let (first, chain) = sa.open(&qi1.2).unwrap();
    // SA, nonce, key exchange and two identities; and the proposal within the SA.
    let mut places = starts(&chain);
    assert_eq!((first, places.len()), (PayloadType::SA, 5));
    places.push(12);
    for (n, place) in places.into_iter().enumerate() {
        let mut chain = chain.clone();
        chain[place + 1] = 1;
        let id = 1000 + n as u32;
        let strange = sa.seal((ExchangeType::QUICK_MODE, id), first, &chain);
        let sent = east_gets(&mut pair, &qi1, &strange);
        assert_eq!(notified(&sa, &sent), NotifyType::PAYLOAD_MALFORMED);
        assert_eq!(count(&pair.east, "reserved field holds 0x01"), n + 1);
        // Again: it is over.
        assert!(east_gets(&mut pair, &qi1, &strange).is_empty());
    }
    unharmed(pair, qi1);
}

#[test]
fn a_quick_mode_with_an_unknown_payload_is_answered_and_over() {
    let (mut pair, qi1) = offering();
    let sa = isakmp_sa(&pair.west);
    let (first, chain) = sa.open(&qi1.2).unwrap();
    let last = *starts(&chain).last().unwrap();
    for (id, kind) in [(1000, UNKNOWN), (1001, PRIVATE)] {
        let mut chain = chain.clone();
        chain[last] = kind;
        chain.extend([0, 0, 0, 8, 1, 2, 3, 4]);
        let strange = sa.seal((ExchangeType::QUICK_MODE, id), first, &chain);
        let sent = east_gets(&mut pair, &qi1, &strange);
        assert_eq!(notified(&sa, &sent), NotifyType::INVALID_PAYLOAD_TYPE);
        let told = format!("payload PayloadType({kind}) at octet");
        assert_eq!(count(&pair.east, &told), 1, "{:?}", pair.east.log);
    }
    unharmed(pair, qi1);
}

/// Its hash shows that it is not the peer's: what is wrong with it is nobody's business.
#[test]
fn a_quick_mode_that_somebody_has_changed_is_passed_over() {
    let (mut pair, qi1) = offering();
    for bit in 28 * 8..qi1.2.len() * 8 {
        let mut changed = qi1.2.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let sent = east_gets(&mut pair, &qi1, &changed);
        assert!(sent.is_empty(), "bit {bit}: {:?}", pair.east.log.last());
    }
    unharmed(pair, qi1);
}

#[test]
fn an_answer_that_somebody_has_changed_ends_nothing() {
    let (mut pair, qi1) = offering();
    let answer = east_gets(&mut pair, &qi1, &qi1.2);
    let [qr1] = &answer[..] else {
        panic!("{answer:?}")
    };
    let (local, remote) = (qi1.0, qi1.1);
    let give = |pair: &mut Pair, bytes: &[u8]| {
        pair.west.give(Event::Datagram {
            local,
            remote,
            bytes: bytes.to_vec(),
        });
    };
    for bit in 28 * 8..qr1.len() * 8 {
        let mut changed = qr1.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        give(&mut pair, &changed);
        let told = pair.west.log.last();
        assert!(pair.west.sent.is_empty(), "bit {bit}: {told:?}");
    }
    give(&mut pair, qr1);
    pair.settle();
    pair.carries("10.0.2.1", "10.0.3.1");
}

#[test]
fn a_first_message_with_what_nobody_knows_is_answered_in_the_clear() {
    let mut pair = Pair::new();
    ask_for(&mut pair, "net-to-net");
    let mi1 = pair.west.sent.pop().unwrap();
    let message = Message::new_checked(&mi1.2).unwrap();
    let header = Header {
        initiator: Cookie([7; 8]),
        ..*message.header()
    };
    let payloads = message.payloads().iter();
    let same = payloads.fold(MessageBuilder::new(&header), |builder, payload| {
        builder.payload(payload.kind, payload.body())
    });
    let with = |kind| same.clone().payload(PayloadType(kind), b"?").finish();
    let mut reserved = same.clone().finish();
    reserved[29] = 1;
    for (strange, answer) in [
        (with(UNKNOWN), NotifyType::INVALID_PAYLOAD_TYPE),
        (with(PRIVATE), NotifyType::INVALID_PAYLOAD_TYPE),
        (reserved, NotifyType::PAYLOAD_MALFORMED),
    ] {
        let sent = east_gets(&mut pair, &mi1, &strange);
        let [said] = &sent[..] else {
            panic!("{} messages", sent.len())
        };
        assert!(said.len() <= strange.len());
        let said = Informational::in_clear(said).unwrap();
        assert_eq!(said.notifications[0].kind, answer);
        assert!(!pair.east.status_text().contains("STATE_MAIN"));
    }
    // Vendor ids may always come along.
    let sent = east_gets(&mut pair, &mi1, &with(PayloadType::VID.0));
    assert!(Message::new_checked(&sent[0]).unwrap().sa().is_some());
    pair.west.sent.push(mi1);
    pair.settle();
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// West says something that is not in any RFC, under the ISAKMP SA, of the Quick Mode with this SPI of east's.
fn says(sa: &IsakmpSa, kind: u16, spi: &[u8], id: u32) -> Vec<u8> {
    let notify = Notify::new(Protocol::ESP, spi, NotifyType(kind));
    sa.notify(&notify, id)
}

#[test]
fn an_unknown_status_changes_nothing_and_an_unknown_error_is_a_no() {
    let (mut pair, qi1) = offering();
    let sa = isakmp_sa(&pair.east);
    let (local, remote) = (qi1.0, qi1.1);
    let give = |pair: &mut Pair, bytes| {
        pair.west.give(Event::Datagram {
            local,
            remote,
            bytes,
        })
    };
    let (_, chain) = sa.open(&qi1.2).unwrap();
    // SA: header, DOI, situation; proposal: header, number, protocol, length of the SPI, transforms, SPI.
    let spi = chain[20..24].to_vec();

    // Status: of RFC 2408's own range, of a DOI's and for private use.
    for (n, kind) in [16385, 30000, 50000].into_iter().enumerate() {
        give(&mut pair, says(&sa, kind, &spi, 2000 + n as u32));
        let told = format!("ignoring informational payload, type NotifyType({kind})");
        assert_eq!(count(&pair.west, &told), 1, "{:?}", pair.west.log);
    }
    assert!(pair.west.status_text().contains("STATE_QUICK_I1"));
    // An error that names no exchange of ours.
    give(&mut pair, says(&sa, 8200, &[1, 2, 3, 4], 2003));
    assert!(pair.west.status_text().contains("STATE_QUICK_I1"));
    assert!(pair.west.sent.is_empty(), "no notification answers one");
    // And one that does.
    pair.west.said.clear();
    give(&mut pair, says(&sa, 8200, &spi, 2004));
    let told = "STATE_QUICK_I1: refused by the peer: NotifyType(8200)";
    let said = pair.west.said.join("\n");
    assert!(said.contains(told), "{said}");
    assert!(!pair.west.status_text().contains("STATE_QUICK_I1"));
    pair.carries("10.0.2.1", "10.0.1.1");
    assert_eq!(
        isakmp_sa(&pair.east).cookies(),
        isakmp_sa(&pair.west).cookies()
    );
}
