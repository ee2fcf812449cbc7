//! Too much to do: what strangers cause gives way to what we have begun ourselves, and DNS need not say twice who we are.

use super::*;

/// Pings with forged sources, of a zone whose name server is dead; `n` counts them.
fn forged_ping(pair: &mut Pair, n: u32) {
    let from = std::net::Ipv4Addr::from(0x2d00_0000 + n);
    pair.west.silent.push(Query::Delegation(from.into()));
    pair.west.answer_ping(WEST, &from.to_string());
}

fn count(gateway: &Gateway, kind: &str) -> usize {
    let eroutes = gateway.eroutes();
    eroutes.iter().filter(|e| e.contains(kind)).count()
}

/// 400 forged pings a second, and every second a destination with a key.
#[test]
fn h5_what_we_begin_goes_before_answers_to_strangers() {
    let mut pair = opportunists(Security::Secure);
    let east = keys()[0].public();
    for second in 0..12u32 {
        for n in 0..400 {
            forged_ping(&mut pair, 400 * second + n);
            if n % 100 == 99 {
                let holds = count(&pair.west, "=> %hold");
                assert!(holds < 1000, "{second}: {holds} holds");
            }
        }
        let to = format!("10.0.2.{}", 2 + second);
        Dns(&mut pair).delegate(&to, EAST, Some(east), Security::Secure);
        pair.west.released.clear();
        pair.west.send("10.0.1.1", &to);
        pair.settle();
        pair.west_has(&format!("10.0.1.1/32 -> {to}/32 => tun"));
        assert!(went_encrypted(&pair.west), "{to} has waited");
        pair.west.silent.clear();
        pair.sleep(1);
    }
    let asked = pair.west.status_text();
    let waiting = asked.matches("looking up in DNS").count();
    assert!(waiting <= 2048, "{waiting}");
    // Of those that were pushed out the verdict stands.
    assert!(count(&pair.west, "=> %pass") > 2000);
}

/// All that is asked for is ours: the oldest of that makes room.
#[test]
fn h5_a_new_destination_takes_the_place_of_the_oldest() {
    let mut pair = opportunists(Security::Secure);
    pair.west.dns_waits = true;
    for n in 0..2500u32 {
        let to = std::net::Ipv4Addr::from(0x2d00_0000 + n).to_string();
        pair.west.send(WEST, &to);
    }
    let status = pair.west.status_text();
    assert!(status.matches("looking up in DNS").count() <= 2048);
    assert!(status.contains("45.0.9.195/32:0 => %hold"), "the newest");
    assert!(
        status.contains("45.0.0.0/32:0 => %pass 0    too many"),
        "the oldest"
    );
}

fn failure(query: &Query) -> Result<Answer, LookupError> {
    let (name, why) = (query.name(), "SERVFAIL".to_owned());
    Err(LookupError::ServerFailure { name, why })
}

/// DNS fails for our own name, or says nothing of it, at once and after the answer's time.
#[test]
fn h5_what_dns_last_said_of_us_survives_its_failures() {
    for (hours, silent) in [(0, false), (0, true), (3, false), (3, true)] {
        let mut pair = opportunists(Security::Secure);
        pair.west.send(WEST, EAST);
        pair.settle();
        pair.carries(EAST, WEST);
        let ours = Query::Keys(Speaker::Address(addr(WEST)));
        match silent {
            true => pair.west.silent.push(ours),
            false => drop(pair.west.dns.insert(ours.clone(), failure(&ours))),
        }
        pair.west.sleep(hours * 3600);
        pair.west.released.clear();
        pair.west.send(WEST, "10.0.2.1");
        pair.settle();
        pair.sleep(2);
        let story = format!("after {hours} h, silent {silent}");
        assert!(went_encrypted(&pair.west), "{story}: {}", trace(&pair));
    }
    // After two days, and when DNS says that there is nothing, it counts no more.
    for days in [0, 2] {
        let mut pair = opportunists(Security::Secure);
        pair.west.send(WEST, EAST);
        pair.settle();
        let ours = Query::Keys(Speaker::Address(addr(WEST)));
        match days {
            0 => drop(pair.west.dns.remove(&ours)),
            _ => drop(pair.west.dns.insert(ours.clone(), failure(&ours))),
        }
        pair.west.sleep(3601 + days * 86_400);
        pair.west.send(WEST, "10.0.2.1");
        pair.settle();
        pair.sleep(2);
        pair.west_has("192.1.2.45/32 -> 10.0.2.1/32 => %pass");
    }
}

#[test]
fn h5_who_we_are_survives_a_dead_resolver() {
    let mut pair = opportunists(Security::Secure);
    let config = crate::engine::Config {
        pid: super::super::gateway::PID,
        host_name: Some("west.example.com".into()),
        ..Default::default()
    };
    let dns = std::mem::take(&mut pair.west.dns);
    pair.west = Gateway::with(WEST, config);
    pair.west.dns = dns;
    own_key(&mut pair.west, &keys()[1]);
    let name = "@west.example.com";
    Dns(&mut pair).key(name, keys()[1].public(), Security::Secure);
    pair.west.dns.remove(&Query::Delegation(addr(WEST)));
    let mut conn = to_anyone("me-to-anyone", WEST, None);
    conn.left.id = Some("%myid".into());
    pair.west.add(conn);
    pair.west.route("me-to-anyone");
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    // The name servers change, and nothing is heard of our own names.
    for query in [
        Query::Delegation(addr(WEST)),
        Query::Keys(Speaker::parse(name).unwrap()),
    ] {
        pair.west.dns.insert(query.clone(), failure(&query));
    }
    pair.west.give(Event::NameServers(vec![addr("192.0.2.53")]));
    assert!(pair.west.status_text().contains(&format!("%myid = {name}")));
    pair.west.send(WEST, "10.0.2.1");
    pair.settle();
    pair.carries("10.0.2.1", WEST);
}
