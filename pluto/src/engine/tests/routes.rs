//! Routes, eroutes, shunts and SAs: what the kernel has and which updown commands have run after each operation.

use klips::Outbound;
use whack::Request;

use super::gateway::{Gateway, addr, agreed, net, net_to_net};
use crate::engine::connection::Routing;
use crate::engine::{ConnId, StateId};

fn up(gateway: &mut Gateway, conn: ConnId, state: u64) {
    let params = agreed(gateway, conn, state);
    gateway
        .call(|engine, now| engine.install_ipsec_sa(now, params))
        .unwrap();
}

fn routing(gateway: &Gateway, conn: ConnId) -> Routing {
    gateway.engine.connections().get(conn).unwrap().routing()
}

fn east() -> (Gateway, ConnId) {
    let mut east = Gateway::at("192.1.2.23");
    let conn = east.add(net_to_net("net-to-net"));
    (east, conn)
}

#[test]
fn a_routed_connection_has_a_trap_and_a_route() {
    let (mut east, conn) = east();
    assert_eq!(east.route("net-to-net"), 0);
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %trap"]);
    assert_eq!(east.verbs, ["prepare-client", "route-client"]);
    assert_eq!(routing(&east, conn), Routing::Prospective);
    assert_eq!(east.route("net-to-net"), 0);
    assert_eq!(east.verbs.len(), 2, "routed again: nothing to do");
    assert_eq!(
        east.status_of(Request::Unroute {
            name: "net-to-net".into()
        }),
        0
    );
    assert!(east.eroutes().is_empty());
    assert_eq!(east.verbs[2..], ["unroute-client"]);
}

