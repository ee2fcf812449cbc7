// SPDX-License-Identifier: GPL-2.0

//! PF_KEY conversations: requests go to the core with the namespace's tables locked, and what it
//! says goes to the sockets that it is for. The sockets themselves are `sys::socket`'s, the meaning
//! of messages is the core's.

use kernel::prelude::*;
use klips::Audience;

use crate::host::Host;
use crate::sys::skb::Skb;
use crate::sys::socket::{KeySocket, List};

/// The shortest request that can be answered, in octets: a header.
pub(crate) const MIN_REQUEST: usize = pfkey::HEADER_LEN;
/// The longest request taken, in octets; the longest that means anything is far below.
pub(crate) const MAX_REQUEST: usize = 65_536;

/// Tells sockets apart. Only ever compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketId(usize);

impl SocketId {
    fn of(socket: &KeySocket) -> Self {
        Self(core::ptr::from_ref(socket).addr())
    }
}

/// The open sockets of a network namespace.
pub(crate) struct Sockets(List);

impl Sockets {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    /// The list itself, which sockets enter and leave.
    pub(crate) fn list(&self) -> &List {
        &self.0
    }

    /// Gives a message of the core's to the sockets that `audience` names. `sender`: whose request
    /// it answers. Never waits; what a socket has no room for is lost to it, answers to its own
    /// requests excepted. False: it was for somebody, and lost to all of them.
    pub(crate) fn broadcast(
        &self,
        audience: Audience,
        sender: Option<SocketId>,
        message: &Skb,
    ) -> bool {
        let (mut wanted, mut heard) = (false, false);
        self.0.each(|socket| {
            let own = sender == Some(SocketId::of(socket));
            if socket.state().hears(audience, own) {
                wanted = true;
                heard |= socket.queue(message, own);
            }
        });
        heard || !wanted
    }
}

/// Handles one request of `socket`. A refusal is told by a message, as RFC 2367 section 3 has it;
/// an error of its own is only what cannot be answered so: EINVAL for what is no PF_KEY v2 message
/// at all.
pub(crate) fn request(host: &Host, socket: &KeySocket, message: &[u8]) -> Result {
    let mut reply = [0; pfkey::HEADER_LEN];
    if pfkey::request::error_reply(&mut reply, message, pfkey::errno::EINVAL).is_none() {
        return Err(EINVAL);
    }
    let sender = Some(SocketId::of(socket));
    loop {
        let before = socket.state();
        host.write(sender, |klips, cx| {
            let mut state = before.clone();
            klips.pfkey(cx, &mut state, message);
            // Before the answers are delivered: REGISTER's goes to those who are registered.
            socket.set_state(state);
        });
        // What concerns a whole table is done in pieces; packets go on in between.
        if !socket.state().is_sweeping() {
            break;
        }
    }
    dump(host, socket);
    Ok(())
}

/// Goes on with a DUMP of `socket`'s, as far as it has room for what is told. Its user's lock is
/// held.
pub(crate) fn dump(host: &Host, socket: &KeySocket) {
    while socket.has_room() {
        let mut state = socket.state();
        if !state.is_dumping() {
            return;
        }
        host.read_for(Some(SocketId::of(socket)), |klips, cx| {
            klips.dump_more(cx, &mut state)
        });
        socket.set_state(state);
    }
}
