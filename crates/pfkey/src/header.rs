//! The sixteen octets that every message begins with.

use crate::error::{Error, ErrorKind};

/// Octets of the header.
pub const HEADER_LEN: usize = 16;

/// Which way a message goes; what it may carry depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// A request to KLIPS.
    ToKlips,
    /// An answer, or what KLIPS tells by itself.
    FromKlips,
}

/// `sadb_msg`: `version` u8 (2), `type` u8, `errno` u8, `satype` u8, `len` u16 in 64-bit words, 2 reserved octets,
/// `seq` u32, `pid` u32. Only size and version are checked here, so that a broken request can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Message type number.
    pub msg_type: u8,
    /// Error of an answer, 0 for none.
    pub errno: u8,
    /// SA type number.
    pub satype: u8,
    /// Length of the whole message in 64-bit words.
    pub len: u16,
    /// Sequence number, given by the asker.
    pub seq: u32,
    /// Process id of the asker.
    pub pid: u32,
}

impl Header {
    /// Reads the first 16 octets.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`], [`ErrorKind::Version`] or [`ErrorKind::Reserved`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(
            &[
                version,
                msg_type,
                errno,
                satype,
                l0,
                l1,
                r0,
                r1,
                s0,
                s1,
                s2,
                s3,
                p0,
                p1,
                p2,
                p3,
            ],
        ) = bytes.first_chunk::<HEADER_LEN>()
        else {
            return Err(Error::header(ErrorKind::Truncated));
        };
        if version != 2 {
            return Err(Error::header(ErrorKind::Version(version)));
        }
        if (r0, r1) != (0, 0) {
            return Err(Error::header(ErrorKind::Reserved));
        }
        Ok(Self {
            msg_type,
            errno,
            satype,
            len: u16::from_ne_bytes([l0, l1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            pid: u32::from_ne_bytes([p0, p1, p2, p3]),
        })
    }

    /// The octets on the wire.
    pub const fn emit(&self) -> [u8; HEADER_LEN] {
        let [l0, l1] = self.len.to_ne_bytes();
        let [s0, s1, s2, s3] = self.seq.to_ne_bytes();
        let [p0, p1, p2, p3] = self.pid.to_ne_bytes();
        [
            2,
            self.msg_type,
            self.errno,
            self.satype,
            l0,
            l1,
            0,
            0,
            s0,
            s1,
            s2,
            s3,
            p0,
            p1,
            p2,
            p3,
        ]
    }
}
