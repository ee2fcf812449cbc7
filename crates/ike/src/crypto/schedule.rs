//! Keys and hashes of RFC 2409: SKEYID and what follows from it, the initialization vectors, HASH_I and HASH_R, the
//! hashes of phase 2, and KEYMAT. Exchanges decide when to call them.

use super::cipher::{Cipher, CipherError};
use super::hash::Hash;
use super::secret::Secret;
use crate::wire::{Cookie, Protocol};

/// SKEYID with pre-shared keys: prf(psk, Ni_b | Nr_b) (RFC 2409 section 5.4).
pub fn skeyid_psk(hash: Hash, psk: &[u8], ni_b: &[u8], nr_b: &[u8]) -> Secret {
    hash.prf(psk, &[ni_b, nr_b])
}

/// SKEYID with signatures: prf(Ni_b | Nr_b, g^xy) (RFC 2409 section 5.1).
pub fn skeyid_signature(hash: Hash, ni_b: &[u8], nr_b: &[u8], gxy: &Secret) -> Secret {
    let nonces = [ni_b, nr_b].concat();
    hash.prf(&nonces, &[gxy.expose()])
}

/// A running initialization vector: the last cipher block seen. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iv(Vec<u8>);

impl Iv {
    /// The octets, as many as the cipher's block has.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Everything an ISAKMP SA computes with.
#[derive(Clone, Debug)]
pub struct Phase1Keys {
    cipher: Cipher,
    hash: Hash,
    initiator: Cookie,
    responder: Cookie,
    skeyid: Secret,
    skeyid_d: Secret,
    skeyid_a: Secret,
    #[cfg(test)]
    skeyid_e: Secret,
    key: Secret,
}

/// What HASH_I and HASH_R cover besides the keys (RFC 2409 section 5). All `_b` values are payload bodies, without their
/// generic headers, exactly as they stood on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Transcript<'a> {
    /// The initiator's public Diffie-Hellman value, g^xi.
    pub gxi: &'a [u8],
    /// The responder's public Diffie-Hellman value, g^xr.
    pub gxr: &'a [u8],
    /// The initiator's SA payload, all its proposals.
    pub sai_b: &'a [u8],
}

impl Phase1Keys {
    /// Derives SKEYID_d, SKEYID_a, SKEYID_e and the cipher key (RFC 2409 section 5 and appendix B).
    pub fn derive(
        cipher: Cipher,
        hash: Hash,
        skeyid: Secret,
        gxy: &Secret,
        initiator: Cookie,
        responder: Cookie,
    ) -> Self {
        let tail = |n: u8| [&initiator.0[..], &responder.0[..], &[n]].concat();
        let skeyid_d = hash.prf(skeyid.expose(), &[gxy.expose(), &tail(0)]);
        let skeyid_a = hash.prf(
            skeyid.expose(),
            &[skeyid_d.expose(), gxy.expose(), &tail(1)],
        );
        let skeyid_e = hash.prf(
            skeyid.expose(),
            &[skeyid_a.expose(), gxy.expose(), &tail(2)],
        );
        let key = cipher_key(hash, &skeyid_e, cipher.key_len());
        Self {
            cipher,
            hash,
            initiator,
            responder,
            skeyid,
            skeyid_d,
            skeyid_a,
            #[cfg(test)]
            skeyid_e,
            key,
        }
    }

    /// SKEYID_d, SKEYID_a, SKEYID_e and the cipher key, for vectors.
    #[cfg(test)]
    pub(super) fn parts(&self) -> [&Secret; 4] {
        [&self.skeyid_d, &self.skeyid_a, &self.skeyid_e, &self.key]
    }

    /// The cipher.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The cipher's key, for [`crate::v1::IsakmpSa`]'s and Main Mode's key log.
    pub(crate) fn cipher_key(&self) -> &Secret {
        &self.key
    }

    /// HASH_I over the initiator's identity payload body.
    pub fn hash_i(&self, t: &Transcript<'_>, idii_b: &[u8]) -> Vec<u8> {
        self.auth_hash(
            t.gxi,
            t.gxr,
            self.initiator,
            self.responder,
            t.sai_b,
            idii_b,
        )
    }

    /// HASH_R over the responder's identity payload body.
    pub fn hash_r(&self, t: &Transcript<'_>, idir_b: &[u8]) -> Vec<u8> {
        self.auth_hash(
            t.gxr,
            t.gxi,
            self.responder,
            self.initiator,
            t.sai_b,
            idir_b,
        )
    }

    fn auth_hash(
        &self,
        own: &[u8],
        other: &[u8],
        cky: Cookie,
        other_cky: Cookie,
        sa: &[u8],
        id: &[u8],
    ) -> Vec<u8> {
        let parts = [own, other, &cky.0, &other_cky.0, sa, id];
        self.hash
            .prf(self.skeyid.expose(), &parts)
            .expose()
            .to_vec()
    }

    /// HASH(1) of Quick Mode and the hash of an informational exchange: over the message id and all payloads behind the
    /// hash payload (RFC 2409 sections 5.5 and 5.7).
    pub fn hash_1(&self, message_id: u32, payloads: &[u8]) -> Vec<u8> {
        self.phase2_hash(&[&message_id.to_be_bytes(), payloads])
    }

