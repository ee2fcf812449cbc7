//! Reads the fields of an extension's body one after another.

use crate::error::ErrorKind;
use crate::types::ExtType;

/// Reads fixed-size fields from an extension's body; every read beyond the end fails with the extension's name.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    ext: ExtType,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(ext: ExtType, body: &'a [u8]) -> Self {
        Self { rest: body, ext }
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], ErrorKind> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(ErrorKind::ExtLength(self.ext))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ErrorKind> {
        self.take::<1>().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ErrorKind> {
        self.take().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ErrorKind> {
        self.take().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ErrorKind> {
        self.take().map(u64::from_ne_bytes)
    }

    pub(crate) fn zeros<const N: usize>(&mut self) -> Result<(), ErrorKind> {
        if self.take::<N>()? == [0; N] {
            Ok(())
        } else {
            Err(ErrorKind::Reserved)
        }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn end(&self) -> Result<(), ErrorKind> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(ErrorKind::ExtLength(self.ext))
        }
    }
}