#[test]
fn updown_is_told_everything() {
    let (mut east, _) = east();
    east.route("net-to-net");
    let env = |name: &str| {
        east.env
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    for (name, value) in [
        ("PLUTO_VERSION", "1.1"),
        ("PLUTO_CONNECTION", "net-to-net"),
        ("PLUTO_NEXT_HOP", "192.1.2.254"),
        ("PLUTO_INTERFACE", "ipsec0"),
        ("PLUTO_ME", "192.1.2.23"),
        ("PLUTO_MY_ID", "@east"),
        ("PLUTO_MY_CLIENT", "10.0.2.0/24"),
        ("PLUTO_MY_CLIENT_NET", "10.0.2.0"),
        ("PLUTO_MY_CLIENT_MASK", "255.255.255.0"),
        ("PLUTO_MY_PORT", "0"),
        ("PLUTO_MY_PROTOCOL", "0"),
        ("PLUTO_PEER", "192.1.2.45"),
        ("PLUTO_PEER_ID", "@west"),
        ("PLUTO_PEER_CLIENT", "10.0.1.0/24"),
        ("PLUTO_PEER_CLIENT_NET", "10.0.1.0"),
        ("PLUTO_PEER_CLIENT_MASK", "255.255.255.0"),
        ("PLUTO_PEER_PORT", "0"),
        ("PLUTO_PEER_PROTOCOL", "0"),
    ] {
        assert_eq!(env(name), Some(value), "{name}");
    }
}

#[test]
fn a_tunnel_replaces_the_trap_and_gives_it_back() {
    let (mut east, conn) = east();
    east.route("net-to-net");
    up(&mut east, conn, 2);
    assert_eq!(routing(&east, conn), Routing::Tunnel);
    let eroutes = east.eroutes();
    assert!(
        eroutes[0].starts_with("10.0.2.0/24 -> 10.0.1.0/24 => tun0x"),
        "{eroutes:?}"
    );
    assert_eq!(east.sas().len(), 4, "tun and esp, both ways");
    assert!(matches!(
        east.send("10.0.2.1", "10.0.1.1"),
        Outbound::Transmit { .. }
    ));
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %trap"]);
    assert!(east.sas().is_empty());
    assert_eq!(
        east.verbs,
        ["prepare-client", "route-client", "up-client", "down-client"]
    );
    assert_eq!(routing(&east, conn), Routing::Prospective);
}

#[test]
fn what_was_taken_down_stays_down_until_it_is_wanted() {
    let (mut east, conn) = east();
    up(&mut east, conn, 2);
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %drop"]);
    assert!(matches!(
        east.send("10.0.2.1", "10.0.1.1"),
        Outbound::Drop(_)
    ));
    assert_eq!(east.route("net-to-net"), 0);
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %trap"]);
}

#[test]
fn a_responder_lets_nothing_out_in_the_clear() {
    let (mut east, conn) = east();
    let params = agreed(&mut east, conn, 2);
    east.call(|engine, now| engine.install_inbound_ipsec_sa(now, params))
        .unwrap();
    assert_eq!(east.sas().len(), 2);
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %hold"]);
    assert_eq!(east.verbs, ["prepare-client", "route-client"]);
    assert!(matches!(east.send("10.0.2.1", "10.0.1.1"), Outbound::Held));
    east.call(|engine, now| engine.install_outbound_ipsec_sa(now, StateId(2)));
    assert_eq!(east.sas().len(), 4);
    assert_eq!(east.verbs[2..], ["up-client"]);
    assert!(matches!(east.released[..], [Outbound::Transmit { .. }]));
    assert!(matches!(
        east.send("10.0.2.1", "10.0.1.1"),
        Outbound::Transmit { .. }
    ));
}

#[test]
fn an_exchange_that_is_not_completed_leaks_nothing() {
    let (mut east, conn) = east();
    let params = agreed(&mut east, conn, 2);
    east.call(|engine, now| engine.install_inbound_ipsec_sa(now, params))
        .unwrap();
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    assert!(east.sas().is_empty());
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %drop"]);
    assert_eq!(routing(&east, conn), Routing::Prospective);
}

#[test]
fn rekeying_moves_the_eroute_and_tells_nobody() {
    let (mut east, conn) = east();
    up(&mut east, conn, 2);
    let before = east.eroutes();
    let verbs = east.verbs.len();
    up(&mut east, conn, 3);
    assert_ne!(east.eroutes(), before);
    assert_eq!(east.sas().len(), 8);
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    assert_eq!(east.sas().len(), 4);
    assert_eq!(east.verbs.len(), verbs);
    assert!(matches!(
        east.send("10.0.2.1", "10.0.1.1"),
        Outbound::Transmit { .. }
    ));
}

#[test]
fn a_packet_that_hit_the_trap_goes_when_the_tunnel_is_up() {
    let (mut east, conn) = east();
    east.route("net-to-net");
    assert!(matches!(east.send("10.0.2.1", "10.0.1.1"), Outbound::Held));
    assert_eq!(routing(&east, conn), Routing::Hold);
    assert_eq!(east.eroutes(), ["10.0.2.0/24 -> 10.0.1.0/24 => %hold"]);
    assert!(
        east.log
            .iter()
            .any(|line| line.contains("initiate on demand from 10.0.2.1:"))
    );
    east.released.clear();
    up(&mut east, conn, 2);
    assert!(
        matches!(east.released[..], [Outbound::Transmit { .. }]),
        "{:?}",
        east.released
    );
    assert_eq!(east.eroutes().len(), 1);
}

#[test]
fn a_failed_negotiation_leaves_the_failure_shunt() {
    for (failure, shunt) in [
        (whack::Failure::None, "%trap"),
        (whack::Failure::Reject, "%reject"),
    ] {
        let mut east = Gateway::at("192.1.2.23");
        let mut description = net_to_net("net-to-net");
        description.policy.failure = failure;
        let conn = east.add(description);
        east.route("net-to-net");
        east.send("10.0.2.1", "10.0.1.1");
        east.call(|engine, now| engine.negotiation_failed(now, conn));
        assert_eq!(
            east.eroutes(),
            [format!("10.0.2.0/24 -> 10.0.1.0/24 => {shunt}")]
        );
    }
}

#[test]
fn a_failing_updown_undoes_all() {
    for failing in ["up", "route"] {
        let (mut east, conn) = east();
        east.failing_verb = Some(failing);
        up(&mut east, conn, 2);
        assert!(east.eroutes().is_empty(), "{failing}");
        assert!(east.sas().is_empty(), "{failing}");
        assert_eq!(routing(&east, conn), Routing::Unrouted);
        let wanted = format!("{failing}-client command exited with status 1");
        assert!(
            east.log.iter().any(|line| line.contains(&wanted)),
            "{:?}",
            east.log
        );
    }
}

#[test]
fn a_failing_rekey_leaves_the_old_tunnel() {
    let (mut east, conn) = east();
    up(&mut east, conn, 2);
    let (eroutes, sas) = (east.eroutes(), east.sas());
    // The same outbound SPI to the same peer: KLIPS has it already.
    let mut params = agreed(&mut east, conn, 2);
    params.state = StateId(3);
    east.call(|engine, now| engine.install_ipsec_sa(now, params))
        .unwrap();
    assert_eq!(east.eroutes(), eroutes);
    assert_eq!(east.sas().len(), sas.len());
    assert!(
        east.log
            .iter()
            .any(|line| line.contains("KLIPS refused to add esp0x50000002@192.1.2.45")),
        "{:?}",
        east.log
    );
    assert_eq!(routing(&east, conn), Routing::Tunnel);
}

#[test]
fn a_silent_kernel_is_given_up() {
    let (mut east, _) = east();
    east.kernel_answers = false;
    let client = east.ask(Request::Route {
        name: "net-to-net".into(),
    });
    assert!(!east.finished.iter().any(|(id, _)| *id == client));
    east.sleep(11);
    assert!(east.finished.contains(&(client, 25)), "{:?}", east.finished);
    assert!(
        east.said
            .contains(&"025 \"net-to-net\": could not route".to_owned()),
        "{:?}",
        east.said
    );
}

#[test]
fn connections_to_one_client_share_the_route() {
    let (mut east, _) = east();
    let mut second = net_to_net("second");
    second.right.client = Some(net("10.0.3.0/24"));
    east.add(second);
    east.route("net-to-net");
    east.route("second");
    assert_eq!(
        east.verbs,
        ["prepare-client", "route-client"],
        "one route for both"
    );
    assert_eq!(east.eroutes().len(), 2);
    east.status_of(Request::Delete {
        name: "net-to-net".into(),
    });
    assert_eq!(east.verbs.len(), 2, "the route is still needed");
    east.status_of(Request::Delete {
        name: "second".into(),
    });
    assert_eq!(east.verbs[2..], ["unroute-client"]);
    assert!(east.eroutes().is_empty());
}

#[test]
fn a_route_in_use_elsewhere_is_refused() {
    let (mut east, _) = east();
    east.interfaces(&[
        ("ipsec0", "eth1", "192.1.2.23"),
        ("ipsec1", "eth2", "192.1.3.23"),
    ]);
    let mut second = net_to_net("second");
    second.right.client = Some(net("10.0.3.0/24"));
    second.right.host = whack::Host::Addr(addr("192.1.3.23"));
    east.add(second);
    east.route("net-to-net");
    assert_eq!(east.route("second"), 25);
    assert_eq!(
        east.said[0],
        "003 \"second\": cannot route -- route already in use for \"net-to-net\""
    );
    assert_eq!(east.eroutes().len(), 1);
    let mut same = net_to_net("same");
    same.left.host = whack::Host::Addr(addr("192.1.2.46"));
    east.add(same);
    assert_eq!(east.route("same"), 25);
    assert_eq!(
        east.said[0],
        "003 \"same\": cannot install eroute -- it is in use for \"net-to-net\" #0"
    );
}

/// Two peers, each for another net of ours, whichever way they are reached.
#[test]
fn g4_tunnels_from_two_nets_to_one_by_two_peers_share_the_route() {
    let (mut east, first) = east();
    let mut second = net_to_net("second");
    second.left.host = whack::Host::Addr(addr("192.1.2.46"));
    second.left.id = Some("@north".into());
    second.right.client = Some(net("10.0.3.0/24"));
    second.right.nexthop = Some(addr("192.1.2.253"));
    let second = east.add(second);
    east.route("net-to-net");
    up(&mut east, first, 2);
    up(&mut east, second, 3);
    for conn in [first, second] {
        assert_eq!(routing(&east, conn), Routing::Tunnel, "{:?}", east.log);
    }
    let eroutes = east.eroutes();
    let tunnels = eroutes.iter().filter(|eroute| eroute.contains("=> tun0x"));
    assert_eq!(tunnels.count(), 2, "{eroutes:?}");
    let routes = |east: &Gateway| {
        let routes = east.verbs.iter().filter(|verb| verb.contains("route"));
        routes.cloned().collect::<Vec<_>>()
    };
    assert_eq!(routes(&east), ["route-client"]);
    // Whoever made the route, it goes with the last that uses it.
    let unroute = |name: &str| Request::Unroute { name: name.into() };
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    assert_eq!(east.status_of(unroute("net-to-net")), 0);
    assert_eq!(routes(&east), ["route-client"]);
    assert!(matches!(
        east.send("10.0.3.1", "10.0.1.1"),
        Outbound::Transmit { .. }
    ));
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(3)));
    assert_eq!(east.status_of(unroute("second")), 0);
    assert_eq!(routes(&east), ["route-client", "unroute-client"]);
    assert_eq!(east.eroutes(), Vec::<String>::new());
}

