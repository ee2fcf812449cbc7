//! Who listens to PF_KEY: one [`Socket`] per open PF_KEY socket, and the audience of each message.
//!
//! Not here: the requests themselves (`request`) or the bytes (crate `pfkey`).

use crate::request::Dump;

/// For whom a message is. Sockets in promiscuous mode hear everything besides, see [`Socket::hears`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The socket whose request is being answered, only.
    Sender,
    /// Every open socket, the sender too.
    All,
    /// The sockets registered for this SA type (`SADB_SATYPE_*`).
    Registered(u8),
    /// The sockets in promiscuous mode, only.
    Promiscuous,
}

/// What the core remembers of one open PF_KEY socket. The home keeps it beside the file descriptor.
#[derive(Clone, Debug, Default)]
pub struct Socket {
    /// Bit n: registered for SA type n (RFC 2367 section 3.1.7).
    registered: u32,
    promiscuous: bool,
    /// A DUMP that is not told to its end.
    pub(crate) dump: Option<Dump>,
    /// Where a request goes on that takes a whole table away.
    pub(crate) sweep: Option<usize>,
}

impl Socket {
    /// A socket just opened: registered for nothing.
    pub const fn new() -> Self {
        Self {
            registered: 0,
            promiscuous: false,
            dump: None,
            sweep: None,
        }
    }

    /// Whether a DUMP is not told to its end: [`crate::Klips::dump_more`] goes on with it, when the socket has room.
    pub fn is_dumping(&self) -> bool {
        self.dump.is_some()
    }

    /// Whether the last request is done in part: [`crate::Klips::pfkey`] goes on with it, given the same message.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Whether this socket is to be given a message for `audience`. `is_sender`: it sent the request being answered.
    pub fn hears(&self, audience: Audience, is_sender: bool) -> bool {
        match audience {
            Audience::Sender => is_sender,
            Audience::All => true,
            Audience::Registered(satype) => self.is_registered(satype),
            Audience::Promiscuous => self.promiscuous,
        }
    }

    /// Whether REGISTER was asked for `satype`.
    pub fn is_registered(&self, satype: u8) -> bool {
        satype < 32 && self.registered & (1 << satype) != 0
    }

    /// Whether the socket asked for `SADB_X_PROMISC`.
    pub fn is_promiscuous(&self) -> bool {
        self.promiscuous
    }

    #[allow(dead_code)]
    pub(crate) fn register(&mut self, satype: u8) {
        if satype < 32 {
            self.registered |= 1 << satype;
        }
    }

    #[allow(dead_code)]
    pub(crate) fn set_promiscuous(&mut self, on: bool) {
        self.promiscuous = on;
    }
}
