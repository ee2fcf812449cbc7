//! What a Quick Mode agreed on, with the keys of both directions (RFC 2409 section 5.5).

use std::net::IpAddr;

use super::super::ident::Client;
use super::super::isakmp::IsakmpSa;
use crate::crypto::{AuthAlg, Group, KeymatFor, Secret};
use crate::proposal::{EspSuite, IpsecChoice, Lifetimes, Spis};
use crate::wire::Protocol;

/// Both nonces, without payload headers.
pub(super) struct Nonces<'a> {
    pub(super) initiator: &'a [u8],
    pub(super) responder: &'a [u8],
}

/// The keys of one direction; wiped when dropped.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The cipher's, a salt or nonce behind it where it has one; empty for AH.
    pub cipher: Secret,
    /// The authenticator's; empty if there is none.
    pub auth: Secret,
}

/// A pair of ESP SAs.
#[derive(Clone, Debug)]
pub struct EspSa {
    /// Cipher and authenticator.
    pub suite: EspSuite,
    /// Sequence numbers of 64 bits.
    pub esn: bool,
    /// Chosen by us, on what comes in.
    pub spi_in: u32,
    /// Chosen by the peer, on what goes out.
    pub spi_out: u32,
    /// Keys of what comes in.
    pub inbound: Keys,
    /// Keys of what goes out.
    pub outbound: Keys,
}

/// A pair of AH SAs.
#[derive(Clone, Debug)]
pub struct AhSa {
    /// Authenticator.
    pub auth: AuthAlg,
    /// Sequence numbers of 64 bits.
    pub esn: bool,
    /// Chosen by us, on what comes in.
    pub spi_in: u32,
    /// Chosen by the peer, on what goes out.
    pub spi_out: u32,
    /// Keys of what comes in.
    pub inbound: Keys,
    /// Keys of what goes out.
    pub outbound: Keys,
}

/// A pair of IPCOMP SAs, deflate.
#[derive(Clone, Copy, Debug)]
pub struct IpcompSa {
    /// Chosen by us, on what comes in.
    pub cpi_in: u16,
    /// Chosen by the peer, on what goes out.
    pub cpi_out: u16,
}

/// The outcome of Quick Mode.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// Our client and the peer's; `None` for the gateways themselves.
    pub clients: Option<(Client, Client)>,
    /// Tunnel mode rather than transport mode.
    pub tunnel: bool,
    /// The peer's address as it knows itself, where it said so: of use in transport mode through a NAT (RFC 3947 section 5.2).
    pub peer_oa: Option<IpAddr>,
    /// The group of the keys' own Diffie-Hellman exchange, if they have one.
    pub pfs: Option<Group>,
    /// Seconds that the SAs may live, at most a day.
    pub life_seconds: u32,
    /// Kilobytes that each may carry, if the peer has limited them.
    pub life_kilobytes: Option<u32>,
    /// ESP, if agreed.
    pub esp: Option<EspSa>,
    /// AH, if agreed.
    pub ah: Option<AhSa>,
    /// IPCOMP, if agreed.
    pub ipcomp: Option<IpcompSa>,
}

impl Agreed {
    /// The same with a shorter life, if one is asked for.
    pub(super) fn with_life(self, asked: Lifetimes) -> Self {
        let ours = Lifetimes {
            seconds: Some(self.life_seconds),
            kilobytes: self.life_kilobytes,
        };
        let agreed = ours.shorter(asked);
        Self {
            life_seconds: agreed.seconds.unwrap_or(self.life_seconds),
            life_kilobytes: agreed.kilobytes,
            ..self
        }
    }

    pub(super) fn with_peer_oa(self, peer_oa: Option<IpAddr>) -> Self {
        Self { peer_oa, ..self }
    }

    pub(super) fn new(
        sa: &IsakmpSa,
        (choice, ours): (IpsecChoice, Spis),
        nonces: &Nonces<'_>,
        pfs: Option<&Secret>,
        clients: Option<(Client, Client)>,
    ) -> Self {
        let keys = |protocol, spi, cipher_len, auth_len| {
            let (ni_b, nr_b) = (nonces.initiator, nonces.responder);
            let sa_for = KeymatFor {
                protocol,
                spi,
                ni_b,
                nr_b,
            };
            let (cipher, auth) = sa
                .keys
                .keymat(&sa_for, pfs, cipher_len + auth_len)
                .split(cipher_len);
            Keys { cipher, auth }
        };
        let esp = choice.esp.map(|esp| {
            let cipher_len = esp.suite.cipher.keymat_len();
            let auth_len = esp.suite.keymat_len() - cipher_len;
            EspSa {
                suite: esp.suite,
                esn: esp.esn,
                spi_in: ours.esp,
                spi_out: esp.spi,
                inbound: keys(Protocol::ESP, ours.esp, cipher_len, auth_len),
                outbound: keys(Protocol::ESP, esp.spi, cipher_len, auth_len),
            }
        });
        let ah = choice.ah.map(|ah| AhSa {
            auth: ah.auth,
            esn: ah.esn,
            spi_in: ours.ah,
            spi_out: ah.spi,
            inbound: keys(Protocol::AH, ours.ah, 0, ah.auth.key_len()),
            outbound: keys(Protocol::AH, ah.spi, 0, ah.auth.key_len()),
        });
        let ipcomp = choice.ipcomp.map(|comp| IpcompSa {
            cpi_in: ours.ipcomp,
            cpi_out: comp.cpi,
        });
        Self {
            clients,
            tunnel: choice.encapsulation.is_tunnel() == Some(true),
            peer_oa: None,
            pfs: choice.group,
            life_seconds: choice.life_seconds(),
            life_kilobytes: choice.lifetimes.kilobytes,
            esp,
            ah,
            ipcomp,
        }
    }
}
