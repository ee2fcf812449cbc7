//! Limits on the values in a request, checked by both sides: the client to tell the person, pluto
//! because the client may be anything.

use crate::request::{Connection, Dpd, End, Lifetimes, Live, Request};

/// A value in a request that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, as a path: `Connection.left.updown`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

const NAME_MAX: usize = 128;
const ID_MAX: usize = 1024;
const UPDOWN_MAX: usize = 4096;
const PROPOSAL_MAX: usize = 1024;
/// Base64 or hexadecimal of a 16,384-bit RSA key.
const KEY_MAX: usize = 5000;
/// `leftrsasigkey=` and `leftrsasigkey2=`, with room.
const KEYS_MAX: usize = 8;

impl Request {
    /// Checks every value against its limits.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Request::Connection(c) | Request::Replace(c) => c.validate(),
            Request::Delete { name } => word("Delete.name", name, NAME_MAX),
            Request::Route { name } => word("Route.name", name, NAME_MAX),
            Request::Unroute { name } => word("Unroute.name", name, NAME_MAX),
            Request::Initiate { name, .. } => word("Initiate.name", name, NAME_MAX),
            Request::Terminate { name } => word("Terminate.name", name, NAME_MAX),
            Request::PublicKey { id, key, .. } => {
                word("PublicKey.id", id, ID_MAX)?;
                optional("PublicKey.key", key, KEY_MAX)
            }
            Request::MyId { id } => word("MyId.id", id, ID_MAX),
            Request::Debug { name, .. } => optional("Debug.name", name, NAME_MAX),
            Request::DeleteState { .. }
            | Request::Crash { .. }
            | Request::Listen
            | Request::Unlisten
            | Request::Reread { .. }
            | Request::List { .. }
            | Request::OpportunisticInitiate { .. }
            | Request::Status
            | Request::Shutdown => Ok(()),
        }
    }
}

impl Connection {
    fn validate(&self) -> Result<(), Invalid> {
        word("Connection.name", &self.name, NAME_MAX)?;
        optional("Connection.ike", &self.ike, PROPOSAL_MAX)?;
        optional("Connection.esp", &self.esp, PROPOSAL_MAX)?;
        optional("Connection.pfsgroup", &self.pfsgroup, PROPOSAL_MAX)?;
        self.end("left", &self.left)?;
        self.end("right", &self.right)?;
        if !self.left.host.is_one() && !self.right.host.is_one() {
            return bad(
                "Connection.right.host",
                "hosts cannot both be 0.0.0.0 or 0::0",
            );
        }
        if self.left.protoport.proto != self.right.protoport.proto {
            return bad(
                "Connection.right.protoport",
                "the protocol for leftprotoport and rightprotoport must be the same",
            );
        }
        self.policy_fits()?;
        self.dpd_fits()?;
        self.lifetimes_fit()
    }

    fn end(&self, side: &str, end: &End) -> Result<(), Invalid> {
        let field = |name: &str| format!("Connection.{side}.{name}");
        if end.host.addr().is_some_and(|a| a.is_ipv6() != self.ipv6) {
            return bad(field("host"), "address family of host inconsistent");
        }
        if end.host.addr().is_some_and(|a| a.is_unspecified()) {
            return bad(field("host"), "the unspecified address is written %any");
        }
        if end.nexthop.is_some_and(|a| a.is_ipv6() != self.ipv6) {
            return bad(field("nexthop"), "address family of nexthop inconsistent");
        }
        if end.nexthop.is_some() && end.live_nexthop.is_some() {
            return bad(
                field("live_nexthop"),
                "there is a nexthop already: an end has one",
            );
        }
        for (name, live) in [
            ("host", end.host.live()),
            ("live_nexthop", end.live_nexthop.as_ref()),
        ] {
            if let Some(Live::Name(name_of_host)) = live
                && !is_host_name(name_of_host)
            {
                return bad(
                    field(name),
                    "not a host name: letters, digits, hyphens and dots, such as gw.example.com",
                );
            }
        }
        if end.keys.len() > KEYS_MAX {
            return bad(field("keys"), format!("at most {KEYS_MAX} keys"));
        }
        for key in &end.keys {
            optional(&field("keys"), &Some(key.clone()), KEY_MAX)?;
        }
        if end
            .client
            .is_some_and(|net| net.addr().is_ipv6() != self.tunnel_ipv6)
        {
            return bad(
                field("client"),
                "address family of client subnet inconsistent",
            );
        }
        if let Some(source) = end.source_ip {
            let own = end
                .client
                .or(end.host.addr().map(ipsec_types::Subnet::host));
            if own.is_some_and(|client| !client.contains(source)) {
                return bad(field("source_ip"), "must lie within the client subnet");
            }
        }
        if end.client_within && end.client.is_none() {
            return bad(field("client_within"), "needs a client subnet to be within");
        }
        if end.ike_port == 0 {
            return bad(
                field("ike_port"),
                "<port-number> must be a number between 1 and 65535",
            );
        }
        optional(&field("id"), &end.id, ID_MAX)?;
        optional(&field("updown"), &end.updown, UPDOWN_MAX)
    }

