//! Policy groups: what is made of their files, and what a change touches.

use klips::Outbound;
use whack::{Failure, Host, Request, Shunt};

use super::gateway::{Gateway, addr, net, net_to_net};
const US: &str = "192.1.2.23";

/// A group connection as ipsec auto describes it.
pub(super) fn group(
    name: &str,
    shunt: Shunt,
    failure: Failure,
    negotiated: bool,
) -> whack::Connection {
    let mut conn = net_to_net(name);
    conn.left = whack::End::new(Host::Addr(addr(US)));
    conn.left.nexthop = Some(addr("192.1.2.254"));
    conn.left.updown = Some("ipsec _updown".into());
    conn.left.key_from_dns_on_demand = true;
    conn.right = whack::End::new(if negotiated {
        Host::OpportunisticGroup
    } else {
        Host::Group
    });
    conn.right.client = Some(net("0.0.0.0/0"));
    conn.right.key_from_dns_on_demand = negotiated;
    conn.policy = whack::Policy {
        rsasig: negotiated,
        encrypt: negotiated,
        tunnel: true,
        pfs: true,
        group: true,
        opportunistic: negotiated,
        dont_rekey: true,
        shunt,
        failure,
        ..Default::default()
    };
    conn
}

/// The files are these now, and are read.
pub(super) fn files(gateway: &mut Gateway, list: &[(&str, &[&str])]) {
    let read = |(name, blocks): &(&str, &[&str])| {
        let blocks = blocks.iter().map(|block| net(block)).collect();
        ((*name).to_owned(), blocks)
    };
    gateway.groups = list.iter().map(read).collect();
    gateway.ask(Request::Reread {
        class: whack::RereadClass::All,
    });
}

pub(super) fn groups() -> Gateway {
    let mut us = Gateway::at(US);
    us.add(group("clear", Shunt::Pass, Failure::None, false));
    us.add(group("block", Shunt::Reject, Failure::None, false));
    us.add(group("private", Shunt::Trap, Failure::Drop, true));
    us.add(group("private-or-clear", Shunt::Trap, Failure::Pass, true));
    for name in ["clear", "block", "private", "private-or-clear"] {
        assert_eq!(us.route(name), 0);
    }
    us
}

#[test]
fn the_narrowest_block_wins() {
    let mut us = groups();
    files(
        &mut us,
        &[
            ("private-or-clear", &["0.0.0.0/0"]),
            ("clear", &["10.0.0.0/8"]),
            ("block", &["10.1.0.0/16", "10.9.9.9/32"]),
            ("private", &["10.1.2.0/24"]),
        ],
    );
    let eroutes = us.eroutes();
    for line in [
        "192.1.2.23/32 -> 0.0.0.0/0 => %trap",
        "192.1.2.23/32 -> 10.0.0.0/8 => %pass",
        "192.1.2.23/32 -> 10.1.0.0/16 => %reject",
        "192.1.2.23/32 -> 10.1.2.0/24 => %trap",
        "192.1.2.23/32 -> 10.9.9.9/32 => %reject",
    ] {
        assert!(eroutes.iter().any(|e| e == line), "{line} in {eroutes:?}");
    }
    let status = us.status_text();
    for line in [
        "000 \"clear#10.0.0.0/8\": 192.1.2.23---192.1.2.254...%any===10.0.0.0/8; prospective erouted; eroute owner: #0",
        "000 \"private#10.1.2.0/24\": 192.1.2.23---192.1.2.254...%opportunistic===10.1.2.0/24; prospective erouted; eroute owner: #0",
        "000 \"private\":   policy: RSASIG+ENCRYPT+TUNNEL+PFS+DONTREKEY+OPPORTUNISTIC+GROUP+GROUTED+failureDROP+lKOD+rKOD; prio: 32,0; interface: eth1; ",
    ] {
        assert!(status.lines().any(|l| l == line), "{line}\nin\n{status}");
    }
    assert!(matches!(us.send(US, "10.2.0.1"), Outbound::Pass { .. }));
}

