//! Recognising the peer's retransmissions: what we last received in an exchange and what
//! we answered. What to do about a duplicate is the engine's decision.

use sha2::{Digest, Sha256};

/// The last message of an exchange in each direction.
///
/// Of what came in only a digest is kept: enough to know it again, and of fixed size.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    received: Option<[u8; 32]>,
    sent: Option<Vec<u8>>,
}

impl Seen {
    /// Nothing received; `sent` went out first.
    pub fn started(sent: Vec<u8>) -> Self {
        Self {
            received: None,
            sent: Some(sent),
        }
    }

    /// Whether `datagram` is the very message that was last accepted.
    pub fn is_duplicate(&self, datagram: &[u8]) -> bool {
        self.received == Some(digest(datagram))
    }

    /// `datagram` was accepted. The last reply stays until [`Seen::sent`] replaces it.
    pub fn received(&mut self, datagram: &[u8]) {
        self.received = Some(digest(datagram));
    }

    /// `reply` was sent; `None` where the exchange calls for no answer.
    pub fn sent(&mut self, reply: Option<Vec<u8>>) {
        self.sent = reply;
    }

    /// What was last sent, to be sent again.
    pub fn last_sent(&self) -> Option<&[u8]> {
        self.sent.as_deref()
    }
}

fn digest(datagram: &[u8]) -> [u8; 32] {
    Sha256::digest(datagram).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_only_the_last_message() {
        let mut seen = Seen::started(b"MI1".to_vec());
        assert!(!seen.is_duplicate(b"MR1"));
        seen.received(b"MR1");
        seen.sent(Some(b"MI2".to_vec()));
        assert!(seen.is_duplicate(b"MR1"));
        assert!(!seen.is_duplicate(b"MR1 "));
        assert_eq!(seen.last_sent(), Some(&b"MI2"[..]));
        seen.received(b"MR2");
        assert!(!seen.is_duplicate(b"MR1"));
        seen.sent(None);
        assert_eq!(seen.last_sent(), None);
    }
}
