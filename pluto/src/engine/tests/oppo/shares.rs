//! What one peer may have of a gateway.

use super::*;

fn count(gateway: &Gateway, text: &str) -> usize {
    let eroutes = gateway.eroutes();
    eroutes.iter().filter(|e| e.contains(text)).count()
}

/// West asks for 300 tunnels to hosts behind east.
#[test]
fn h12_one_peer_has_a_bounded_number_of_tunnels() {
    let mut pair = opportunists(Security::Secure);
    let [east, west] = [keys()[0].public(), keys()[1].public()];
    for n in 1..=5 {
        Dns(&mut pair).delegate(&format!("10.0.1.{n}"), WEST, Some(west), Security::Secure);
    }
    for n in 1..=60 {
        let to = format!("10.0.2.{n}");
        Dns(&mut pair).delegate(&to, EAST, Some(east), Security::Secure);
        for from in 1..=5 {
            pair.west.send(&format!("10.0.1.{from}"), &to);
        }
        pair.settle();
    }
    assert_eq!(
        count(&pair.east, "=> tun"),
        256,
        "{:?}",
        pair.east.log.last()
    );
    let why = "192.1.2.45 has 256 opportunistic tunnels already";
    assert!(pair.east.log.iter().any(|line| line.contains(why)));
    // What it has it may make anew, and when some have gone others may come.
    pair.west.ask(Request::Terminate {
        name: "net-to-anyone".into(),
    });
    pair.settle();
    pair.sleep(400);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

/// West asks for tunnels of which east's DNS says nothing.
#[test]
fn h12_one_peer_has_a_bounded_number_of_look_ups() {
    let mut pair = opportunists(Security::Secure);
    let [east, west] = [keys()[0].public(), keys()[1].public()];
    pair.west.send(WEST, EAST);
    pair.settle();
    for n in 10..110 {
        let (from, to) = (format!("10.0.1.{n}"), format!("10.0.2.{n}"));
        Dns(&mut pair).delegate(&from, WEST, Some(west), Security::Secure);
        Dns(&mut pair).delegate(&to, EAST, Some(east), Security::Secure);
        pair.east.silent.push(Query::Delegation(addr(&from)));
    }
    pair.east.asked.clear();
    for n in 10..110 {
        pair.west
            .send(&format!("10.0.1.{n}"), &format!("10.0.2.{n}"));
    }
    pair.settle();
    let asked = pair
        .east
        .asked
        .iter()
        .filter(|(_, query)| pair.east.silent.contains(query));
    assert_eq!(asked.count(), 32);
}
