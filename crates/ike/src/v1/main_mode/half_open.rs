//! The responder before the initiator has returned our cookie. Nothing is kept of an initiator and no key is computed: what is
//! kept is the answer to its message, the same for all who send that message, and our cookie names the answer.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::error::Error;
use super::super::job::Job;
use super::super::message::{self, VENDOR_ID};
use super::super::nat::{Nat, NatMethod, NatOffer};
use super::super::vendor;
use super::responder::Mi2;
use super::{Computing, Continuation, Step};
use crate::crypto::Secret;
use crate::proposal::{IkePolicy, IkeTransform};
use crate::wire::{Cookie, Expect, Header, Message, MessageBuilder, PayloadType};

/// Longest SA payload that is kept, in octets. Two hundred transforms fit.
pub const MAX_SA_LEN: usize = 8192;

/// The secret that makes responder cookies. Draw a new one from time to time.
pub struct CookieSecret(Zeroizing<[u8; 20]>);

impl CookieSecret {
    /// A fresh secret.
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 20]);
        rng.fill_bytes(&mut secret[..]);
        Self(secret)
    }

    /// The cookie for an initiator (RFC 2408 section 2.5.3): two octets of `answer`, by which the answer to its message is found
    /// again, and a keyed hash of what an attacker who forges addresses can't receive an answer for. `serial` tells
    /// the answer from others that have had the same number.
    pub fn cookie(&self, peer: SocketAddr, initiator: Cookie, answer: Answer) -> Cookie {
        let mut cookie = [0; 8];
        let (number, hash) = cookie.split_at_mut(2);
        number.copy_from_slice(&answer.number.get().to_be_bytes());
        // HMAC takes keys of every length, so the error cannot happen; the cookie would then fit nobody.
        if let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(&self.0[..]) {
            match peer.ip() {
                IpAddr::V4(addr) => mac.update(&addr.octets()),
                IpAddr::V6(addr) => mac.update(&addr.octets()),
            }
            mac.update(&peer.port().to_be_bytes());
            mac.update(&initiator.0);
            mac.update(&answer.serial.to_be_bytes());
            for (to, from) in hash.iter_mut().zip(mac.finalize().into_bytes()) {
                *to = from;
            }
        }
        Cookie(cookie)
    }

    /// Whether this is the cookie that [`CookieSecret::cookie`] makes for the same.
    pub fn fits(
        &self,
        cookie: Cookie,
        peer: SocketAddr,
        initiator: Cookie,
        answer: Answer,
    ) -> bool {
        let ours = self.cookie(peer, initiator, answer);
        ours.0[..].ct_eq(&cookie.0[..]).into()
    }
}

/// Which answer a cookie is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its number in the table of answers, which the cookie shows.
    pub number: NonZeroU16,
    /// A number that no other answer has ever had.
    pub serial: u64,
}

impl Answer {
    /// The number that a cookie of ours shows.
    pub fn number_in(cookie: Cookie) -> Option<NonZeroU16> {
        let [high, low, ..] = cookie.0;
        NonZeroU16::new(u16::from_be_bytes([high, low]))
    }
}

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}

/// Sent MR1, expecting MI2: STATE_MAIN_R1, as an answer that holds for all who send the same MI1.
#[derive(Clone, Debug)]
pub struct HalfOpen {
    sa_body: Vec<u8>,
    chosen: IkeTransform,
    nat: Nat,
    /// With cookies of zeros.
    mr1: Vec<u8>,
}

impl HalfOpen {
    /// Takes MI1, chooses by `policy`, and makes MR1. `nat`: go along if the peer knows NAT traversal.
    ///
    /// # Errors
    /// A malformed message, or nothing acceptable in it.
    pub fn respond(datagram: &[u8], policy: &IkePolicy, nat: bool) -> Result<Self, Error> {
        let message = Message::new_checked(datagram)?;
        let header = message.header();
        if !header.responder.is_zero() {
            return Err(Error::Header("responder cookie is not zero"));
        }
        if header.message_id != 0 {
            return Err(Error::Header("message ID is not zero"));
        }
        message.expect(&Expect {
            first: Some(PayloadType::SA),
            counts: &[(PayloadType::SA, 1, 1)],
            tolerated: &[],
        })?;
        let (offer, sa_body) = message.sa().ok_or(Error::Header("SA payload is missing"))?;
        if sa_body.len() > MAX_SA_LEN {
            return Err(Error::Header("SA payload is too long"));
        }
        let (chosen, answer) = policy.choose(offer)?;
        let nat = Nat::agreed(NatMethod::of(&message).filter(|_| nat));
        let mut mr1 = MessageBuilder::new(&message::main_mode(Cookie::ZERO, Cookie::ZERO))
            .sa(&answer)
            .vendor_id(VENDOR_ID)
            .vendor_id(vendor::DPD);
        if let Some(method) = nat.method {
            mr1 = mr1.vendor_id(method.vendor_id());
        }
        let mut asked = vendor::Peer::default();
        asked.learn(datagram);
        if policy.fragmentation && asked.fragmentation {
            mr1 = mr1.vendor_id(vendor::FRAGMENTATION);
        }
        Ok(Self {
            sa_body: sa_body.to_vec(),
            chosen,
            nat,
            mr1: mr1.finish(),
        })
    }

    /// MR1 for these cookies, initiator's first; the same again for duplicates of MI1.
    pub fn mr1(&self, (initiator, responder): (Cookie, Cookie)) -> Vec<u8> {
        let mut message = self.mr1.clone();
        let cookies = initiator.0.into_iter().chain(responder.0);
        for (to, from) in message.iter_mut().zip(cookies) {
            *to = from;
        }
        message
    }

    /// What was chosen; it tells whether `psk` will be needed in [`HalfOpen::handle`].
    pub fn chosen(&self) -> &IkeTransform {
        &self.chosen
    }

    /// Octets of memory that this answer takes, for the bound on all of them.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.sa_body.capacity() + self.mr1.capacity()
    }

    /// Takes MI2, which brings our cookie back, of the exchange with these cookies: from here on there is a state worth its name.
    /// `psk` is the secret shared with the peer's address: its identity isn't known yet, so that a
    /// secret can be found by nothing else. `ends` is where the message came and from where.
    ///
    /// # Errors
    /// A message that is not MI2, or no secret where one is needed; the answer stays good.
    pub fn handle(
        &self,
        cookies: (Cookie, Cookie),
        datagram: &[u8],
        psk: Option<Arc<Secret>>,
        ends: NatOffer,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Error> {
        let header = Header::new_checked(datagram)?;
        if (header.initiator, header.responder) != cookies {
            return Err(Error::Header("cookies are of another exchange"));
        }
        let read = message::key_exchange(datagram, self.chosen.group)?;
        let mut nat = self.nat;
        nat.find_out(&read.discoveries, self.chosen.hash, cookies, &ends);
        let psk = match self.chosen.by_signature() {
            true => None,
            false => Some(psk.ok_or(Error::NoSecret)?),
        };
        let job = Job::key_pair_and_agree(self.chosen.group, read.public.clone(), rng);
        let state = Box::new(Mi2 {
            cookies,
            sa_body: self.sa_body.clone(),
            chosen: self.chosen,
            psk,
            peer_public: read.public,
            peer_nonce: read.nonce,
            nat,
            ends,
        });
        Ok(Step::Compute {
            job,
            then: Computing(Continuation::MakeMr2(state)),
        })
    }
}
