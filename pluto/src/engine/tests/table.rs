//! The table of connections: searches, and that their cost does not grow with it.

use std::net::SocketAddr;

use whack::Host;

use super::gateway::{Gateway, addr, net, net_to_net};
use crate::engine::connection::{Addresses, Clients, Connections, Kind};
use crate::engine::{Id, Interface};

fn ours() -> Addresses {
    Addresses::new(&[Interface {
        virt: "ipsec0".into(),
        phys: "eth1".into(),
        addr: addr("192.1.2.23"),
    }])
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn clients(ours: &str, theirs: &str) -> Clients {
    Clients {
        ours: net(ours),
        our_protoport: Default::default(),
        theirs: net(theirs),
        their_protoport: Default::default(),
    }
}

#[test]
fn a_first_message_finds_its_gateways_before_templates() {
    let mut table = Connections::default();
    let mut road = net_to_net("road");
    road.left = whack::End::new(Host::Any);
    table.add(&road, &ours()).unwrap().1.unwrap();
    table.add(&net_to_net("fixed"), &ours()).unwrap().1.unwrap();
    let local = socket("192.1.2.23:500");
    let found = |remote: &str| {
        table
            .for_first_message(local, socket(remote), |_| true)
            .map(|conn| conn.name.clone())
    };
    assert_eq!(found("192.1.2.45:500").as_deref(), Some("fixed"));
    assert_eq!(found("192.0.2.9:500").as_deref(), Some("road"));
    assert_eq!(
        found("192.0.2.9:4711").as_deref(),
        Some("road"),
        "a road warrior's port is its own"
    );
    assert!(
        table
            .for_first_message(local, socket("192.0.2.9:500"), |conn| conn.policy.rsasig)
            .is_none()
    );
}

#[test]
fn the_peer_id_chooses_among_connections() {
    let mut table = Connections::default();
    for who in ["joe", "ann"] {
        let mut road = net_to_net(who);
        road.left = whack::End::new(Host::Any);
        road.left.id = Some(format!("@{who}"));
        table.add(&road, &ours()).unwrap().1.unwrap();
    }
    let joe = table.configured("joe").unwrap().id();
    let refine = |id: &str| {
        let id: Id = id.parse().unwrap();
        let (local, remote) = (socket("192.1.2.23:500"), socket("192.0.2.9:500"));
        table
            .refine(joe, local, remote, &id, |_| true)
            .map(|conn| conn.name.clone())
    };
    assert_eq!(refine("@ann").as_deref(), Some("ann"));
    assert_eq!(refine("@JOE.").as_deref(), Some("joe"));
    assert_eq!(refine("@eve"), None);
}

#[test]
fn quick_mode_clients_choose_the_connection() {
    let mut table = Connections::default();
    for (name, left) in [("one", "10.0.1.0/24"), ("two", "10.0.3.0/24")] {
        let mut conn = net_to_net(name);
        conn.left.client = Some(net(left));
        table.add(&conn, &ours()).unwrap().1.unwrap();
    }
    let mut within = net_to_net("within");
    within.left = whack::End {
        client: Some(net("10.9.0.0/16")),
        client_within: true,
        ..within.left
    };
    table.add(&within, &ours()).unwrap().1.unwrap();
    let one = table.configured("one").unwrap().id();
    let found = |theirs: &str| {
        table
            .for_clients(one, &clients("10.0.2.0/24", theirs), |_| true)
            .map(|conn| conn.name.clone())
    };
    assert_eq!(found("10.0.1.0/24").as_deref(), Some("one"));
    assert_eq!(found("10.0.3.0/24").as_deref(), Some("two"));
    assert_eq!(found("10.9.7.0/24").as_deref(), Some("within"));
    assert_eq!(found("10.0.0.0/8"), None);
    let template = table.configured("within").unwrap().id();
    let instance = table
        .instantiate(
            template,
            socket("192.1.2.45:500"),
            None,
            Some(net("10.9.7.0/24")),
        )
        .unwrap();
    let instance = table.get(instance).unwrap();
    assert_eq!(
        (instance.kind, instance.that.client),
        (Kind::Instance, Some(net("10.9.7.0/24")))
    );
}

#[test]
fn a_road_warrior_is_its_own_client() {
    let mut table = Connections::default();
    let mut road = net_to_net("road");
    road.left = whack::End::new(Host::Any);
    table.add(&road, &ours()).unwrap().1.unwrap();
    let template = table.configured("road").unwrap().id();
    let phase1 = table
        .instantiate(
            template,
            socket("192.0.2.9:500"),
            Some(&"@joe".parse().unwrap()),
            None,
        )
        .unwrap();
    let found = |theirs: &str| {
        table
            .for_clients(phase1, &clients("10.0.2.0/24", theirs), |_| true)
            .map(|conn| conn.id())
    };
    assert_eq!(found("192.0.2.9/32"), Some(phase1));
    assert_eq!(found("192.0.2.10/32"), None);
}

#[test]
fn packets_find_the_narrowest_routed_connection() {
    let mut east = Gateway::at("192.1.2.23");
    let mut wide = net_to_net("wide");
    wide.left.client = Some(net("10.0.0.0/8"));
    wide.right.client = Some(net("192.168.0.0/16"));
    east.add(wide);
    let mut narrow = net_to_net("narrow");
    narrow.left.client = Some(net("10.0.1.0/24"));
    narrow.right.client = Some(net("192.168.7.0/24"));
    east.add(narrow);
    east.route("wide");
    let found = |east: &Gateway, ours: &str, theirs: &str| {
        east.engine
            .connections()
            .for_packet(&clients(ours, theirs))
            .map(|conn| conn.name.clone())
    };
    assert_eq!(
        found(&east, "192.168.7.1/32", "10.0.1.1/32").as_deref(),
        Some("wide")
    );
    east.route("narrow");
    assert_eq!(
        found(&east, "192.168.7.1/32", "10.0.1.1/32").as_deref(),
        Some("narrow")
    );
    assert_eq!(
        found(&east, "192.168.8.1/32", "10.0.1.1/32").as_deref(),
        Some("wide")
    );
    assert_eq!(found(&east, "192.168.8.1/32", "11.0.1.1/32"), None);
}

#[test]
fn removing_leaves_nothing_behind() {
    let mut table = Connections::default();
    let (id, oriented) = table.add(&net_to_net("a"), &ours()).unwrap();
    oriented.unwrap();
    table.remove(id);
    assert!(table.is_empty());
    let local = socket("192.1.2.23:500");
    assert!(
        table
            .for_first_message(local, socket("192.1.2.45:500"), |_| true)
            .is_none()
    );
    assert!(table.configured("a").is_none());
}