/// Whatever changes in the world, a group catches packets of its blocks only: what it is made of, a connection for `0.0.0.0/0`, is never
/// routed itself.
#[test]
fn b1_a_group_is_never_routed_as_if_it_were_for_everybody() {
    let mut us = groups();
    files(
        &mut us,
        &[("block", &["10.1.0.0/16"]), ("private", &["10.2.0.0/16"])],
    );
    let before = us.eroutes();
    assert_eq!(before.len(), 2, "{before:?}");
    us.give(crate::engine::Event::Routes);
    us.interfaces(&[]);
    us.interfaces(&[("ipsec0", "eth1", US)]);
    us.give(crate::engine::Event::Routes);
    us.sleep(120);
    assert_eq!(us.eroutes(), before);
}

#[test]
fn only_what_changes_is_touched() {
    let mut us = groups();
    files(&mut us, &[("clear", &["10.0.0.0/8", "10.1.0.0/16"])]);
    let kept = us.id("clear#10.0.0.0/8");
    us.verbs.clear();
    files(
        &mut us,
        &[
            ("clear", &["10.2.0.0/16", "10.0.0.0/8"]),
            ("block", &["10.1.0.0/16"]),
        ],
    );
    assert_eq!(us.id("clear#10.0.0.0/8"), kept);
    let eroutes = us.eroutes();
    assert!(
        eroutes.contains(&"192.1.2.23/32 -> 10.1.0.0/16 => %reject".to_owned())
            && eroutes.contains(&"192.1.2.23/32 -> 10.2.0.0/16 => %pass".to_owned())
            && eroutes.len() == 3,
        "{eroutes:?}"
    );
    // Two routes have come, one of them in the place of another.
    us.verbs.sort_unstable();
    assert_eq!(
        us.verbs,
        ["prepare-host", "prepare-host", "route-host", "route-host"]
    );
    us.verbs.clear();
    us.ask(Request::Delete {
        name: "clear".into(),
    });
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.1.0.0/16 => %reject"]);
    us.ask(Request::Unroute {
        name: "block".into(),
    });
    assert!(us.eroutes().is_empty());
    files(&mut us, &[("block", &["10.3.0.0/16"])]);
    assert!(us.eroutes().is_empty(), "an unrouted group stays so");
    us.ask(Request::Route {
        name: "block".into(),
    });
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.3.0.0/16 => %reject"]);
}

#[test]
fn a_block_is_in_one_group() {
    let mut us = groups();
    files(
        &mut us,
        &[
            ("clear", &["10.0.0.0/8"]),
            ("block", &["10.0.0.0/8", "2001:db8::/32"]),
        ],
    );
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.0.0.0/8 => %pass"]);
    let told = |part: &str| us.log.iter().any(|line| line.contains(part));
    assert!(told(
        "\"block\": subnet \"10.0.0.0/8\", source 192.1.2.23/32, already \"clear\""
    ));
    assert!(told(
        "block 2001:db8::/32 is of another address family than its group \"block\", which has an address"
    ));
}

/// What has stood for a block, in order, as the kernel was asked for one thing after another.
fn stood_for(us: &Gateway, block: &str) -> Vec<String> {
    let of_block = |eroutes: &Vec<String>| {
        let mut found = eroutes.iter().filter(|e| e.contains(block));
        found
            .next()
            .map_or("nothing", |e| e.rsplit(' ').next().unwrap())
            .to_owned()
    };
    let mut stood: Vec<String> = us.history.iter().flatten().map(of_block).collect();
    stood.dedup();
    stood
}