    fn policy_fits(&self) -> Result<(), Invalid> {
        let p = &self.policy;
        let ipsec = p.encrypt || p.authenticate || p.compress || p.tunnel || p.pfs;
        let ends = [&self.left, &self.right];
        if let Some(end) = ends.iter().find(|end| end.virt.is_some()) {
            if end.client.is_some() {
                return bad("Connection.virt", "--client conflicts with itself");
            }
            if ends.iter().all(|end| end.virt.is_some()) {
                return bad("Connection.virt", "only one end can have a virtual client");
            }
            if end.host.is_one() {
                return bad(
                    "Connection.virt",
                    "a virtual client (vhost:, vnet:) belongs to a road warrior: --host %any",
                );
            }
        }
        let clients = ends
            .iter()
            .any(|end| end.client.is_some() || end.virt.is_some());
        if p.opportunistic && (p.psk || !p.rsasig) {
            return bad(
                "Connection.policy.rsasig",
                "only RSASIG is supported for opportunism",
            );
        }
        if p.opportunistic && !p.pfs {
            return bad("Connection.policy.pfs", "PFS required for opportunism");
        }
        if p.opportunistic && !p.encrypt {
            return bad(
                "Connection.policy.encrypt",
                "encryption required for opportunism",
            );
        }
        if clients && (p.psk || p.rsasig) && !ipsec {
            return bad(
                "Connection.policy.encrypt",
                "must not specify clients for ISAKMP-only connection",
            );
        }
        if !p.psk && !p.rsasig && p.shunt == crate::Shunt::Trap {
            return bad(
                "Connection.policy",
                "non-shunt connection must have --psk or --rsasig or both",
            );
        }
        Ok(())
    }

    fn dpd_fits(&self) -> Result<(), Invalid> {
        let dpd = &self.dpd;
        for (field, seconds) in [("delay", dpd.delay), ("timeout", dpd.timeout)] {
            if seconds > Dpd::MAXIMUM {
                let problem = format!("{seconds} seconds, at most {} are allowed", Dpd::MAXIMUM);
                return bad(format!("Connection.dpd.{field}"), problem);
            }
        }
        if dpd.delay != 0 && dpd.timeout <= dpd.delay {
            let problem = format!(
                "dpdtimeout [{} seconds] must be longer than dpddelay [{} seconds]",
                dpd.timeout, dpd.delay
            );
            return bad("Connection.dpd.timeout", problem);
        }
        Ok(())
    }

    fn lifetimes_fit(&self) -> Result<(), Invalid> {
        let l = &self.lifetimes;
        self.lifetime("ikelifetime", "ike", l.ike, Lifetimes::IKE_MAXIMUM)?;
        self.lifetime("ipseclifetime", "ipsec", l.ipsec, Lifetimes::IPSEC_MAXIMUM)
    }

    fn lifetime(&self, option: &str, field: &str, life: u32, limit: u32) -> Result<(), Invalid> {
        let l = &self.lifetimes;
        let field = format!("Connection.lifetimes.{field}");
        if life > limit {
            let problem = format!("{option} [{life} seconds] must be less than {limit} seconds");
            return bad(field, problem);
        }
        if !self.policy.dont_rekey && u64::from(life) <= l.longest_margin() {
            return bad(
                field,
                format!(
                    "{option} [{life}] must be greater than rekeymargin*(100+rekeyfuzz)/100 \
                     [{}*(100+{})/100 = {}]",
                    l.rekey_margin,
                    l.rekey_fuzz,
                    l.longest_margin()
                ),
            );
        }
        Ok(())
    }
}

/// Whether a text can be looked up as the name of a host. Numbers with dots are an address that is mistyped.
pub fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    name.len() <= 253
        && name.split('.').all(label)
        && name.rsplit('.').next().is_some_and(|last| !number(last))
}

fn bad(field: impl Into<String>, problem: impl Into<String>) -> Result<(), Invalid> {
    Err(Invalid {
        field: field.into(),
        problem: problem.into(),
    })
}

fn optional(field: &str, text: &Option<String>, max: usize) -> Result<(), Invalid> {
    text.as_deref()
        .map_or(Ok(()), |text| word(field, text, max))
}

/// Non-empty, within its limit, and no control characters, which could forge lines in the log.
fn word(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        bad(field, "must not be empty")
    } else if text.len() > max {
        bad(
            field,
            format!("{} bytes, at most {max} are allowed", text.len()),
        )
    } else if text.chars().any(char::is_control) {
        bad(field, "holds a control character")
    } else {
        Ok(())
    }
}
