//! What strangers can do to a gateway: fill its log, its memory and its processor.

use std::net::SocketAddr;
use std::time::Duration;

use ike::wire::{Cookie, ExchangeType, Header, Notify, NotifyType, PayloadType, Protocol};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use whack::Request;

use super::gateway::{Gateway, net_to_net};
use super::pair::Pair;
use crate::engine::{Event, Urgency};

/// Datagrams of a hostile kind, and the lines that they may cause all together.
const HOSTILE: usize = 100_000;
const MOST_LINES: usize = 2000;

/// What goes over the wire when a tunnel comes up and goes down: to east, then to west.
fn recorded() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut pair = Pair::new();
    pair.recording = Some(Vec::new());
    assert_eq!(pair.up("net-to-net"), 0);
    pair.west.ask(Request::Terminate {
        name: "net-to-net".into(),
    });
    pair.settle();
    let all = pair.recording.take().unwrap();
    let east = super::gateway::addr("192.1.2.23");
    let (to_east, to_west): (Vec<_>, Vec<_>) = all.into_iter().partition(|(to, _)| to.ip() == east);
    let bytes = |list: Vec<(SocketAddr, Vec<u8>)>| list.into_iter().map(|(_, b)| b).collect();
    (bytes(to_east), bytes(to_west))
}

fn give(gateway: &mut Gateway, local: &str, remote: SocketAddr, bytes: Vec<u8>) {
    gateway.give(Event::Datagram {
        local: local.parse().unwrap(),
        remote,
        bytes,
    });
    gateway.sent.clear();
}

/// A datagram that somebody has made from one that was seen, or from nothing.
fn hostile(chance: &mut StdRng, seen: &[Vec<u8>], cookies: &[(Cookie, Cookie)]) -> Vec<u8> {
    let octets = chance.next_u32() as usize;
    let mut bytes = seen[octets % seen.len()].clone();
    let kind = chance.next_u32() % 8;
    // Cookies of exchanges that are there, or of none.
    let (initiator, responder) = cookies[chance.next_u32() as usize % cookies.len()];
    if kind < 4 {
        bytes[..8].copy_from_slice(&initiator.0);
        bytes[8..16].copy_from_slice(&responder.0);
    }
    match kind {
        0 | 4 => {}
        1 | 5 => {
            for _ in 0..1 + chance.next_u32() % 4 {
                let at = chance.next_u32() as usize % bytes.len();
                bytes[at] ^= 1 << (chance.next_u32() % 8);
            }
        }
        2 => {
            // Another message id, exchange type or first payload.
            let at = [16, 18, 19, 20][chance.next_u32() as usize % 4];
            bytes[at] = chance.next_u32() as u8;
        }
        3 => {
            let spi = chance.next_u32().to_be_bytes();
            let kinds = [
                NotifyType::INVALID_SPI,
                NotifyType::INVALID_COOKIE,
                NotifyType::NO_PROPOSAL_CHOSEN,
                NotifyType(chance.next_u32() as u16),
            ];
            let notify = Notify::new(
                Protocol::ESP,
                &spi,
                kinds[chance.next_u32() as usize % kinds.len()],
            );
            bytes = ike::v1::info::notify_in_clear((initiator, responder), &notify, 7);
        }
        6 => {
            // A piece of a message.
            bytes.truncate(28);
            bytes[16] = PayloadType::FRAGMENT.0;
            bytes[19] = 0;
            bytes.extend([0, 0, 0, 18, 0, 1, 1, chance.next_u32() as u8]);
            bytes.extend([7; 10]);
            let length = bytes.len() as u32;
            bytes[24..28].copy_from_slice(&length.to_be_bytes());
        }
        _ => bytes.truncate(chance.next_u32() as usize % bytes.len()),
    }
    bytes
}

