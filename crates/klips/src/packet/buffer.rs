//! The buffer a packet lives in while it is transformed in place.

/// The most transforms one SA group may hold.
pub const MAX_TRANSFORMS: usize = 4;
/// Head room that is enough for any SA group and any ICMP error, in bytes: outer IPv6 headers, three IPsec headers with IVs, a fragment header.
pub const HEADROOM: usize = 192;
/// Tail room that is enough for any SA group, in bytes: padding and authenticators.
pub const TAILROOM: usize = 160;
/// The longest packet that the core makes, in bytes; some below 2^16, as KLIPS does.
pub const MAX_PACKET: usize = 0xfff0;

/// The buffer has not the room that a header or trailer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// What a home has written beside a packet and wants to find there again after the core has kept the packet
/// for a while: in a kernel its mark, priority and security mark. The core never reads it.
pub type Tag = [u32; 3];

/// A packet: `buffer[start..end]`, with room before and after.
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
    tag: Tag,
}

impl<'a> Packet<'a> {
    /// The packet in `buffer[start..end]`; `None` when that is no range of `buffer`.
    ///
    /// Outgoing packets need at most [`HEADROOM`] before and [`TAILROOM`] after; incoming ones need none, except that IPCOMP can
    /// inflate only into what tail room there is.
    pub fn new(buffer: &'a mut [u8], start: usize, end: usize) -> Option<Self> {
        (start <= end && end <= buffer.len()).then_some(Self {
            buffer,
            start,
            end,
            tag: Tag::default(),
        })
    }

    /// The same packet with the home's own words beside it.
    #[must_use]
    pub fn with_tag(mut self, tag: Tag) -> Self {
        self.tag = tag;
        self
    }

    /// The home's own words beside it.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The packet's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or(&[])
    }

    /// The packet's bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or(&mut [])
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where in the buffer it starts and ends now.
    pub fn range(&self) -> core::ops::Range<usize> {
        self.start..self.end
    }

    /// Room before the packet, in bytes.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Room after the packet, in bytes.
    pub fn tailroom(&self) -> usize {
        self.buffer.len() - self.end
    }

    /// Makes the packet `n` bytes longer at its end; the new bytes are whatever was there.
    pub fn extend_back(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tailroom() || self.len() + n > MAX_PACKET {
            return Err(NoRoom);
        }
        self.end += n;
        Ok(())
    }

    /// Makes the packet `n` bytes longer at its start.
    pub fn extend_front(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.start || self.len() + n > MAX_PACKET {
            return Err(NoRoom);
        }
        self.start -= n;
        Ok(())
    }

    /// Opens a gap of `n` bytes at `at`, by moving what is before it to the front.
    pub fn insert(&mut self, at: usize, n: usize) -> Result<(), NoRoom> {
        if at > self.len() {
            return Err(NoRoom);
        }
        self.extend_front(n)?;
        let start = self.start;
        self.buffer.copy_within(start + n..start + n + at, start);
        Ok(())
    }

    /// Closes a gap of `n` bytes at `at`, by moving what is before it to the back.
    pub fn remove(&mut self, at: usize, n: usize) -> Result<(), NoRoom> {
        if at.checked_add(n).is_none_or(|end| end > self.len()) {
            return Err(NoRoom);
        }
        let start = self.start;
        self.buffer.copy_within(start..start + at, start + n);
        self.start += n;
        Ok(())
    }

    /// Cuts the packet to `len` bytes, if it is longer.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// The bytes from `at` to the end of the packet, and the tail room with them: for compression in place.
    pub fn with_tailroom(&mut self, at: usize) -> &mut [u8] {
        self.buffer.get_mut(self.start + at..).unwrap_or(&mut [])
    }

    /// Sets the packet's length, within the tail room.
    pub fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        if len > self.buffer.len() - self.start || len > MAX_PACKET {
            return Err(NoRoom);
        }
        self.end = self.start + len;
        Ok(())
    }
}
