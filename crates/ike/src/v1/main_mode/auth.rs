//! What both sides of Main Mode share once the public values are known: HASH_I and HASH_R
//! (RFC 2409 section 5), and reading the message that names and proves an identity.

use rsa::RsaPublicKey;

use super::super::error::Error;
use super::super::ident::Identity;
use super::super::job::Job;
use super::super::message;
use crate::crypto::{Iv, Phase1Keys, Secret, Transcript, ct_eq, skeyid_psk, skeyid_signature};
use crate::proposal::IkeTransform;
use crate::wire::{Cookie, Expect, Message, MessageBuilder, NotifyType, PayloadType};

/// Hash or signature, with which a side proves who it is.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Hash(Vec<u8>),
    Signature(Vec<u8>),
}

impl Proof {
    pub(super) fn append(&self, builder: MessageBuilder) -> MessageBuilder {
        match self {
            Self::Hash(hash) => builder.hash(hash),
            Self::Signature(signature) => builder.sig(signature),
        }
    }
}

/// All that the hashes of Main Mode cover; pairs are (initiator's, responder's).
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) cookies: (Cookie, Cookie),
    /// The initiator's SA payload without generic header.
    pub(super) sa_body: Vec<u8>,
    pub(super) chosen: IkeTransform,
    pub(super) public: (Vec<u8>, Vec<u8>),
    pub(super) nonces: (Vec<u8>, Vec<u8>),
}

/// A peer's identity and the proof it gave, not yet checked.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) identity: Identity,
    pub(super) id_body: Vec<u8>,
    pub(super) proof: Proof,
    pub(super) initial_contact: bool,
}

impl Exchange {
    /// The keys. Without `psk` they are those of signature authentication.
    pub(super) fn keys(&self, shared: &Secret, psk: Option<&Secret>) -> Phase1Keys {
        let (hash, (ni, nr)) = (self.chosen.hash, &self.nonces);
        let skeyid = match psk {
            Some(psk) => skeyid_psk(hash, psk.expose(), ni, nr),
            None => skeyid_signature(hash, ni, nr, shared),
        };
        let (initiator, responder) = self.cookies;
        Phase1Keys::derive(
            self.chosen.cipher,
            hash,
            skeyid,
            shared,
            initiator,
            responder,
        )
    }

    pub(super) fn first_iv(&self, keys: &Phase1Keys) -> Iv {
        keys.phase1_iv(&self.public.0, &self.public.1)
    }

    pub(super) fn hash_i(&self, keys: &Phase1Keys, id_body: &[u8]) -> Vec<u8> {
        keys.hash_i(&self.transcript(), id_body)
    }

    pub(super) fn hash_r(&self, keys: &Phase1Keys, id_body: &[u8]) -> Vec<u8> {
        keys.hash_r(&self.transcript(), id_body)
    }

    fn transcript(&self) -> Transcript<'_> {
        Transcript {
            gxi: &self.public.0,
            gxr: &self.public.1,
            sai_b: &self.sa_body,
        }
    }

    /// Decrypts and reads MI3 or MR3. `iv` moves on to the message's last block.
    pub(super) fn read_identity(
        &self,
        keys: &Phase1Keys,
        iv: &mut Iv,
        datagram: &[u8],
    ) -> Result<Claim, Error> {
        let clear = message::decrypt(keys, datagram, iv)?;
        let signed = self.chosen.by_signature();
        let parsed = Message::new_decrypted(&clear).map_err(|error| match signed {
            // With different secrets both sides have different keys: the first encrypted message shows it.
            false => Error::WrongSecret(error),
            true => Error::Parse(error),
        })?;
        let wanted = if signed {
            PayloadType::SIG
        } else {
            PayloadType::HASH
        };
        parsed.expect(&Expect {
            first: None,
            counts: &[(PayloadType::ID, 1, 1), (wanted, 1, 1)],
            tolerated: &[PayloadType::CERT, PayloadType::CERTREQ],
        })?;
        let missing = Error::Header("identity or its proof is missing");
        let (id, id_body) = parsed.ids().next().ok_or(missing.clone())?;
        let proof = match (signed, parsed.sig(), parsed.hash()) {
            (true, Some(signature), _) => Proof::Signature(signature.to_vec()),
            (false, _, Some(hash)) => Proof::Hash(hash.to_vec()),
            _ => return Err(missing),
        };
        let initial_contact = parsed
            .notifications()
            .any(|n| n.kind == NotifyType::INITIAL_CONTACT);
        Ok(Claim {
            identity: Identity::from_wire(&id)?,
            id_body: id_body.to_vec(),
            proof,
            initial_contact,
        })
    }
}

impl Claim {
    /// Checks a hash at once; a signature needs a job.
    pub(super) fn check(
        &self,
        expected: &[u8],
        keys: Vec<RsaPublicKey>,
    ) -> Result<Option<Job>, Error> {
        match &self.proof {
            Proof::Hash(hash) if ct_eq(hash, expected) => Ok(None),
            Proof::Hash(_) => Err(Error::AuthHash),
            Proof::Signature(_) if keys.is_empty() => {
                Err(Error::NoPublicKey(self.identity.to_string()))
            }
            Proof::Signature(signature) => Ok(Some(Job::verify(
                keys,
                expected.to_vec(),
                signature.clone(),
            ))),
        }
    }
}
