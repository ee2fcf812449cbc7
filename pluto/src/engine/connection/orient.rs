//! Orientation: which end of a connection is this machine, found by comparing the ends with the
//! addresses of our interfaces.

use core::net::IpAddr;
use std::collections::HashMap;

use super::{ConnId, Connection, Connections};
use crate::engine::event::Interface;

/// The addresses of our interfaces.
#[derive(Debug, Default)]
pub struct Addresses(HashMap<IpAddr, Vec<Interface>>);

impl Addresses {
    /// The addresses of `interfaces`.
    pub fn new(interfaces: &[Interface]) -> Self {
        let mut map: HashMap<IpAddr, Vec<Interface>> = HashMap::new();
        for interface in interfaces {
            map.entry(interface.addr)
                .or_default()
                .push(interface.clone());
        }
        Self(map)
    }

    fn at(&self, host: Option<IpAddr>) -> &[Interface] {
        host.and_then(|host| self.0.get(&host))
            .map_or(&[], Vec::as_slice)
    }
}

/// Why no end, or more than one, is us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrientError {
    /// Both ends are this machine.
    #[error("both sides of \"{0}\" are our interface {1}!")]
    Both(String, String),
    /// One address is on two interfaces.
    #[error("two interfaces match \"{0}\" ({1}, {2})")]
    Two(String, String, String),
}

/// Which end is us; turns the connection round if it is the second.
pub(super) fn orient(conn: &mut Connection, ours: &Addresses) -> Result<(), OrientError> {
    conn.interface = None;
    let (this, that) = (ours.at(conn.this.host), ours.at(conn.that.host));
    match (this, that) {
        ([], []) => Ok(()),
        ([first, second, ..], []) | ([], [first, second, ..]) => Err(OrientError::Two(
            conn.name.clone(),
            first.phys.clone(),
            second.phys.clone(),
        )),
        ([interface], []) => {
            conn.interface = Some(interface.clone());
            Ok(())
        }
        ([], [interface]) => {
            conn.interface = Some(interface.clone());
            core::mem::swap(&mut conn.this, &mut conn.that);
            Ok(())
        }
        ([a, ..], [b, ..]) if a.phys == b.phys => {
            Err(OrientError::Both(conn.name.clone(), a.phys.clone()))
        }
        ([a, ..], [b, ..]) => Err(OrientError::Two(
            conn.name.clone(),
            a.phys.clone(),
            b.phys.clone(),
        )),
    }
}

impl Connections {
    /// Orients a connection again, and tells whether it then is.
    ///
    /// # Errors
    /// [`OrientError`] if it is ambiguous; then it is not oriented.
    pub(crate) fn orient(&mut self, id: ConnId, ours: &Addresses) -> Result<bool, OrientError> {
        self.edit(id, |conn| orient(conn, ours).map(|()| conn.oriented()))
            .unwrap_or(Ok(false))
    }

    /// Those that have an end at one of these addresses.
    pub(crate) fn with_end_at<'a>(
        &'a self,
        addrs: impl Iterator<Item = IpAddr> + 'a,
    ) -> impl Iterator<Item = ConnId> + 'a {
        addrs.flat_map(|addr| self.by_end_host.get(&addr).into_iter().flatten().copied())
    }
}
