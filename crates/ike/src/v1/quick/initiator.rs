//! The initiator's side of Quick Mode: QI1, QI2.

use std::net::IpAddr;
use std::sync::Arc;

use rand::CryptoRng;

use super::super::error::{Error, Refused};
use super::super::ident::Client;
use super::super::isakmp::IsakmpSa;
use super::super::job::{Job, JobResult};
use super::super::message::NONCE_LEN;
use super::super::nat::Nat;
use super::hash::{self, clients_of};
use super::keymat::{Agreed, Nonces};
use super::{Computing, Continuation, Initiate, NO_SA, Step, Under, Waiting};
use crate::crypto::{DhKey, Iv, Secret};
use crate::proposal::{IpsecChoice, Lifetimes, read_responder_lifetimes};
use crate::wire::{ExchangeType, MessageBuilder, NotifyType};

/// Starts Quick Mode over `sa`. With perfect forward secrecy there is something to compute first.
pub fn initiate(sa: &Arc<IsakmpSa>, request: Initiate, rng: &mut dyn CryptoRng) -> Step {
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let group = request.policy.pfs_group;
    let start = Start {
        sa: Arc::clone(sa),
        request,
        nonce,
    };
    match group {
        None => start.send(None),
        Some(group) => {
            let job = Job::key_pair(group, rng);
            Step::Compute {
                job,
                then: Computing(Continuation::MakeQi1(Box::new(start))),
            }
        }
    }
}

impl Initiate {
    fn transport_through_nat(&self, sa: &IsakmpSa) -> bool {
        sa.nat().used().is_some() && self.policy.encapsulation.is_tunnel() == Some(false)
    }
}

/// About to send QI1.
#[derive(Debug)]
pub(super) struct Start {
    sa: Under,
    request: Initiate,
    nonce: [u8; NONCE_LEN],
}

impl Start {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let pair = result
            .key_pair()
            .map_err(|error| Refused { state: None, error })?;
        Ok(self.send(Some(pair)))
    }

    fn send(self, pair: Option<Arc<DhKey>>) -> Step {
        let message_id = self.request.message_id;
        let header = self.sa.header(ExchangeType::QUICK_MODE, message_id);
        let mut builder = MessageBuilder::new(&header);
        let slot = builder.hash_slot(self.sa.keys.hash().output_len());
        let offer = self.request.policy.to_sa(&self.request.spis);
        let mut builder = builder.sa(&offer).nonce(&self.nonce);
        if let Some(pair) = &pair {
            builder = builder.ke(pair.public());
        }
        if let Some((ours, theirs)) = &self.request.clients {
            builder = builder.id(&ours.to_wire()).id(&theirs.to_wire());
        }
        let hosts = self.request.hosts;
        if self.request.transport_through_nat(&self.sa) {
            builder = self.sa.nat().original(builder, hosts, hosts.0);
        }
        let hash = self.sa.keys.hash_1(message_id, builder.after(slot));
        builder.fill(slot, &hash);
        let mut iv = self.sa.first_iv(message_id);
        let message = self.sa.encrypt(builder, &mut iv);
        let Self { sa, request, nonce } = self;
        let next = Waiting::I1(Box::new(I1 {
            sa,
            request,
            nonce,
            pair,
            iv,
        }));
        Step::Send { message, next }
    }
}

/// Sent QI1, expecting QR1.
#[derive(Debug)]
pub struct I1 {
    sa: Under,
    request: Initiate,
    nonce: [u8; NONCE_LEN],
    pair: Option<Arc<DhKey>>,
    iv: Iv,
}

/// What QR1 says.
#[derive(Debug)]
struct Read {
    choice: IpsecChoice,
    /// The lives that the responder wants, if it says so.
    life: Lifetimes,
    peer_nonce: Vec<u8>,
    peer_public: Option<Vec<u8>>,
    peer_oa: Option<IpAddr>,
    iv: Iv,
}