#[test]
fn a_block_that_moves_never_stands_open() {
    let mut us = groups();
    files(&mut us, &[("private", &["10.0.0.0/8", "10.9.9.9/32"])]);
    for (group, said) in [
        ("block", "%reject"),
        ("private", "%trap"),
        ("clear", "%pass"),
    ] {
        us.history = Some(vec![us.eroutes()]);
        us.verbs.clear();
        let before = us.eroutes()[0].rsplit(' ').next().unwrap().to_owned();
        files(&mut us, &[(group, &["10.0.0.0/8", "10.9.9.9/32"])]);
        for block in ["10.0.0.0/8", "10.9.9.9/32"] {
            assert_eq!(stood_for(&us, block), [before.as_str(), said], "{block}");
        }
        // The route stays as it is, but for what is below it.
        assert!(
            !us.verbs.iter().any(|verb| verb.starts_with("unroute")),
            "{:?}",
            us.verbs
        );
        assert_eq!(us.verbs.is_empty(), group != "clear", "{:?}", us.verbs);
        assert_eq!(us.engine.connections().len(), 6);
    }
    // To narrower blocks and back: the wide one goes when they are there.
    us.history = Some(Vec::new());
    files(&mut us, &[("block", &["10.0.0.0/9", "10.128.0.0/9"])]);
    let open = us.history.iter().flatten().any(|eroutes| {
        let stands = |block: &str| eroutes.iter().any(|e| e.contains(block));
        !(stands("10.0.0.0/8") || stands("10.0.0.0/9") && stands("10.128.0.0/9"))
    });
    assert!(!open, "{:?}", us.history);
    assert_eq!(us.eroutes().len(), 2);
}

#[test]
fn a_group_that_is_replaced_never_stands_open() {
    let mut us = groups();
    files(&mut us, &[("private", &["10.0.0.0/8"])]);
    for (shunt, before, said) in [
        (Shunt::Reject, "%trap", "%reject"),
        (Shunt::Drop, "%reject", "%drop"),
    ] {
        us.history = Some(vec![us.eroutes()]);
        let new = group("private", shunt, Failure::None, false);
        assert_eq!(us.status_of(Request::Replace(Box::new(new))), 0);
        assert_eq!(stood_for(&us, "10.0.0.0/8"), [before, said]);
        assert_eq!(us.engine.connections().len(), 5);
    }
    // It is still routed, and goes as others do.
    files(&mut us, &[("private", &["10.1.0.0/16"])]);
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.1.0.0/16 => %drop"]);
    us.ask(Request::Delete {
        name: "private".into(),
    });
    assert!(us.eroutes().is_empty());
    // What is wrong with the new one leaves the old one; what was not routed is not.
    files(&mut us, &[("block", &["10.0.0.0/8"])]);
    let mut bad = group("block", Shunt::Drop, Failure::None, false);
    bad.left.id = Some("@@@".into());
    bad.left.protoport.proto = 6;
    assert_ne!(us.status_of(Request::Replace(Box::new(bad))), 0);
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.0.0.0/8 => %reject"]);
    us.ask(Request::Unroute {
        name: "block".into(),
    });
    let new = group("block", Shunt::Drop, Failure::None, false);
    assert_eq!(us.status_of(Request::Replace(Box::new(new))), 0);
    assert!(us.eroutes().is_empty());
    // One that is not there is added.
    let new = group("private", Shunt::Reject, Failure::None, false);
    assert_eq!(us.status_of(Request::Replace(Box::new(new))), 0);
    assert_eq!(us.route("private"), 0);
}

#[test]
fn a_block_that_cannot_move_stays_as_it_is() {
    let mut us = groups();
    files(&mut us, &[("private", &["10.0.0.0/8"])]);
    let kept = us.id("private#10.0.0.0/8");
    us.kernel_answers = false;
    files(&mut us, &[("clear", &["10.0.0.0/8"])]);
    us.sleep(60);
    us.sleep(60);
    us.kernel_answers = true;
    assert_eq!(us.id("private#10.0.0.0/8"), kept);
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.0.0.0/8 => %trap"]);
    files(&mut us, &[("clear", &["10.0.0.0/8"])]);
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 10.0.0.0/8 => %pass"]);
}

