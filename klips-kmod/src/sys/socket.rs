// SPDX-License-Identifier: GPL-2.0

//! The socket family PF_KEY in the kernel's terms: opening, sending, receiving and closing, and the
//! list of the open sockets of a network namespace. What the messages mean is `crate::pfkey`'s and
//! the core's.
//!
//! Why it is sound: a [`KeySocket`] lives at the start of memory that `sk_alloc` made by [`PROTO`],
//! and only after [`create`] has written its Rust half it is linked into a [`List`]. From there it
//! is found under RCU's read lock alone; [`release`] unlinks it, waits until no reader can hold it,
//! and only then lets it go. The Rust half is read and written under its own spin lock, which is
//! held for a copy and nothing else.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_uint};
use core::mem::{size_of, zeroed};
use core::ops::{Deref, DerefMut};
use core::ptr;

use kernel::prelude::*;

use crate::host::Host;
use crate::pfkey;
use crate::sys::skb::Skb;
use crate::sys::{c, crypto, errno};

/// `PF_KEY`, and `PF_KEY_V2` of `<linux/pfkeyv2.h>`.
const FAMILY: c_int = 15;
const VERSION: c_int = 2;
/// Octets that broadcast messages may take in a socket until it is read: some thousands of messages
/// with the kernel's own memory for each. `SO_RCVBUF` changes it.
const RECEIVE_BUFFER: c_int = 4 << 20;

/// One open socket: the kernel's part first, since the kernel frees and counts it by that.
#[repr(C)]
pub(crate) struct KeySocket {
    sk: c::sock,
    lock: UnsafeCell<c::spinlock_t>,
    state: UnsafeCell<klips::Socket>,
}

impl KeySocket {
    /// What the core remembers of this socket.
    pub(crate) fn state(&self) -> klips::Socket {
        self.with(|state| state.clone())
    }

    /// Remembers it anew.
    pub(crate) fn set_state(&self, new: klips::Socket) {
        self.with(|state| *state = new);
    }

    fn with<R>(&self, f: impl FnOnce(&mut klips::Socket) -> R) -> R {
        // SAFETY: `create` initialised the lock, and it is unlocked below.
        unsafe { c::klips_h_key_lock(self.lock.get()) };
        // SAFETY: the lock is held, so this is the only reference; callers only copy.
        let result = f(unsafe { &mut *self.state.get() });
        // SAFETY: taken above.
        unsafe { c::klips_h_key_unlock(self.lock.get()) };
        result
    }

    /// Appends `message` to what waits to be received; whether it did. `owed`: it answers this
    /// socket's own request, and is kept even where nothing more should be: one piece of the
    /// answers at most, as none is made while there is no room. Other messages are lost then, and
    /// the reader learns so by ENOBUFS.
    pub(crate) fn queue(&self, message: &Skb, owed: bool) -> bool {
        let sk = self.kernel();
        // SAFETY: a live socket; the helpers only use its atomic and locked parts.
        let queued = unsafe {
            (owed || c::klips_h_key_room(sk)) && c::klips_h_key_queue(sk, message.as_ptr())
        };
        if !queued {
            // SAFETY: as above.
            unsafe { c::klips_h_key_overrun(sk) };
        }
        queued
    }

    /// Whether more may wait to be received.
    pub(crate) fn has_room(&self) -> bool {
        // SAFETY: a live socket.
        unsafe { c::klips_h_key_room(self.kernel()) }
    }

    fn kernel(&self) -> *mut c::sock {
        ptr::from_ref(&self.sk).cast_mut()
    }
}

/// The open sockets of a network namespace. Every socket holds its namespace, so the list is empty
/// when that ends.
pub(crate) struct List(UnsafeCell<c::hlist_head>);