#[test]
fn a_client_that_moved_takes_its_route_along() {
    let (mut east, conn) = east();
    up(&mut east, conn, 2);
    let mut moved = net_to_net("moved");
    moved.left.host = whack::Host::Addr(addr("192.1.2.46"));
    let moved = east.add(moved);
    // IKE deletes the states of what is released.
    east.call(|engine, now| engine.delete_ipsec_sa(now, StateId(2)));
    east.call(|engine, now| engine.unroute_connection(now, conn, None));
    up(&mut east, moved, 3);
    assert_eq!(routing(&east, conn), Routing::Unrouted);
    assert_eq!(routing(&east, moved), Routing::Tunnel);
    assert_eq!(east.eroutes().len(), 1);
}

#[test]
fn ports_make_eroutes_of_their_own() {
    let mut east = Gateway::at("192.1.2.23");
    let mut tcp = net_to_net("tcp");
    tcp.left.protoport = "tcp/80".parse().unwrap();
    tcp.right.protoport = "tcp".parse().unwrap();
    east.add(tcp);
    east.add(net_to_net("rest"));
    assert_eq!(
        (east.route("tcp"), east.route("rest")),
        (0, 0),
        "{:?}",
        east.said
    );
    assert_eq!(east.eroutes().len(), 2);
    assert_eq!(east.verbs, ["prepare-client", "route-client"]);
}

