//! The initiator's side of Main Mode: MI1, MI2, MI3.

use std::sync::Arc;

use rand::CryptoRng;

use super::super::error::{Error, Refused};
use super::super::ident::Identity;
use super::super::info;
use super::super::isakmp::{IsakmpSa, Role};
use super::super::job::{Job, JobResult};
use super::super::message::{self, NONCE_LEN, VENDOR_ID};
use super::super::nat::{Nat, NatMethod};
use super::super::vendor;
use super::auth::{Exchange, Proof};
use super::{
    Computing, Continuation, Established, Identified, Initiate, Naming, Objection, Step, Verdict,
    Waiting,
};
use crate::crypto::{DhKey, Iv, Phase1Keys, Secret};
use crate::proposal::IkeTransform;
use crate::wire::{
    Cookie, Expect, Message, MessageBuilder, Notify, NotifyType, PayloadType, Protocol, Sa,
};

/// Starts Main Mode: the state and MI1. `cookie` must be unlike that of any other exchange of ours.
pub fn initiate(request: Initiate, cookie: Cookie) -> (I1, Vec<u8>) {
    let offer = request.policy.to_sa();
    let header = message::main_mode(cookie, Cookie::ZERO);
    let datagram = MessageBuilder::new(&header).sa(&offer);
    let datagram = match (request.nat.enabled, request.brief) {
        (true, true) => datagram.vendor_id(NatMethod::Rfc3947.vendor_id()),
        (true, false) => NatMethod::announce_all(datagram),
        (false, _) => datagram,
    };
    let datagram = match request.brief {
        true => datagram,
        false => introduce(datagram, &request),
    };
    let datagram = datagram.finish();
    (
        I1 {
            request,
            cookie,
            offer,
        },
        datagram,
    )
}

/// Who we are and what we can do beside NAT traversal.
fn introduce(message: MessageBuilder, request: &Initiate) -> MessageBuilder {
    let message = message.vendor_id(VENDOR_ID).vendor_id(vendor::DPD);
    match request.policy.fragmentation {
        true => message.vendor_id(vendor::FRAGMENTATION),
        false => message,
    }
}

/// Sent MI1, expecting MR1.
#[derive(Clone, Debug)]
pub struct I1 {
    request: Initiate,
    cookie: Cookie,
    offer: Sa,
}

impl I1 {
    /// See [`Waiting::met_meanwhile`].
    pub(super) fn met_meanwhile(&mut self) {
        self.request.initial_contact = false;
    }

    /// Takes MR1: the proposal that the responder chose.
    pub(super) fn handle(
        self: Box<Self>,
        datagram: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Waiting>> {
        match self.read(datagram) {
            Err(error) => Err(Refused {
                state: Waiting::I1(self),
                error,
            }),
            Ok(read) => {
                let job = Job::key_pair(read.chosen.group, rng);
                let state = Box::new(Mr1 {
                    before: *self,
                    read,
                });
                Ok(Step::Compute {
                    job,
                    then: Computing(Continuation::MakeMi2(state)),
                })
            }
        }
    }

    fn read(&self, datagram: &[u8]) -> Result<ReadMr1, Error> {
        let message = Message::new_checked(datagram)?;
        let responder = message.header().responder;
        if responder.is_zero() {
            return Err(Error::Header("responder cookie is zero"));
        }
        message.expect(&Expect {
            first: Some(PayloadType::SA),
            counts: &[(PayloadType::SA, 1, 1)],
            tolerated: &[],
        })?;
        let (answer, _) = message.sa().ok_or(Error::Header("SA payload is missing"))?;
        let chosen = self.request.policy.confirm(answer)?;
        let credentials = &self.request.credentials;
        let psk = match chosen.by_signature() {
            true if credentials.rsa.is_none() => return Err(Error::NoPrivateKey),
            true => None,
            false => Some(credentials.psk.clone().ok_or(Error::NoSecret)?),
        };
        Ok(ReadMr1 {
            responder,
            chosen,
            psk,
            nat: Nat::agreed(NatMethod::of(&message).filter(|_| self.request.nat.enabled)),
        })
    }
}

/// What MR1 says, and what follows from it.
#[derive(Debug)]
struct ReadMr1 {
    responder: Cookie,
    chosen: IkeTransform,
    psk: Option<Arc<Secret>>,
    nat: Nat,
}

/// Has MR1, and computes the public value for MI2.
#[derive(Debug)]
pub(super) struct Mr1 {
    before: I1,
    read: ReadMr1,
}

impl Mr1 {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let pair = match result.key_pair() {
            Ok(pair) => pair,
            Err(error) => {
                return Err(Refused {
                    state: Some(Waiting::I1(Box::new(self.before))),
                    error,
                });
            }
        };
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let ReadMr1 {
            responder,
            chosen,
            psk,
            nat,
        } = self.read;
        let cookies = (self.before.cookie, responder);
        let header = message::main_mode(cookies.0, cookies.1);
        let message = MessageBuilder::new(&header).ke(pair.public()).nonce(&nonce);
        let request = &self.before.request;
        let message = nat.discover(message, chosen.hash, cookies, &request.nat);
        let message = match request.brief {
            true => introduce(message, request),
            false => message,
        };
        let message = message.finish();
        let next = I2 {
            request: self.before.request,
            cookies,
            sa_body: self.before.offer.to_body(),
            chosen,
            psk,
            pair,
            nonce,
            nat,
        };
        Ok(Step::Send {
            message,
            next: Waiting::I2(Box::new(next)),
        })
    }
}

