//! Which end is us, as interfaces come and go.

use whack::Request;

use super::gateway::{Gateway, net_to_net};

#[test]
fn either_end_may_be_ours() {
    for (address, topology) in [
        (
            "192.1.2.23",
            "10.0.2.0/24===192.1.2.23[@east]---192.1.2.254...192.1.2.45[@west]===10.0.1.0/24",
        ),
        (
            "192.1.2.45",
            "10.0.1.0/24===192.1.2.45[@west]...192.1.2.254---192.1.2.23[@east]===10.0.2.0/24",
        ),
    ] {
        let mut gateway = Gateway::at(address);
        let conn = gateway.add(net_to_net("a"));
        let conn = gateway.engine.connections().get(conn).unwrap();
        assert!(conn.oriented());
        assert_eq!(conn.topology(), topology);
    }
}

#[test]
fn both_ends_ours_is_no_orientation() {
    let mut gateway = Gateway::at("192.1.2.23");
    gateway.listen(&["192.1.2.23", "192.1.2.45"]);
    let status = gateway.status_of(Request::Connection(Box::new(net_to_net("a"))));
    assert_eq!(status, 3);
    assert_eq!(
        gateway.said,
        ["003 both sides of \"a\" are our interface eth1!"]
    );
    assert!(
        !gateway
            .engine
            .connections()
            .configured("a")
            .unwrap()
            .oriented()
    );
}

#[test]
fn a_connection_follows_its_address() {
    let mut gateway = Gateway::at("192.1.2.99");
    let conn = gateway.add(net_to_net("a"));
    let oriented = |gateway: &Gateway| gateway.engine.connections().get(conn).unwrap().oriented();
    assert!(!oriented(&gateway));
    gateway.listen(&["192.1.2.99", "192.1.2.23"]);
    assert!(oriented(&gateway));
    assert_eq!(gateway.route("a"), 0);
    let before = gateway.eroutes();
    gateway.listen(&["192.1.2.99"]);
    assert!(!gateway.engine.connections().get(conn).unwrap().present());
    assert_eq!(gateway.eroutes(), before, "what is routed stays closed");
    assert_eq!(gateway.verbs.last().unwrap(), "route-client");
    assert!(
        gateway
            .log
            .iter()
            .any(|line| line == "shutting down interface ipsec0/eth1 192.1.2.23")
    );
}