/// Every kind of datagram that proves nothing: to a gateway that knows nobody, to one with a tunnel, to one that waits for an answer.
#[test]
fn d3_a_hundred_thousand_hostile_datagrams_write_fewer_than_two_thousand_lines() {
    let (to_east, to_west) = recorded();
    let seen: Vec<Vec<u8>> = to_east.into_iter().chain(to_west).collect();
    let mut chance = StdRng::seed_from_u64(14);
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0);
    pair.east.add(net_to_net("waiting"));
    pair.cut = true;
    pair.east.ask(Request::Initiate {
        name: "waiting".into(),
        asynchronous: true,
    });
    let west: SocketAddr = "192.1.2.45:500".parse().unwrap();
    let mut cookies: Vec<(Cookie, Cookie)> = seen
        .iter()
        .filter_map(|bytes| Header::new_checked(bytes).ok())
        .map(|header| (header.initiator, header.responder))
        .collect();
    cookies.extend(pair.east.engine.cookies_of_states());
    let quiet = pair.east.log.len();
    for n in 0..HOSTILE {
        let remote = match n % 3 {
            0 => west,
            1 => SocketAddr::new(west.ip(), chance.next_u32() as u16),
            _ => SocketAddr::from((chance.next_u32().to_be_bytes(), 500)),
        };
        let bytes = hostile(&mut chance, &seen, &cookies);
        give(&mut pair.east, "192.1.2.23:500", remote, bytes);
        if n % 200 == 0 {
            // 20,000 of these in a minute.
            pair.east.now += Duration::from_millis(600);
            pair.east.give(Event::NetworkError("ERROR: forged".into()));
        }
    }
    let lines = &pair.east.log[quiet..];
    assert!(
        lines.len() < MOST_LINES,
        "{} lines, lately {:#?}",
        lines.len(),
        &lines[lines.len() - 30..]
    );
    let left_out = lines.iter().filter(|line| line.ends_with(" were left out"));
    assert!(left_out.count() > 3, "the rest is counted");
    let longest = lines.iter().map(|line| line.chars().count()).max();
    assert!(longest < Some(600), "{longest:?}");
    // All that stood before stands.
    pair.east.sent.clear();
    pair.cut = false;
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// Everything that comes after is made of one message: 31 kilobytes of deletes and of notifications.
#[test]
fn d4_one_authenticated_message_writes_a_few_lines() {
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0);
    let sa = pair.west.engine.isakmp_sas().next().unwrap().clone();
    let (east, west) = ("192.1.2.23:500", "192.1.2.45:500".parse().unwrap());
    let quiet = pair.east.log.len();
    // 30 payloads with 255 SPIs each.
    let mut many = Vec::new();
    for n in 0..30u32 {
        let next = if n == 29 { 0 } else { PayloadType::DELETE.0 };
        many.extend([next, 0]);
        many.extend((255 * 4 + 12u16).to_be_bytes());
        many.extend([0, 0, 0, 1, 3, 4, 0, 255]);
        for spi in 0..255u32 {
            many.extend((0x1000_0000 + 255 * n + spi).to_be_bytes());
        }
    }
    let kind = ExchangeType::INFORMATIONAL;
    let message = sa.seal((kind, 71), PayloadType::DELETE, &many);
    give(&mut pair.east, east, west, message);
    let lines = pair.east.log.len() - quiet;
    assert_eq!(lines, 1, "{:?}", &pair.east.log[quiet..]);
    let told = pair.east.log.last().unwrap();
    assert!(told.contains("and 7649 more of the same message"), "{told}");
    // 2,500 notifications that mean nothing.
    let mut many = Vec::new();
    for n in 0..2500u32 {
        let next = if n == 2499 { 0 } else { PayloadType::NOTIFY.0 };
        many.extend([next, 0, 0, 12, 0, 0, 0, 1, 1, 0, 0x75, n as u8]);
    }
    let message = sa.seal((kind, 72), PayloadType::NOTIFY, &many);
    give(&mut pair.east, east, west, message);
    let lines = pair.east.log.len() - quiet;
    assert!(lines < 150, "{lines} lines");
    // And one message after the other does not write more.
    for id in 0..3000 {
        let message = sa.seal((kind, 1000 + id), PayloadType::NOTIFY, &many[12 * 2490..]);
        give(&mut pair.east, east, west, message);
    }
    let lines = pair.east.log.len() - quiet;
    assert!(lines < 150, "{lines} lines");
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// West's first two messages for a connection of east's, without those that follow.
fn first_two(pair: &mut Pair) -> (Vec<u8>, Vec<u8>) {
    pair.west.ask(Request::Initiate {
        name: "net-to-net".into(),
        asynchronous: false,
    });
    let (remote, local, mi1) = pair.west.sent.pop().unwrap();
    pair.east.give(Event::Datagram {
        local,
        remote,
        bytes: mi1.clone(),
    });
    let (remote, local, bytes) = pair.east.sent.pop().unwrap();
    pair.west.give(Event::Datagram {
        local,
        remote,
        bytes,
    });
    let mi2 = pair.west.sent.pop().unwrap().2;
    (mi1, mi2)
}

/// Somebody at `from` begins, and returns the cookie.
fn begin(east: &mut Gateway, from: SocketAddr, n: u64, (mi1, mi2): &(Vec<u8>, Vec<u8>)) {
    let local = "192.1.2.23:500".parse().unwrap();
    let mut bytes = mi1.clone();
    bytes[..8].copy_from_slice(&(n + 1).to_be_bytes());
    let give = |east: &mut Gateway, bytes| {
        east.give(Event::Datagram {
            local,
            remote: from,
            bytes,
        });
    };
    give(east, bytes);
    let (_, _, mr1) = east.sent.pop().unwrap();
    let mut bytes = mi2.clone();
    bytes[..16].copy_from_slice(&mr1[..16]);
    give(east, bytes);
}

