//! The texts of `/proc/net/ipsec_*`, in FreeS/WAN's formats.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};

use ipsec_types::alg::XformName;
use ipsec_types::{AuthAlg, Selector, Subnet};

use crate::device::{DEVICE_MTU, DeviceId, MAX_DEVICES};
use crate::eroute::Eroute;
use crate::home::{Home, Lock};
use crate::klips::{DEBUG_NAMES, Klips, ProcCursor, ProcFile};
use crate::lifetime::Lifetime;
use crate::notify;
use crate::sadb::{Sa, Sadb, State, Transform};

/// Entries written at one call.
const BATCH: usize = 64;
/// The version that `/proc/net/ipsec_version` tells.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// See [`Klips::proc`].
pub(crate) fn write<H: Home>(
    klips: &Klips<H>,
    file: ProcFile,
    cursor: &mut ProcCursor,
    now: u64,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    match file {
        ProcFile::Eroute => table(klips.eroutes.iter_from(cursor.0), cursor, |e| {
            eroute(out, e)
        }),
        ProcFile::Spi => table(klips.sadb.iter_from(cursor.0), cursor, |sa| {
            spi(out, &klips.sadb, sa, now)
        }),
        ProcFile::SpiGrp => table(klips.sadb.iter_from(cursor.0), cursor, |sa| {
            group(out, &klips.sadb, sa)
        }),
        ProcFile::TnCfg => devices(klips, out).map(|()| false),
        ProcFile::Version => writeln!(out, "FreeS/WAN version: {VERSION}").map(|()| false),
        ProcFile::KlipsDebug => debug(klips, out).map(|()| false),
        ProcFile::TrapCount => number(out, &klips.traps.met),
        ProcFile::TrapSendCount => number(out, &klips.traps.asked),
        ProcFile::Stat => klips.drops().write(out).map(|()| false),
    }
}

fn number(out: &mut dyn Write, number: &AtomicU32) -> Result<bool, fmt::Error> {
    writeln!(out, "{:08x}", number.load(Ordering::Relaxed)).map(|()| false)
}

