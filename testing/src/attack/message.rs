//! IKE messages as an attacker makes them.

use ike::proposal::{IkeAlgorithms, IkePolicy};
use ike::v1::main_mode::{Credentials, Initiate, initiate};
use ike::v1::{Identity, NatOffer};
use ike::wire::{AuthMethod, Cookie, ExchangeType, Header, Message, MessageBuilder, PayloadType};

/// Octets of a message's header, and where its first payload's type, flags and length are.
const HEADER: usize = 28;
const NEXT: usize = 16;
const FLAGS: usize = 19;
const LENGTH: usize = 24;

/// Makes messages. Cookies and what is to be random come from a row of numbers that is the same each time.
pub struct Forger {
    state: u64,
    first: Vec<u8>,
    /// Octets of a public value of the group that is offered.
    public: usize,
    /// The cookies of the exchange that was answered first.
    answered: Option<([u8; 8], [u8; 8])>,
}

impl Forger {
    /// Offers what `ike` says, as in ipsec.conf: one cipher, hash and group.
    pub fn new(ike: &str) -> Forger {
        let algorithms = IkeAlgorithms::parse(ike).expect("as in ike=");
        let group = algorithms.suites[0].group;
        let any = "0.0.0.0:500".parse().expect("an address");
        let request = Initiate {
            policy: IkePolicy {
                auth: vec![AuthMethod::PRESHARED_KEY],
                algorithms,
                life_seconds: 3600,
                fragmentation: true,
            },
            my_id: Identity::Fqdn("mallory".into()),
            credentials: Credentials::default(),
            initial_contact: false,
            brief: false,
            nat: NatOffer {
                enabled: false,
                force: false,
                local: any,
                remote: any,
            },
        };
        let (_, first) = initiate(request, Cookie([1; 8]));
        Forger {
            state: 0x2545_f491_4f6c_dd1d ^ u64::from(std::process::id()),
            first,
            public: group.public_len(),
            answered: None,
        }
    }

    /// The next number.
    pub fn number(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) as u32
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.number() as u8)
    }

    /// A first message with a cookie of its own.
    pub fn first(&mut self) -> Vec<u8> {
        let mut bytes = self.first.clone();
        bytes[..8].copy_from_slice(&self.octets::<8>());
        bytes
    }

    /// A first message like no other: with another vendor id.
    pub fn different(&mut self) -> Vec<u8> {
        let mut bytes = self.first();
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&self.octets::<8>());
        bytes
    }

    /// What follows an answer: the second message after the first answer. After the second, if `third`, a third that is none.
    pub fn next(&mut self, answer: &[u8], third: bool) -> Option<Vec<u8>> {
        let message = Message::new_checked(answer).ok()?;
        let header = message.header();
        if header.exchange != ExchangeType::MAIN_MODE {
            return None;
        }
        if header.next_payload == PayloadType::SA {
            self.answered
                .get_or_insert((header.initiator.0, header.responder.0));
            return Some(self.second(header.initiator, header.responder, self.public));
        }
        third.then(|| {
            let mut bytes = answer[..HEADER].to_vec();
            bytes[NEXT] = PayloadType::ID.0;
            bytes[FLAGS] = 1;
            for _ in 0..64 {
                bytes.extend(self.octets::<16>());
            }
            with_length(bytes)
        })
    }

    fn second(&mut self, initiator: Cookie, responder: Cookie, public: usize) -> Vec<u8> {
        let header = Header::new(initiator, responder, ExchangeType::MAIN_MODE, 0);
        // Below the modulus of every MODP group.
        let mut value = vec![0x7f; public];
        for octet in value.iter_mut().skip(1) {
            *octet = self.number() as u8;
        }
        let nonce = self.octets::<16>();
        MessageBuilder::new(&header)
            .ke(&value)
            .nonce(&nonce)
            .finish()
    }

    /// A second message whose public value is too short, for the exchange that was answered first.
    pub fn bad_second(&mut self, initiator: &[u8; 8]) -> Option<Vec<u8>> {
        let (ours, responder) = self.answered?;
        (ours == *initiator).then(|| self.second(Cookie(ours), Cookie(responder), self.public - 1))
    }

    /// A piece of a message that belongs to nothing.
    pub fn piece(&mut self) -> Vec<u8> {
        let mut bytes = self.octets::<HEADER>().to_vec();
        bytes[NEXT..NEXT + 8].copy_from_slice(&[PayloadType::FRAGMENT.0, 0x10, 2, 0, 0, 0, 0, 0]);
        let number = self.number() as u8;
        bytes.extend([0, 0, 1, 8, 0, 1, number.max(1), 0]);
        bytes.extend([7; 256]);
        with_length(bytes)
    }

    /// A message with bits changed, cut, or of another kind.
    pub fn noise(&mut self) -> Vec<u8> {
        let mut bytes = self.first();
        bytes[8..16].copy_from_slice(&self.octets::<8>());
        match self.number() % 4 {
            0 => bytes.truncate(self.number() as usize % bytes.len()),
            1 => bytes[18] = self.number() as u8,
            2 => bytes[FLAGS] = 1,
            _ => {
                for _ in 0..4 {
                    let at = self.number() as usize % bytes.len();
                    bytes[at] ^= 1 << (self.number() % 8);
                }
            }
        }
        bytes
    }
}

fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len() as u32;
    bytes[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    bytes
}
