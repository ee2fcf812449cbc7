//! What `ipsec verify` says of policy groups: whether each packet that comes by their routes meets a policy.

use super::Finding;
use crate::auto::send;
use crate::net;
use crate::paths::Paths;
use crate::setup::used_groups;
use ipsec_conf::implicit::PACKET_DEFAULT;
use ipsec_conf::{Auto, Config, PolicyGroup};

/// The line about them; none where no group has a block.
pub(super) fn check(config: &Config) -> Option<(String, Finding)> {
    used_groups(config).next()?;
    let title = "Checking that all packets meet a policy beside the groups";
    Some((title.into(), everything_has_a_policy(config)))
}

/// A route to a block takes what this host's other addresses and hosts behind it send there too, for which `packetdefault` is.
fn everything_has_a_policy(config: &Config) -> Finding {
    let (mut routed, mut caught) = (false, false);
    let asked = send(&whack::Request::Status, |_, text| {
        let name = text
            .strip_prefix('"')
            .and_then(|text| text.split('"').next());
        let erouted = text.contains("erouted; ");
        routed |= erouted && name.is_some_and(|name| name.contains('#'));
        caught |= erouted && name == Some(PACKET_DEFAULT);
    });
    if let Err(error) = asked {
        return Err(error.to_string());
    }
    let mut autos = config.autos().into_iter();
    let unwanted = autos.any(|(name, auto)| name == PACKET_DEFAULT && auto == Auto::Ignore);
    match (routed, caught) {
        (false, _) => Err("blocks of policy groups are not routed: ipsec setup restart".into()),
        (_, true) => Ok(without_ipv6(config)),
        _ if unwanted => Ok(Some(
            "packetdefault has auto=ignore: what other addresses of this host and hosts behind it send to a block is dropped".into(),
        )),
        _ => Err("packets to the groups' blocks from other addresses of this host, and from hosts behind it, are dropped: ipsec auto --add packetdefault, then ipsec auto --route packetdefault".into()),
    }
}

/// A remark where a group is for everybody with IPv4, and nothing is said of IPv6.
fn without_ipv6(config: &Config) -> Option<String> {
    let blocks: Vec<_> = used_groups(config)
        .filter_map(|name| {
            let text = std::fs::read_to_string(Paths::get().policies().join(name)).ok()?;
            Some(PolicyGroup::parse(name, &text).blocks)
        })
        .flatten()
        .collect();
    let everybody = |ipv6: bool| {
        let mut all = blocks.iter().filter(|block| block.is_all());
        all.any(|block| block.addr().is_ipv6() == ipv6)
    };
    let ipv6 = net::devices().is_ok_and(|all| {
        let mut all = all.iter().filter(|d| d.ifname != "lo");
        all.any(|d| d.addresses().iter().any(|a| a.local.is_ipv6()))
    });
    (ipv6 && everybody(false) && !everybody(true)).then(|| {
        "a group has 0.0.0.0/0 and none has ::/0: IPv6 goes in the clear where no key is found"
            .into()
    })
}
