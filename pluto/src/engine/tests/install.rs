//! What was agreed on and can't be installed: the peer is told, and its user need not wait for a timeout.

use super::gateway::Gateway;
use super::pair::Pair;

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

fn once() -> Pair {
    tries(1)
}

/// With so many attempts at keying; 0 is for ever.
fn tries(keying_tries: u32) -> Pair {
    let mut connection = super::gateway::net_to_net("net-to-net");
    connection.lifetimes.keying_tries = keying_tries;
    Pair::with(connection)
}

/// So many attempts have been made after each of these seconds.
fn attempts(pair: &mut Pair, after: &[(u64, usize)]) {
    for (seconds, attempts) in after {
        pair.sleep(*seconds);
        assert_eq!(
            count(&pair.west, "initiating Quick Mode"),
            *attempts,
            "{:?}",
            pair.west.log
        );
    }
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
    let mut pair = tries(2);
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

/// Whoever asked hears of it at once; what follows is tried by itself, ever later.
#[test]
fn an_initiator_tries_again_as_often_as_it_may() {
    let mut pair = tries(3);
    pair.west.failing_verb = Some("up");
    let begun = pair.west.now;
    assert_ne!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    assert_eq!(pair.west.now, begun, "nothing was waited for");
    let told = "starting keying attempt 2 of at most 3 in 20 s, but releasing whack";
    assert!(
        pair.west.said.iter().any(|line| line.contains(told)),
        "{:?}",
        pair.west.said
    );
    attempts(&mut pair, &[(18, 1), (4, 2), (34, 2), (8, 3), (600, 3)]);
    nothing_left(&mut pair);
}

#[test]
fn an_initiator_that_is_to_try_for_ever_comes_up_when_what_failed_is_mended() {
    let mut pair = tries(0);
    pair.west.failing_verb = Some("up");
    assert_ne!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    // 20, 40, 80, 160, 320 and then always 320 seconds apart.
    attempts(&mut pair, &[(330, 5), (315, 6), (315, 7)]);
    pair.west.failing_verb = None;
    pair.sleep(325);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn an_initiator_whose_kernel_was_silent_tries_again() {
    let mut pair = tries(0);
    pair.west.kernel_answers = false;
    assert_ne!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair.west.kernel_answers = true;
    pair.sleep(60);
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// It takes its answer back each time, and is asked ever later.
#[test]
fn a_responder_that_always_fails_in_the_end_is_asked_ever_later() {
    let mut pair = tries(0);
    pair.east.failing_verb = Some("up");
    pair.up("net-to-net");
    let after = [(8, 1), (4, 2), (14, 2), (8, 3), (30, 3), (12, 4), (600, 8)];
    attempts(&mut pair, &after);
    pair.east.failing_verb = None;
    pair.sleep(170);
    pair.carries("10.0.2.1", "10.0.1.1");
    // What has held for a while is replaced as ever.
    pair.sleep(100);
    let made = count(&pair.west, "initiating Quick Mode");
    pair.east.ask(whack::Request::Terminate {
        name: "net-to-net".into(),
    });
    pair.settle();
    attempts(&mut pair, &[(8, made), (4, made + 1)]);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn a_responder_that_always_fails_in_the_end_is_asked_as_often_as_it_may() {
    let mut pair = tries(3);
    pair.east.failing_verb = Some("up");
    pair.up("net-to-net");
    attempts(&mut pair, &[(12, 2), (22, 3), (600, 3)]);
    assert_eq!(
        count(&pair.west, "giving up, as keyingtries= says"),
        1,
        "{:?}",
        pair.west.log
    );
    nothing_left(&mut pair);
    // Asked by somebody, it begins anew.
    pair.east.failing_verb = None;
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair.carries("10.0.2.1", "10.0.1.1");
}
