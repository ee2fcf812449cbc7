//! whack's requests: codes, texts, exit status, and who waits for what.

use whack::{Host, Request};

use super::gateway::{Gateway, addr, net, net_to_net};
use crate::engine::{Engine, Event, UpdownStatus};

fn name(name: &str) -> String {
    name.to_owned()
}

#[test]
fn status_is_as_people_know_it() {
    let mut east = Gateway::at("192.1.2.23");
    east.add(net_to_net("net-to-net"));
    east.route("net-to-net");
    let status = east.status_text();
    for line in [
        "000 interface ipsec0/eth1 192.1.2.23",
        "000 %myid = (none)",
        "000 debug none",
        "000 \"net-to-net\": 10.0.2.0/24===192.1.2.23[@east]---192.1.2.254...192.1.2.45[@west]===10.0.1.0/24; prospective erouted; eroute owner: #0",
        "000 \"net-to-net\":   ike_life: 3600s; ipsec_life: 28800s; rekey_margin: 540s; rekey_fuzz: 100%; keyingtries: 3",
        "000 \"net-to-net\":   policy: PSK+ENCRYPT+TUNNEL+PFS; prio: 24,24; interface: eth1; ",
        "000 \"net-to-net\":   newest ISAKMP SA: #0; newest IPsec SA: #0; ",
    ] {
        assert!(status.lines().any(|l| l == line), "{line}\nin\n{status}");
    }
}

#[test]
fn names_are_used_once() {
    let mut east = Gateway::at("192.1.2.23");
    east.add(net_to_net("a"));
    assert_eq!(
        east.status_of(Request::Connection(Box::new(net_to_net("a")))),
        20
    );
    assert_eq!(east.said, ["020 attempt to redefine connection \"a\""]);
    assert_eq!(east.status_of(Request::Delete { name: name("a") }), 0);
    east.add(net_to_net("a"));
}

#[test]
fn unknown_names_are_21() {
    let mut east = Gateway::at("192.1.2.23");
    for request in [
        Request::Delete { name: name("x") },
        Request::Route { name: name("x") },
        Request::Unroute { name: name("x") },
        Request::Initiate {
            name: name("x"),
            asynchronous: false,
        },
        Request::Terminate { name: name("x") },
    ] {
        assert_eq!(east.status_of(request), 21);
        assert_eq!(east.said, ["021 no connection named \"x\""]);
    }
}

#[test]
fn a_deaf_pluto_says_so() {
    let mut engine = Gateway::at("192.1.2.23");
    engine.add(net_to_net("a"));
    engine.ask(Request::Unlisten);
    assert_eq!(engine.status_of(Request::Route { name: name("a") }), 24);
    assert_eq!(engine.said, ["024 need --listen before --route"]);
    assert_eq!(
        engine.status_of(Request::Initiate {
            name: name("a"),
            asynchronous: false
        }),
        24
    );
}

#[test]
fn what_cannot_be_initiated_is_refused() {
    let mut east = Gateway::at("192.1.2.23");
    let mut road = net_to_net("road");
    road.left.host = Host::Any;
    east.add(road);
    assert_eq!(
        east.status_of(Request::Initiate {
            name: name("road"),
            asynchronous: false
        }),
        29
    );
    let mut far = net_to_net("far");
    far.right.host = Host::Addr(addr("192.1.2.99"));
    east.add(far);
    assert_eq!(
        east.status_of(Request::Initiate {
            name: name("far"),
            asynchronous: false
        }),
        22
    );
    assert_eq!(
        east.said,
        ["022 \"far\": we have no ipsecN interface for either end of this connection"]
    );
    let mut shunt = net_to_net("shunt");
    shunt.policy = whack::Policy {
        tunnel: true,
        shunt: whack::Shunt::Drop,
        ..Default::default()
    };
    east.add(shunt);
    assert_eq!(
        east.status_of(Request::Initiate {
            name: name("shunt"),
            asynchronous: false
        }),
        30
    );
    assert_eq!(east.route("shunt"), 0);
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %drop"]);
}

#[test]
fn bad_descriptions_are_refused_and_say_why() {
    let mut east = Gateway::at("192.1.2.23");
    let mut overlap = net_to_net("overlap");
    overlap.left.client = Some(net("10.0.2.0/24"));
    assert_eq!(east.status_of(Request::Connection(Box::new(overlap))), 23);
    assert!(
        east.said[0].contains("leftsubnet 10.0.2.0/24 and rightsubnet 10.0.2.0/24 overlap"),
        "{:?}",
        east.said
    );
    let mut within = net_to_net("within");
    within.left.client = Some(net("10.0.2.0/24"));
    within.policy = whack::Policy {
        tunnel: true,
        shunt: whack::Shunt::Pass,
        ..Default::default()
    };
    east.add(within);
    let mut hub = net_to_net("hub");
    hub.left.client = Some(net("10.0.0.0/8"));
    east.add(hub);
    let mut bad_id = net_to_net("bad");
    bad_id.left.id = Some("@".into());
    assert_eq!(east.status_of(Request::Connection(Box::new(bad_id))), 27);
    let mut psk = net_to_net("psk");
    psk.left.host = Host::Any;
    east.add(psk);
    let mut rsa = net_to_net("rsa");
    rsa.left.host = Host::Any;
    rsa.policy = whack::Policy {
        psk: false,
        rsasig: true,
        ..rsa.policy
    };
    assert_eq!(east.status_of(Request::Connection(Box::new(rsa))), 23);
    assert_eq!(
        east.said,
        ["023 authentication method disagrees with \"psk\", which is also for an unspecified peer"]
    );
}

