//! Packets that arrive in the clear: nf_tables asks klipsd about those whose way back is an eroute, and klipsd the core.
//!
//! The table stays when klipsd dies, and with nobody at the queue what it asks about is dropped; the next klipsd makes it anew. It goes
//! when klipsd ends by itself, and with `klipsd --open`.

mod netlink;
mod queue;
mod route;
mod table;

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::SockProtocol;
pub use table::Change;

use crate::host::Host;
use crate::sys::stop::Stop;
use netlink::Netlink;
use queue::{Queue, Waiting};
use route::Routes;
use table::Table;

/// The sockets, to be opened before rights are given up.
#[derive(Debug)]
pub struct Clear {
    queue: Queue,
    routes: Routes,
    table: Arc<Mutex<Table>>,
}

impl Clear {
    /// Opens the queue, and makes the table.
    ///
    /// # Errors
    /// The system's, as where a kernel has no nf_tables.
    pub fn open() -> io::Result<Self> {
        let queue = Queue::open()?;
        let table = Arc::new(Mutex::new(Table::open(queue.number)?));
        let routes = Routes::open()?;
        Ok(Self {
            queue,
            routes,
            table,
        })
    }

    /// The table, to follow the eroutes with and to take away.
    #[must_use]
    pub fn table(&self) -> Nets {
        Nets(self.table.clone())
    }

    /// Decides about packets until told to stop.
    pub fn run(&self, host: &Host, stop: &Stop) {
        let mut buffer = [0; 4096];
        while stop.wait(&[self.queue.as_fd()]) {
            loop {
                match self.queue.next(&mut buffer) {
                    Ok(Some(message)) => {
                        if let Some(waiting) = Waiting::new_checked(message) {
                            let _ = self.queue.decide(&waiting, self.may_go_on(host, &waiting));
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!("packets in the clear: {error}");
                        break;
                    }
                }
            }
        }
    }

    /// The routes are asked with the tables open, and only about what would be dropped.
    fn may_go_on(&self, host: &Host, waiting: &Waiting<'_>) -> bool {
        let mut way = None;
        let (by, start, local) = (waiting.by, waiting.start, waiting.local);
        let note = |_, to| {
            way = Some(to);
            false
        };
        let open = host.read().arrived_clear(by, start, local, note).is_ok();
        match way {
            None => open,
            Some(to) if !self.routes.lead_to_ipsec(to) => true,
            Some(_) => host
                .read()
                .arrived_clear(by, start, local, |_, _| true)
                .is_ok(),
        }
    }
}

/// Takes away the table that a klipsd has left which was killed. Where none is, or no nf_tables, all is open.
///
/// # Errors
/// The system's.
pub fn open() -> io::Result<()> {
    let Ok(netlink) = Netlink::open(SockProtocol::NetlinkNetFilter) else {
        return Ok(());
    };
    match table::remove(&netlink) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::EINVAL | libc::EOPNOTSUPP)
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// Which packets are asked about.
#[derive(Clone, Debug)]
pub struct Nets(Arc<Mutex<Table>>);

impl Nets {
    /// Follows the eroutes for as long as there is somebody to tell of changes: all that have come are done at once.
    pub fn follow(&self, changes: &Receiver<Change>) {
        while let Ok(first) = changes.recv() {
            let all = std::iter::once(first).chain(changes.try_iter());
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = table.follow(all) {
                tracing::warn!(
                    "packets in the clear may pass: nf_tables does not take an eroute's net: {error}"
                );
            }
        }
    }

    /// Takes the table away.
    pub fn close(&self) {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = table.close() {
            tracing::debug!("the table of nf_tables is not taken away: {error}");
        }
    }
}

/// Where changes of the eroutes are told.
pub type Changes = Sender<Change>;
