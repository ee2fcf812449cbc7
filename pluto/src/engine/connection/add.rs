//! Adding: from whack's description to a connection, with every check that needs the others.

use core::net::IpAddr;
use std::time::Duration;

use ipsec_types::Subnet;
use whack::{Host, Rc};

use super::algorithms::BadList;
use super::found::{Found, FoundEnd};
use super::orient::{Addresses, OrientError, orient};
use super::{
    Algorithms, ConnId, Connection, Connections, Dpd, End, FailureShunt, Id, IdError, Kind,
    Lifetimes, Live, Policy, Routing, Shunt,
};

/// Why a connection is not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// There is one of that name.
    #[error("attempt to redefine connection \"{0}\"")]
    Duplicate(String),
    /// The two ends speak about different protocols.
    #[error("the protocol must be the same for leftport and rightport")]
    ProtocolDiffers,
    /// IPv4 and IPv6 are mixed.
    #[error("address family inconsistency in connection")]
    FamilyDiffers,
    /// Both ends are `%any`.
    #[error("connection must specify host IP address for our side")]
    BothAny,
    /// A road warrior's way to authenticate must be known before its connection is.
    #[error("authentication method disagrees with \"{0}\", which is also for an unspecified peer")]
    AuthDiffers(String),
    /// The clients of the two ends are the same, so packets would have no direction.
    #[error(
        "leftsubnet {left} and rightsubnet {right} overlap: each address can be at one end only"
    )]
    ClientsOverlap {
        /// Behind left.
        left: Subnet,
        /// Behind right.
        right: Subnet,
    },
    /// An identity that is none.
    #[error("bad {end} --id: {error}")]
    BadId {
        /// `left` or `right`.
        end: &'static str,
        /// Why.
        error: IdError,
    },
    /// Algorithms that are not understood.
    #[error(transparent)]
    BadList(#[from] BadList),
    /// A value beyond its limits.
    #[error(transparent)]
    Invalid(#[from] whack::Invalid),
}

impl AddError {
    /// whack's code for it.
    pub fn rc(&self) -> Rc {
        match self {
            Self::Duplicate(_) => Rc::DupName,
            Self::BothAny => Rc::Orient,
            Self::BadId { .. } => Rc::BadId,
            Self::BadList(_) | Self::Invalid(_) => Rc::BadWhackMessage,
            Self::ProtocolDiffers
            | Self::FamilyDiffers
            | Self::AuthDiffers(_)
            | Self::ClientsOverlap { .. } => Rc::Clash,
        }
    }
}

impl Connections {
    /// Adds what `request` describes. The second value tells whether its orientation was ambiguous.
    ///
    /// # Errors
    /// [`AddError`]; nothing is added.
    pub fn add(
        &mut self,
        request: &whack::Connection,
        ours: &Addresses,
    ) -> Result<(ConnId, Result<(), OrientError>), AddError> {
        self.add_found(request, &Found::fixed(request), ours)
    }

    /// The same with the addresses that were found for it. While some are missing the connection is there, and is nobody's.
    ///
    /// # Errors
    /// [`AddError`]; nothing is added.
    pub fn add_found(
        &mut self,
        request: &whack::Connection,
        found: &Found,
        ours: &Addresses,
    ) -> Result<(ConnId, Result<(), OrientError>), AddError> {
        if self.configured(&request.name).is_some() {
            return Err(AddError::Duplicate(request.name.clone()));
        }
        let policy = policy_of(&request.policy);
        let algorithms = Algorithms::of(request)?;
        let (this, that) = ends_of(request, found, &policy)?;
        self.check_road_warriors(&policy, &this, &that)?;
        let conn = Connection {
            id: ConnId(0),
            name: request.name.clone(),
            kind: kind_of(&policy, &that),
            instance_serial: 0,
            template: None,
            policy,
            lifetimes: lifetimes_of(&request.lifetimes),
            fragmentation: request.fragmentation,
            dpd: dpd_of(request.dpd),
            algorithms,
            this,
            that,
            interface: None,
            away: false,
            waiting: !found.complete,
            turned: false,
            routing: Routing::Unrouted,
            live: Live::default(),
        };
        Ok(self.admit(conn, ours))
    }

    /// Gives a connection other addresses. What it has of states, eroutes and routes is not touched.
    ///
    /// # Errors
    /// [`AddError`] if it cannot have these, and then it waits for others; the orientation's inside.
    pub(crate) fn rehost(
        &mut self,
        id: ConnId,
        request: &whack::Connection,
        found: &Found,
        ours: &Addresses,
    ) -> Result<Result<(), OrientError>, AddError> {
        let policy = policy_of(&request.policy);
        let ends = ends_of(request, found, &policy);
        let change = |conn: &mut Connection| {
            let (this, that) = match ends {
                Ok(_) if conn.turned => ends.map(|(this, that)| (that, this))?,
                other => other?,
            };
            // Where neither end is ours at the moment, what is routed stays as it is until one is.
            let before = conn.interface.take();
            conn.waiting = !found.complete;
            conn.kind = kind_of(&policy, &that);
            (conn.this, conn.that) = (this, that);
            let oriented = orient(conn, ours);
            if conn.interface.is_none() && conn.routing.routed() {
                conn.away = before.is_some();
                conn.interface = before;
            }
            Ok(oriented)
        };
        self.edit(id, change).unwrap_or(Ok(Ok(())))
    }

    /// All connections for any peer at one of our addresses must authenticate alike: the method
    /// is agreed before the peer has said who it is.
    fn check_road_warriors(&self, policy: &Policy, this: &End, that: &End) -> Result<(), AddError> {
        if !that.is_any() || policy.never_negotiate() {
            return Ok(());
        }
        let Some(host) = this.host else { return Ok(()) };
        // Those that agreed before agree with each other, so the first tells.
        let pair = (host, this.host_port, None, that.host_port);
        let other = self
            .in_pair(pair)
            .find(|conn| !conn.policy.never_negotiate());
        match other {
            Some(other)
                if (other.policy.psk, other.policy.rsasig) != (policy.psk, policy.rsasig) =>
            {
                Err(AddError::AuthDiffers(other.name.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// The ends of a description with the addresses that were found, `this` before `that`: what is open about the peer is always at `that`.
fn ends_of(
    request: &whack::Connection,
    found: &Found,
    policy: &Policy,
) -> Result<(End, End), AddError> {
    if request.left.protoport.proto != request.right.protoport.proto {
        return Err(AddError::ProtocolDiffers);
    }
    let mut left = end_of(&request.left, found.left, "left")?;
    let mut right = end_of(&request.right, found.right, "right")?;
    if found.complete {
        check_families(&left, &right, found)?;
    }
    if left.is_any() && right.is_any() {
        return Err(AddError::BothAny);
    }
    default_end(&mut left, right.host);
    default_end(&mut right, left.host);
    // A shunt may well be for packets within one net.
    if !policy.never_negotiate() {
        check_overlap(&left, &right)?;
    }
    let left_open = left.is_any() || left.is_open();
    Ok(if left_open {
        (right, left)
    } else {
        (left, right)
    })
}

fn end_of(end: &whack::End, found: FoundEnd, which: &'static str) -> Result<End, AddError> {
    let id = match &end.id {
        None => Id::None,
        Some(text) => text
            .parse()
            .map_err(|error| AddError::BadId { end: which, error })?,
    };
    let client = end.client;
    Ok(End {
        host: found.host,
        live: end.host.live().cloned(),
        host_port: end.ike_port,
        nexthop: found.nexthop,
        source_ip: end.source_ip,
        id,
        has_client: client.is_some() || end.virt.is_some(),
        client,
        client_wildcard: end.client_within,
        virt: end.virt.clone(),
        protoport: end.protoport,
        updown: end.updown.clone(),
        key_from_dns: end.key_from_dns_on_demand || matches!(end.host, Host::Opportunistic),
    })
}

fn default_end(end: &mut End, other: Option<IpAddr>) {
    if let (Id::None, Some(host)) = (&end.id, end.host) {
        end.id = Id::from(host);
    }
    if end.nexthop.is_none() {
        end.nexthop = other;
    }
    if !end.has_client {
        end.client = end.host.map(Subnet::host);
    }
}

fn check_families(left: &End, right: &End, request: &Found) -> Result<(), AddError> {
    let hosts = [left.host, right.host, left.nexthop, right.nexthop];
    let hosts_fit = hosts
        .iter()
        .flatten()
        .all(|addr| addr.is_ipv6() == request.ipv6);
    let client_v6 = |end: &End| {
        end.client
            .map_or(request.ipv6, |client| client.addr().is_ipv6())
    };
    let clients_fit = [left, right]
        .iter()
        .all(|end| end.client.is_none() || client_v6(end) == request.tunnel_ipv6);
    if hosts_fit && clients_fit && client_v6(left) == client_v6(right) {
        Ok(())
    } else {
        Err(AddError::FamilyDiffers)
    }
}

/// The clients must not be the same. One may be part of the other on purpose: `0.0.0.0/0` behind
/// the peer, or a whole net that reaches a part of itself (extruded subnets).
fn check_overlap(left: &End, right: &End) -> Result<(), AddError> {
    let (Some(l), Some(r)) = (left.client, right.client) else {
        return Ok(());
    };
    if l == r && !l.is_all() && !left.client_wildcard && !right.client_wildcard {
        return Err(AddError::ClientsOverlap { left: l, right: r });
    }
    Ok(())
}

pub(super) fn kind_of(policy: &Policy, that: &End) -> Kind {
    if policy.group {
        Kind::Group
    } else if (that.is_any() && !policy.never_negotiate())
        || that.client_wildcard
        || that.virt.is_some()
    {
        Kind::Template
    } else {
        Kind::Permanent
    }
}

fn lifetimes_of(lifetimes: &whack::Lifetimes) -> Lifetimes {
    let seconds = |s: u32| Duration::from_secs(s.into());
    Lifetimes {
        ike: seconds(lifetimes.ike),
        ipsec: seconds(lifetimes.ipsec),
        rekey_margin: seconds(lifetimes.rekey_margin),
        rekey_fuzz: lifetimes.rekey_fuzz,
        keying_tries: lifetimes.keying_tries,
    }
}

fn dpd_of(dpd: whack::Dpd) -> Option<Dpd> {
    let seconds = |s: u32| Duration::from_secs(s.into());
    (dpd.delay != 0).then(|| Dpd {
        delay: seconds(dpd.delay),
        timeout: seconds(dpd.timeout),
        action: dpd.action,
    })
}

fn policy_of(policy: &whack::Policy) -> Policy {
    Policy {
        psk: policy.psk,
        rsasig: policy.rsasig,
        encrypt: policy.encrypt,
        authenticate: policy.authenticate,
        compress: policy.compress,
        tunnel: policy.tunnel,
        pfs: policy.pfs,
        disable_arrival_check: policy.disable_arrival_check,
        shunt: match policy.shunt {
            whack::Shunt::Trap => Shunt::Trap,
            whack::Shunt::Pass => Shunt::Pass,
            whack::Shunt::Drop => Shunt::Drop,
            whack::Shunt::Reject => Shunt::Reject,
        },
        failure: match policy.failure {
            whack::Failure::None => FailureShunt::None,
            whack::Failure::Pass => FailureShunt::Pass,
            whack::Failure::Drop => FailureShunt::Drop,
            whack::Failure::Reject => FailureShunt::Reject,
        },
        dont_rekey: policy.dont_rekey,
        opportunistic: policy.opportunistic,
        group: policy.group,
        grouted: false,
        up: false,
        force_encaps: policy.force_encaps,
        dnssec: policy.dnssec,
    }
}
