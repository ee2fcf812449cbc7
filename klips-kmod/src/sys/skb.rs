// SPDX-License-Identifier: GPL-2.0

//! Packets and messages: owned `sk_buff`s, chains and queues of them.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use klips::{NoMemory, Packet};

use super::c;

/// An `sk_buff` that is ours to change and to free.
pub(crate) struct Skb(NonNull<c::sk_buff>);

// SAFETY: an sk_buff may be passed from one CPU to another by its owner.
unsafe impl Send for Skb {}

impl Skb {
    /// Takes over `skb`.
    ///
    /// # Safety
    /// `skb` is valid, and the caller owns it and gives it up.
    pub(crate) unsafe fn from_raw(skb: NonNull<c::sk_buff>) -> Self {
        Self(skb)
    }

    /// Gives it up to whoever takes the pointer.
    pub(crate) fn into_raw(self) -> *mut c::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// For calls that do not take it over.
    pub(crate) fn as_ptr(&self) -> *mut c::sk_buff {
        self.0.as_ptr()
    }

    /// A new one that holds `bytes`, with so much room around. Does not sleep.
    pub(crate) fn new(head: usize, bytes: &[u8], tail: usize) -> Result<Self, NoMemory> {
        // SAFETY: `bytes` is readable for its length; any context.
        let skb = unsafe {
            c::klips_h_skb_new(head as u32, bytes.as_ptr(), bytes.len() as u32, tail as u32)
        };
        NonNull::new(skb).map(Self).ok_or(NoMemory)
    }

    /// Makes it one unshared buffer, summed, with so much room before and after where that takes no
    /// new buffer, or a new one is needed anyway. False: no memory, or it came as several in one.
    #[must_use]
    pub(crate) fn prepare(&mut self, head: usize, tail: usize) -> bool {
        // SAFETY: it is valid and nobody else's.
        unsafe { c::klips_h_skb_prepare(self.as_ptr(), head as u32, tail as u32) == 0 }
    }

    /// Makes at least so much room before and after it. To be called after [`Self::prepare`].
    /// False: no memory.
    #[must_use]
    pub(crate) fn expand(&mut self, head: usize, tail: usize) -> bool {
        // SAFETY: it is valid and nobody else's.
        unsafe { c::klips_h_skb_expand(self.as_ptr(), head as u32, tail as u32) == 0 }
    }

    /// The packets that it is to be cut into, which most often is itself alone; each then is one
    /// unshared buffer. `None`: no memory.
    pub(crate) fn segments(self) -> Option<Chain> {
        // SAFETY: it is valid and nobody else's, and the function takes it over.
        let mut next = NonNull::new(unsafe { c::klips_h_skb_segment(self.into_raw()) })?;
        let mut chain = Chain::default();
        loop {
            // SAFETY: each of the list is valid and ours, and what comes after it is read before it
            // is taken off.
            let after = unsafe {
                let after = c::klips_h_skb_next(next.as_ptr());
                c::klips_h_skb_set_next(next.as_ptr(), core::ptr::null_mut());
                after
            };
            chain.put(Self(next));
            match NonNull::new(after) {
                Some(after) => next = after,
                None => return Some(chain),
            }
        }
    }

    fn room(&self) -> c::klips_room {
        let mut room = c::klips_room::default();
        // SAFETY: it is valid; `room` is writable.
        unsafe { c::klips_h_skb_room(self.as_ptr(), &mut room) };
        room
    }

    /// What is in it, up to where its first fragment starts if it has any.
    pub(crate) fn bytes(&self) -> &[u8] {
        let room = self.room();
        // SAFETY: start..end lies within the buffer at head, which lives and stays unchanged while
        // self is borrowed.
        unsafe {
            core::slice::from_raw_parts(
                room.head.add(room.start as usize),
                (room.end - room.start) as usize,
            )
        }
    }