// SAFETY: the list is changed under the mutex of the helpers and walked under RCU.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl List {
    /// None yet. Sockets enter only once it is where it stays: they find it in their namespace's
    /// host.
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(c::hlist_head {
            first: ptr::null_mut(),
        }))
    }

    /// Calls `each` with every open socket. `each` must not sleep.
    pub(crate) fn each(&self, mut each: impl FnMut(&KeySocket)) {
        // SAFETY: what the list holds are `KeySocket`s in use, and they stay so until the read lock
        // is released.
        unsafe {
            c::klips_h_key_read_lock();
            let mut sk = c::klips_h_key_first(self.0.get());
            while let Some(socket) = sk.cast::<KeySocket>().as_ref() {
                each(socket);
                sk = c::klips_h_key_next(sk);
            }
            c::klips_h_key_read_unlock();
        }
    }
}

/// A request's octets, which may be keys: wiped when dropped.
struct Request(KVVec<u8>);

impl Request {
    /// Takes `len` octets from the sender.
    ///
    /// # Safety
    /// `message` is that of the system call under way.
    unsafe fn take(message: *mut c::msghdr, len: usize) -> Result<Self> {
        let mut bytes = KVVec::with_capacity(len, GFP_KERNEL)?;
        bytes.extend_with(len, 0, GFP_KERNEL)?;
        let mut request = Self(bytes);
        // SAFETY: `message` is the sender's, of the system call under way, and the buffer has `len`
        // octets.
        match unsafe { c::klips_h_key_request(request.as_mut_ptr().cast(), message, len) } {
            0 => Ok(request),
            error => Err(Error::from_errno(error)),
        }
    }
}

impl Deref for Request {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: the vector's own octets.
        unsafe { c::klips_h_key_wipe(self.0.as_mut_ptr().cast(), self.0.len()) };
    }
}

/// A table of the kernel's that is filled in here and given to the kernel by address.
#[repr(transparent)]
struct Given<T>(UnsafeCell<T>);

// SAFETY: only the kernel writes to it after it was given, by its own locks.
unsafe impl<T> Sync for Given<T> {}

static PROTO: Given<c::proto> = Given(UnsafeCell::new({
    // SAFETY: a struct proto of zeros has no functions and no name.
    let mut proto: c::proto = unsafe { zeroed() };
    let name = *b"KLIPS";
    let mut at = 0;
    while at < name.len() {
        proto.name[at] = name[at] as _;
        at += 1;
    }
    proto.obj_size = size_of::<KeySocket>() as c_uint;
    proto.owner = &raw mut c::__this_module;
    proto
}));

static OPS: Given<c::proto_ops> = Given(UnsafeCell::new({
    // SAFETY: a table of zeros has no functions.
    let mut ops: c::proto_ops = unsafe { zeroed() };
    ops.family = FAMILY;
    ops.owner = &raw mut c::__this_module;
    ops.release = Some(release);
    ops.sendmsg = Some(sendmsg);
    ops.recvmsg = Some(recvmsg);
    ops.poll = Some(poll);
    ops.bind = Some(c::sock_no_bind);
    ops.connect = Some(c::sock_no_connect);
    ops.socketpair = Some(c::sock_no_socketpair);
    ops.accept = Some(c::sock_no_accept);
    ops.getname = Some(c::sock_no_getname);
    ops.ioctl = Some(c::sock_no_ioctl);
    ops.listen = Some(c::sock_no_listen);
    ops.shutdown = Some(c::sock_no_shutdown);
    ops.mmap = Some(c::sock_no_mmap);
    ops
}));

static FAMILY_OPS: Given<c::net_proto_family> = Given(UnsafeCell::new({
    // SAFETY: as above.
    let mut ops: c::net_proto_family = unsafe { zeroed() };
    ops.family = FAMILY;
    ops.create = Some(create);
    ops.owner = &raw mut c::__this_module;
    ops
}));

