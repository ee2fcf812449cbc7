// SPDX-License-Identifier: GPL-2.0

//! Packets and messages: owned `sk_buff`s, chains and queues of them.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use klips::packet::Tag;
use klips::{NoMemory, Packet};

use super::c;
use super::net::Net;

/// An `sk_buff` that is ours, though its buffer may be shared, or in pieces.
pub(crate) struct Skb(NonNull<c::sk_buff>);

/// An `sk_buff` that is one buffer, unshared and summed: ours to write to.
pub(crate) struct PreparedSkb(Skb);

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

    /// Takes over a packet that the stack received, and has it begin at its IP header.
    ///
    /// # Safety
    /// As [`Self::from_raw`]; besides, the stack has set the network header, before which the
    /// packet does not begin.
    pub(crate) unsafe fn received(skb: NonNull<c::sk_buff>) -> Self {
        // SAFETY: by this function's condition.
        unsafe { c::klips_h_skb_to_network_header(skb.as_ptr()) };
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

    /// Makes it one unshared buffer, summed, with so much room before and after where that takes no
    /// new buffer, or a new one is needed anyway. `None`, and it is gone: no memory, or it came as
    /// several in one.
    pub(crate) fn prepare(self, head: usize, tail: usize) -> Option<PreparedSkb> {
        // SAFETY: it is valid and nobody else's.
        let done = unsafe { c::klips_h_skb_prepare(self.as_ptr(), head as u32, tail as u32) };
        (done == 0).then_some(PreparedSkb(self))
    }

    /// The packets that it is to be cut into, which most often is itself alone. `None`: no memory.
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

    /// The 48 bytes beside the packet that belong to its owner.
    pub(crate) fn beside(&mut self) -> &mut [u8; 48] {
        // SAFETY: `cb` is 48 bytes of plain data of an sk_buff that is ours.
        unsafe { &mut *core::ptr::addr_of_mut!((*self.as_ptr()).cb).cast() }
    }

    /// What the host has written on it for its own use, and what has to survive a copy: the
    /// firewall's mark, by which it may be routed, its priority, and the security module's mark.
    pub(crate) fn tag(&self) -> Tag {
        let mut tag = Tag::default();
        // SAFETY: it is valid; three words are written.
        unsafe { c::klips_h_skb_tag(self.as_ptr(), tag.as_mut_ptr()) };
        tag
    }

    /// Writes that on it.
    pub(crate) fn set_tag(&mut self, tag: Tag) {
        // SAFETY: it is valid and ours; three words are read.
        unsafe { c::klips_h_skb_set_tag(self.as_ptr(), tag.as_ptr()) }
    }
}

impl PreparedSkb {
    /// A new one that holds `bytes`, with so much room around, and `tag` written on it. Does not
    /// sleep.
    pub(crate) fn new(head: usize, bytes: &[u8], tail: usize, tag: Tag) -> Result<Self, NoMemory> {
        // SAFETY: `bytes` is readable for its length; any context.
        let skb = unsafe {
            c::klips_h_skb_new(head as u32, bytes.as_ptr(), bytes.len() as u32, tail as u32)
        };
        let mut skb = NonNull::new(skb).map(Skb).ok_or(NoMemory)?;
        skb.set_tag(tag);
        Ok(Self(skb))
    }

    /// What is in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// What the host has written on it, see [`Skb::tag`].
    pub(crate) fn tag(&self) -> Tag {
        self.0.tag()
    }

    /// Makes at least so much room before and after it. False: no memory.
    #[must_use]
    pub(crate) fn expand(&mut self, head: usize, tail: usize) -> bool {
        // SAFETY: it is valid, nobody else's, and one buffer.
        unsafe { c::klips_h_skb_expand(self.0.as_ptr(), head as u32, tail as u32) == 0 }
    }

    /// Runs `f` on the packet in its buffer, of which it does not see the first `kept` bytes if the
    /// packet begins behind them, and keeps the range that `f` left it at.
    pub(crate) fn with_packet<R>(
        &mut self,
        kept: usize,
        f: impl FnOnce(&mut Packet<'_>) -> R,
    ) -> Option<R> {
        let room = self.0.room();
        let (start, end) = (room.start as usize, room.end as usize);
        let kept = kept.min(start);
        // SAFETY: the buffer is `size` bytes, unshared, and self is borrowed alone.
        let buffer = unsafe { core::slice::from_raw_parts_mut(room.head, room.size as usize) };
        let packet = Packet::new(buffer.get_mut(kept..)?, start - kept, end - kept)?;
        let mut packet = packet.with_tag(self.tag());
        let answer = f(&mut packet);
        let range = packet.range();
        let (start, end) = ((kept + range.start) as u32, (kept + range.end) as u32);
        // SAFETY: a Packet's range is within its buffer, which is that behind `kept`.
        unsafe { c::klips_h_skb_set_range(self.0.as_ptr(), start, end) };
        Some(answer)
    }

    /// Sends the IP packet in it by device number `device` of namespace `net`, by a route that may
    /// be remembered in `routes`; whether it went.
    pub(crate) fn transmit(self, net: &Net, routes: &Routes, device: u32) -> bool {
        // SAFETY: the namespace is alive, see `Net`, and so are the routes, which only this
        // function uses; it takes the sk_buff over.
        unsafe { c::klips_h_transmit(net.as_ptr(), routes.0.as_ptr(), self.0.into_raw(), device) }
    }

    /// Sends the ICMP error in it as one of the host's own, from the address that goes with the
    /// route. Any context but hard interrupts.
    pub(crate) fn answer(self, net: &Net) {
        // SAFETY: the namespace is alive, see `Net`; the function takes the sk_buff over, which
        // holds an IP packet from the core.
        unsafe { c::klips_h_answer(net.as_ptr(), self.0.into_raw()) }
    }
}

impl From<PreparedSkb> for Skb {
    fn from(prepared: PreparedSkb) -> Self {
        prepared.0
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
pub(crate) struct Queue {
    queue: UnsafeCell<c::sk_buff_head>,
    ready: AtomicBool,
}

// SAFETY: its functions take its lock.
unsafe impl Sync for Queue {}
// SAFETY: as above.
unsafe impl Send for Queue {}

impl Queue {
    /// To be followed by [`Self::init`] where it will stay.
    pub(crate) fn new() -> Self {
        Self {
            queue: UnsafeCell::default(),
            ready: AtomicBool::new(false),
        }
    }

    /// Makes it ready, once it is where it will stay: it is `'static`. Until then it takes nothing.
    pub(crate) fn init(&'static self) {
        if !self.ready.load(Ordering::Relaxed) {
            // SAFETY: it does not move any more, and nobody uses it before it is ready. It is made
            // ready by the one thread that brings its host up.
            unsafe { c::klips_h_queue_init(self.queue.get()) };
            self.ready.store(true, Ordering::Release);
        }
    }

    /// Appends `skb` unless there are `most` already; then it is given back.
    pub(crate) fn put(&self, skb: Skb, most: u32) -> Result<(), Skb> {
        let ready = self.ready.load(Ordering::Acquire);
        // SAFETY: the queue is ready, and takes the sk_buff over when it answers true.
        if ready && unsafe { c::klips_h_queue_put(self.queue.get(), skb.as_ptr(), most) } {
            let _ = skb.into_raw();
            Ok(())
        } else {
            Err(skb)
        }
    }

    /// Takes the first one out.
    pub(crate) fn take(&self) -> Option<Skb> {
        if !self.ready.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the queue is ready; what it gives is ours.
        NonNull::new(unsafe { c::klips_h_queue_take(self.queue.get()) }).map(Skb)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}