#[test]
fn instances_go_with_their_last_state() {
    let mut east = Gateway::at("192.1.2.23");
    let mut road = net_to_net("road");
    road.left = whack::End::new(whack::Host::Any);
    road.right.nexthop = None;
    let template = east.add(road);
    assert_eq!(east.route("road"), 25, "a template cannot be routed");
    let peer = "192.0.2.9:500".parse().unwrap();
    let road_id = "@road".parse().unwrap();
    let instance = east
        .call(|engine, _| {
            let id = engine
                .conns
                .instantiate(template, peer, Some(&road_id), None)?;
            engine.state_added(id);
            Some(id)
        })
        .unwrap();
    assert_eq!(
        east.engine.connections().get(instance).unwrap().tag(),
        "\"road\"[1] 192.0.2.9"
    );
    up(&mut east, instance, 2);
    assert!(
        east.eroutes()[0].starts_with("10.0.2.0/24 -> 192.0.2.9/32 => tun0x"),
        "{:?}",
        east.eroutes()
    );
    east.call(|engine, now| {
        engine.delete_ipsec_sa(now, StateId(2));
        engine.state_gone(now, instance, StateId(2));
    });
    assert!(east.engine.connections().get(instance).is_none());
    assert!(east.eroutes().is_empty() && east.sas().is_empty());
    assert_eq!(east.verbs.last().unwrap(), "unroute-client");
    assert!(
        east.log
            .iter()
            .any(|line| line.contains("deleting connection \"road\" instance with peer 192.0.2.9"))
    );
}

#[test]
fn a_unique_identity_is_in_one_place() {
    let mut east = Gateway::with(
        "192.1.2.23",
        crate::engine::Config {
            unique_ids: true,
            pid: super::gateway::PID,
            ..Default::default()
        },
    );
    let mut road = net_to_net("road");
    road.left = whack::End::new(whack::Host::Any);
    let template = east.add(road);
    let id = "@road".parse().unwrap();
    let mut make = |peer: &str| {
        let peer = peer.parse().unwrap();
        east.call(|engine, _| engine.conns.instantiate(template, peer, Some(&id), None))
            .unwrap()
    };
    let (old, new) = (make("192.0.2.9:500"), make("192.0.2.10:500"));
    east.call(|engine, now| engine.isakmp_sa_established(now, new, StateId(7)));
    assert!(east.engine.connections().get(old).is_none());
    assert!(east.engine.connections().get(new).is_some());
}

#[test]
fn without_klips_nothing_is_installed_and_said() {
    let (mut east, _) = east();
    east.give(crate::engine::Event::KernelUp(false));
    assert_eq!(east.route("net-to-net"), 25);
    assert!(
        east.said[0].contains("KLIPS is not there"),
        "{:?}",
        east.said
    );
}