/// Writes a batch of entries and moves the cursor behind them; true if there may be more.
fn table<'a, T: 'a>(
    entries: impl Iterator<Item = (u32, &'a T)>,
    cursor: &mut ProcCursor,
    mut write: impl FnMut(&T) -> fmt::Result,
) -> Result<bool, fmt::Error> {
    for (count, (n, entry)) in entries.enumerate() {
        if count == BATCH {
            return Ok(true);
        }
        write(entry)?;
        cursor.0 = n as usize + 1;
    }
    Ok(false)
}

/// A short text on the stack, so that it can be padded; what does not fit is cut.
struct Short {
    bytes: [u8; 64],
    len: usize,
}

impl Write for Short {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or(&mut []);
        let n = s.len().min(room.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

impl Short {
    fn net(net: &Subnet, port: u16) -> Result<Self, fmt::Error> {
        let mut text = Self {
            bytes: [0; 64],
            len: 0,
        };
        write!(text, "{net}")?;
        if port != 0 {
            write!(text, ":{port}")?;
        }
        Ok(text)
    }

    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.len)
            .and_then(|b| core::str::from_utf8(b).ok())
            .unwrap_or("")
    }
}

fn eroute<H: Home>(out: &mut dyn Write, eroute: &Eroute<H>) -> fmt::Result {
    let Selector {
        src,
        dst,
        proto,
        sport,
        dport,
    } = &eroute.selector;
    let (src, dst) = (Short::net(src, *sport)?, Short::net(dst, *dport)?);
    write!(
        out,
        "{:<10} {:<18} -> {:<18} => {}",
        eroute.packets(),
        src.as_str(),
        dst.as_str(),
        eroute.target
    )?;
    if *proto != 0 {
        write!(out, ":{proto}")?;
    }
    writeln!(out)
}

fn group<H: Home>(out: &mut dyn Write, sadb: &Sadb<H>, sa: &Sa<H>) -> fmt::Result {
    if sa.inward.is_some() {
        return Ok(());
    }
    let mut next = Some(sa);
    while let Some(sa) = next {
        write!(out, "{} ", sa.id)?;
        next = sadb.outward(sa);
    }
    writeln!(out)
}

fn spi<H: Home>(out: &mut dyn Write, sadb: &Sadb<H>, sa: &Sa<H>, now: u64) -> fmt::Result {
    let (auth, enc) = notify::algorithms(sa);
    let name = XformName {
        proto: sa.id.proto,
        enc,
        auth: AuthAlg(auth),
    };
    let dir = if sa.inbound { "in " } else { "out" };
    write!(out, "{} {name}: dir={dir} src={}", sa.id, sa.source)?;
    if let Some(policy) = &sa.policy {
        write!(out, " policy={}->{}", policy.src, policy.dst)?;
    }
    if let Transform::Esp {
        crypt: Some(crypt), ..
    } = &sa.transform
    {
        write!(out, " iv_bits={}bits iv=0x", crypt.row.iv * 8)?;
        for byte in sa.iv_seed.iter().take(crypt.row.iv) {
            write!(out, "{byte:02x}")?;
        }
    }
    if matches!(sa.transform, Transform::Esp { .. } | Transform::Ah(_)) {
        window(out, sa)?;
    }
    if sa.flags != 0 {
        let names = if sa.is_esn() { "ESN" } else { "" };
        write!(out, " flags=0x{:x}<{names}>", sa.flags)?;
    }
    keys(out, sa)?;
    write!(out, " life(c,s,h)=")?;
    life(out, &sa.life, now)?;
    let last = sa.life.last_use();
    if last != 0 {
        write!(out, " idle={}", now.saturating_sub(last))?;
    }
    let [plain, packed] = [&sa.ratio[0], &sa.ratio[1]].map(|r| r.load(Ordering::Relaxed));
    if plain != 0 {
        write!(out, " ratio={plain}:{packed}")?;
    }
    if let Some(encap) = &sa.encap {
        write!(
            out,
            " natencap=nonesp natsport={} natdport={}",
            encap.sport, encap.dport
        )?;
        if encap.dst != sa.id.dst {
            write!(out, " natdst={}", encap.dst)?;
        }
    }
    if sa.state() == State::Larval {
        write!(out, " larval")?;
    }
    let neighbours =
        usize::from(sadb.inward(sa).is_some()) + usize::from(sadb.outward(sa).is_some());
    writeln!(out, " refcount={} ref={}", 1 + neighbours, sa.reference)
}

fn window<H: Home>(out: &mut dyn Write, sa: &Sa<H>) -> fmt::Result {
    let nonzero = |out: &mut dyn Write, name: &str, n: u64| match n {
        0 => Ok(()),
        n => write!(out, " {name}={n}"),
    };
    let (recent, difference) = sa.replay.with(|r| (r.recent(), r.max_difference));
    nonzero(out, "ooowin", sa.window.into())?;
    nonzero(
        out,
        "ooo_errs",
        sa.errors.replay.load(Ordering::Relaxed).into(),
    )?;
    nonzero(out, "seq", sa.last_sequence())?;
    if recent != 0 {
        write!(out, " bit=0x{recent:x}")?;
    }
    nonzero(out, "max_seq_diff", difference)
}

fn keys<H: Home>(out: &mut dyn Write, sa: &Sa<H>) -> fmt::Result {
    let (crypt, auth) = match &sa.transform {
        Transform::Esp { crypt, auth } => (crypt.as_ref(), auth.as_ref()),
        Transform::Ah(auth) => (None, Some(auth)),
        _ => (None, None),
    };
    let errors = |out: &mut dyn Write, name: &str, n: &core::sync::atomic::AtomicU32| match n
        .load(Ordering::Relaxed)
    {
        0 => Ok(()),
        n => write!(out, " {name}={n}"),
    };
    if let Some(auth) = auth {
        write!(out, " alen={} aklen={}", auth.row.mac * 8, auth.row.key * 8)?;
    }
    errors(out, "auth_errs", &sa.errors.auth)?;
    if let Some(crypt) = crypt {
        write!(out, " eklen={}", crypt.key_bits)?;
    }
    errors(out, "encr_size_errs", &sa.errors.size)?;
    errors(out, "encr_pad_errs", &sa.errors.padding)
}

fn life(out: &mut dyn Write, life: &Lifetime, now: u64) -> fmt::Result {
    let (soft, hard) = (&life.soft, &life.hard);
    // As in KLIPS: shown when there is a limit or something was counted.
    let mut item = |name: &str, current: u64, counted: bool, soft: u64, hard: u64| {
        if counted || soft != 0 || hard != 0 {
            write!(out, "{name}({current},{soft},{hard})")
        } else {
            Ok(())
        }
    };
    item(
        "alloc",
        1,
        false,
        soft.allocations.into(),
        hard.allocations.into(),
    )?;
    item(
        "bytes",
        life.bytes(),
        life.bytes() > 1,
        soft.bytes,
        hard.bytes,
    )?;
    item(
        "addtime",
        now.saturating_sub(life.added),
        true,
        soft.addtime,
        hard.addtime,
    )?;
    let first = life.first_use();
    let used = if first == 0 {
        0
    } else {
        now.saturating_sub(first)
    };
    item("usetime", used, first != 0, soft.usetime, hard.usetime)?;
    item(
        "packets",
        life.packets(),
        life.packets() > 1,
        soft.packets.into(),
        hard.packets.into(),
    )
}

fn devices<H: Home>(klips: &Klips<H>, out: &mut dyn Write) -> fmt::Result {
    for id in (0..MAX_DEVICES).filter_map(DeviceId::new) {
        let device = klips.device(id);
        // KLIPS has a fixed number of devices; of the free ones it is enough to show the first four.
        if device.physical.is_none() && id.index() >= 4 {
            continue;
        }
        match &device.name {
            Some(name) => out.write_str(name.as_str())?,
            None => write!(out, "{id}")?,
        }
        let Some(physical) = &device.physical else {
            writeln!(out, " -> NULL mtu=0(0) -> 0")?;
            continue;
        };
        let inner = if device.override_mtu == 0 {
            DEVICE_MTU
        } else {
            device.override_mtu
        };
        writeln!(
            out,
            " -> {} mtu={inner}({}) -> {}",
            physical.name.as_str(),
            physical.mtu,
            physical.mtu
        )?;
    }
    Ok(())
}

fn debug<H: Home>(klips: &Klips<H>, out: &mut dyn Write) -> fmt::Result {
    for (name, word) in DEBUG_NAMES.iter().zip(klips.sysctl().debug) {
        if !matches!(*name, "netlink" | "ipcomp" | "verbose") {
            writeln!(out, "debug_{name}={word:08x}.")?;
        }
    }
    Ok(())
}
