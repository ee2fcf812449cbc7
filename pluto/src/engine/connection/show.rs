//! Connections as text: the name in log lines, the topology and the status lines.

use core::fmt::{self, Write as _};

use super::{Connection, End, Kind, Policy, StateId};

impl Connection {
    /// `"net-to-net"`, or `"road"[1] 192.0.2.9` for an instance.
    pub fn tag(&self) -> String {
        let mut tag = format!("\"{}\"", self.name);
        if self.kind == Kind::Instance
            || (self.kind == Kind::GoingAway && self.instance_serial != 0)
        {
            tag.push_str(&self.instance_tag());
            if self.policy.opportunistic {
                tag.push_str(&self.opportunistic_tag());
            } else if let Some(peer) = self.that.host {
                let _ = write!(tag, " {peer}");
                if self.that.host_port != super::IKE_PORT {
                    let _ = write!(tag, ":{}", self.that.host_port);
                }
            }
        }
        tag
    }

    /// ` 10.0.0.1/32=== ...192.0.2.1===10.2.0.1/32`: a gateway's own client is left out.
    fn opportunistic_tag(&self) -> String {
        let client = |end: &End| end.client.filter(|_| !end.client_is_host());
        let ours =
            client(&self.this).map_or_else(|| " ...".to_owned(), |net| format!(" {net}=== ..."));
        let peer = self
            .that
            .host
            .map_or_else(String::new, |peer| peer.to_string());
        let theirs = client(&self.that).map_or_else(String::new, |net| format!("==={net}"));
        ours + &peer + &theirs
    }

    /// `[1]` of an instance.
    pub(crate) fn instance_tag(&self) -> String {
        if self.instance_serial == 0 {
            String::new()
        } else {
            format!("[{}]", self.instance_serial)
        }
    }

    /// Its ends and everything between, as in
    /// `10.0.2.0/24===192.1.2.23[@east]---192.1.2.254...192.1.2.45[@west]===10.0.1.0/24`.
    pub fn topology(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = this_side(&mut text, &self.this, &self.that, &self.policy);
        text.push_str("...");
        let _ = that_side(&mut text, &self.that, &self.this, &self.policy);
        text
    }

    /// What `ipsec auto --status` says about it, without the leading code.
    pub fn status(&self) -> Vec<String> {
        let name = format!("\"{}\"{}", self.name, self.instance_tag());
        let life = &self.lifetimes;
        let number = |state: Option<StateId>| state.map_or(0, |state| state.0);
        let interface = self.interface.as_ref().map_or("", |i| i.phys.as_str());
        let mut policy = self.policy;
        policy.up = self.live.wanted.up;
        let dns_key = |end: &End, flag| if end.key_from_dns { flag } else { "" };
        let mut lines = vec![
            format!(
                "{name}: {}; {}; eroute owner: #{}",
                self.topology(),
                self.routing,
                number(self.live.eroute_owner)
            ),
            format!(
                "{name}:   ike_life: {}s; ipsec_life: {}s; rekey_margin: {}s; rekey_fuzz: {}%; keyingtries: {}",
                life.ike.as_secs(),
                life.ipsec.as_secs(),
                life.rekey_margin.as_secs(),
                life.rekey_fuzz,
                life.keying_tries
            ),
            format!(
                "{name}:   policy: {policy}{}{}; prio: {}; interface: {interface}; ",
                dns_key(&self.this, "+lKOD"),
                dns_key(&self.that, "+rKOD"),
                self.priority()
            ),
            format!(
                "{name}:   newest ISAKMP SA: #{}; newest IPsec SA: #{}; ",
                number(self.live.newest_isakmp),
                number(self.live.newest_ipsec)
            ),
        ];
        if let Some(dpd) = &self.dpd {
            lines.push(format!(
                "{name}:   dpd: action:{}; delay:{}; timeout:{}; ",
                dpd.action.name(),
                dpd.delay.as_secs(),
                dpd.timeout.as_secs()
            ));
        }
        let algorithms = self.algorithms.status().into_iter();
        lines.extend(algorithms.map(|(what, list)| format!("{name}:   {what}: {list}")));
        lines
    }

    /// The prefix lengths of the clients, as status shows them.
    fn priority(&self) -> String {
        let bits = |end: &End| end.client.map_or(0, |client| client.prefix());
        format!("{},{}", bits(&self.this), bits(&self.that))
    }
}

fn host(out: &mut String, end: &End, policy: &Policy) -> fmt::Result {
    match (end.host, &end.live) {
        // As libreswan shows it.
        (Some(addr), Some(whack::Live::Name(name))) => write!(out, "{addr}<{name}>")?,
        (Some(addr), _) => write!(out, "{addr}")?,
        (None, Some(live)) => write!(out, "{live}")?,
        (None, None) => out.push_str(match (policy.group, policy.opportunistic) {
            (false, false) => "%any",
            (true, false) => "%group",
            (false, true) => "%opportunistic",
            (true, true) => "%opportunisticgroup",
        }),
    }
    if end.host_port != super::IKE_PORT {
        write!(out, ":{}", end.host_port)?;
    }
    let is_own_address =
        end.id.known().is_some() && end.host.is_some_and(|addr| end.id == addr.into());
    if !end.id.is_none() && !is_own_address {
        write!(out, "[{}]", end.id)?;
    }
    if end.protoport.proto != 0 || end.protoport.port.0 != 0 {
        write!(out, ":{}", end.protoport)?;
    }
    Ok(())
}

/// The client with its brackets, `None` if there is nothing to show.
fn client(end: &End, policy: &Policy) -> Option<String> {
    if let Some(virt) = &end.virt {
        return Some(virt.to_string());
    }
    let client = end.client.filter(|_| end.has_client)?;
    if client.is_all() && (policy.group || policy.opportunistic) {
        return None;
    }
    Some(if end.client_wildcard {
        format!("{{{client}}}")
    } else {
        client.to_string()
    })
}

fn hop(end: &End, other: &End) -> Option<String> {
    end.nexthop
        .filter(|hop| other.host != Some(*hop))
        .map(|hop| hop.to_string())
}

fn this_side(out: &mut String, end: &End, other: &End, policy: &Policy) -> fmt::Result {
    if let Some(client) = client(end, policy) {
        write!(out, "{client}===")?;
    }
    host(out, end, policy)?;
    hop(end, other).map_or(Ok(()), |hop| write!(out, "---{hop}"))
}

fn that_side(out: &mut String, end: &End, other: &End, policy: &Policy) -> fmt::Result {
    if let Some(hop) = hop(end, other) {
        write!(out, "{hop}---")?;
    }
    host(out, end, policy)?;
    client(end, policy).map_or(Ok(()), |client| write!(out, "==={client}"))
}
