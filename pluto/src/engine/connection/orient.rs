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

/// What has become of a connection whose end had an address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The address is not ours at the moment, or at two devices.
    Away,
    /// It is at this interface.
    At(Interface),
    /// We are the other end now.
    TurnedRound,
}

/// Which end is us; turns the connection round if it is the second.
pub(super) fn orient(conn: &mut Connection, ours: &Addresses) -> Result<(), OrientError> {
    conn.interface = None;
    conn.away = false;
    if conn.waiting {
        return Ok(());
    }
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
            conn.turned = !conn.turned;
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
    /// Where an oriented connection's own end is now.
    pub(crate) fn place(&self, id: ConnId, ours: &Addresses) -> Option<Place> {
        let conn = self.get(id).filter(|conn| conn.oriented())?;
        Some(match (ours.at(conn.this.host), ours.at(conn.that.host)) {
            ([interface], _) => Place::At(interface.clone()),
            ([], [_]) => Place::TurnedRound,
            _ => Place::Away,
        })
    }

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
