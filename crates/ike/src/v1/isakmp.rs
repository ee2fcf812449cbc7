//! An established ISAKMP SA: its keys, who is at its ends, and the protected messages
//! that run over it.

use std::fmt;

use crate::crypto::{Iv, Phase1Keys};
use crate::proposal::IkeTransform;
use crate::wire::{Cookie, ExchangeType, HEADER_LEN, Header, MessageBuilder, PayloadType, hashed};

use super::error::Error;
use super::ident::Identity;
use super::info;
use super::message;
use super::nat::Nat;

/// Which side started an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We did.
    Initiator,
    /// The peer did.
    Responder,
}

/// An ISAKMP SA. Immutable: every exchange over it keeps its own initialization vector.
pub struct IsakmpSa {
    role: Role,
    cookies: (Cookie, Cookie),
    agreed: IkeTransform,
    pub(super) keys: Phase1Keys,
    pub(super) last_iv: Iv,
    my_id: Identity,
    peer_id: Identity,
    nat: Nat,
}

impl IsakmpSa {
    pub(super) fn new(
        role: Role,
        cookies: (Cookie, Cookie),
        agreed: IkeTransform,
        keys: Phase1Keys,
        last_iv: Iv,
        (my_id, peer_id): (Identity, Identity),
        nat: Nat,
    ) -> Self {
        Self {
            role,
            cookies,
            agreed,
            keys,
            last_iv,
            my_id,
            peer_id,
            nat,
        }
    }

    /// Which side started Main Mode.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The cookies, initiator's first; with the peer's address they name the SA.
    pub fn cookies(&self) -> (Cookie, Cookie) {
        self.cookies
    }

    /// Cipher, hash, group, authentication and lifetime that were agreed on.
    pub fn agreed(&self) -> &IkeTransform {
        &self.agreed
    }

    /// Who we said we are.
    pub fn my_id(&self) -> &Identity {
        &self.my_id
    }

    /// Who the peer has proved to be.
    pub fn peer_id(&self) -> &Identity {
        &self.peer_id
    }

    /// Whether there is a NAT between the two, and how it is got through.
    pub fn nat(&self) -> &Nat {
        &self.nat
    }

    /// The header of an encrypted message over this SA.
    pub(super) fn header(&self, exchange: ExchangeType, message_id: u32) -> Header {
        let (initiator, responder) = self.cookies;
        message::encrypted(Header::new(initiator, responder, exchange, message_id))
    }

    /// The initialization vector with which an exchange starts.
    pub(super) fn first_iv(&self, message_id: u32) -> Iv {
        self.keys.phase2_iv(&self.last_iv, message_id)
    }

    /// The first message of an exchange, with these payloads behind its hash: any, also such as no exchange has, for tests and fuzzing.
    pub fn seal(
        &self,
        (exchange, message_id): (ExchangeType, u32),
        first: PayloadType,
        payloads: &[u8],
    ) -> Vec<u8> {
        let header = self.header(exchange, message_id);
        info::protect(&self.keys, &self.last_iv, &header, |builder| {
            builder.chain(first, payloads)
        })
    }

    /// What [`IsakmpSa::seal`] was given, of a first message of either side.
    pub fn open(&self, datagram: &[u8]) -> Option<(PayloadType, Vec<u8>)> {
        let message_id = Header::new_checked(datagram).ok()?.message_id;
        let clear = self
            .decrypt(datagram, &mut self.first_iv(message_id))
            .ok()?;
        let (_, payloads) = hashed(&clear)?;
        Some((PayloadType(*clear.get(HEADER_LEN)?), payloads.to_vec()))
    }

    pub(super) fn encrypt(&self, builder: MessageBuilder, iv: &mut Iv) -> Vec<u8> {
        message::encrypt(&self.keys, builder, iv)
    }

    pub(super) fn decrypt(&self, datagram: &[u8], iv: &mut Iv) -> Result<Vec<u8>, Error> {
        message::decrypt(&self.keys, datagram, iv)
    }
}

impl fmt::Debug for IsakmpSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (initiator, responder) = self.cookies;
        write!(
            f,
            "IsakmpSa({initiator}:{responder}, {:?}, peer {})",
            self.role, self.peer_id
        )
    }
}
