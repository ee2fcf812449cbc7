//! What was agreed on and can't be installed: the peer is told, and its user need not wait for a timeout.

use super::gateway::Gateway;
use super::pair::Pair;

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

fn once() -> Pair {
    let mut connection = super::gateway::net_to_net("net-to-net");
    connection.lifetimes.keying_tries = 1;
    Pair::with(connection)
}

/// Neither side has SAs, nor a state of phase 2.
fn nothing_left(pair: &mut Pair) {
    pair.sleep(1);
    for gateway in [&mut pair.east, &mut pair.west] {
        assert!(gateway.sas().is_empty(), "{:?}", gateway.sas());
        let status = gateway.status_text();
        assert!(!status.contains("STATE_QUICK"), "{status}");
    }
}

#[test]
fn a_responder_says_so_in_place_of_its_answer() {
    let mut pair = once();
    pair.east.failing_verb = Some("route");
    let begun = pair.west.now;
    let status = pair.up("net-to-net");
    assert_eq!(status, 214, "{:?}\n{:?}", pair.west.said, pair.east.log);
    assert_eq!(pair.west.now, begun, "nothing was waited for");
    assert!(
        pair.west.said.iter().any(
            |line| line.contains("peer answers NO_PROPOSAL_CHOSEN") && line.contains("its log")
        ),
        "{:?}",
        pair.west.said
    );
    let why = "STATE_QUICK_R0: the IPsec SA could not be installed";
    assert_eq!(count(&pair.east, why), 1, "{:?}", pair.east.log);
    // It has nothing to be deleted.
    assert_eq!(count(&pair.west, "Delete SA"), 0, "{:?}", pair.west.log);
    nothing_left(&mut pair);
}

#[test]
fn a_responder_whose_kernel_is_silent_says_so() {
    let mut pair = once();
    pair.east.kernel_answers = false;
    let status = pair.up("net-to-net");
    assert_eq!(status, 214, "{:?}\n{:?}", pair.west.said, pair.east.log);
}

#[test]
fn a_responder_that_fails_after_the_last_message_takes_its_answer_back() {
    let mut pair = once();
    pair.east.failing_verb = Some("up");
    // West sees its SAs established, and then hears of it.
    pair.up("net-to-net");
    assert_eq!(
        count(&pair.east, "the IPsec SA could not be installed"),
        1,
        "{:?}",
        pair.east.log
    );
    assert_eq!(
        count(&pair.west, "#2: peer answers NO_PROPOSAL_CHOSEN"),
        1,
        "{:?}",
        pair.west.log
    );
    assert_eq!(
        count(&pair.west, "Delete SA payload: replace IPSEC State #2"),
        1,
        "{:?}",
        pair.west.log
    );
    assert!(pair.east.sas().is_empty());
    // Ten seconds later it is tried again, with success.
    pair.east.failing_verb = None;
    pair.sleep(12);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn an_initiator_says_so_in_place_of_the_last_message() {
    let mut pair = once();
    pair.west.failing_verb = Some("up");
    let status = pair.up("net-to-net");
    assert_ne!(status, 0, "{:?}", pair.west.said);
    assert_eq!(
        count(&pair.east, "#2: peer answers NO_PROPOSAL_CHOSEN"),
        1,
        "{:?}",
        pair.east.log
    );
    nothing_left(&mut pair);
}