/// Sent MI2, expecting MR2.
#[derive(Clone, Debug)]
pub struct I2 {
    request: Initiate,
    cookies: (Cookie, Cookie),
    sa_body: Vec<u8>,
    chosen: IkeTransform,
    psk: Option<Arc<Secret>>,
    pair: Arc<DhKey>,
    nonce: [u8; NONCE_LEN],
    nat: Nat,
}

impl I2 {
    /// See [`Waiting::met_meanwhile`].
    pub(super) fn met_meanwhile(&mut self) {
        self.request.initial_contact = false;
    }

    pub(super) fn nat(&self) -> Nat {
        self.nat
    }

    /// What was agreed on, for the log.
    pub fn chosen(&self) -> &IkeTransform {
        &self.chosen
    }

    /// Both cookies.
    pub fn cookies(&self) -> (Cookie, Cookie) {
        self.cookies
    }

    /// Takes MR2: the responder's public value and nonce.
    pub(super) fn handle(self: Box<Self>, datagram: &[u8]) -> Result<Step, Refused<Waiting>> {
        match message::key_exchange(datagram, self.chosen.group) {
            Err(error) => Err(Refused {
                state: Waiting::I2(self),
                error,
            }),
            Ok(read) => {
                let job = Job::agree(self.pair.clone(), read.public.clone());
                let mut nat = self.nat;
                let hash = self.chosen.hash;
                nat.find_out(&read.discoveries, hash, self.cookies, &self.request.nat);
                let state = Box::new(Mr2 {
                    before: *self,
                    peer_public: read.public,
                    peer_nonce: read.nonce,
                    nat,
                });
                Ok(Step::Compute {
                    job,
                    then: Computing(Continuation::Share(state)),
                })
            }
        }
    }
}

/// Has MR2, and computes the shared secret.
#[derive(Debug)]
pub(super) struct Mr2 {
    before: I2,
    peer_public: Vec<u8>,
    peer_nonce: Vec<u8>,
    nat: Nat,
}

impl Mr2 {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        let Self {
            before,
            peer_public,
            peer_nonce,
            nat,
        } = *self;
        let shared = match result.shared() {
            Ok(shared) => shared,
            Err(error) => {
                return Err(Refused {
                    state: Some(Waiting::I2(Box::new(before))),
                    error,
                });
            }
        };
        let exchange = Exchange {
            cookies: before.cookies,
            sa_body: before.sa_body,
            chosen: before.chosen,
            public: (before.pair.public().to_vec(), peer_public),
            nonces: (before.nonce.to_vec(), peer_nonce),
        };
        let keys = exchange.keys(&shared, before.psk.as_deref());
        let id_body = before.request.my_id.to_wire().to_body();
        let hash = exchange.hash_i(&keys, &id_body);
        let common = Common {
            exchange,
            keys,
            my_id: before.request.my_id,
            initial_contact: before.request.initial_contact,
            nat,
        };
        match before
            .request
            .credentials
            .rsa
            .filter(|_| common.exchange.chosen.by_signature())
        {
            None => Ok(common.send_mi3(&Proof::Hash(hash))),
            Some(key) => {
                let job = Job::sign(key, hash, rng);
                let then = Computing(Continuation::SignMi3(Box::new(Signing { common })));
                Ok(Step::Compute { job, then })
            }
        }
    }
}

/// What stays from MR2 on.
#[derive(Clone, Debug)]
struct Common {
    exchange: Exchange,
    keys: Phase1Keys,
    my_id: Identity,
    initial_contact: bool,
    nat: Nat,
}

