//! Informational exchanges (RFC 2409 section 5.7): notifications and deletes, protected by an ISAKMP SA
//! or in the clear. What follows from them is the engine's decision; from those in the clear, nothing but a
//! line in the log.

use crate::crypto::{Iv, Phase1Keys, ct_eq};
use crate::wire::{
    Cookie, Delete, ExchangeType, Expect, Header, Message, MessageBuilder, Notify, NotifyType,
    PayloadType, Protocol,
};

use super::error::Error;
use super::isakmp::IsakmpSa;
use super::message;

/// Most octets of notification data that are kept.
const MAX_DATA: usize = 256;

/// A notification received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Protocol of the SA spoken of.
    pub protocol: Protocol,
    /// Its SPI.
    pub spi: Vec<u8>,
    /// What is said.
    pub kind: NotifyType,
    /// More of it, cut to 256 octets.
    pub data: Vec<u8>,
}

impl Notification {
    pub(super) fn from_wire(notify: &Notify<'_>) -> Self {
        Self {
            protocol: notify.protocol,
            spi: notify.spi.to_vec(),
            kind: notify.kind,
            data: notify.data.get(..MAX_DATA).unwrap_or(notify.data).to_vec(),
        }
    }
}

/// SAs that the peer says it has deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// An ISAKMP SA, by its cookies.
    Isakmp(Cookie, Cookie),
    /// An IPsec SA by the SPI that the peer chose: our outbound one.
    Ipsec {
        /// ESP, AH or IPCOMP.
        protocol: Protocol,
        /// The SPI.
        spi: u32,
    },
    /// An SA of another protocol.
    Unknown(Protocol),
}

/// What an informational message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Informational {
    /// Notifications, in order.
    pub notifications: Vec<Notification>,
    /// Deletes, in order.
    pub deletions: Vec<Deletion>,
}

impl Informational {
    fn of(message: &Message<'_>) -> Self {
        Self {
            notifications: message
                .notifications()
                .map(|n| Notification::from_wire(&n))
                .collect(),
            deletions: message
                .deletes()
                .flat_map(|delete| deletions(&delete))
                .collect(),
        }
    }

    /// Reads one in the clear. Nobody vouches for it: log it, and do nothing else.
    ///
    /// # Errors
    /// A malformed message.
    pub fn in_clear(datagram: &[u8]) -> Result<Self, Error> {
        Ok(Self::of(&Message::new_checked(datagram)?))
    }
}

fn deletions(delete: &Delete<'_>) -> Vec<Deletion> {
    let protocol = delete.protocol;
    let one = |spi: &[u8]| match (protocol, spi) {
        (Protocol::ISAKMP, spi) => match spi.as_chunks::<8>() {
            ([initiator, responder], []) => {
                Deletion::Isakmp(Cookie(*initiator), Cookie(*responder))
            }
            _ => Deletion::Unknown(protocol),
        },
        (Protocol::AH | Protocol::ESP | Protocol::IPCOMP, spi) => {
            let spi = spi
                .iter()
                .fold(0, |spi, octet| spi << 8 | u32::from(*octet));
            Deletion::Ipsec { protocol, spi }
        }
        _ => Deletion::Unknown(protocol),
    };
    delete.spis().map(one).collect()
}

impl IsakmpSa {
    /// A protected notification. `message_id` must be new and not 0.
    pub fn notify(&self, notify: &Notify<'_>, message_id: u32) -> Vec<u8> {
        self.informational(message_id, |builder| builder.notify(notify))
    }

    /// Tells the peer that inbound SAs of ours are gone: protocols with the SPIs that we chose.
    /// `message_id` must be new and not 0.
    pub fn delete_ipsec(&self, sas: &[(Protocol, u32)], message_id: u32) -> Vec<u8> {
        self.informational(message_id, |builder| {
            sas.iter().fold(builder, |builder, (protocol, spi)| {
                let spi = spi.to_be_bytes();
                match Delete::new(*protocol, 4, &spi) {
                    Some(delete) => builder.delete(&delete),
                    None => builder,
                }
            })
        })
    }

    /// Tells the peer that this ISAKMP SA is gone. `message_id` must be new and not 0.
    pub fn delete_isakmp(&self, message_id: u32) -> Vec<u8> {
        let spi = message::isakmp_spi(self.cookies());
        self.informational(message_id, |builder| {
            match Delete::new(Protocol::ISAKMP, 16, &spi) {
                Some(delete) => builder.delete(&delete),
                None => builder,
            }
        })
    }

    fn informational(
        &self,
        message_id: u32,
        payloads: impl FnOnce(MessageBuilder) -> MessageBuilder,
    ) -> Vec<u8> {
        let header = self.header(ExchangeType::INFORMATIONAL, message_id);
        protect(&self.keys, &self.last_iv, &header, payloads)
    }

    /// Decrypts, checks and reads an informational message of the peer.
    ///
    /// # Errors
    /// A message that is malformed, or whose hash shows that the peer did not send it.
    pub fn read_informational(&self, datagram: &[u8]) -> Result<Informational, Error> {
        read_protected(&self.keys, &self.last_iv, datagram)
    }
}

/// An informational message protected by `keys`; `last_iv` is the last block of phase 1.
pub(super) fn protect(
    keys: &Phase1Keys,
    last_iv: &Iv,
    header: &Header,
    payloads: impl FnOnce(MessageBuilder) -> MessageBuilder,
) -> Vec<u8> {
    let mut builder = MessageBuilder::new(header);
    let slot = builder.hash_slot(keys.hash().output_len());
    let mut builder = payloads(builder);
    let hash = keys.hash_1(header.message_id, builder.after(slot));
    builder.fill(slot, &hash);
    message::encrypt(
        keys,
        builder,
        &mut keys.phase2_iv(last_iv, header.message_id),
    )
}

/// Reads an informational message protected by `keys`; `last_iv` is the last block of phase 1.
pub(super) fn read_protected(
    keys: &Phase1Keys,
    last_iv: &Iv,
    datagram: &[u8],
) -> Result<Informational, Error> {
    let message_id = Header::new_checked(datagram)?.message_id;
    if message_id == 0 {
        return Err(Error::Header("message ID is zero"));
    }
    let clear = message::decrypt(keys, datagram, &mut keys.phase2_iv(last_iv, message_id))?;
    let message = Message::new_decrypted(&clear)?;
    message.expect(&Expect {
        first: Some(PayloadType::HASH),
        counts: &[(PayloadType::HASH, 1, 1)],
        tolerated: &[],
    })?;
    let genuine = message
        .payloads()
        .first()
        .zip(message.hash())
        .is_some_and(|(first, hash)| ct_eq(hash, &keys.hash_1(message_id, message.after(first))));
    if !genuine {
        return Err(Error::Hash {
            which: 1,
            message: "Informational",
        });
    }
    Ok(Informational::of(&message))
}

/// A notification in the clear, for a peer with whom there is no SA.
pub fn notify_in_clear(
    (initiator, responder): (Cookie, Cookie),
    notify: &Notify<'_>,
    message_id: u32,
) -> Vec<u8> {
    let header = Header::new(
        initiator,
        responder,
        ExchangeType::INFORMATIONAL,
        message_id,
    );
    MessageBuilder::new(&header).notify(notify).finish()
}
