//! Phase 1 negotiation: what a connection allows, turned into an offer, and an offer or answer held against it.

use super::algorithms::{IkeAlgorithms, IkeSuite};
use super::attributes::{LIFE_MAXIMUM, LifeReader, Lifetimes, once, small};
use super::refusal::{AnswerError, NoProposal, Refusal, Refused};
use crate::crypto::{Cipher, Group, Hash};
use crate::wire::{
    Attribute, AuthMethod, GroupId, KEY_IKE, LifeType, OakleyAttribute as Oakley, OakleyCipher,
    OakleyHash, Proposal, Protocol, SA_LIFE_DURATION_DEFAULT, Sa, Transform,
};
use core::fmt;

/// What a connection allows in phase 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkePolicy {
    /// Authentication methods, preferred first (`authby=`).
    pub auth: Vec<AuthMethod>,
    /// Ciphers, hashes and groups (`ike=`).
    pub algorithms: IkeAlgorithms,
    /// Lifetime offered in seconds (`ikelifetime=`).
    pub life_seconds: u32,
    /// Whether fragments of messages are announced to be understood (`fragmentation=`).
    pub fragmentation: bool,
}

/// A phase 1 transform, understood: cipher, hash, group, authentication and lifetimes as they stood on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeTransform {
    /// Cipher.
    pub cipher: Cipher,
    /// Hash, also the PRF.
    pub hash: Hash,
    /// Diffie-Hellman group.
    pub group: Group,
    /// Authentication method.
    pub auth: AuthMethod,
    /// Lifetimes as offered; see [`life_seconds`](Self::life_seconds).
    pub lifetimes: Lifetimes,
}

impl IkeTransform {
    /// Whether the peers prove themselves with RSA signatures (else with a shared secret).
    pub fn by_signature(&self) -> bool {
        self.auth == AuthMethod::RSA_SIG
    }

    /// Seconds that the ISAKMP SA may live: as offered, 8 hours if nothing was (RFC 2407 section 4.5's default), at
    /// most a day.
    pub fn life_seconds(&self) -> u32 {
        self.lifetimes
            .seconds
            .unwrap_or(SA_LIFE_DURATION_DEFAULT)
            .min(LIFE_MAXIMUM)
    }

    /// Cipher, hash and group.
    pub fn suite(&self) -> IkeSuite {
        IkeSuite {
            cipher: self.cipher,
            hash: self.hash,
            group: self.group,
        }
    }

    /// Reads a transform's attributes, whatever the policy.
    ///
    /// # Errors
    /// An algorithm that is not implemented or refused, or attributes that make no sense.
    pub fn decode(transform: &Transform) -> Result<Self, Refusal> {
        if transform.id != KEY_IKE {
            return Err(Refusal::TransformId {
                protocol: Protocol::ISAKMP,
                id: transform.id,
            });
        }
        let (mut cipher, mut key, mut hash, mut auth, mut group) = (None, None, None, None, None);
        let mut lives = LifeReader::default();
        for a in &transform.attributes {
            let kind = Oakley(a.kind);
            match kind {
                Oakley::ENCRYPTION => once(&mut cipher, OakleyCipher(small(a, kind)?), kind)?,
                Oakley::HASH => once(&mut hash, OakleyHash(small(a, kind)?), kind)?,
                Oakley::AUTH_METHOD => once(&mut auth, AuthMethod(small(a, kind)?), kind)?,
                Oakley::GROUP_DESCRIPTION => once(&mut group, GroupId(small(a, kind)?), kind)?,
                Oakley::KEY_LENGTH => once(&mut key, u32::from(small(a, kind)?), kind)?,
                Oakley::LIFE_TYPE => lives.life_type(a)?,
                Oakley::LIFE_DURATION => lives.duration(a)?,
                // Types 1 and 2 are MODP and ECP, which the number says too; some peers send both.
                Oakley::GROUP_TYPE if matches!(a.as_u32(), Some(1 | 2)) => {}
                Oakley::GROUP_TYPE
                | Oakley::GROUP_PRIME
                | Oakley::GROUP_GENERATOR_ONE
                | Oakley::GROUP_GENERATOR_TWO
                | Oakley::GROUP_CURVE_A
                | Oakley::GROUP_CURVE_B
                | Oakley::FIELD_SIZE
                | Oakley::GROUP_ORDER => return Err(Refusal::PrivateGroup),
                _ => return Err(Refusal::Attribute(kind.to_string())),
            }
        }
        let hash = hash.ok_or(Refusal::Missing("OAKLEY_HASH_ALGORITHM"))?;
        let group = group.ok_or(Refusal::Missing("OAKLEY_GROUP_DESCRIPTION"))?;
        let cipher = cipher.ok_or(Refusal::Missing("OAKLEY_ENCRYPTION_ALGORITHM"))?;
        Ok(Self {
            cipher: Cipher::from_wire(cipher, key)?,
            hash: Hash::from_wire(hash).ok_or(Refusal::Hash(hash))?,
            group: Group::from_wire(group).ok_or(Refusal::Group(group))?,
            auth: auth.ok_or(Refusal::Missing("OAKLEY_AUTHENTICATION_METHOD"))?,
            lifetimes: lives.finish()?,
        })
    }

