//! What the exchanges share in reading and writing messages: headers, encryption around the
//! codec, nonces, key exchange payloads.

use crate::crypto::{CipherError, Group, Iv, Phase1Keys, check_public};
use crate::wire::{
    Cookie, ExchangeType, Expect, Flags, HEADER_LEN, Header, Message, MessageBuilder, PayloadType,
};

use super::error::Error;
use super::nat::Nat;

/// Octets of our nonces.
pub(super) const NONCE_LEN: usize = 16;

/// Our vendor id: what we are, in twelve octets as FreeS/WAN's was, from a text of our own.
pub const VENDOR_ID: &[u8; 12] = b"OErFSWAN3.00";

/// A Main Mode header.
pub(super) fn main_mode(initiator: Cookie, responder: Cookie) -> Header {
    Header::new(initiator, responder, ExchangeType::MAIN_MODE, 0)
}

/// Both cookies as one SPI.
pub(super) fn isakmp_spi((initiator, responder): (Cookie, Cookie)) -> [u8; 16] {
    let mut spi = [0; 16];
    spi[..8].copy_from_slice(&initiator.0);
    spi[8..].copy_from_slice(&responder.0);
    spi
}

/// The message behind `builder`, padded and encrypted; `iv` becomes its last block.
pub(super) fn encrypt(keys: &Phase1Keys, builder: MessageBuilder, iv: &mut Iv) -> Vec<u8> {
    let mut message = builder.finish_padded(keys.cipher().block_len());
    if let Some(body) = message.get_mut(HEADER_LEN..) {
        // Padded to whole blocks above, and every message of ours has a payload.
        let encrypted = keys.encrypt(iv, body);
        debug_assert!(encrypted.is_ok());
        if encrypted.is_err() {
            body.fill(0);
        }
    }
    message
}

/// The datagram with all behind its header decrypted; `iv` becomes its last block.
pub(super) fn decrypt(keys: &Phase1Keys, datagram: &[u8], iv: &mut Iv) -> Result<Vec<u8>, Error> {
    let header = Header::new_checked(datagram)?;
    if !header.flags.encryption {
        return Err(Error::NotEncrypted);
    }
    let mut clear = datagram.to_vec();
    let body = clear.get_mut(HEADER_LEN..).unwrap_or_default();
    keys.decrypt(iv, body)?;
    Ok(clear)
}

/// What MI2 or MR2 says.
pub(super) struct KeyExchange {
    pub(super) public: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    /// Contents of the NAT-D payloads.
    pub(super) discoveries: Vec<Vec<u8>>,
}

/// Reads MI2 or MR2.
pub(super) fn key_exchange(datagram: &[u8], group: Group) -> Result<KeyExchange, Error> {
    let message = Message::new_checked(datagram)?;
    message.expect(&Expect {
        first: None,
        counts: &[(PayloadType::KE, 1, 1), (PayloadType::NONCE, 1, 1)],
        tolerated: &[
            PayloadType::CERTREQ,
            PayloadType::NAT_D,
            PayloadType::NAT_D_DRAFTS,
        ],
    })?;
    let (Some(public), Some(nonce)) = (message.ke(), message.nonce()) else {
        return Err(Error::Header("key exchange or nonce is missing"));
    };
    check_public(group, public)?;
    Ok(KeyExchange {
        public: public.to_vec(),
        nonce: nonce.to_vec(),
        discoveries: Nat::discoveries(&message),
    })
}

/// A header of an encrypted message.
pub(super) fn encrypted(header: Header) -> Header {
    Header {
        flags: Flags::ENCRYPTED,
        ..header
    }
}

impl From<CipherError> for Error {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::NotBlocks { len, block } => Self::BlockSize { len, block },
            CipherError::KeyLength => Self::Header("key or IV has a wrong length"),
        }
    }
}