/// A road warrior connection is open to everybody, and fifty addresses begin without end while no computation for strangers ends.
#[test]
fn d1_strangers_take_neither_the_turn_nor_the_room_of_known_peers() {
    let mut donor = Pair::new();
    let messages = first_two(&mut donor);
    let mut pair = Pair::new();
    let mut road = net_to_net("road");
    road.left = whack::End::new(whack::Host::Any);
    road.right.nexthop = None;
    pair.east.add(road);
    pair.east.hold = |job| job.urgency == Urgency::Stranger;
    let quiet = pair.east.log.len();
    let flood = |pair: &mut Pair| {
        for n in 0..2000u64 {
            let from = SocketAddr::from(([10, 9, 0, (n % 50) as u8], 500));
            begin(&mut pair.east, from, n + 10_000 * pair.datagrams, &messages);
        }
        assert_eq!(pair.east.held.len(), 1, "one at a time");
        assert!(pair.east.engine.cookies_of_states().len() < 4);
        pair.east.sent.clear();
    };
    flood(&mut pair);
    // A peer that a connection names comes up, and replaces its SAs, all the same.
    assert_eq!(pair.up("net-to-net"), 0);
    flood(&mut pair);
    pair.east.ask(Request::Initiate {
        name: "net-to-net".into(),
        asynchronous: false,
    });
    pair.settle();
    pair.carries("10.0.2.1", "10.0.1.1");
    // What strangers have begun stays bounded when their turns come.
    pair.cut = true;
    for n in 0..600u64 {
        let from = SocketAddr::from(([10, 9, 1, (n % 50) as u8], 500));
        begin(&mut pair.east, from, n + 90_000, &messages);
        pair.east.finish_job();
        pair.east.sent.clear();
    }
    let states = pair.east.engine.cookies_of_states().len();
    assert!(states < 300, "{states}");
    let conns = pair.east.engine.connections().len();
    assert!(conns < 300, "{conns}");
    assert!(pair.east.log.len() - quiet < 300, "{}", pair.east.log.len());
    pair.east.hold = |_| false;
    pair.east.held.clear();
    for _ in 0..70 {
        pair.east.sleep(1);
        pair.east.sent.clear();
    }
    assert!(pair.east.engine.cookies_of_states().len() < 4);
}

/// Of one exchange, whoever does not know the secret has twenty guesses.
#[test]
fn d4_mi3_may_be_tried_a_few_times() {
    let mut pair = Pair::new();
    let (_, mi2) = first_two(&mut pair);
    let (local, remote) = ("192.1.2.23:500", "192.1.2.45:500".parse().unwrap());
    give(&mut pair.east, local, remote, mi2.clone());
    assert_eq!(pair.east.engine.cookies_of_states().len(), 1);
    let mut guess = mi2[..28].to_vec();
    guess[16] = PayloadType::ID.0;
    guess[19] = 1;
    guess.extend([0; 64]);
    let length = guess.len() as u32;
    guess[24..28].copy_from_slice(&length.to_be_bytes());
    for n in 1..=100u8 {
        let left = pair.east.engine.cookies_of_states().len();
        assert_eq!(left, usize::from(n <= 20), "guess {n}");
        guess[90] = n;
        give(&mut pair.east, local, remote, guess.clone());
    }
    // The cookie does not count again.
    give(&mut pair.east, local, remote, mi2);
    assert!(pair.east.engine.cookies_of_states().is_empty());
}

