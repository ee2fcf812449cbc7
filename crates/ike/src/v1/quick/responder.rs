//! The responder's side of Quick Mode: QR1.

use std::net::IpAddr;
use std::sync::Arc;

use rand::CryptoRng;

use super::super::error::{Error, Refused};
use super::super::ident::Client;
use super::super::isakmp::IsakmpSa;
use super::super::job::{Job, JobResult};
use super::super::message::NONCE_LEN;
use super::super::nat::Nat;
use super::hash;
use super::keymat::{Agreed, Nonces};
use super::{Computing, Continuation, MESSAGE_ID_ZERO, NO_SA, Step, Under, Waiting};
use crate::crypto::{Iv, Secret};
use crate::proposal::{IpsecChoice, IpsecPolicy, Lifetimes, Spis, responder_lifetime};
use crate::wire::{
    Encapsulation, ExchangeType, Expect, Header, IpsecAttribute, MessageBuilder, Notify,
    NotifyType, ParseError, PayloadType, Protocol, Sa,
};

/// QI1 received: what the peer wants. It is genuine; whether it is acceptable is the engine's decision.
#[derive(Debug)]
pub struct Offer {
    sa: Under,
    message_id: u32,
    iv: Iv,
    offered: Sa,
    nonce: Vec<u8>,
    public: Option<Vec<u8>>,
    clients: Option<(Client, Client)>,
    peer_oa: Option<IpAddr>,
}

impl Offer {
    /// Decrypts, checks and reads QI1.
    ///
    /// # Errors
    /// A message that is malformed, or whose hash shows that the peer did not send it: [`Error::is_proved`] tells which.
    pub fn read(sa: &Arc<IsakmpSa>, datagram: &[u8]) -> Result<Self, Error> {
        let unproved = |error: ParseError| Error::from(error).unproved();
        let message_id = Header::new_checked(datagram).map_err(unproved)?.message_id;
        if message_id == 0 {
            return Err(MESSAGE_ID_ZERO.unproved());
        }
        let mut iv = sa.first_iv(message_id);
        let clear = sa.decrypt(datagram, &mut iv).map_err(Error::unproved)?;
        let message = hash::proved(&clear, (1, "Quick I1"), |covered| {
            sa.keys.hash_1(message_id, covered)
        })?;
        hash::check_form(&message)?;
        let (offered, _) = message.sa().ok_or(NO_SA)?;
        Ok(Self {
            sa: Arc::clone(sa),
            message_id,
            iv,
            offered: offered.clone(),
            nonce: message.nonce().unwrap_or_default().to_vec(),
            public: message.ke().map(<[u8]>::to_vec),
            clients: hash::clients_of(&message)?,
            peer_oa: Nat::peer_original(&message, true),
        })
    }

    /// The exchange's message id.
    pub fn message_id(&self) -> u32 {
        self.message_id
    }

    /// Protocols and SPIs offered, in order: by them a notification tells the peer which exchange is meant.
    pub fn spis(&self) -> Vec<(Protocol, u32)> {
        let spi = |octets: &[u8]| Some(u32::from_be_bytes(octets.try_into().ok()?));
        let proposals = self.offered.proposals.iter();
        proposals
            .filter_map(|proposal| Some((proposal.protocol, spi(&proposal.spi)?)))
            .collect()
    }

    /// For whom: the peer's client and ours; `None` for the two gateways themselves.
    pub fn clients(&self) -> Option<(Client, Client)> {
        self.clients
    }

    /// Whether only transport mode is offered.
    pub fn transport(&self) -> bool {
        let transforms = || self.offered.proposals.iter().flat_map(|p| &p.transforms);
        let is_tunnel = |t: &crate::wire::Transform| {
            let mode = t
                .attributes
                .iter()
                .find(|a| a.kind == IpsecAttribute::ENCAPSULATION_MODE.0);
            mode.and_then(|a| u16::try_from(a.as_u32()?).ok())
                .and_then(|mode| Encapsulation(mode).is_tunnel())
        };
        transforms().any(|t| is_tunnel(t) == Some(false))
            && transforms().all(|t| is_tunnel(t) != Some(true))
    }

    /// Chooses among what is offered.
    ///
    /// # Errors
    /// Nothing acceptable, or a public value that does not fit what would be chosen.
    pub fn select(self, policy: &IpsecPolicy) -> Result<Selected, Error> {
        let choice = policy.choose(&self.offered)?;
        if let (Some(group), Some(public)) = (choice.group, &self.public) {
            crate::crypto::check_public(group, public)?;
        }
        match (choice.group, &self.public) {
            (Some(_), None) => {
                return Err(Error::Pfs(
                    "missing KE payload in Quick I1 message with PFS",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::Pfs(
                    "Quick I1 message KE payload requires a GROUP_DESCRIPTION attribute in SA",
                ));
            }
            _ => {}
        }
        // A longer life than ours we take, and say so (RFC 2407 section 4.5.4).
        let shorter = (policy.life_seconds < choice.life_seconds()).then_some(policy.life_seconds);
        Ok(Selected {
            offer: self,
            shorter,
            choice,
        })
    }
}

/// A proposal has been chosen; now our SPIs are needed.
#[derive(Debug)]
pub struct Selected {
    offer: Offer,
    /// The life that we want, if the peer offers a longer one.
    shorter: Option<u32>,
    choice: IpsecChoice,
}

impl Selected {
    /// What was chosen: it tells which SPIs are needed.
    pub fn choice(&self) -> &IpsecChoice {
        &self.choice
    }

