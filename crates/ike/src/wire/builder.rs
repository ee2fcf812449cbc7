//! Writes messages: header, then payloads in the order they are added, each linked from the one before, then padding.
//! Encryption and hashing are `crypto`'s; the builder leaves room for the hash and pads to the cipher's block.

use super::header::{HEADER_LEN, Header};
use super::id::Id;
use super::message::Cert;
use super::notify::{Delete, Notify};
use super::numbers::PayloadType;
use super::sa::{Sa, close, open};

/// Largest message built, in octets: what fits a UDP datagram over IPv4.
pub const MAX_MESSAGE: usize = 65507;

/// A message under construction.
#[derive(Clone, Debug)]
pub struct MessageBuilder {
    bytes: Vec<u8>,
    /// Where the type of the next payload goes.
    link: usize,
}

/// Room left for a hash that covers what comes after it.
#[derive(Clone, Copy, Debug)]
pub struct HashSlot {
    start: usize,
    len: usize,
}

impl MessageBuilder {
    /// Starts a message; `header.next_payload` and `header.length` are filled in here.
    pub fn new(header: &Header) -> Self {
        let header = Header {
            next_payload: PayloadType::NONE,
            ..*header
        };
        Self {
            bytes: header.to_bytes().to_vec(),
            link: 16,
        }
    }

    /// Adds a payload of any type from its body. A body over 65531 octets is cut, as the length field cannot say more.
    pub fn payload(mut self, kind: PayloadType, body: &[u8]) -> Self {
        self.push(kind, body);
        self
    }

    /// Adds payloads that are there already, generic headers and all, the first of type `kind`; nothing may follow them.
    pub fn chain(mut self, kind: PayloadType, payloads: &[u8]) -> Self {
        self.bytes[self.link] = kind.0;
        self.bytes.extend_from_slice(payloads);
        self
    }

    fn push(&mut self, kind: PayloadType, body: &[u8]) -> usize {
        self.bytes[self.link] = kind.0;
        let start = open(&mut self.bytes, PayloadType::NONE);
        self.bytes.extend_from_slice(&body[..body.len().min(65531)]);
        close(&mut self.bytes[..], start);
        self.link = start;
        start
    }

    /// Adds an SA payload.
    pub fn sa(self, sa: &Sa) -> Self {
        self.payload(PayloadType::SA, &sa.to_body())
    }

    /// Adds a key exchange payload.
    pub fn ke(self, public: &[u8]) -> Self {
        self.payload(PayloadType::KE, public)
    }

    /// Adds a nonce.
    pub fn nonce(self, nonce: &[u8]) -> Self {
        self.payload(PayloadType::NONCE, nonce)
    }

    /// Adds an identification payload.
    pub fn id(self, id: &Id<'_>) -> Self {
        self.payload(PayloadType::ID, &id.to_body())
    }

    /// Adds a hash that is already known.
    pub fn hash(self, hash: &[u8]) -> Self {
        self.payload(PayloadType::HASH, hash)
    }

    /// Adds a signature.
    pub fn sig(self, signature: &[u8]) -> Self {
        self.payload(PayloadType::SIG, signature)
    }

    /// Adds a certificate.
    pub fn cert(self, cert: &Cert<'_>) -> Self {
        self.payload(PayloadType::CERT, &cert_body(cert))
    }

    /// Adds a certificate request.
    pub fn certreq(self, cert: &Cert<'_>) -> Self {
        self.payload(PayloadType::CERTREQ, &cert_body(cert))
    }

    /// Adds a notification.
    pub fn notify(self, notify: &Notify<'_>) -> Self {
        self.payload(PayloadType::NOTIFY, &notify.to_body())
    }

    /// Adds a delete.
    pub fn delete(self, delete: &Delete<'_>) -> Self {
        self.payload(PayloadType::DELETE, &delete.to_body())
    }

    /// Adds a vendor id.
    pub fn vendor_id(self, vid: &[u8]) -> Self {
        self.payload(PayloadType::VID, vid)
    }

    /// Adds a hash payload of `len` octets to be filled in when all behind it is known.
    pub fn hash_slot(&mut self, len: usize) -> HashSlot {
        let start = self.push(PayloadType::HASH, &vec![0; len.min(512)]);
        HashSlot {
            start,
            len: len.min(512),
        }
    }

    /// All payloads added since the slot: what HASH(1) and HASH(2) cover. Take it after the last payload.
    pub fn after(&self, slot: HashSlot) -> &[u8] {
        self.bytes
            .get(slot.start + 4 + slot.len..)
            .unwrap_or_default()
    }

    /// Fills in the hash; octets beyond the slot's length are ignored.
    pub fn fill(&mut self, slot: HashSlot, hash: &[u8]) {
        let room = self
            .bytes
            .get_mut(slot.start + 4..slot.start + 4 + slot.len)
            .unwrap_or_default();
        room.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    }

    /// The message in clear text, with its length filled in.
    pub fn finish(self) -> Vec<u8> {
        self.finish_padded(1)
    }

    /// The message with zero octets behind the last payload, so that all behind the header is a multiple of `block`
    /// octets, with its length filled in. Ready to be encrypted from octet 28 on.
    pub fn finish_padded(mut self, block: usize) -> Vec<u8> {
        let body = self.bytes.len() - HEADER_LEN;
        let padded = HEADER_LEN + body.next_multiple_of(block.max(1));
        self.bytes.resize(padded, 0);
        let len = (self.bytes.len() as u32).to_be_bytes();
        self.bytes[24..28].copy_from_slice(&len);
        self.bytes
    }
}

fn cert_body(cert: &Cert<'_>) -> Vec<u8> {
    let mut body = vec![cert.encoding.0];
    body.extend_from_slice(cert.data);
    body
}
