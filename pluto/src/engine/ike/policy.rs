//! From a connection to what is offered and accepted, who we say we are, and the secrets that prove it.

use std::sync::Arc;
use std::time::Duration;

use ike::crypto::{Group, Secret};
use ike::proposal::{IkePolicy, IpsecPolicy};
use ike::v1::{Identity, Nat};
use ike::wire::{AuthMethod, Encapsulation};
use rsa::RsaPrivateKey;

use whack::Fragmentation;

use crate::engine::connection::Kind;
use crate::engine::kernel::Abilities;
use crate::engine::{Connection, Engine, KnownId};

fn seconds(life: Duration) -> u32 {
    u32::try_from(life.as_secs()).unwrap_or(u32::MAX)
}

/// What a connection allows in phase 1.
pub(super) fn ike_policy(conn: &Connection) -> IkePolicy {
    let methods = [
        (conn.policy.rsasig, AuthMethod::RSA_SIG),
        (conn.policy.psk, AuthMethod::PRESHARED_KEY),
    ];
    let auth = methods
        .into_iter()
        .filter(|(on, _)| *on)
        .map(|(_, method)| method)
        .collect();
    IkePolicy {
        auth,
        algorithms: conn.algorithms.ike.clone().unwrap_or_default(),
        life_seconds: seconds(conn.lifetimes.ike),
        fragmentation: conn.fragmentation != Fragmentation::No,
    }
}

/// What a connection allows in phase 2, over an ISAKMP SA with `group`.
pub(super) fn ipsec_policy(
    conn: &Connection,
    group: Group,
    kernel: Abilities,
    nat: &Nat,
) -> Result<IpsecPolicy, String> {
    if nat.used().is_some() && conn.policy.authenticate {
        return Err(
            "AH cannot pass a NAT, which changes what it protects: auth=esp is needed here"
                .to_owned(),
        );
    }
    let asked = &conn.algorithms;
    let policy = IpsecPolicy {
        encrypt: conn.policy.encrypt,
        authenticate: conn.policy.authenticate,
        compress: conn.policy.compress && kernel.ipcomp,
        esp: asked.esp.clone().unwrap_or_default(),
        ah: asked.ah.clone().unwrap_or_default(),
        supported: kernel.supported,
        esn: asked.esn,
        encapsulation: match (nat.used(), conn.policy.tunnel) {
            (Some(method), tunnel) => method.encapsulation(tunnel),
            (None, true) => Encapsulation::TUNNEL,
            (None, false) => Encapsulation::TRANSPORT,
        },
        pfs_group: conn.policy.pfs.then(|| asked.pfs_group.unwrap_or(group)),
        life_seconds: seconds(conn.lifetimes.ipsec),
    };
    if policy.is_empty() {
        let list = asked.esp.clone().unwrap_or_default();
        return Err(format!(
            "KLIPS can do nothing of esp={list}; it has {}",
            kernel.supported
        ));
    }
    Ok(policy)
}

/// For the wire.
pub(super) fn identity(id: &KnownId) -> Identity {
    match id {
        KnownId::Address(addr) => Identity::Addr(*addr),
        KnownId::Fqdn(name) => Identity::Fqdn(name.clone()),
        KnownId::UserFqdn(name) => Identity::UserFqdn(name.clone()),
        KnownId::KeyId(octets) => Identity::KeyId(octets.clone()),
    }
}

/// From the wire; `None` for kinds that no connection can name, and for the address that means anyone.
pub(super) fn known_id(id: &Identity) -> Option<KnownId> {
    match id {
        Identity::Addr(addr) => (!addr.is_unspecified()).then_some(KnownId::Address(*addr)),
        Identity::Fqdn(name) => Some(KnownId::Fqdn(name.clone())),
        Identity::UserFqdn(name) => Some(KnownId::UserFqdn(name.clone())),
        Identity::KeyId(octets) => Some(KnownId::KeyId(octets.clone())),
        Identity::DerAsn1Dn(_) => None,
    }
}

impl Engine {
    /// Who we are in a connection; our address if nothing else was said.
    pub(super) fn my_known_id(&self, conn: &Connection) -> Option<KnownId> {
        self.resolve_id(&conn.this.id)
            .or_else(|| conn.this.host.map(KnownId::Address))
    }

    /// Who the peer of a connection is, as far as known before it says so.
    fn peer_known_id(&self, conn: &Connection) -> KnownId {
        let any = || match conn.this.host {
            Some(host) if host.is_ipv6() => KnownId::any6(),
            _ => KnownId::any4(),
        };
        self.resolve_id(&conn.that.id)
            .or_else(|| conn.that.host.map(KnownId::Address))
            .unwrap_or_else(any)
    }

    /// The secret shared with the peer of a connection, as far as the peer is known.
    pub(super) fn preshared_secret(&self, conn: &Connection) -> Option<Arc<Secret>> {
        self.secret_for(conn, &self.peer_known_id(conn))
    }

    /// The secret that a connection wants of a peer with this identity. Of a road warrior any will do that `%any` stands for.
    pub(super) fn secret_for(&self, conn: &Connection, peer: &KnownId) -> Option<Arc<Secret>> {
        let me = self.my_known_id(conn)?;
        let road_warrior =
            matches!(conn.kind, Kind::Template | Kind::Instance) || conn.that.host.is_none();
        let anyone = match conn.this.host {
            Some(host) if host.is_ipv6() => KnownId::any6(),
            _ => KnownId::any4(),
        };
        let found = self
            .secrets
            .psk(&me, peer, road_warrior.then_some(&anyone))?;
        Some(Arc::new(Secret::new(found.secret.as_bytes().to_vec())))
    }

    /// Our private key in a connection.
    pub(super) fn private_key(&self, conn: &Connection) -> Option<Arc<RsaPrivateKey>> {
        let me = self.my_known_id(conn)?;
        let found = self.secrets.rsa(&me, &self.peer_known_id(conn))?;
        Some(Arc::new(found.secret.rsa().clone()))
    }

    /// What is missing, and what would help.
    pub(super) fn no_secret(&self, conn: &Connection) -> String {
        let me = self
            .my_known_id(conn)
            .map_or_else(|| "%any".to_owned(), |id| id.to_string());
        let peer = self.peer_known_id(conn);
        format!(
            "no preshared secret for {me} and {peer}: add the line `{me} {peer} : PSK \"...\"' to ipsec.secrets at both ends, then run `ipsec auto --rereadsecrets'"
        )
    }

    /// What is missing, and what would help.
    pub(super) fn no_private_key(&self, conn: &Connection) -> String {
        let me = self
            .my_known_id(conn)
            .map_or_else(|| "%any".to_owned(), |id| id.to_string());
        format!(
            "unable to locate my private key for RSA Signature of {me}: `ipsec newhostkey' makes one in ipsec.secrets, then run `ipsec auto --rereadsecrets'"
        )
    }
}
