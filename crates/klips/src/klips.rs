//! One host's KLIPS: the tables together, and the calls a home makes.
//!
//! Not here: what those calls do, which is in the module of the same name.

use core::fmt;
use core::net::IpAddr;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::answer::Limiter;
use crate::device::{Device, DeviceError, DeviceId, MAX_DEVICES, Name, Physical};
use crate::eroute::Eroutes;
use crate::home::{Context, Home, NoMemory, Vector};
use crate::numbers::{Numbers, Plan};
use crate::packet::Packet;
use crate::pfkey_seam::Socket;
use crate::sadb::Sadb;
use crate::stat::{Drops, Way};
use crate::verdict::{DropReason, Inbound, Outbound};
use crate::{clear, hold, inbound, numbers, outbound, path_mtu, proc, request, tick};

/// The texts of `/proc/net/ipsec_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcFile {
    /// `ipsec_eroute`
    Eroute,
    /// `ipsec_spi`
    Spi,
    /// `ipsec_spigrp`
    SpiGrp,
    /// `ipsec_tncfg`
    TnCfg,
    /// `ipsec_version`
    Version,
    /// `ipsec_klipsdebug`
    KlipsDebug,
    /// `ipsec/stats/trap_count`: how many packets met a trap.
    TrapCount,
    /// `ipsec/stats/trap_sendcount`: how many ACQUIREs were sent for them.
    TrapSendCount,
    /// `klips_stat`
    Stat,
}

impl ProcFile {
    /// From a name such as `ipsec_eroute`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ipsec_eroute" => Self::Eroute,
            "ipsec_spi" => Self::Spi,
            "ipsec_spigrp" => Self::SpiGrp,
            "ipsec_tncfg" => Self::TnCfg,
            "ipsec_version" => Self::Version,
            "ipsec_klipsdebug" => Self::KlipsDebug,
            "ipsec/stats/trap_count" => Self::TrapCount,
            "ipsec/stats/trap_sendcount" => Self::TrapSendCount,
            "klips_stat" => Self::Stat,
            _ => return None,
        })
    }
}

/// How far [`Klips::proc`] has got in a table; start with `default()`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcCursor(pub(crate) usize);

/// A switch that is no such switch, or a value it does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlError {
    /// No switch of that name.
    UnknownName,
    /// The value is not one it takes.
    BadValue,
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownName => "no such switch; known are inbound_policy_check, icmp, tos, hidetos, fragicmp, icmp_limited, debug_*",
            Self::BadValue => "value not taken: 0 or 1, for debug_* a number, and none for icmp_limited, which counts",
        })
    }
}

impl core::error::Error for SysctlError {}

/// The switches of `/proc/sys/net/ipsec`.
#[derive(Clone, Debug)]
pub struct Sysctl {
    /// Drop packets that come out of an SA and are outside its policy, and those that come in the clear and should have come
    /// through one. Default on.
    pub inbound_policy_check: bool,
    /// Answer `%reject` and undeliverable packets with ICMP. Default on.
    pub icmp: bool,
    /// `tos`, `hidetos`: outer TOS is 0; off copies the inner one. Default on.
    pub hidetos: bool,
    /// Answer too big packets that have DF with ICMP "fragmentation needed"; off sends them on in fragments. Default on.
    pub fragicmp: bool,
    /// What to log, by part ([`DEBUG_NAMES`]), a bit mask each.
    pub debug: [u32; DEBUG_NAMES.len()],
}

/// The parts that `debug_*` switches name, in the order `/proc/net/ipsec_klipsdebug` prints them.
pub const DEBUG_NAMES: [&str; 12] = pfkey::DebugFlags::NAMES;

impl Default for Sysctl {
    fn default() -> Self {
        Self {
            inbound_policy_check: true,
            icmp: true,
            hidetos: true,
            fragicmp: true,
            debug: [0; DEBUG_NAMES.len()],
        }
    }
}

/// What traps were met, as `/proc/net/ipsec/stats` tells.
#[derive(Debug, Default)]
pub(crate) struct Traps {
    /// Packets that met a trap.
    pub(crate) met: AtomicU32,
    /// ACQUIREs sent for them.
    pub(crate) asked: AtomicU32,
}

/// One host's KLIPS.
pub struct Klips<H: Home> {
    /// [`MAX_DEVICES`] of them. Not in place: a kernel's stack, over which this value is moved when it is made, is small.
    devices: H::Vec<Device>,
    acquires: AtomicU32,
    pub(crate) traps: Traps,
    pub(crate) sysctl: Sysctl,
    pub(crate) eroutes: Eroutes<H>,
    pub(crate) sadb: Sadb<H>,
    /// Always one element: a box that can fail to be made.
    drops: H::Vec<Drops>,
    /// Where the next [`Self::tick`] goes on among the SAs.
    pub(crate) tick_at: usize,
    /// How many ICMP errors there may be yet.
    pub(crate) answers: Limiter<H>,
    /// ICMP errors that were due, and not sent since there were too many.
    pub(crate) icmp_limited: AtomicU64,
}

