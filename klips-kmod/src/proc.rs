// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ipsec` and the old names beside it: which file shows what. How the kernel asks for
//! them is `sys::proc`'s.

use core::ffi::CStr;
use core::fmt;

use klips::Lock as _;
use klips::{ProcCursor, ProcFile};

use crate::host::Host;
use crate::sys::lock::SpinLock;

/// A directory: its name, and the one it is in; `None`: `/proc/net` itself. Each stands behind the
/// one that it is in.
pub(crate) const DIRECTORIES: [(&CStr, Option<usize>); 6] = [
    (c"ipsec", None),
    (c"eroute", Some(0)),
    (c"spi", Some(0)),
    (c"spigrp", Some(0)),
    (c"birth", Some(0)),
    (c"stats", Some(0)),
];

/// What a file shows.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    /// A text of the core's.
    Core(ProcFile),
    /// What was written there: the IPv4 or IPv6 packet by which a KLIPS was once to make itself
    /// known.
    Birth(usize),
}

/// A file: its directory in [`DIRECTORIES`], `None` for `/proc/net` itself; its name, and what it
/// shows.
type File = (Option<usize>, &'static CStr, Text);

/// All files. Each is for the owner of the namespace alone, as FreeS/WAN has it: who talks to whom
/// is not for everybody to know.
pub(crate) const FILES: [File; 11] = [
    (Some(0), c"klipsdebug", Text::Core(ProcFile::KlipsDebug)),
    (Some(0), c"tncfg", Text::Core(ProcFile::TnCfg)),
    (Some(0), c"version", Text::Core(ProcFile::Version)),
    (Some(1), c"all", Text::Core(ProcFile::Eroute)),
    (Some(2), c"all", Text::Core(ProcFile::Spi)),
    (Some(3), c"all", Text::Core(ProcFile::SpiGrp)),
    (Some(4), c"ipv4", Text::Birth(0)),
    (Some(4), c"ipv6", Text::Birth(1)),
    (Some(5), c"trap_count", Text::Core(ProcFile::TrapCount)),
    (Some(5), c"trap_sendcount", Text::Core(ProcFile::TrapSendCount)),
    (None, c"klips_stat", Text::Core(ProcFile::Stat)),
];

/// The mode of each.
pub(crate) const MODE: u16 = 0o400;

/// The names that programs know, and what they lead to.
pub(crate) const LINKS: [(&CStr, &CStr); 6] = [
    (c"ipsec_eroute", c"ipsec/eroute/all"),
    (c"ipsec_spi", c"ipsec/spi/all"),
    (c"ipsec_spigrp", c"ipsec/spigrp/all"),
    (c"ipsec_tncfg", c"ipsec/tncfg"),
    (c"ipsec_version", c"ipsec/version"),
    (c"ipsec_klipsdebug", c"ipsec/klipsdebug"),
];

/// The longest birth packet, in octets.
const MAX_BIRTH: usize = 256;

/// The birth packets, IPv4's and IPv6's. Nothing sends them, as nothing in FreeS/WAN did.
pub(crate) struct Births([SpinLock<Birth>; 2]);

#[derive(Clone, Copy)]
struct Birth {
    octets: [u8; MAX_BIRTH],
    len: usize,
}

impl Births {
    /// Empty ones.
    pub(crate) fn new() -> Self {
        let none = || {
            SpinLock::around(Birth {
                octets: [0; MAX_BIRTH],
                len: 0,
            })
        };
        Self([none(), none()])
    }
}

/// Where a text goes.
pub(crate) trait Sink: fmt::Write {
    /// Octets that need not be text.
    fn octets(&mut self, octets: &[u8]) -> fmt::Result;
}

/// Writes a part of file `number` to `out`, from `cursor` on; whether there may be more. The tables
/// are unlocked between parts.
pub(crate) fn write(
    host: &Host,
    number: usize,
    cursor: &mut ProcCursor,
    out: &mut impl Sink,
) -> Result<bool, fmt::Error> {
    let (.., text) = FILES.get(number).ok_or(fmt::Error)?;
    match *text {
        Text::Core(file) => host.read(|klips, cx| klips.proc(file, cursor, cx.now, out)),
        Text::Birth(family) => {
            let birth = host.births.0.get(family).ok_or(fmt::Error)?;
            let birth = host.read(|_, _| birth.with(|birth| *birth));
            out.octets(birth.octets.get(..birth.len).unwrap_or_default())
                .map(|()| false)
        }
    }
}

/// Takes what was written to file `number`; what is too long is cut. Whether the file takes
/// anything.
pub(crate) fn take(host: &Host, number: usize, octets: &[u8]) -> bool {
    let Some((.., Text::Birth(family))) = FILES.get(number) else {
        return false;
    };
    let Some(birth) = host.births.0.get(*family) else {
        return false;
    };
    host.read(|_, _| {
        birth.with(|birth| {
            birth.len = octets.len().min(MAX_BIRTH);
            let (to, from) = (birth.octets.get_mut(..birth.len), octets.get(..birth.len));
            if let (Some(to), Some(from)) = (to, from) {
                to.copy_from_slice(from);
            }
        });
    });
    true
}