#[test]
fn who_has_the_groups_read_waits_until_all_is_changed() {
    let mut us = groups();
    files(&mut us, &[("private", &["10.0.0.0/8", "10.1.0.0/16"])]);
    us.kernel_waits = true;
    us.groups.clear();
    us.groups.insert("block".into(), vec![net("10.0.0.0/8")]);
    let client = us.ask(Request::Reread {
        class: whack::RereadClass::All,
    });
    // It waits for the secrets as well.
    let (secrets, _) = ipsec_keys::Secrets::parse("ipsec.secrets", "");
    let secrets = Box::new(secrets);
    let problems = Vec::new();
    us.give(crate::engine::Event::Secrets { secrets, problems });
    let mut steps = 0;
    loop {
        let over = us.finished.iter().any(|(id, _)| *id == client);
        let done = us.eroutes() == ["192.1.2.23/32 -> 10.0.0.0/8 => %reject"];
        assert!(!over || done, "{:?}", us.eroutes());
        if !us.kernel_step() {
            assert!(over && done, "{steps}");
            break;
        }
        steps += 1;
    }
    assert!(steps >= 2, "{steps}");
}

#[test]
fn a_group_that_is_routed_takes_over_like_a_file_that_changes() {
    let mut us = groups();
    us.ask(Request::Unroute {
        name: "block".into(),
    });
    files(
        &mut us,
        &[("private", &["10.0.0.0/8"]), ("block", &["10.0.0.0/9"])],
    );
    let client = us.ask(Request::Route {
        name: "block".into(),
    });
    assert!(
        us.finished
            .iter()
            .any(|(id, status)| (*id, *status) == (client, 0))
    );
    assert_eq!(us.eroutes().len(), 2);
}

const SIX: &str = "2001:db8:1::23";
const TEMPORARY: &str = "2001:db8:1::9f3a";

fn default_routes(us: &mut Gateway, v4: bool, v6: bool) {
    let route = |address: &str, router: &str| crate::engine::DefaultRoute {
        device: "eth1".into(),
        address: addr(address),
        next_hop: Some(addr(router)),
    };
    us.give(crate::engine::Event::DefaultRoutes(
        crate::engine::DefaultRoutes {
            v4: v4.then(|| route(US, "192.1.2.254")),
            v6: v6.then(|| route(SIX, "fe80::1")),
        },
    ));
}

/// Groups with `left=%defaultroute`, on a host with these addresses.
fn groups_of_the_host(addresses: &[&str]) -> Gateway {
    let mut us = Gateway::at(US);
    let all: Vec<_> = addresses.iter().map(|a| ("ipsec0", "eth1", *a)).collect();
    us.interfaces(&all);
    let has = |v6: bool| addresses.iter().any(|a| addr(a).is_ipv6() == v6);
    default_routes(&mut us, has(false), has(true));
    for (name, shunt, failure, negotiated) in [
        ("clear", Shunt::Pass, Failure::None, false),
        ("private", Shunt::Trap, Failure::Drop, true),
    ] {
        let mut conn = group(name, shunt, failure, negotiated);
        conn.left.host = Host::Live(whack::Live::DefaultRoute);
        conn.left.live_nexthop = Some(whack::Live::DefaultRoute);
        conn.left.nexthop = None;
        us.add(conn);
        us.route(name);
    }
    us
}

