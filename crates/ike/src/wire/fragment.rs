//! IKEv1 fragments, as Cisco, Microsoft, racoon, strongSwan and libreswan have them (MS-IKEE section 2.2.11; no RFC):
//! a whole message cut into pieces, each the one payload of a message of its own with the same cookies. What is done with
//! them is the engine's business.

use super::error::{ErrorKind, ParseError};
use super::header::{HEADER_LEN, Header};
use super::numbers::PayloadType;
use super::reader::Reader;

/// Octets before the piece: generic header, id, number, flags.
const FRAGMENT_HEADER: usize = 8;
const LAST: u8 = 1;

/// Most pieces of one message.
pub const MAX_FRAGMENTS: u8 = 64;

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Which message it is of; the same for all its pieces.
    pub id: u16,
    /// Which piece, from 1.
    pub number: u8,
    /// Whether it is the last.
    pub last: bool,
    /// The piece.
    pub data: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Reads a datagram whose first payload is a fragment.
    ///
    /// # Errors
    /// A bad header, another first payload, a length that is not the datagram's, no data, or a number that is not 1 to
    /// [`MAX_FRAGMENTS`].
    pub fn new_checked(datagram: &'a [u8]) -> Result<(Header, Self), ParseError> {
        let header = Header::new_checked(datagram)?;
        let body = datagram.get(HEADER_LEN..).unwrap_or_default();
        let mut r = Reader::new(PayloadType::FRAGMENT, body, HEADER_LEN);
        if header.next_payload != PayloadType::FRAGMENT {
            let kind = ErrorKind::UnexpectedPayload {
                found: header.next_payload,
                expected: "a fragment",
            };
            return Err(r.error_at(16, kind));
        }
        r.need(FRAGMENT_HEADER + 1)?;
        let _next_and_reserved = r.u16()?;
        let length = usize::from(r.u16()?);
        if length != body.len() {
            let kind = ErrorKind::PayloadLength {
                field: length,
                min: body.len(),
                max: body.len(),
            };
            return Err(r.error_at(HEADER_LEN + 2, kind));
        }
        let id = r.u16()?;
        let number = r.u8()?;
        let flags = r.u8()?;
        if number == 0 || number > MAX_FRAGMENTS {
            let kind = ErrorKind::TooMany {
                what: "fragments",
                limit: MAX_FRAGMENTS.into(),
            };
            return Err(r.error_at(HEADER_LEN + 6, kind));
        }
        let fragment = Self {
            id,
            number,
            last: flags & LAST != 0,
            data: r.rest(),
        };
        Ok((header, fragment))
    }

    /// Cuts a message into datagrams of at most `limit` octets; `None` if it can't be done.
    pub fn cut(message: &[u8], id: u16, limit: usize) -> Option<Vec<Vec<u8>>> {
        let original = Header::new_checked(message).ok()?;
        let room = limit
            .checked_sub(HEADER_LEN + FRAGMENT_HEADER)
            .filter(|room| *room > 0)?;
        let count = message.len().div_ceil(room);
        if count > usize::from(MAX_FRAGMENTS) {
            return None;
        }
        let pieces = message.chunks(room).enumerate().map(|(at, data)| {
            // libreswan takes no piece of Quick Mode without its message id; strongSwan, whose own have none, doesn't mind.
            let mut header = Header::new(
                original.initiator,
                original.responder,
                original.exchange,
                original.message_id,
            );
            header.next_payload = PayloadType::FRAGMENT;
            let length = FRAGMENT_HEADER + data.len();
            header.length = u32::try_from(HEADER_LEN + length).unwrap_or(u32::MAX);
            let mut datagram = header.to_bytes().to_vec();
            datagram.extend_from_slice(&[0, 0]);
            // Room for it was checked: `limit` is a datagram's.
            datagram.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
            datagram.extend_from_slice(&id.to_be_bytes());
            let last = at + 1 == count;
            datagram.extend_from_slice(&[u8::try_from(at + 1).unwrap_or(0), u8::from(last)]);
            datagram.extend_from_slice(data);
            datagram
        });
        Some(pieces.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cookie, ExchangeType, MessageBuilder};

    fn message(len: usize) -> Vec<u8> {
        let header = Header::new(Cookie([1; 8]), Cookie([2; 8]), ExchangeType::QUICK_MODE, 9);
        let message = MessageBuilder::new(&header).vendor_id(&vec![7; len]);
        message.finish()
    }

    #[test]
    fn what_is_cut_is_whole_again() {
        for len in [0, 1, 63, 64, 65, 500, 3000] {
            let whole = message(len);
            let pieces = Fragment::cut(&whole, 3, 100).unwrap();
            let mut again = Vec::new();
            for (at, piece) in pieces.iter().enumerate() {
                assert!(piece.len() <= 100);
                let (header, fragment) = Fragment::new_checked(piece).unwrap();
                assert_eq!((header.initiator, header.message_id), (Cookie([1; 8]), 9));
                assert_eq!((fragment.id, usize::from(fragment.number)), (3, at + 1));
                assert_eq!(fragment.last, at + 1 == pieces.len());
                again.extend_from_slice(fragment.data);
            }
            assert_eq!(again, whole);
        }
        assert_eq!(Fragment::cut(&message(10_000), 1, 100), None);
        assert_eq!(Fragment::cut(&message(10), 1, 36), None);
    }

    /// The head of the first piece of strongSwan 5.9.8's second message of Main Mode, captured with `fragmentation = force` and
    /// `fragment_size = 500` from keys of 8192 bits. What follows is cut here, and the two lengths that count it.
    #[test]
    fn strongswans_octets() {
        let cookies = [
            0x22, 0x6e, 0x5d, 0x97, 0x00, 0x0f, 0x7e, 0x49, 0xb7, 0xe0, 0x28, 0xa0, 0x79, 0x2f,
            0x86, 0x75,
        ];
        let octets = [
            &cookies[..],
            &[0x84, 0x10, 2, 0, 0, 0, 0, 0, 0, 0, 0, 64],
            &[0, 0, 0, 36, 0, 1, 1, 0],
            // The message inside begins with its own header, which counts the whole.
            &cookies,
            &[4, 0x10, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0xcc],
        ]
        .concat();
        let (header, fragment) = Fragment::new_checked(&octets).unwrap();
        assert_eq!(header.exchange, ExchangeType::MAIN_MODE);
        assert_eq!((fragment.id, fragment.number, fragment.last), (1, 1, false));
        assert_eq!(fragment.data[..16], cookies);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Fragment::cut(&message(100), 1, 100).unwrap().remove(0);
        assert!(Fragment::new_checked(&good).is_ok());
        for (at, value) in [(16, 1), (30, 1), (31, 0), (34, 0), (34, 65)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Fragment::new_checked(&bad).is_err(), "{at}");
        }
        for len in 0..good.len() {
            assert!(Fragment::new_checked(&good[..len]).is_err());
        }
    }
}