#[test]
fn listening_waits_for_interfaces_and_secrets() {
    let mut east = Gateway::at("192.1.2.23");
    let client = east.ask(Request::Listen);
    assert!(!east.finished.iter().any(|(id, _)| *id == client));
    east.give(Event::InterfaceProblem(
        "port 500 of 192.1.2.23 is taken".into(),
    ));
    east.give(Event::Interfaces(Vec::new()));
    assert!(!east.finished.iter().any(|(id, _)| *id == client));
    east.give(Event::Secrets {
        secrets: Box::default(),
        problems: vec!["ipsec.secrets:3: no colon".into()],
    });
    assert!(east.finished.contains(&(client, 3)));
    assert_eq!(
        east.said,
        [
            "003 port 500 of 192.1.2.23 is taken",
            "003 no public interfaces found",
            "003 ipsec.secrets:3: no colon"
        ]
    );
}

#[test]
fn shutting_down_takes_everything_away_first() {
    let mut east = Gateway::at("192.1.2.23");
    east.add(net_to_net("a"));
    east.route("a");
    assert_eq!(east.status_of(Request::Shutdown), 0);
    assert_eq!(east.exited, Some(0));
    assert!(east.eroutes().is_empty());
    assert_eq!(east.verbs.last().unwrap(), "unroute-client");
}

#[test]
fn shutting_down_waits_for_updown() {
    let mut rng = Gateway::at("192.1.2.23");
    rng.add(net_to_net("a"));
    rng.route("a");
    let engine: &mut Engine = &mut rng.engine;
    let request = Box::new(Request::Shutdown);
    let now = rng.now;
    let mut actions = engine.handle(
        now,
        Event::Whack {
            client: crate::engine::ClientId(99),
            request,
        },
    );
    // Answer nothing: it must not exit.
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, crate::engine::Action::Exit(_)))
    );
    actions.extend(engine.handle(now, Event::KernelUp(false)));
    let running = actions.iter().find_map(|action| match action {
        crate::engine::Action::RunUpdown { id, .. } => Some(*id),
        _ => None,
    });
    let status = UpdownStatus::Exited(0);
    let last = engine.handle(
        now,
        Event::UpdownDone {
            id: running.unwrap(),
            output: Vec::new(),
            status,
        },
    );
    assert!(
        last.iter()
            .any(|action| matches!(action, crate::engine::Action::Exit(0)))
    );
}

#[test]
fn public_keys_are_listed_and_bad_ones_named() {
    let mut east = Gateway::at("192.1.2.23");
    let key = |key: &str| Request::PublicKey {
        id: "@west".into(),
        add: false,
        alg: whack::PubkeyAlg::Rsa,
        key: Some(key.into()),
    };
    assert_eq!(east.status_of(key("0sAQ==")), 3);
    assert!(
        east.said[0].starts_with("003 bad public key of @west: "),
        "{:?}",
        east.said
    );
    let of = |octets: usize| {
        let mut blob = vec![3, 1, 0, 1];
        blob.extend(vec![0xff; octets]);
        let text: String = blob.iter().map(|octet| format!("{octet:02x}")).collect();
        key(&format!("0x{text}"))
    };
    assert_eq!(east.status_of(of(127)), 3);
    assert!(
        east.said[0].contains("1016 bits: it must have 1024 to 8192"),
        "{:?}",
        east.said
    );
    assert_eq!(east.status_of(of(256)), 0, "{:?}", east.said);
    assert_eq!(east.said, [""; 0]);
    assert_eq!(east.status_of(of(128)), 0, "{:?}", east.said);
    assert!(
        east.said[0].starts_with("000 RSA key AwEAAf")
            && east.said[0].contains("of @west: it has 1024 bits, which is weak"),
        "{:?}",
        east.said
    );
    east.ask(Request::List {
        class: whack::ListClass::PublicKeys,
        utc: false,
    });
    assert!(
        east.said
            .iter()
            .any(|line| line.starts_with("000 @west, 1024 RSA Key AwEAAf")),
        "{:?}",
        east.said
    );
}
