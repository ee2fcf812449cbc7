//! What phase 1 and phase 2 share in reading a transform's attributes: each at most once, lifetimes in pairs.

use super::refusal::Refusal;
use crate::wire::{
    Attribute, IpsecAttribute, LifeType, OakleyAttribute, emit_attributes, parse_attributes,
};

/// Longest lifetime honoured, in seconds: one day, as in FreeS/WAN. Longer offers are taken and cut.
pub const LIFE_MAXIMUM: u32 = 86400;

/// Lifetimes as offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lifetimes {
    /// Seconds.
    pub seconds: Option<u32>,
    /// Kilobytes.
    pub kilobytes: Option<u32>,
}

/// Collects life types and durations, which come in pairs and may come twice with different types.
#[derive(Default)]
pub(super) struct LifeReader {
    pending: Option<LifeType>,
    pub(super) lives: Lifetimes,
}

impl Lifetimes {
    /// Of each kind the shorter one.
    pub fn shorter(self, other: Self) -> Self {
        let shorter = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self {
            seconds: shorter(self.seconds, other.seconds),
            kilobytes: shorter(self.kilobytes, other.kilobytes),
        }
    }
}

impl LifeReader {
    pub(super) fn life_type(&mut self, attribute: &Attribute) -> Result<(), Refusal> {
        if self.pending.is_some() {
            return Err(Refusal::Lifetime);
        }
        let value = attribute
            .as_u32()
            .and_then(|v| u16::try_from(v).ok())
            .map(LifeType);
        match value {
            Some(t @ (LifeType::SECONDS | LifeType::KILOBYTES)) => self.pending = Some(t),
            _ => return Err(Refusal::Value("life type".to_owned())),
        }
        Ok(())
    }

    /// Durations beyond 32 bits mean the longest there is.
    pub(super) fn duration(&mut self, attribute: &Attribute) -> Result<(), Refusal> {
        let unit = self.pending.take().ok_or(Refusal::Lifetime)?;
        let value = match attribute.as_u32() {
            Some(value) => value,
            None if attribute.value == crate::wire::AttributeValue::Variable(Vec::new()) => 0,
            None => u32::MAX,
        };
        if value == 0 {
            return Err(Refusal::Value("life duration".to_owned()));
        }
        let slot = if unit == LifeType::SECONDS {
            &mut self.lives.seconds
        } else {
            &mut self.lives.kilobytes
        };
        match slot.replace(value) {
            Some(_) => Err(Refusal::Repeated(unit.to_string())),
            None => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<Lifetimes, Refusal> {
        if self.pending.is_some() {
            Err(Refusal::Lifetime)
        } else {
            Ok(self.lives)
        }
    }
}

/// Puts a value into a slot that must be empty.
pub(super) fn once<T>(slot: &mut Option<T>, value: T, name: impl ToString) -> Result<(), Refusal> {
    match slot.replace(value) {
        Some(_) => Err(Refusal::Repeated(name.to_string())),
        None => Ok(()),
    }
}

/// The attribute as a number of 16 bits.
pub(super) fn small(attribute: &Attribute, name: impl ToString) -> Result<u16, Refusal> {
    attribute
        .as_u32()
        .and_then(|v| u16::try_from(v).ok())
        .ok_or_else(|| Refusal::Value(name.to_string()))
}

/// The data of RESPONDER-LIFETIME for an IPsec SA (RFC 2407 section 4.6.3.1).
pub fn responder_lifetime(seconds: u32) -> Vec<u8> {
    emit_attributes(&[
        Attribute::basic(IpsecAttribute::LIFE_TYPE.0, LifeType::SECONDS.0),
        Attribute::number(IpsecAttribute::LIFE_DURATION.0, seconds),
    ])
}

/// Reads the data of RESPONDER-LIFETIME, with the attribute numbers of either phase: the seconds, if it names any.
pub fn read_responder_lifetime(data: &[u8]) -> Option<u32> {
    read_responder_lifetimes(data)?.seconds
}

/// The same, with the kilobytes; nothing if the data is malformed.
pub fn read_responder_lifetimes(data: &[u8]) -> Option<Lifetimes> {
    let mut lives = LifeReader::default();
    for attribute in parse_attributes(data).ok()? {
        let kind = attribute.kind;
        if kind == IpsecAttribute::LIFE_TYPE.0 || kind == OakleyAttribute::LIFE_TYPE.0 {
            lives.life_type(&attribute).ok()?;
        } else if kind == IpsecAttribute::LIFE_DURATION.0
            || kind == OakleyAttribute::LIFE_DURATION.0
        {
            lives.duration(&attribute).ok()?;
        }
    }
    lives.finish().ok()
}