    fn encode(&self, number: u8) -> Transform {
        let mut attributes = Vec::new();
        if let Some(seconds) = self.lifetimes.seconds {
            attributes.push(Attribute::basic(Oakley::LIFE_TYPE.0, LifeType::SECONDS.0));
            attributes.push(Attribute::number(Oakley::LIFE_DURATION.0, seconds));
        }
        attributes.extend([
            Attribute::basic(Oakley::ENCRYPTION.0, self.cipher.id().0),
            Attribute::basic(Oakley::HASH.0, self.hash.id().0),
            Attribute::basic(Oakley::AUTH_METHOD.0, self.auth.0),
            Attribute::basic(Oakley::GROUP_DESCRIPTION.0, self.group.id().0),
        ]);
        attributes.extend(
            self.cipher
                .key_bits()
                .map(|bits| Attribute::basic(Oakley::KEY_LENGTH.0, bits)),
        );
        Transform {
            number,
            id: KEY_IKE,
            attributes,
        }
    }
}

/// As logs write it: `aes128-sha1-modp2048 by OAKLEY_RSA_SIG`.
impl fmt::Display for IkeTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.suite(), self.auth)
    }
}

impl IkePolicy {
    /// The transforms to offer, preferred first: each suite with each authentication method. The numbers on the wire end
    /// at 255, so longer lists are cut.
    fn transforms(&self) -> impl Iterator<Item = (u8, IkeTransform)> + '_ {
        let lifetimes = Lifetimes {
            seconds: Some(self.life_seconds),
            kilobytes: None,
        };
        let with = move |s: &IkeSuite, auth| IkeTransform {
            cipher: s.cipher,
            hash: s.hash,
            group: s.group,
            auth,
            lifetimes,
        };
        let all = self
            .algorithms
            .suites
            .iter()
            .flat_map(move |s| self.auth.iter().map(move |a| with(s, *a)));
        (1..=u8::MAX).zip(all)
    }

    /// The SA payload of a first message: one proposal without SPI.
    pub fn to_sa(&self) -> Sa {
        let transforms = self
            .transforms()
            .map(|(number, t)| t.encode(number))
            .collect();
        Sa {
            proposals: vec![Proposal {
                number: 1,
                protocol: Protocol::ISAKMP,
                spi: Vec::new(),
                transforms,
            }],
        }
    }

    /// Picks the first acceptable transform in the peer's order and gives it back with the SA payload that answers: the
    /// chosen transform alone, its attributes untouched (RFC 2409 section 5).
    ///
    /// # Errors
    /// Each transform with the reason why not.
    pub fn choose(&self, offer: &Sa) -> Result<(IkeTransform, Sa), NoProposal> {
        let mut refused = Vec::new();
        for p in &offer.proposals {
            if p.protocol != Protocol::ISAKMP {
                let why = Refusal::Protocol(p.protocol);
                refused.push(Refused {
                    proposal: p.number,
                    protocol: p.protocol,
                    transform: None,
                    why,
                });
                continue;
            }
            for t in &p.transforms {
                match IkeTransform::decode(t).and_then(|d| self.allows(d)) {
                    Ok(chosen) => {
                        let answer = Proposal {
                            transforms: vec![t.clone()],
                            ..p.clone()
                        };
                        return Ok((
                            chosen,
                            Sa {
                                proposals: vec![answer],
                            },
                        ));
                    }
                    Err(why) => {
                        let transform = Some(t.number);
                        refused.push(Refused {
                            proposal: p.number,
                            protocol: p.protocol,
                            transform,
                            why,
                        });
                    }
                }
            }
        }
        Err(NoProposal { refused })
    }

    fn allows(&self, transform: IkeTransform) -> Result<IkeTransform, Refusal> {
        if !self.auth.contains(&transform.auth) {
            return Err(Refusal::AuthMethod(transform.auth));
        }
        let suite = transform.suite();
        if self.algorithms.accepts(&suite) {
            Ok(transform)
        } else {
            Err(Refusal::IkeSuite(suite))
        }
    }

    /// Reads the peer's answer to [`to_sa`](Self::to_sa): exactly one transform, equal in meaning to one we offered.
    /// Attributes may stand in another order or form; their values may not differ.
    ///
    /// # Errors
    /// Any other answer.
    pub fn confirm(&self, answer: &Sa) -> Result<IkeTransform, AnswerError> {
        let ([p], Some([t])) = (
            &answer.proposals[..],
            answer.proposals.first().map(|p| &p.transforms[..]),
        ) else {
            let transforms = answer
                .proposals
                .iter()
                .map(|p| p.transforms.len())
                .max()
                .unwrap_or(0);
            return Err(AnswerError::NotOne {
                proposals: answer.proposals.len(),
                transforms,
            });
        };
        let refused = |why| {
            let transform = Some(t.number);
            AnswerError::Refused(Refused {
                proposal: p.number,
                protocol: p.protocol,
                transform,
                why,
            })
        };
        if p.protocol != Protocol::ISAKMP {
            return Err(refused(Refusal::Protocol(p.protocol)));
        }
        let chosen = IkeTransform::decode(t).map_err(refused)?;
        match self.transforms().any(|(_, ours)| ours == chosen) {
            true => Ok(chosen),
            false => Err(AnswerError::NotOffered(format!(
                "{chosen}, {:?}",
                chosen.lifetimes
            ))),
        }
    }
}
