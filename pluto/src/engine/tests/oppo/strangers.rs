//! What somebody who forges addresses, or writes hostile records, makes a gateway send to others.

use std::collections::HashMap;
use std::net::IpAddr;

use super::*;

/// An inner packet without content, as the smallest ping: 20 octets of IP and 16 of ICMP.
const PING: usize = 36;
/// IP and UDP around an IKE message.
const AROUND: usize = 28;

/// Datagrams to others than the two gateways, by second.
#[derive(Default)]
struct Seen(Vec<(u64, IpAddr, usize)>);

impl Seen {
    /// Carries what is there, and notes what goes to strangers.
    fn watch(&mut self, pair: &mut Pair, second: u64) {
        let sent = std::mem::take(&mut pair.west.sent);
        let (ours, others): (Vec<_>, Vec<_>) = sent
            .into_iter()
            .partition(|(_, to, _)| [addr(EAST), addr(WEST)].contains(&to.ip()));
        pair.west.sent = ours;
        let noted = others.into_iter();
        self.0
            .extend(noted.map(|(_, to, bytes)| (second, to.ip(), bytes.len() + AROUND)));
        pair.settle();
    }

    fn octets(&self) -> usize {
        self.0.iter().map(|(_, _, octets)| octets).sum()
    }

    /// The most that went to one address within a minute.
    fn most_in_a_minute(&self) -> usize {
        let mut by_address: HashMap<IpAddr, Vec<u64>> = HashMap::new();
        for (second, to, _) in &self.0 {
            by_address.entry(*to).or_default().push(*second);
        }
        let most = |times: &Vec<u64>| {
            let within = |from: u64| times.iter().filter(move |t| (from..from + 60).contains(*t));
            times.iter().map(|from| within(*from).count()).max()
        };
        by_address.values().filter_map(most).max().unwrap_or(0)
    }
}

/// The record of `client` names these victims, each with its own key.
fn hostile_record(pair: &mut Pair, client: &str, victims: &[(&str, usize)]) {
    let delegations = victims
        .iter()
        .enumerate()
        .map(|(n, (victim, key))| Delegation {
            precedence: n as u16,
            gateway: Speaker::parse(victim).unwrap(),
            key: Some(keys()[*key].public().clone()),
            source: Source::Txt,
        });
    let found = Answer {
        delegations: delegations.collect(),
        ..answer()
    };
    Dns(pair).set(Query::Delegation(addr(client)), Ok(found));
}

/// One forged ping names four victims; then two hundred do, whose records name the same four in turn, or others.
#[test]
fn h2_records_that_name_victims_amplify_nothing() {
    for pings in [1u32, 200] {
        for fresh in [false, true] {
            let mut pair = opportunists(Security::Secure);
            let mut seen = Seen::default();
            for n in 0..pings {
                let client = format!("45.0.{}.{}", n / 200, n % 200);
                let victim = |k: u32| match fresh {
                    true => format!("203.0.{n}.{k}"),
                    false => format!("203.0.113.{}", (n + k) % 4),
                };
                let victims: Vec<String> = (0..4).map(victim).collect();
                let victims: Vec<(&str, usize)> = victims
                    .iter()
                    .enumerate()
                    .map(|(k, victim)| (victim.as_str(), (n as usize + k) % 3))
                    .collect();
                hostile_record(&mut pair, &client, &victims);
                pair.west.send(WEST, &client);
                seen.watch(&mut pair, u64::from(n));
                pair.sleep(1);
                seen.watch(&mut pair, u64::from(n));
            }
            for second in 0..60 {
                pair.sleep(1);
                seen.watch(&mut pair, u64::from(pings) + second);
            }
            let (packets, octets) = (seen.0.len(), seen.octets());
            let story = format!("{pings} pings, fresh {fresh}: {packets} packets, {octets} octets");
            assert!(packets > 0, "{story}");
            assert!(packets < 3 * pings as usize, "{story}");
            assert!(octets < 10 * PING * pings as usize, "{story}");
            let longest = seen.0.iter().map(|(_, _, octets)| *octets).max();
            assert!(longest <= Some(164), "{story}: {longest:?}");
            assert!(seen.most_in_a_minute() <= 2, "{story}: {:?}", seen.0);
        }
    }
}

/// Many at once, so that the rate for all of them together counts.
#[test]
fn h2_first_messages_to_strangers_have_a_rate() {
    let mut pair = opportunists(Security::Secure);
    let mut seen = Seen::default();
    for n in 0..1000u32 {
        let client = format!("45.0.{}.{}", n / 200, n % 200);
        let victim = format!("203.{}.{}.1", n / 200, n % 200);
        hostile_record(&mut pair, &client, &[(&victim, 2)]);
        pair.west.send(WEST, &client);
        seen.watch(&mut pair, 0);
    }
    assert!((10..=64).contains(&seen.0.len()), "{}", seen.0.len());
    for second in 1..20 {
        pair.sleep(1);
        seen.watch(&mut pair, second);
    }
    assert!(seen.0.len() <= 2 * 64, "{}", seen.0.len());
    // One that answers is met again at once.
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

/// Several keys that DNS names for one gateway, which is slow to answer: one first message is under way at a time.
#[test]
fn h2_one_first_message_to_an_address_at_a_time() {
    let mut pair = opportunists(Security::Secure);
    for (n, key) in [(1, 2), (2, 1), (3, 0)] {
        hostile_record(&mut pair, &format!("10.0.2.{n}"), &[(EAST, key)]);
    }
    let mut waiting = 0;
    for n in 1..=3 {
        pair.west.send("10.0.1.1", &format!("10.0.2.{n}"));
        waiting += pair.west.sent.len();
        assert_eq!(pair.west.sent.len(), 1, "{}", trace(&pair));
    }
    assert_eq!(waiting, 3);
    // It answers, and has the last key.
    pair.settle();
    pair.west_has("10.0.1.1/32 -> 10.0.2.3/32 => tun");
    pair.west_has("10.0.1.1/32 -> 10.0.2.1/32 => %pass");
    pair.west_has("10.0.1.1/32 -> 10.0.2.2/32 => %pass");
}

/// First messages under forged addresses are answered one by one, and not by more octets than they have.
#[test]
fn h2_forged_first_messages_amplify_nothing() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    let (_, _, first) = pair.west.sent.remove(0);
    let (mut octets, mut packets) = (0, 0);
    for n in 0..100u32 {
        let mut bytes = first.clone();
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        pair.east.give(Event::Datagram {
            local: "192.1.2.23:500".parse().unwrap(),
            remote: format!("203.0.113.{n}:500").parse().unwrap(),
            bytes,
        });
        for second in 0..2 {
            pair.east.sleep(second * 30);
            packets += pair.east.sent.len();
            octets += pair
                .east
                .sent
                .drain(..)
                .map(|sent| sent.2.len())
                .sum::<usize>();
        }
    }
    assert_eq!(packets, 100);
    assert!(octets < 100 * 2 * first.len(), "{octets}");
}
