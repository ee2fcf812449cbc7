//! The rows.

use std::fmt;

use super::suites::{SUITES, Suite};
use crate::Keys;
use crate::peer::Kind;

/// Who initiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We do.
    We,
    /// The peer does.
    They,
}

/// `type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Between the subnets behind both.
    Tunnel,
    /// Between both themselves.
    Transport,
}

/// What packets are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// ESP.
    Esp,
    /// IPCOMP within ESP.
    Compressed,
    /// AH in place of ESP, HMAC-SHA1.
    Ah,
}

/// One line of the table, to be tried on each data path.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// With whom.
    pub peer: Kind,
    /// Who begins.
    pub role: Role,
    /// How both prove who they are.
    pub keys: Keys,
    /// The proposals.
    pub suite: &'static Suite,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Whether Quick Mode exchanges keys of its own.
    pub pfs: bool,
    /// ESP, or what else.
    pub wrap: Wrap,
}

impl Row {
    /// Whether the peer has the proposals at all.
    pub fn exists(&self) -> bool {
        self.lack().is_none()
    }

    /// Why the peer can't have this row.
    pub fn lack(&self) -> Option<&'static str> {
        let lack = self.suite.lacks.iter().find(|(peer, _)| *peer == self.peer);
        lack.map(|(_, reason)| *reason)
    }

    /// The columns of the table before the results.
    pub fn columns(&self) -> [String; 8] {
        let wrap = match self.wrap {
            Wrap::Esp => "ESP",
            Wrap::Compressed => "IPCOMP, ESP",
            Wrap::Ah => "AH",
        };
        let algorithms = match self.wrap {
            Wrap::Ah => "sha1",
            _ => self.suite.ours[1],
        };
        [
            self.peer.name(),
            match self.role {
                Role::We => "we",
                Role::They => "they",
            },
            match self.keys {
                Keys::Psk => "PSK",
                Keys::Rsa => "RSA",
            },
            self.suite.ours[0],
            algorithms,
            match self.mode {
                Mode::Tunnel => "tunnel",
                Mode::Transport => "transport",
            },
            if self.pfs { "PFS" } else { "no PFS" },
            wrap,
        ]
        .map(str::to_owned)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.columns().join(" "))
    }
}

/// A row that both peers have had for long: shared secret, AES and SHA1, tunnel, PFS.
pub fn plain_row(peer: Kind) -> Row {
    Row {
        peer,
        role: Role::We,
        keys: Keys::Psk,
        suite: &SUITES[1],
        mode: Mode::Tunnel,
        pfs: true,
        wrap: Wrap::Esp,
    }
}

/// All rows: every suite in both roles, with both kinds of keys, in both modes; then for each role and mode one each
/// without PFS, with IPCOMP, and with AH. Of strongSwan's ESP in user space, what it can be given: tunnels, and RSA once.
pub fn matrix() -> Vec<Row> {
    let mut rows = Vec::new();
    for peer in Kind::ALL {
        for keys in [Keys::Psk, Keys::Rsa] {
            for suite in SUITES {
                let row = Row {
                    keys,
                    suite,
                    ..plain_row(peer)
                };
                rows.extend(roles_and_modes(row));
            }
        }
        for (pfs, wrap) in [
            (false, Wrap::Esp),
            (true, Wrap::Compressed),
            (true, Wrap::Ah),
        ] {
            let row = plain_row(peer);
            rows.extend(roles_and_modes(Row { pfs, wrap, ..row }));
        }
    }
    let plain = |row: &Row| row.suite.ours == SUITES[1].ours;
    rows.retain(|row| {
        row.peer != Kind::Libipsec
            || (row.mode == Mode::Tunnel
                && row.wrap == Wrap::Esp
                && (row.keys == Keys::Psk || plain(row)))
    });
    rows
}

/// A row in both roles and both modes.
fn roles_and_modes(row: Row) -> [Row; 4] {
    let of = |role, mode| Row { role, mode, ..row };
    [
        of(Role::We, Mode::Tunnel),
        of(Role::We, Mode::Transport),
        of(Role::They, Mode::Tunnel),
        of(Role::They, Mode::Transport),
    ]
}
