// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ipsec_*`: which file shows which of the core's texts. How the kernel asks for them is
//! `sys::proc`'s.

use core::ffi::CStr;
use core::fmt;

use klips::{ProcCursor, ProcFile};

use crate::host::Host;

/// The files: name, mode, text. SAs are shown with their IVs, which are not for everybody to
/// foresee.
pub(crate) const FILES: [(&CStr, u16, ProcFile); 6] = [
    (c"ipsec_eroute", 0o444, ProcFile::Eroute),
    (c"ipsec_spi", 0o400, ProcFile::Spi),
    (c"ipsec_spigrp", 0o444, ProcFile::SpiGrp),
    (c"ipsec_tncfg", 0o444, ProcFile::TnCfg),
    (c"ipsec_version", 0o444, ProcFile::Version),
    (c"ipsec_klipsdebug", 0o444, ProcFile::KlipsDebug),
];

/// Writes a part of text `number` to `out`, from `cursor` on; whether there may be more. The tables
/// are unlocked between parts.
pub(crate) fn write(
    host: &Host,
    number: usize,
    cursor: &mut ProcCursor,
    out: &mut dyn fmt::Write,
) -> Result<bool, fmt::Error> {
    let (.., file) = FILES.get(number).ok_or(fmt::Error)?;
    host.read(|klips, cx| klips.proc(*file, cursor, cx.now, out))
}
