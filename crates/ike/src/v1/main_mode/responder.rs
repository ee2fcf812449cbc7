//! The responder's side of Main Mode once the initiator has returned our cookie: MR2, MR3.

use std::sync::Arc;

use rand::CryptoRng;

use super::super::error::{Error, Refused};
use super::super::ident::Identity;
use super::super::isakmp::{IsakmpSa, Role};
use super::super::job::{Job, JobResult};
use super::super::message::{self, NONCE_LEN};
use super::super::nat::{Nat, NatOffer};
use super::auth::{Claim, Exchange, Proof};
use super::{Computing, Continuation, Established, Identified, Naming, Step, Verdict, Waiting};
use crate::crypto::{Iv, Phase1Keys, Secret};
use crate::proposal::IkeTransform;
use crate::wire::{Cookie, MessageBuilder};

/// Has MI2, and computes the public value for MR2 and the shared secret.
#[derive(Debug)]
pub(super) struct Mi2 {
    pub(super) cookies: (Cookie, Cookie),
    pub(super) sa_body: Vec<u8>,
    pub(super) chosen: IkeTransform,
    pub(super) psk: Option<Arc<Secret>>,
    pub(super) peer_public: Vec<u8>,
    pub(super) peer_nonce: Vec<u8>,
    pub(super) nat: Nat,
    pub(super) ends: NatOffer,
}

impl Mi2 {
    pub(super) fn resume(
        self,
        result: JobResult,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let (pair, shared) = result
            .both()
            .map_err(|error| Refused { state: None, error })?;
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let header = message::main_mode(self.cookies.0, self.cookies.1);
        let message = MessageBuilder::new(&header).ke(pair.public()).nonce(&nonce);
        let message = self
            .nat
            .discover(message, self.chosen.hash, self.cookies, &self.ends)
            .finish();
        let exchange = Exchange {
            cookies: self.cookies,
            sa_body: self.sa_body,
            chosen: self.chosen,
            public: (self.peer_public, pair.public().to_vec()),
            nonces: (self.peer_nonce, nonce.to_vec()),
        };
        let keys = exchange.keys(&shared, self.psk.as_deref());
        Ok(Step::Send {
            message,
            next: Waiting::R2(Box::new(R2 {
                exchange,
                keys,
                nat: self.nat,
            })),
        })
    }
}

/// Sent MR2, expecting MI3.
#[derive(Clone, Debug)]
pub struct R2 {
    exchange: Exchange,
    keys: Phase1Keys,
    nat: Nat,
}

impl R2 {
    /// What some responders say before MI3 has come to them; ours has no reason to.
    #[cfg(test)]
    pub(super) fn object(&self, notify: &crate::wire::Notify<'_>, message_id: u32) -> Vec<u8> {
        use super::super::info;
        use crate::wire::{ExchangeType, Header};

        let (initiator, responder) = self.exchange.cookies;
        let kind = ExchangeType::INFORMATIONAL;
        let header = message::encrypted(Header::new(initiator, responder, kind, message_id));
        let iv = self.exchange.first_iv(&self.keys);
        info::protect(&self.keys, &iv, &header, |builder| builder.notify(notify))
    }

    pub(super) fn nat(&self) -> Nat {
        self.nat
    }

    /// What was agreed on, for the log.
    pub fn chosen(&self) -> &IkeTransform {
        &self.exchange.chosen
    }

    /// Both cookies.
    pub fn cookies(&self) -> (Cookie, Cookie) {
        self.exchange.cookies
    }

    pub(super) fn encryption_key(&self) -> (Cookie, &Secret) {
        (self.exchange.cookies.0, self.keys.cipher_key())
    }

    /// Takes MI3: the initiator's identity and its proof.
    pub(super) fn handle(self: Box<Self>, datagram: &[u8]) -> Result<Step, Refused<Waiting>> {
        let mut iv = self.exchange.first_iv(&self.keys);
        match self.exchange.read_identity(&self.keys, &mut iv, datagram) {
            Err(error) => Err(Refused {
                state: Waiting::R2(self),
                error,
            }),
            Ok(claim) => {
                let state = Box::new(Mi3 {
                    before: *self,
                    iv,
                    claim,
                    verdict: None,
                });
                Ok(Step::Identify(Identified(Naming::Initiator(state))))
            }
        }
    }
}