/// Registers PF_KEY. Each namespace must have its host before.
pub(super) fn register() -> Result<(), c_int> {
    // SAFETY: the table lives as long as the module, and is registered once.
    errno::plain(unsafe { c::proto_register(PROTO.0.get(), 0) })?;
    // SAFETY: as above.
    let registered = errno::plain(unsafe { c::sock_register(FAMILY_OPS.0.get()) });
    if registered.is_err() {
        // SAFETY: registered above, and no socket was made of it.
        unsafe { c::proto_unregister(PROTO.0.get()) };
    }
    if registered == Err(EEXIST.to_errno()) {
        pr_err!(
            "PF_KEY belongs to another module already, most likely af_key: remove it (rmmod af_key) and load klips again\n"
        );
    }
    registered
}

/// Takes PF_KEY back. Sockets hold the module, so none is open.
pub(super) fn unregister() {
    // SAFETY: registered by `register`.
    unsafe {
        c::sock_unregister(FAMILY);
        c::proto_unregister(PROTO.0.get());
    }
}

/// `socket(PF_KEY, SOCK_RAW, PF_KEY_V2)`.
///
/// # Safety
/// By the kernel, with a live namespace and a socket not in use yet.
unsafe extern "C" fn create(
    net: *mut c::net,
    sock: *mut c::socket,
    protocol: c_int,
    kern: c_int,
) -> c_int {
    // SAFETY: the kernel gives a live namespace and a socket that is not in use yet.
    errno::answer(unsafe { open(net, sock, protocol, kern) }.map(|()| 0))
}

/// # Safety
/// As [`create`] is called.
unsafe fn open(net: *mut c::net, sock: *mut c::socket, protocol: c_int, kern: c_int) -> Result {
    // SAFETY: `sock` and `net` are live, by the caller.
    unsafe {
        if c_int::from((*sock).type_) != c::sock_type_SOCK_RAW as c_int {
            return Err(errno::no_such_type());
        }
        if protocol != VERSION {
            return Err(errno::no_such_protocol());
        }
        if !c::klips_h_key_allowed(net) {
            return Err(EACCES);
        }
        // The namespace is alive, and from here on the socket keeps it so.
        let list = Host::of(net).ok_or_else(errno::no_family)?.sockets.list();
        let sk = c::sk_alloc(net, FAMILY, c::klips_h_key_gfp(), PROTO.0.get(), kern);
        let own = sk.cast::<KeySocket>();
        if own.is_null() {
            return Err(ENOMEM);
        }
        c::klips_h_key_lock_init((&raw const (*own).lock).cast_mut().cast());
        (&raw mut (*own).state).write(UnsafeCell::new(klips::Socket::new()));
        (*sock).ops = OPS.0.get();
        c::sock_init_data(sock, sk);
        (*sk).__sk_common.skc_family = FAMILY as _;
        (*sk).sk_protocol = VERSION as _;
        // Whoever has but a namespace of their own gets what any socket gets.
        if crypto::may_load() {
            (*sk).sk_rcvbuf = (*sk).sk_rcvbuf.max(RECEIVE_BUFFER);
        }
        c::klips_h_key_link(sk, list.0.get());
    }
    Ok(())
}

/// # Safety
/// By the kernel, once, when the last user of a socket of ours is gone.
unsafe extern "C" fn release(sock: *mut c::socket) -> c_int {
    // SAFETY: the last user of `sock` is gone. After unlinking and the grace period nobody finds
    // `sk`, and what it had queued is freed before it; the Rust half needs no dropping, which is
    // checked below.
    unsafe {
        let sk = (*sock).sk;
        if sk.is_null() {
            return 0;
        }
        const { assert!(!core::mem::needs_drop::<klips::Socket>()) };
        c::klips_h_key_unlink(sk);
        c::klips_h_key_orphan(sk);
        (*sock).sk = ptr::null_mut();
        c::synchronize_net();
        c::klips_h_key_purge(sk);
        c::klips_h_key_put(sk);
    }
    0
}

/// # Safety
/// By the kernel, for an open socket of ours and a message of the system call under way.
unsafe extern "C" fn sendmsg(sock: *mut c::socket, message: *mut c::msghdr, len: usize) -> c_int {
    // SAFETY: the kernel gives an open socket, and a message of this system call.
    errno::answer(unsafe { ask((*sock).sk, message, len) })
}