impl I1 {
    /// Takes QR1.
    pub(super) fn handle(self: Box<Self>, datagram: &[u8]) -> Result<Step, Refused<Waiting>> {
        match self.read(datagram) {
            Err(error) => Err(Refused {
                state: Waiting::I1(self),
                error,
            }),
            Ok(read) => {
                let secret = self.pair.clone().zip(read.peer_public.clone());
                let state = Qr1 {
                    before: *self,
                    read,
                };
                Ok(match secret {
                    None => state.finish(None),
                    Some((pair, peer)) => Step::Compute {
                        job: Job::agree(pair, peer),
                        then: Computing(Continuation::ShareI(Box::new(state))),
                    },
                })
            }
        }
    }

    fn read(&self, datagram: &[u8]) -> Result<Read, Error> {
        let mut iv = self.iv.clone();
        let clear = self.sa.decrypt(datagram, &mut iv);
        let clear = clear.map_err(Error::unproved)?;
        let message = hash::proved(&clear, (2, "Quick R1"), |covered| {
            let keys = &self.sa.keys;
            keys.hash_2(self.request.message_id, &self.nonce, covered)
        })?;
        hash::check_form(&message)?;
        let (answer, _) = message.sa().ok_or(NO_SA)?;
        let choice = self.request.policy.confirm(answer)?;
        let peer_nonce = message.nonce().unwrap_or_default().to_vec();
        let group = self.pair.as_ref().map(|pair| pair.group());
        let peer_public = hash::pfs_value(&message, group)?;
        self.check_clients(clients_of(&message)?)?;
        let life = message
            .notifications()
            .filter(|notify| notify.kind == NotifyType::RESPONDER_LIFETIME)
            .filter_map(|notify| read_responder_lifetimes(notify.data))
            .fold(Lifetimes::default(), Lifetimes::shorter);
        Ok(Read {
            choice,
            life,
            peer_nonce,
            peer_public,
            peer_oa: Nat::peer_original(&message, false),
            iv,
        })
    }

    /// The responder repeats our client identities; it may leave them out where they are the gateways.
    fn check_clients(&self, answer: Option<(Client, Client)>) -> Result<(), Error> {
        match (&self.request.clients, answer) {
            (None, _) => Ok(()),
            // Each side knows the two by other addresses.
            (Some(_), _) if self.request.transport_through_nat(&self.sa) => Ok(()),
            (Some((ours, theirs)), Some(said)) if ours.same(&said.0) && theirs.same(&said.1) => {
                Ok(())
            }
            _ => Err(Error::Clients),
        }
    }
}

/// Has QR1; with PFS, computes the shared secret.
#[derive(Debug)]
pub(super) struct Qr1 {
    before: I1,
    read: Read,
}

impl Qr1 {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        match result.shared() {
            Ok(shared) => Ok(self.finish(Some(&shared))),
            Err(error) => Err(Refused {
                state: Some(Waiting::I1(Box::new(self.before))),
                error,
            }),
        }
    }

    fn finish(self, shared: Option<&Secret>) -> Step {
        let Self { before, read } = self;
        let I1 {
            sa, request, nonce, ..
        } = before;
        let nonces = Nonces {
            initiator: &nonce,
            responder: &read.peer_nonce,
        };
        let message_id = request.message_id;
        let hash = sa
            .keys
            .hash_3(message_id, nonces.initiator, nonces.responder);
        let header = sa.header(ExchangeType::QUICK_MODE, message_id);
        let mut iv = read.iv;
        let message = sa.encrypt(MessageBuilder::new(&header).hash(&hash), &mut iv);
        let agreed = Agreed::new(
            &sa,
            (read.choice, request.spis),
            &nonces,
            shared,
            request.clients,
        )
        .with_peer_oa(read.peer_oa)
        .with_life(read.life);
        Step::Finish {
            message,
            agreed: Box::new(agreed),
        }
    }
}
