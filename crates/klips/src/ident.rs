//! Identities that the key daemon gives with SAs and eroutes, kept to be told again.

use crate::home::{Home, NoMemory, Vector};

/// The longest identity kept, in bytes.
pub const MAX_IDENT: usize = 255;

/// An identity as `SADB_EXT_IDENTITY_*` carries it.
pub struct Ident<H: Home> {
    /// `SADB_IDENTTYPE_*`; 0: none.
    pub kind: u16,
    /// The daemon's own number for it.
    pub id: u64,
    text: H::Vec<u8>,
}

impl<H: Home> Ident<H> {
    /// None.
    pub fn none() -> Self {
        Self {
            kind: 0,
            id: 0,
            text: H::Vec::new(),
        }
    }

    /// A copy of `text`, up to [`MAX_IDENT`] bytes of it.
    pub fn new(kind: u16, id: u64, text: &[u8]) -> Result<Self, NoMemory> {
        let mut copy = H::Vec::new();
        let text = &text[..text.len().min(MAX_IDENT)];
        copy.try_reserve(text.len())?;
        for byte in text {
            copy.try_push(*byte)?;
        }
        Ok(Self {
            kind,
            id,
            text: copy,
        })
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        self.kind != 0
    }

    /// The identity's text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}