/// East has forgotten the exchange; it says so, and west begins anew at once. Who says so without end achieves no more than that.
#[test]
fn d2_an_initiator_whose_exchange_is_forgotten_begins_anew() {
    for forged in [false, true] {
        let mut pair = Pair::new();
        let (_, mi2) = first_two(&mut pair);
        let header = Header::new_checked(&mi2).unwrap();
        let (east, west) = ("192.1.2.23:500".parse().unwrap(), "192.1.2.45:500");
        let notify = Notify::new(Protocol::ISAKMP, &[], NotifyType::INVALID_COOKIE);
        let forge = |pair: &mut Pair, cookies| {
            let bytes = ike::v1::info::notify_in_clear(cookies, &notify, 7);
            pair.west.give(Event::Datagram {
                local: west.parse().unwrap(),
                remote: east,
                bytes,
            });
        };
        // Who does not know the cookies ends nothing.
        forge(&mut pair, (header.initiator, Cookie([3; 8])));
        forge(&mut pair, (Cookie([3; 8]), header.responder));
        assert!(pair.west.sent.is_empty());
        forge(&mut pair, (header.initiator, header.responder));
        assert_eq!(pair.west.sent.len(), 1, "{:?}", pair.west.log);
        let mut rounds = 0;
        while forged && rounds < 5 {
            // MI1, MR1, MI2: and again somebody says that it is unknown.
            let (remote, local, bytes) = pair.west.sent.pop().unwrap();
            pair.east.give(Event::Datagram {
                local,
                remote,
                bytes,
            });
            let (remote, local, bytes) = pair.east.sent.pop().unwrap();
            pair.west.give(Event::Datagram {
                local,
                remote,
                bytes,
            });
            let mi2 = pair.west.sent.last().unwrap().2.clone();
            let header = Header::new_checked(&mi2).unwrap();
            for _ in 0..10 {
                forge(&mut pair, (header.initiator, header.responder));
            }
            rounds += 1;
            if pair.west.sent.len() == 1 {
                break;
            }
            pair.west.sent.remove(0);
        }
        assert_eq!(rounds, if forged { 2 } else { 0 });
        pair.settle();
        assert!(
            pair.west.finished.iter().any(|(_, status)| *status == 0),
            "{:?}",
            pair.west.log
        );
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}

/// East says something right behind MR3, while west still checks the signature, and before MR3 as well, by another way.
#[test]
fn g14_what_comes_right_behind_mr3_is_kept_until_the_signature_is_checked() {
    for (early, long) in [(false, 0), (true, 0), (false, 8)] {
        let mut pair = Pair::new();
        let _ = first_two(&mut pair);
        pair.west.sent.clear();
        pair = Pair::new();
        pair.west.ask(Request::Initiate {
            name: "net-to-net".into(),
            asynchronous: false,
        });
        let mut mr3 = None;
        while mr3.is_none() {
            let (remote, local, bytes) = pair.west.sent.pop().unwrap();
            pair.east.give(Event::Datagram {
                local,
                remote,
                bytes,
            });
            let answer = pair.east.sent.pop().unwrap();
            if pair.east.engine.isakmp_sas().next().is_some() {
                mr3 = Some(answer);
            } else {
                let (remote, local, bytes) = answer;
                pair.west.give(Event::Datagram {
                    local,
                    remote,
                    bytes,
                });
            }
        }
        let (remote, local, mr3) = mr3.unwrap();
        let sa = pair.east.engine.isakmp_sas().next().unwrap().clone();
        let kind = NotifyType(30_000);
        let give = |pair: &mut Pair, bytes: Vec<u8>| {
            pair.west.give(Event::Datagram {
                local,
                remote,
                bytes,
            });
        };
        let told = |pair: &Pair| {
            let lines = pair.west.log.iter();
            lines
                .filter(|l| l.contains("informational payload, type NotifyType(30000)"))
                .count()
        };
        // With preshared secrets there is nothing to wait for but MR3 itself.
        for n in 0..1 + long {
            let said = sa.notify(&Notify::new(Protocol::ISAKMP, &[], kind), 900 + n);
            give(&mut pair, said.clone());
            if early {
                give(&mut pair, said);
            }
        }
        assert_eq!(told(&pair), 0);
        give(&mut pair, mr3);
        pair.settle();
        assert_eq!(
            told(&pair),
            (1 + long as usize).min(4),
            "{:?}",
            pair.west.log
        );
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}

/// Who has proved who it is may not fill tables and queues either: of its Quick Modes so many wait.
#[test]
fn d1_quick_modes_of_one_peer_wait_in_a_queue_that_has_an_end() {
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0);
    pair.west.ask(Request::Initiate {
        name: "net-to-net".into(),
        asynchronous: true,
    });
    let qi1 = pair.west.sent.pop().unwrap().2;
    let sa = pair.west.engine.isakmp_sas().next().unwrap().clone();
    let (first, chain) = sa.open(&qi1).unwrap();
    pair.east.hold = |_| true;
    let (local, remote) = ("192.1.2.23:500", "192.1.2.45:500".parse().unwrap());
    for id in 0..400 {
        let message = sa.seal((ExchangeType::QUICK_MODE, 5000 + id), first, &chain);
        give(&mut pair.east, local, remote, message);
    }
    assert_eq!(pair.east.held.len(), 256);
    // Where some have ended there is room for others.
    while !pair.east.held.is_empty() {
        pair.east.finish_job();
    }
    pair.east.sent.clear();
    let message = sa.seal((ExchangeType::QUICK_MODE, 5399), first, &chain);
    give(&mut pair.east, local, remote, message.clone());
    assert_eq!(pair.east.held.len(), 0, "QI2 is waited for");
    pair.east.sleep(70);
    for _ in 0..7 {
        pair.east.sleep(64);
    }
    give(&mut pair.east, local, remote, message);
    assert_eq!(pair.east.held.len(), 1);
}