impl Common {
    /// MI3: our identity and its proof, encrypted.
    fn send_mi3(self, proof: &Proof) -> Step {
        let (initiator, responder) = self.exchange.cookies;
        let header = message::encrypted(message::main_mode(initiator, responder));
        let spi = message::isakmp_spi(self.exchange.cookies);
        let notify = Notify::new(Protocol::ISAKMP, &spi, NotifyType::INITIAL_CONTACT);
        let mut builder = MessageBuilder::new(&header).id(&self.my_id.to_wire());
        builder = proof.append(builder);
        if self.initial_contact {
            builder = builder.notify(&notify);
        }
        let mut iv = self.exchange.first_iv(&self.keys);
        let message = message::encrypt(&self.keys, builder, &mut iv);
        let next = Waiting::I3(Box::new(I3 { common: self, iv }));
        Step::Send { message, next }
    }
}

/// Waits for our own signature.
#[derive(Debug)]
pub(super) struct Signing {
    common: Common,
}

impl Signing {
    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        match result.signature() {
            Ok(signature) => Ok(self.common.send_mi3(&Proof::Signature(signature))),
            // Our own key fails, which no message of the peer mends: nothing to go back to.
            Err(error) => Err(Refused { state: None, error }),
        }
    }
}

/// Sent MI3, expecting MR3.
#[derive(Clone, Debug)]
pub struct I3 {
    common: Common,
    iv: Iv,
}

impl I3 {
    pub(super) fn nat(&self) -> Nat {
        self.common.nat
    }

    /// What was agreed on, for the log.
    pub fn chosen(&self) -> &IkeTransform {
        &self.common.exchange.chosen
    }

    pub(super) fn encryption_key(&self) -> (Cookie, &Secret) {
        (
            self.common.exchange.cookies.0,
            self.common.keys.cipher_key(),
        )
    }

    /// See [`Waiting::read_informational`].
    pub(super) fn read_informational(&self, datagram: &[u8]) -> Result<Objection, Error> {
        let Common { exchange, keys, .. } = &self.common;
        let read = |iv: &Iv| info::read_protected(keys, iv, datagram);
        let (said, before_mi3) = match read(&self.iv) {
            Ok(said) => (said, false),
            Err(error) => match read(&exchange.first_iv(keys)) {
                Ok(said) => (said, true),
                Err(_) => return Err(error),
            },
        };
        Ok(Objection {
            said,
            genuine: !self.chosen().by_signature(),
            before_mi3,
        })
    }

    /// Takes MR3: the responder's identity and its proof.
    pub(super) fn handle(self: Box<Self>, datagram: &[u8]) -> Result<Step, Refused<Waiting>> {
        let mut iv = self.iv.clone();
        let read = self
            .common
            .exchange
            .read_identity(&self.common.keys, &mut iv, datagram);
        match read {
            Err(error) => Err(Refused {
                state: Waiting::I3(self),
                error,
            }),
            Ok(claim) => {
                let state = Box::new(Mr3 {
                    before: *self,
                    iv,
                    claim,
                });
                Ok(Step::Identify(Identified(Naming::Responder(state))))
            }
        }
    }
}

/// Has MR3, and must find out whether it is true.
#[derive(Debug)]
pub(super) struct Mr3 {
    before: I3,
    iv: Iv,
    claim: super::auth::Claim,
}

impl Mr3 {
    pub(super) fn agreed(&self) -> &IkeTransform {
        self.before.chosen()
    }

    pub(super) fn peer(&self) -> &Identity {
        &self.claim.identity
    }

    pub(super) fn by_signature(&self) -> bool {
        matches!(self.claim.proof, Proof::Signature(_))
    }

    pub(super) fn back(self) -> Box<I3> {
        Box::new(self.before)
    }

    pub(super) fn accept(self: Box<Self>, verdict: Verdict) -> Result<Step, Refused<Waiting>> {
        let common = &self.before.common;
        let hash = common.exchange.hash_r(&common.keys, &self.claim.id_body);
        match self.claim.check(&hash, verdict.peer_keys) {
            Err(error) => Err(Refused {
                state: Waiting::I3(self.back()),
                error,
            }),
            Ok(None) => Ok(self.done(None)),
            Ok(Some(job)) => Ok(Step::Compute {
                job,
                then: Computing(Continuation::VerifyMr3(self)),
            }),
        }
    }

    pub(super) fn resume(
        self: Box<Self>,
        result: JobResult,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        match result.verified(&self.claim.identity) {
            Ok(key) => Ok(self.done(Some(key))),
            Err(error) => Err(Refused {
                state: Some(Waiting::I3(self.back())),
                error,
            }),
        }
    }

    fn done(self, peer_key: Option<usize>) -> Step {
        let common = self.before.common;
        let sa = IsakmpSa::new(
            Role::Initiator,
            common.exchange.cookies,
            common.exchange.chosen,
            common.keys,
            self.iv,
            (common.my_id, self.claim.identity),
            common.nat,
        );
        Step::Done(Box::new(Established {
            message: None,
            sa: Arc::new(sa),
            peer_key,
            initial_contact: self.claim.initial_contact,
        }))
    }
}