impl<H: Home> Klips<H> {
    /// Empty tables. Takes randomness for hash keys, and little memory until something is put in.
    pub fn new(home: &H) -> Result<Self, NoMemory> {
        let mut devices = H::Vec::new();
        devices.try_reserve(MAX_DEVICES)?;
        for _ in 0..MAX_DEVICES {
            devices.try_push(Device::default())?;
        }
        let mut drops = H::Vec::new();
        drops.try_push(Drops::default())?;
        Ok(Self {
            devices,
            drops,
            acquires: AtomicU32::new(0),
            traps: Traps::default(),
            sysctl: Sysctl::default(),
            eroutes: Eroutes::new(home),
            sadb: Sadb::new(home),
            tick_at: 0,
            answers: Limiter::new(home)?,
            icmp_limited: AtomicU64::new(0),
        })
    }

    /// The eroutes.
    pub fn eroutes(&self) -> &Eroutes<H> {
        &self.eroutes
    }

    /// The SAs.
    pub fn sadb(&self) -> &Sadb<H> {
        &self.sadb
    }

    /// How many ICMP errors were due and not sent, since there were too many: 6 at once and then 1 a second to one sender, 1000 a
    /// second in all. Their packets are counted as dropped.
    pub fn icmp_limited(&self) -> u64 {
        self.icmp_limited.load(Ordering::Relaxed)
    }

    /// How many packets were dropped, and why.
    pub fn drops(&self) -> &Drops {
        &self.drops[0]
    }

    pub(crate) fn count_drop(&self, way: Way, reason: DropReason) {
        if let Some(drops) = self.drops.first() {
            drops.count(way, reason);
        }
    }

    /// The sequence number of the next ACQUIRE.
    pub(crate) fn next_acquire(&self) -> u32 {
        self.acquires
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
    }

    /// Decides about `packet`, an IP packet from its first header byte, that was routed to `device`, and transforms it in
    /// place. Give it [`crate::packet::HEADROOM`] and [`crate::packet::TAILROOM`], or be asked for what is needed
    /// ([`Outbound::Room`]).
    pub fn outbound(
        &self,
        cx: &mut Context<'_, H>,
        device: DeviceId,
        packet: &mut Packet<'_>,
    ) -> Outbound {
        outbound::outbound(self, cx, device, packet, &mut Numbers::none())
    }