    /// Goes on with the SPIs that we chose, for what comes in.
    /// `hosts` are our address and the peer's, as we see them.
    pub fn answer(self, spis: Spis, hosts: (IpAddr, IpAddr), rng: &mut dyn CryptoRng) -> Step {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let secret = self.choice.group.zip(self.offer.public.clone());
        let state = Qi1 {
            offer: self.offer,
            shorter: self.shorter,
            choice: self.choice,
            spis,
            nonce,
            hosts,
        };
        match secret {
            None => state.send(None),
            Some((group, public)) => {
                let job = Job::key_pair_and_agree(group, public, rng);
                Step::Compute {
                    job,
                    then: Computing(Continuation::ShareR(Box::new(state))),
                }
            }
        }
    }
}

/// About to send QR1.
#[derive(Debug)]
pub(super) struct Qi1 {
    offer: Offer,
    shorter: Option<u32>,
    choice: IpsecChoice,
    spis: Spis,
    nonce: [u8; NONCE_LEN],
    hosts: (IpAddr, IpAddr),
}

impl Qi1 {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let (pair, shared) = result
            .both()
            .map_err(|error| Refused { state: None, error })?;
        Ok(self.send(Some((pair.public(), &shared))))
    }

    fn send(self, pfs: Option<(&[u8], &Secret)>) -> Step {
        let Offer {
            sa,
            message_id,
            mut iv,
            nonce: peer_nonce,
            clients,
            peer_oa,
            ..
        } = self.offer;
        let nonces = Nonces {
            initiator: &peer_nonce,
            responder: &self.nonce,
        };
        let header = sa.header(ExchangeType::QUICK_MODE, message_id);
        let mut builder = MessageBuilder::new(&header);
        let slot = builder.hash_slot(sa.keys.hash().output_len());
        let mut builder = builder
            .sa(&self.choice.answer(&self.spis))
            .nonce(&self.nonce);
        if let Some((public, _)) = pfs {
            builder = builder.ke(public);
        }
        if let Some((theirs, ours)) = &clients {
            builder = builder.id(&theirs.to_wire()).id(&ours.to_wire());
        }
        if let Some(seconds) = self.shorter {
            let data = responder_lifetime(seconds);
            let (protocol, spi) = match self.choice.has(Protocol::ESP) {
                true => (Protocol::ESP, self.spis.esp),
                false => (Protocol::AH, self.spis.ah),
            };
            let spi = spi.to_be_bytes();
            builder = builder.notify(&Notify {
                data: &data,
                ..Notify::new(protocol, &spi, NotifyType::RESPONDER_LIFETIME)
            });
        }
        if self.choice.encapsulation.is_tunnel() == Some(false) {
            let (ours, theirs) = self.hosts;
            builder = sa.nat().original(builder, (theirs, ours), ours);
        }
        let hash = sa
            .keys
            .hash_2(message_id, nonces.initiator, builder.after(slot));
        builder.fill(slot, &hash);
        let message = sa.encrypt(builder, &mut iv);
        let expected = sa
            .keys
            .hash_3(message_id, nonces.initiator, nonces.responder);
        let clients = clients.map(|(theirs, ours)| (ours, theirs));
        let shared = pfs.map(|(_, shared)| shared);
        let agreed = Agreed::new(&sa, (self.choice, self.spis), &nonces, shared, clients)
            .with_peer_oa(peer_oa)
            .with_life(Lifetimes {
                seconds: self.shorter,
                kilobytes: None,
            });
        let next = Waiting::R1(Box::new(R1 { sa, iv, expected }));
        Step::Answer {
            message,
            next,
            agreed: Box::new(agreed),
        }
    }
}

/// Sent QR1, expecting QI2.
#[derive(Debug)]
pub struct R1 {
    sa: Under,
    iv: Iv,
    /// HASH(3).
    expected: Vec<u8>,
}

impl R1 {
    /// Takes QI2.
    pub(super) fn handle(self: Box<Self>, datagram: &[u8]) -> Result<Step, Refused<Waiting>> {
        match self.check(datagram) {
            Ok(()) => Ok(Step::Confirmed),
            Err(error) => Err(Refused {
                state: Waiting::R1(self),
                error,
            }),
        }
    }

    fn check(&self, datagram: &[u8]) -> Result<(), Error> {
        let clear = self.sa.decrypt(datagram, &mut self.iv.clone());
        let clear = clear.map_err(Error::unproved)?;
        let message = hash::proved(&clear, (3, "Quick I2"), |_| self.expected.clone())?;
        message.expect(&Expect {
            first: Some(PayloadType::HASH),
            counts: &[(PayloadType::HASH, 1, 1)],
            tolerated: &[],
        })?;
        Ok(())
    }
}