/// # Safety
/// `sk` is an open socket of ours, `message` the sender's, of `len` octets.
unsafe fn ask(sk: *mut c::sock, message: *mut c::msghdr, len: usize) -> Result<c_int> {
    // SAFETY: `message` is live, by the caller.
    let flags = unsafe { (*message).msg_flags };
    if flags & c::MSG_OOB != 0 {
        return Err(errno::not_supported());
    }
    if !(pfkey::MIN_REQUEST..=pfkey::MAX_REQUEST).contains(&len) {
        return Err(errno::wrong_length());
    }
    // SAFETY: `sk` is live, and no lock is held.
    errno::checked(unsafe { c::klips_h_key_wait(sk, flags & c::MSG_DONTWAIT != 0) })?;
    // SAFETY: the sender's message, by the caller.
    let request = unsafe { Request::take(message, len) }?;
    // SAFETY: `sk` is a socket of ours and stays open through this call, and so does its namespace.
    // The user's lock is taken for one request after another, and released below.
    unsafe {
        c::klips_h_key_hold_user(sk);
        let done = Host::of(c::klips_h_key_net(sk))
            .ok_or_else(errno::no_family)
            .and_then(|host| pfkey::request(host, &*sk.cast::<KeySocket>(), &request));
        c::release_sock(sk);
        done?;
    }
    Ok(len as c_int)
}

/// # Safety
/// As [`sendmsg`].
unsafe extern "C" fn recvmsg(
    sock: *mut c::socket,
    message: *mut c::msghdr,
    len: usize,
    flags: c_int,
) -> c_int {
    // SAFETY: the kernel gives an open socket, and a message of this system call.
    errno::answer(unsafe { receive((*sock).sk, message, len, flags as c_uint) })
}

/// # Safety
/// As [`ask`].
unsafe fn receive(
    sk: *mut c::sock,
    message: *mut c::msghdr,
    len: usize,
    flags: c_uint,
) -> Result<c_int> {
    if flags & !(c::MSG_PEEK | c::MSG_DONTWAIT | c::MSG_TRUNC | c::MSG_CMSG_COMPAT) != 0 {
        return Err(EINVAL);
    }
    let mut error = 0;
    // SAFETY: `sk` and `message` are live, by the caller; a datagram that was received is ours
    // until it is freed below.
    unsafe {
        let full = !c::klips_h_key_room(sk);
        let skb = c::skb_recv_datagram(sk, flags, &mut error);
        if skb.is_null() {
            return Err(Error::from_errno(error));
        }
        let whole = (*skb).len as usize;
        let copied = whole.min(len);
        if copied < whole {
            (*message).msg_flags |= c::MSG_TRUNC;
        }
        let done = errno::checked(c::klips_h_key_answer(sk, skb, message, copied as c_int));
        c::skb_free_datagram(sk, skb);
        if full
            && c::klips_h_key_room(sk)
            && let Some(tell) = (*sk).sk_write_space
        {
            tell(sk);
        }
        let socket = &*sk.cast::<KeySocket>();
        if socket.state().is_dumping()
            && let Some(host) = Host::of(c::klips_h_key_net(sk))
        {
            // What was read has made room. The socket keeps its namespace, and so the host.
            c::klips_h_key_hold_user(sk);
            pfkey::dump(host, socket);
            c::release_sock(sk);
        }
        done?;
        Ok(if flags & c::MSG_TRUNC != 0 {
            whole
        } else {
            copied
        } as c_int)
    }
}

/// # Safety
/// By the kernel, for an open socket of ours.
unsafe extern "C" fn poll(
    file: *mut c::file,
    sock: *mut c::socket,
    wait: *mut c::poll_table,
) -> c::__poll_t {
    // SAFETY: the kernel gives an open socket.
    unsafe {
        let ready = c::datagram_poll(file, sock, wait);
        match c::klips_h_key_room((*sock).sk) {
            true => ready,
            false => ready & !c::klips_h_key_writable(),
        }
    }
}