/// Has MI3, and must find out whether it is true.
#[derive(Debug)]
pub(super) struct Mi3 {
    before: R2,
    iv: Iv,
    claim: Claim,
    verdict: Option<Verdict>,
}

impl Mi3 {
    pub(super) fn agreed(&self) -> &IkeTransform {
        self.before.chosen()
    }

    pub(super) fn peer(&self) -> &Identity {
        &self.claim.identity
    }

    pub(super) fn by_signature(&self) -> bool {
        matches!(self.claim.proof, Proof::Signature(_))
    }

    pub(super) fn back(self) -> Box<R2> {
        Box::new(self.before)
    }

    pub(super) fn accept(
        mut self: Box<Self>,
        mut verdict: Verdict,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Waiting>> {
        let peer_keys = std::mem::take(&mut verdict.peer_keys);
        let hash = self
            .before
            .exchange
            .hash_i(&self.before.keys, &self.claim.id_body);
        match self.claim.check(&hash, peer_keys) {
            Err(error) => Err(Refused {
                state: Waiting::R2(self.back()),
                error,
            }),
            Ok(None) => self.prove(verdict, None, rng),
            Ok(Some(job)) => {
                self.verdict = Some(verdict);
                Ok(Step::Compute {
                    job,
                    then: Computing(Continuation::VerifyMi3(self)),
                })
            }
        }
    }

    pub(super) fn resume(
        mut self: Box<Self>,
        result: JobResult,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let some = |refused: Refused<Waiting>| Refused {
            state: Some(refused.state),
            error: refused.error,
        };
        match (result.verified(&self.claim.identity), self.verdict.take()) {
            (Ok(key), Some(verdict)) => self.prove(verdict, Some(key), rng).map_err(some),
            (Ok(_), None) => {
                let error = Error::Header("identity was never decided on");
                Err(Refused {
                    state: Some(Waiting::R2(self.back())),
                    error,
                })
            }
            (Err(error), _) => Err(Refused {
                state: Some(Waiting::R2(self.back())),
                error,
            }),
        }
    }

    /// The initiator has proved who it is; now we do.
    fn prove(
        self,
        verdict: Verdict,
        peer_key: Option<usize>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Waiting>> {
        let R2 { exchange, keys, .. } = &self.before;
        let hash = exchange.hash_r(keys, &verdict.my_id.to_wire().to_body());
        if !exchange.chosen.by_signature() {
            let done = Signing {
                mi3: self,
                my_id: verdict.my_id,
                peer_key,
            };
            return Ok(done.send_mr3(&Proof::Hash(hash)));
        }
        match verdict.my_key {
            None => {
                let error = Error::NoPrivateKey;
                Err(Refused {
                    state: Waiting::R2(self.back()),
                    error,
                })
            }
            Some(key) => {
                let job = Job::sign(key, hash, rng);
                let state = Box::new(Signing {
                    mi3: self,
                    my_id: verdict.my_id,
                    peer_key,
                });
                Ok(Step::Compute {
                    job,
                    then: Computing(Continuation::SignMr3(state)),
                })
            }
        }
    }
}

/// Waits for our own signature.
#[derive(Debug)]
pub(super) struct Signing {
    mi3: Mi3,
    my_id: Identity,
    peer_key: Option<usize>,
}

impl Signing {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        match result.signature() {
            Ok(signature) => Ok(self.send_mr3(&Proof::Signature(signature))),
            Err(error) => Err(Refused {
                state: Some(Waiting::R2(self.mi3.back())),
                error,
            }),
        }
    }

    /// MR3: our identity and its proof, encrypted; with that the SA stands.
    fn send_mr3(self, proof: &Proof) -> Step {
        let Mi3 {
            before:
                R2 {
                    exchange,
                    keys,
                    nat,
                },
            mut iv,
            claim,
            ..
        } = self.mi3;
        let header = message::encrypted(message::main_mode(exchange.cookies.0, exchange.cookies.1));
        let builder = proof.append(MessageBuilder::new(&header).id(&self.my_id.to_wire()));
        let message = message::encrypt(&keys, builder, &mut iv);
        let ids = (self.my_id, claim.identity);
        let sa = IsakmpSa::new(
            Role::Responder,
            exchange.cookies,
            exchange.chosen,
            keys,
            iv,
            ids,
            nat,
        );
        Step::Done(Box::new(Established {
            message: Some(message),
            sa: Arc::new(sa),
            initial_contact: claim.initial_contact,
            peer_key: self.peer_key,
        }))
    }
}