    /// HASH(2) of Quick Mode: as HASH(1), with the initiator's nonce body between.
    pub fn hash_2(&self, message_id: u32, ni_b: &[u8], payloads: &[u8]) -> Vec<u8> {
        self.phase2_hash(&[&message_id.to_be_bytes(), ni_b, payloads])
    }

    /// HASH(3) of Quick Mode: zero, message id, both nonce bodies.
    pub fn hash_3(&self, message_id: u32, ni_b: &[u8], nr_b: &[u8]) -> Vec<u8> {
        self.phase2_hash(&[&[0], &message_id.to_be_bytes(), ni_b, nr_b])
    }

    fn phase2_hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.hash
            .prf(self.skeyid_a.expose(), parts)
            .expose()
            .to_vec()
    }

    /// The first initialization vector of phase 1: hash(g^xi | g^xr), cut to a block (appendix B).
    pub fn phase1_iv(&self, gxi: &[u8], gxr: &[u8]) -> Iv {
        self.iv(&[gxi, gxr])
    }

    /// The first initialization vector of a phase 2 or informational exchange: hash(last block of phase 1 | message id),
    /// cut to a block (appendix B).
    pub fn phase2_iv(&self, phase1_last: &Iv, message_id: u32) -> Iv {
        self.iv(&[&phase1_last.0, &message_id.to_be_bytes()])
    }

    fn iv(&self, parts: &[&[u8]]) -> Iv {
        let mut iv = self.hash.digest(parts);
        iv.truncate(self.cipher.block_len());
        Iv(iv)
    }

    /// Encrypts the part of a message behind the header in place; `iv` becomes its last block.
    ///
    /// # Errors
    /// A length that is not a whole number of blocks, or zero.
    pub fn encrypt(&self, iv: &mut Iv, body: &mut [u8]) -> Result<(), CipherError> {
        self.check(body)?;
        self.cipher.encrypt(self.key.expose(), &iv.0, body)?;
        *iv = self.last_block(body);
        Ok(())
    }

    /// Decrypts the part of a message behind the header in place; `iv` becomes its last block. Until the message has
    /// proved genuine, work on a copy of the exchange's IV.
    ///
    /// # Errors
    /// A length that is not a whole number of blocks, or zero.
    pub fn decrypt(&self, iv: &mut Iv, body: &mut [u8]) -> Result<(), CipherError> {
        self.check(body)?;
        let next = self.last_block(body);
        self.cipher.decrypt(self.key.expose(), &iv.0, body)?;
        *iv = next;
        Ok(())
    }

    fn check(&self, body: &[u8]) -> Result<(), CipherError> {
        let (len, block) = (body.len(), self.cipher.block_len());
        if len == 0 || !len.is_multiple_of(block) {
            Err(CipherError::NotBlocks { len, block })
        } else {
            Ok(())
        }
    }

    fn last_block(&self, body: &[u8]) -> Iv {
        Iv(body
            .rchunks(self.cipher.block_len())
            .next()
            .unwrap_or_default()
            .to_vec())
    }

    /// `len` octets of KEYMAT for one SA in one direction (RFC 2409 section 5.5): the cipher's key first, then the
    /// authenticator's. `spi` is the one the receiver of that direction chose; `pfs` is Quick Mode's own g^xy.
    pub fn keymat(&self, sa: &KeymatFor<'_>, pfs: Option<&Secret>, len: usize) -> Secret {
        let secret = pfs.map_or(&[][..], Secret::expose);
        let protocol = [sa.protocol.0];
        let spi = sa.spi.to_be_bytes();
        let seed = [secret, &protocol, &spi, sa.ni_b, sa.nr_b];
        expand(len, |previous| {
            let mut parts = vec![previous];
            parts.extend_from_slice(&seed);
            self.hash.prf(self.skeyid_d.expose(), &parts)
        })
    }
}

/// The SA that KEYMAT is for.
#[derive(Clone, Copy, Debug)]
pub struct KeymatFor<'a> {
    /// ESP or AH; IPCOMP has no key.
    pub protocol: Protocol,
    /// SPI.
    pub spi: u32,
    /// Quick Mode's nonce body from the initiator.
    pub ni_b: &'a [u8],
    /// Quick Mode's nonce body from the responder.
    pub nr_b: &'a [u8],
}

/// The cipher key: SKEYID_e if long enough, else Ka = K1 | K2 | … (RFC 2409 appendix B).
fn cipher_key(hash: Hash, skeyid_e: &Secret, len: usize) -> Secret {
    if skeyid_e.len() >= len {
        return skeyid_e.split(len).0;
    }
    expand(len, |previous| {
        let seed: &[u8] = if previous.is_empty() { &[0] } else { previous };
        hash.prf(skeyid_e.expose(), &[seed])
    })
}

/// K1 | K2 | … cut to `len`, each block made from the one before (the first from nothing).
fn expand(len: usize, mut block: impl FnMut(&[u8]) -> Secret) -> Secret {
    // Room for the last block's surplus, so that growing never leaves an unwiped copy behind.
    let mut out = Vec::with_capacity(len + 64);
    let mut previous = block(&[]);
    while out.len() < len {
        out.extend_from_slice(previous.expose());
        previous = block(previous.expose());
    }
    let all = Secret::new(out);
    all.split(len).0
}