#[test]
fn h11_blocks_of_ipv6_are_for_each_ipv6_address_of_the_host() {
    let mut us = groups_of_the_host(&[US, SIX, TEMPORARY]);
    let files_of_both: [(&str, &[&str]); 2] = [
        ("private", &["0.0.0.0/0", "::/0"]),
        ("clear", &["2001:db8:53::53/128"]),
    ];
    files(&mut us, &files_of_both);
    let problems: Vec<_> = us.log.iter().filter(|l| l.contains("block ")).collect();
    assert_eq!(problems, Vec::<&String>::new());
    let expected = |addresses: &[&str]| {
        let mut all = vec!["192.1.2.23/32 -> 0.0.0.0/0 => %trap".to_owned()];
        for six in addresses {
            all.push(format!("{six}/128 -> ::/0 => %trap"));
            all.push(format!("{six}/128 -> 2001:db8:53::53/128 => %pass"));
        }
        all.sort();
        all
    };
    let sorted = |us: &Gateway| {
        let mut all = us.eroutes();
        all.sort();
        all
    };
    assert_eq!(sorted(&us), expected(&[SIX, TEMPORARY]));
    assert!(us.status_text().contains(
        "\"private#::/0\": 2001:db8:1::23---fe80::1...%opportunistic; prospective erouted"
    ));
    // What DNS has no key for is dropped, whichever address a program took.
    for source in [SIX, TEMPORARY] {
        us.send(source, "2001:db8:9::9");
        assert!(
            matches!(us.send(source, "2001:db8:9::9"), Outbound::Drop(_)),
            "{source}"
        );
    }
    // Another temporary address takes the place of one: its route never goes.
    us.verbs.clear();
    let next = "2001:db8:1::7777";
    let all = [
        ("ipsec0", "eth1", US),
        ("ipsec0", "eth1", SIX),
        ("ipsec0", "eth1", next),
    ];
    us.interfaces(&all);
    let own: Vec<String> = sorted(&us)
        .into_iter()
        .filter(|e| !e.contains("%drop"))
        .collect();
    assert_eq!(own, expected(&[SIX, next]));
    assert!(
        !us.verbs.iter().any(|v| v.starts_with("unroute")),
        "{:?}",
        us.verbs
    );
    // All IPv6 goes, and the closed state stays.
    us.interfaces(&[("ipsec0", "eth1", US)]);
    default_routes(&mut us, true, false);
    assert!(
        !us.verbs.iter().any(|v| v.starts_with("unroute")),
        "{:?}",
        us.verbs
    );
    let traps = us
        .eroutes()
        .iter()
        .filter(|e| e.ends_with("-> ::/0 => %trap"))
        .count();
    assert!(traps > 0);
    // Another network.
    let moved = "2001:db8:2::23";
    us.interfaces(&[("ipsec0", "eth1", US), ("ipsec0", "eth1", moved)]);
    let own: Vec<String> = sorted(&us)
        .into_iter()
        .filter(|e| !e.contains("%drop"))
        .collect();
    assert_eq!(own, expected(&[moved]));
    assert!(
        !us.verbs.iter().any(|v| v.starts_with("unroute")),
        "{:?}",
        us.verbs
    );
}

/// Nothing of IPv4 is needed for it, and it may come later.
#[test]
fn h11_a_host_with_ipv6_alone_and_one_that_gets_it_later() {
    let mut us = groups_of_the_host(&[SIX]);
    files(&mut us, &[("private", &["0.0.0.0/0", "::/0"])]);
    assert_eq!(us.eroutes(), ["2001:db8:1::23/128 -> ::/0 => %trap"]);
    us.interfaces(&[("ipsec0", "eth1", SIX), ("ipsec0", "eth1", US)]);
    default_routes(&mut us, true, true);
    assert_eq!(us.eroutes().len(), 2, "{:?}", us.eroutes());

    let mut us = groups_of_the_host(&[US]);
    files(&mut us, &[("private", &["0.0.0.0/0", "::/0"])]);
    assert_eq!(us.eroutes(), ["192.1.2.23/32 -> 0.0.0.0/0 => %trap"]);
    us.interfaces(&[("ipsec0", "eth1", US), ("ipsec0", "eth1", SIX)]);
    default_routes(&mut us, true, true);
    assert_eq!(us.eroutes().len(), 2, "{:?}", us.eroutes());
}