    /// By which SAs `packet`, the untransformed one that [`Self::outbound`] takes, and others of its addresses, protocol and ports
    /// will be numbered. Looks only; changes and counts nothing.
    pub fn plan(&self, device: DeviceId, packet: &[u8]) -> Plan<'_, H> {
        numbers::plan(self, device, packet)
    }

    /// As [`Self::outbound`], with sequence numbers that were set aside. An SA of which there are none left is asked.
    pub fn outbound_numbered(
        &self,
        cx: &mut Context<'_, H>,
        device: DeviceId,
        packet: &mut Packet<'_>,
        numbers: &mut Numbers<'_, H>,
    ) -> Outbound {
        outbound::outbound(self, cx, device, packet, numbers)
    }

    /// Finishes what [`Self::outbound`] answered [`Outbound::Trap`] to: asks the key manager (ACQUIRE) and keeps the packet
    /// until the eroute is replaced. Looks again first, since another thread may have been here; never answers `Trap`.
    pub fn trap(
        &mut self,
        cx: &mut Context<'_, H>,
        device: DeviceId,
        packet: &mut Packet<'_>,
    ) -> Outbound {
        hold::trap(self, cx, device, packet)
    }

    /// Takes back what a trap became when this ACQUIRE was said, since nobody will hear it: its listeners had no room, or there was
    /// no memory for it. The next packet asks again.
    pub fn acquire_lost(&mut self, acquire: &[u8]) {
        hold::acquire_lost(self, acquire);
    }

    /// Whether `packet`, the start of an IP packet, names an SA of ours that packets come to us on: for homes that see packets of
    /// devices to which nothing is attached, and others' packets among them.
    pub fn knows(&self, packet: &[u8]) -> bool {
        inbound::names(self, packet).is_some()
    }

    /// Undoes the IPsec of `packet`, an IP packet from its first header byte that arrived on physical device `physical` and is
    /// for this host, reassembled if it came in fragments. Where no ipsec device is attached to that one, it is taken all the same
    /// if [`Self::knows`] it, and appears on the ipsec device whose physical device has the address it was sent to.
    pub fn inbound(
        &self,
        cx: &mut Context<'_, H>,
        physical: u32,
        packet: &mut Packet<'_>,
    ) -> Inbound {
        inbound::inbound(self, cx, physical, packet)
    }

    /// Whether a packet may have come in the clear: asked of all that arrives on another device than an ipsecN or the loopback, once the
    /// firewall's address translation is done. `on` is the home's number of that device, `start` the packet's first octets
    /// ([`crate::packet::SHOWING`], or all), `local` whether it is for this host, then reassembled, or else to be forwarded.
    ///
    /// Eroutes are for what is routed to an ipsecN: where the answer depends on that, `back_by_ipsec` is asked whether a packet from the
    /// first address to the second would be, or has no route or a blackhole.
    ///
    /// # Errors
    /// [`DropReason::Clear`]: forget the packet, it is counted.
    pub fn arrived_clear(
        &self,
        on: u32,
        start: &[u8],
        local: bool,
        back_by_ipsec: impl FnOnce(IpAddr, IpAddr) -> bool,
    ) -> Result<(), DropReason> {
        clear::arrived(self, on, start, local, back_by_ipsec)
    }

    /// Whether [`Self::inbound`] may make this packet longer than it is: it holds, or may hold, compressed data. It then needs
    /// tail room up to [`crate::packet::MAX_PACKET`] bytes in all.
    pub fn may_inflate(&self, packet: &[u8]) -> bool {
        inbound::may_inflate(self, packet)
    }

    /// Handles one PF_KEY request from `socket`. Answers go to `cx.out`, errors as messages with `sadb_msg_errno` too; a
    /// request too broken to be answered is dropped.
    ///
    /// What takes a whole table away (FLUSH, DELFLOW of all) is done in pieces, between which the home lets packets go on: it
    /// calls again, with the same message, while [`Socket::is_sweeping`] says so; the answer comes with the last piece. A DUMP is
    /// begun here; [`Self::dump_more`] goes on with it.
    pub fn pfkey(&mut self, cx: &mut Context<'_, H>, socket: &mut Socket, message: &[u8]) {
        request::handle(self, cx, socket, message);
    }

    /// Tells the next SAs of a DUMP that `socket` asked for, some dozen, while [`Socket::is_dumping`] says that there are more. The home
    /// calls it when the socket has room for them, so that a reader who does not read costs nothing.
    pub fn dump_more(&self, cx: &mut Context<'_, H>, socket: &mut Socket) {
        request::dump_more(self, cx, socket);
    }

    /// Ages SAs and holds: sends EXPIRE, deletes what is over. Looks at `budget` entries at most and continues there next
    /// time, so a second's call with a budget of the number of SAs sees every SA every second.
    pub fn tick(&mut self, cx: &mut Context<'_, H>, budget: usize) {
        tick::tick(self, cx, budget);
    }

    /// Learns from an ICMP "fragmentation needed" or "packet too big" that `quoted`, the start of an outer packet we sent (IP
    /// header and 8 bytes more, or 12 for ESP in UDP), cannot pass a link of `mtu` bytes; 0 where the router does not say. Ignored
    /// unless addresses, SPI and ports are those of an SA of ours. `now` as in [`Context`].
    pub fn path_mtu(&self, now: u64, quoted: &[u8], mtu: u32) {
        path_mtu::learn(self, now, quoted, mtu);
    }

    /// Attaches ipsec device `device` to `physical`. `mtu`: what the ipsec device is to show and keep to (`overridemtu`).
    pub fn attach(
        &mut self,
        device: DeviceId,
        physical: Physical,
        mtu: Option<u32>,
    ) -> Result<(), DeviceError> {
        if physical.mtu < 68 || mtu.is_some_and(|m| m < 68) {
            return Err(DeviceError::BadMtu);
        }
        let slot = &mut self.devices[device.index()];
        if slot.physical.is_some() {
            return Err(DeviceError::Busy);
        }
        slot.physical = Some(physical);
        slot.waits_for = None;
        slot.override_mtu = mtu.unwrap_or(0);
        Ok(())
    }

    /// Physical device `index` has vanished. What was attached to it stays, closed, and waits for another of the same name
    /// ([`Self::waiting_for`]).
    pub fn physical_gone(&mut self, index: u32) {
        for device in self.devices.iter_mut() {
            if device.physical.is_some_and(|p| p.index == index) {
                device.waits_for = device.physical.take().map(|p| p.name);
            }
        }
    }

    /// An ipsec device that waits for a physical device of this name, and what [`Self::attach`] was told of its MTU.
    pub fn waiting_for(&self, name: &str) -> Option<(DeviceId, Option<u32>)> {
        let waits = |device: &&Device| device.waits_for.is_some_and(|n| n.as_str() == name);
        let (n, device) = self.devices.iter().enumerate().find(|(_, d)| waits(d))?;
        Some((
            DeviceId::new(n)?,
            Some(device.override_mtu).filter(|mtu| *mtu != 0),
        ))
    }

    /// Takes `device` off its physical device.
    pub fn detach(&mut self, device: DeviceId) -> Result<(), DeviceError> {
        let slot = &mut self.devices[device.index()];
        slot.override_mtu = 0;
        let waited = slot.waits_for.take().is_some();
        let attached = slot.physical.take().is_some();
        if attached || waited {
            Ok(())
        } else {
            Err(DeviceError::NotAttached)
        }
    }

    /// The home's news about an attached physical device: its MTU or addresses changed. Found by `physical.index`.
    pub fn physical_changed(&mut self, physical: Physical) {
        for device in self.devices.iter_mut() {
            if device.physical.is_some_and(|p| p.index == physical.index) {
                device.physical = Some(physical);
            }
        }
    }

    /// The home's news that somebody gave an attached ipsec device itself another MTU: it shows and keeps to that one.
    pub fn device_changed(&mut self, device: DeviceId, mtu: u32) {
        let slot = &mut self.devices[device.index()];
        if slot.physical.is_some() && slot.mtu() != mtu {
            slot.override_mtu = mtu;
        }
    }

    /// The home's news that somebody gave an ipsec device another name: it is shown by that one.
    pub fn device_renamed(&mut self, device: DeviceId, name: Name) {
        let usual = DeviceId::from_name(name.as_str()) == Some(device);
        self.devices[device.index()].name = (!usual).then_some(name);
    }

    /// Detaches all devices.
    pub fn clear(&mut self) {
        for device in self.devices.iter_mut() {
            device.physical = None;
            device.waits_for = None;
            device.override_mtu = 0;
        }
    }

    /// One ipsec device: what it is attached to, its MTU and counters.
    pub fn device(&self, device: DeviceId) -> &Device {
        &self.devices[device.index()]
    }

    /// The switches.
    pub fn sysctl(&self) -> &Sysctl {
        &self.sysctl
    }

    /// Reads a switch by its name in `/proc/sys/net/ipsec`, such as `inbound_policy_check` or `debug_esp`; or `icmp_limited`, which
    /// is [`Self::icmp_limited`].
    pub fn sysctl_get(&self, name: &str) -> Result<u32, SysctlError> {
        let s = &self.sysctl;
        Ok(match name {
            "inbound_policy_check" => s.inbound_policy_check.into(),
            "icmp" => s.icmp.into(),
            "tos" | "hidetos" => s.hidetos.into(),
            "fragicmp" => s.fragicmp.into(),
            "icmp_limited" => self.icmp_limited().min(u32::MAX.into()) as u32,
            _ => s.debug[debug_index(name)?],
        })
    }

    /// Sets a switch by its name.
    pub fn sysctl_set(&mut self, name: &str, value: u32) -> Result<(), SysctlError> {
        let s = &mut self.sysctl;
        let switch = match name {
            "inbound_policy_check" => &mut s.inbound_policy_check,
            "icmp" => &mut s.icmp,
            "tos" | "hidetos" => &mut s.hidetos,
            "fragicmp" => &mut s.fragicmp,
            "icmp_limited" => return Err(SysctlError::BadValue),
            _ => {
                s.debug[debug_index(name)?] = value;
                return Ok(());
            }
        };
        *switch = match value {
            0 => false,
            1 => true,
            _ => return Err(SysctlError::BadValue),
        };
        Ok(())
    }

    /// Writes a bounded part of `/proc/net/<file>` to `out`, from `cursor` on. `Ok(true)`: call again for more (the tables
    /// may be unlocked in between; entries that come and go then may be missed, none appears twice). `now` as in [`Context`].
    pub fn proc(
        &self,
        file: ProcFile,
        cursor: &mut ProcCursor,
        now: u64,
        out: &mut dyn fmt::Write,
    ) -> Result<bool, fmt::Error> {
        proc::write(self, file, cursor, now, out)
    }
}

fn debug_index(name: &str) -> Result<usize, SysctlError> {
    let part = name
        .strip_prefix("debug_")
        .ok_or(SysctlError::UnknownName)?;
    DEBUG_NAMES
        .iter()
        .position(|n| *n == part)
        .ok_or(SysctlError::UnknownName)
}