    /// Runs `f` on the packet in its buffer, of which it does not see the first `kept` bytes if the
    /// packet begins behind them, and keeps the range that `f` left it at. To be called after
    /// [`Self::prepare`].
    pub(crate) fn with_packet<R>(
        &mut self,
        kept: usize,
        f: impl FnOnce(&mut Packet<'_>) -> R,
    ) -> Option<R> {
        let room = self.room();
        let (start, end) = (room.start as usize, room.end as usize);
        let kept = kept.min(start);
        // SAFETY: the buffer is `size` bytes, unshared after prepare, and self is borrowed alone.
        let buffer = unsafe { core::slice::from_raw_parts_mut(room.head, room.size as usize) };
        let mut packet = Packet::new(buffer.get_mut(kept..)?, start - kept, end - kept)?;
        let answer = f(&mut packet);
        let range = packet.range();
        // SAFETY: a Packet's range is within its buffer, which is that behind `kept`.
        unsafe {
            c::klips_h_skb_set_range(
                self.as_ptr(),
                (kept + range.start) as u32,
                (kept + range.end) as u32,
            )
        };
        Some(answer)
    }

    /// Makes it begin at its IP header.
    pub(crate) fn to_network_header(&mut self) {
        // SAFETY: the stack set the network header, which lies before what the packet begins with
        // now.
        unsafe { c::klips_h_skb_to_network_header(self.as_ptr()) }
    }

    /// The 48 bytes beside the packet that belong to its owner.
    pub(crate) fn beside(&mut self) -> &mut [u8; 48] {
        // SAFETY: `cb` is 48 bytes of plain data of an sk_buff that is ours.
        unsafe { &mut *core::ptr::addr_of_mut!((*self.as_ptr()).cb).cast() }
    }

    /// Sends the IP packet in it by device number `device` of namespace `net`, by a route that may
    /// be remembered in `routes`; whether it went.
    pub(crate) fn transmit(self, net: super::net::Net, routes: &Routes, device: u32) -> bool {
        // SAFETY: the namespace is alive, see `Net`, and so are the routes, which only this
        // function uses; it takes the sk_buff over.
        unsafe { c::klips_h_transmit(net.as_ptr(), routes.0.as_ptr(), self.into_raw(), device) }
    }
}

impl Drop for Skb {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards.
        unsafe { c::klips_h_skb_free(self.as_ptr()) }
    }
}

/// Routes that a namespace's packets went by.
pub(crate) struct Routes(NonNull<c::klips_routes>);

// SAFETY: each CPU uses its own part, softirqs off.
unsafe impl Send for Routes {}
// SAFETY: as above.
unsafe impl Sync for Routes {}

impl Routes {
    /// None yet. May sleep.
    pub(crate) fn new() -> Result<Self, NoMemory> {
        // SAFETY: called where sleeping is allowed.
        NonNull::new(unsafe { c::klips_h_routes_new() })
            .map(Self)
            .ok_or(NoMemory)
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards.
        unsafe { c::klips_h_routes_free(self.0.as_ptr()) }
    }
}

/// First in, first out; its owner's alone.
#[derive(Default)]
pub(crate) struct Chain {
    first: Option<Skb>,
    last: Option<NonNull<c::sk_buff>>,
}

impl Chain {
    /// Appends `skb`.
    pub(crate) fn put(&mut self, skb: Skb) {
        let new = skb.0;
        match self.last {
            // SAFETY: the last one is in the chain, so it is alive; the chain frees what hangs on
            // it.
            Some(last) => unsafe { c::klips_h_skb_set_next(last.as_ptr(), skb.into_raw()) },
            None => self.first = Some(skb),
        }
        self.last = Some(new);
    }

    /// Takes the first one out.
    pub(crate) fn take(&mut self) -> Option<Skb> {
        let first = self.first.take()?;
        // SAFETY: valid and ours; what comes next was put there by `put`.
        self.first = NonNull::new(unsafe { c::klips_h_skb_next(first.as_ptr()) }).map(Skb);
        if self.first.is_none() {
            self.last = None;
        }
        // SAFETY: valid and ours.
        unsafe { c::klips_h_skb_set_next(first.as_ptr(), core::ptr::null_mut()) };
        Some(first)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

/// A queue that many put into and one takes from.
pub(crate) struct Queue(UnsafeCell<c::sk_buff_head>);

// SAFETY: its functions take its lock.
unsafe impl Sync for Queue {}
// SAFETY: as above.
unsafe impl Send for Queue {}

impl Queue {
    /// To be followed by [`Self::init`] where it will stay.
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(c::sk_buff_head::default()))
    }

    /// Makes it ready, once it is where it will stay: it is `'static`.
    pub(crate) fn init(&'static self) {
        // SAFETY: it does not move any more, and its one caller is what starts all its users.
        unsafe { c::klips_h_queue_init(self.0.get()) }
    }

    /// Appends `skb` unless there are `most` already; then it is given back.
    pub(crate) fn put(&self, skb: Skb, most: u32) -> Result<(), Skb> {
        // SAFETY: the queue is ready, and takes the sk_buff over when it answers true.
        if unsafe { c::klips_h_queue_put(self.0.get(), skb.as_ptr(), most) } {
            let _ = skb.into_raw();
            Ok(())
        } else {
            Err(skb)
        }
    }

    /// Takes the first one out.
    pub(crate) fn take(&self) -> Option<Skb> {
        // SAFETY: the queue is ready, or all zero still; what it gives is ours.
        NonNull::new(unsafe { c::klips_h_queue_take(self.0.get()) }).map(Skb)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}
