//! One AH, ESP or IPCOMP transform, read from and written to its attributes (RFC 2407 sections 4.4 and 4.5). Whether a
//! connection wants it is said in `ipsec`.

use super::algorithms::EspSuite;
use super::attributes::{LifeReader, Lifetimes, once, small};
use super::refusal::Refusal;
use crate::crypto::{AuthAlg, EspCipher, Group, IPCOMP_DEFLATE};
use crate::wire::{
    Attribute, AuthAlgorithm, Encapsulation, EspTransformId, GroupId, IpsecAttribute as Ipsec,
    LifeType, Protocol, Transform,
};
use core::fmt;

/// The value of EXTENDED_SEQUENCE_NUMBER (RFC 4304 section 2); without the attribute they have 32 bits.
const ESN_64_BITS: u16 = 1;

/// Protocol and algorithms of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ah(AuthAlg),
    Esp(EspSuite),
    Ipcomp,
}

/// What the transforms of all protocols say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Common {
    /// Transport where IPCOMP says nothing (RFC 3173's negotiation default).
    pub(super) encapsulation: Encapsulation,
    pub(super) group: Option<Group>,
    pub(super) lifetimes: Lifetimes,
    /// Sequence numbers of 64 bits.
    pub(super) esn: bool,
}

/// A transform, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Understood {
    pub(super) kind: Kind,
    pub(super) common: Common,
}

impl fmt::Display for Understood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Ah(auth) => write!(f, "{auth}")?,
            Kind::Esp(suite) => write!(f, "{suite}")?,
            Kind::Ipcomp => f.write_str("deflate")?,
        }
        write!(f, ", {}", self.common.encapsulation)?;
        if let Some(group) = self.common.group {
            write!(f, ", {group}")?;
        }
        if self.common.esn {
            f.write_str(", ESN")?;
        }
        write!(f, ", {:?}", self.common.lifetimes)
    }
}

/// The attributes of a transform, each at most once.
#[derive(Default)]
struct Fields {
    encapsulation: Option<Encapsulation>,
    group: Option<GroupId>,
    auth: Option<AuthAlgorithm>,
    key_bits: Option<u32>,
    esn: Option<u16>,
    lifetimes: Lifetimes,
}

impl Fields {
    fn read(attributes: &[Attribute]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        let mut lives = LifeReader::default();
        for a in attributes {
            let kind = Ipsec(a.kind);
            match kind {
                Ipsec::LIFE_TYPE => lives.life_type(a)?,
                Ipsec::LIFE_DURATION => lives.duration(a)?,
                Ipsec::GROUP_DESCRIPTION => {
                    once(&mut fields.group, GroupId(small(a, kind)?), kind)?
                }
                Ipsec::ENCAPSULATION_MODE => {
                    once(
                        &mut fields.encapsulation,
                        Encapsulation(small(a, kind)?),
                        kind,
                    )?;
                }
                Ipsec::AUTH_ALGORITHM => {
                    once(&mut fields.auth, AuthAlgorithm(small(a, kind)?), kind)?
                }
                Ipsec::KEY_LENGTH => once(&mut fields.key_bits, u32::from(small(a, kind)?), kind)?,
                Ipsec::EXTENDED_SEQUENCE_NUMBER => once(&mut fields.esn, small(a, kind)?, kind)?,
                _ => return Err(Refusal::Attribute(kind.to_string())),
            }
        }
        if fields.esn.is_some_and(|value| value != ESN_64_BITS) {
            let kind = Ipsec::EXTENDED_SEQUENCE_NUMBER;
            return Err(Refusal::Value(kind.to_string()));
        }
        fields.lifetimes = lives.finish()?;
        Ok(fields)
    }

    fn auth(&self) -> Result<Option<AuthAlg>, Refusal> {
        match self.auth {
            None => Ok(None),
            Some(id) => AuthAlg::from_wire(id)
                .map(Some)
                .ok_or(Refusal::AuthAlgorithm(id)),
        }
    }
}

impl Understood {
    pub(super) fn decode(protocol: Protocol, transform: &Transform) -> Result<Self, Refusal> {
        let fields = Fields::read(&transform.attributes)?;
        let id = transform.id;
        let kind = match protocol {
            Protocol::AH => Kind::Ah(ah(id, &fields)?),
            Protocol::ESP => {
                let cipher = EspCipher::from_wire(EspTransformId(id), fields.key_bits)?;
                Kind::Esp(EspSuite {
                    cipher,
                    auth: fields.auth()?,
                })
            }
            Protocol::IPCOMP if id != IPCOMP_DEFLATE.0 => {
                return Err(Refusal::TransformId { protocol, id });
            }
            Protocol::IPCOMP
                if fields.auth.is_some() || fields.key_bits.is_some() || fields.esn.is_some() =>
            {
                return Err(Refusal::Attribute(
                    "of authentication, key length or sequence numbers in IPCOMP".to_owned(),
                ));
            }
            Protocol::IPCOMP => Kind::Ipcomp,
            other => return Err(Refusal::Protocol(other)),
        };
        let encapsulation = match fields.encapsulation {
            Some(mode) if mode.is_tunnel().is_some() => mode,
            Some(other) => return Err(Refusal::Value(other.to_string())),
            None if kind == Kind::Ipcomp => Encapsulation::TRANSPORT,
            None => return Err(Refusal::Missing("ENCAPSULATION_MODE")),
        };
        let group = match fields.group {
            None => None,
            Some(id) => Some(Group::from_wire(id).ok_or(Refusal::Group(id))?),
        };
        let common = Common {
            encapsulation,
            group,
            lifetimes: fields.lifetimes,
            esn: fields.esn.is_some(),
        };
        Ok(Self { kind, common })
    }

    pub(super) fn encode(&self, number: u8) -> Transform {
        let mut attributes = Vec::new();
        let mut push = |kind: Ipsec, value: u32| attributes.push(Attribute::number(kind.0, value));
        if let Some(group) = self.common.group {
            push(Ipsec::GROUP_DESCRIPTION, group.id().0.into());
        }
        push(
            Ipsec::ENCAPSULATION_MODE,
            self.common.encapsulation.0.into(),
        );
        if let Some(seconds) = self.common.lifetimes.seconds {
            push(Ipsec::LIFE_TYPE, LifeType::SECONDS.0.into());
            push(Ipsec::LIFE_DURATION, seconds);
        }
        if self.common.esn {
            push(Ipsec::EXTENDED_SEQUENCE_NUMBER, ESN_64_BITS.into());
        }
        let id = match self.kind {
            Kind::Ah(auth) => {
                push(Ipsec::AUTH_ALGORITHM, auth.id().0.into());
                auth.ah_id().0
            }
            Kind::Esp(suite) => {
                if let Some(auth) = suite.auth {
                    push(Ipsec::AUTH_ALGORITHM, auth.id().0.into());
                }
                if let Some(bits) = suite.cipher.key_bits() {
                    push(Ipsec::KEY_LENGTH, bits.into());
                }
                suite.cipher.id().0
            }
            Kind::Ipcomp => IPCOMP_DEFLATE.0,
        };
        Transform {
            number,
            id,
            attributes,
        }
    }
}

/// AH's transform id and authenticator say the same thing twice (RFC 2407 section 4.4.3).
fn ah(id: u8, fields: &Fields) -> Result<AuthAlg, Refusal> {
    let auth = fields.auth()?.ok_or(Refusal::Missing("AUTH_ALGORITHM"))?;
    if auth.ah_id().0 != id {
        return Err(Refusal::AhMismatch {
            id,
            auth: u32::from(auth.id().0),
        });
    }
    Ok(auth)
}
