//! What KLIPS shows and lets be switched beside PF_KEY: the `ipsec_*` tables, the attachment of ipsecN to physical
//! devices, the sysctls. The kernel has files for most; klipsd answers lines at `klips.ctl`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ClientError, ioctl};

/// The most that is read of one answer, octets: a table of half a million eroutes.
const MAX_TEXT: u64 = 64 << 20;
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// A table that KLIPS shows as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Table {
    /// Eroutes, ipsec_eroute(5).
    Eroute,
    /// SAs, ipsec_spi(5).
    Spi,
    /// SA groups, ipsec_spigrp(5).
    SpiGrp,
    /// ipsecN and their physical devices, ipsec_tncfg(5).
    TnCfg,
    /// The version, ipsec_version(5).
    Version,
    /// Debugging, ipsec_klipsdebug(5).
    KlipsDebug,
    /// Packets that were dropped, by reason, ipsec_look(8).
    Stat,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Eroute,
        Self::Spi,
        Self::SpiGrp,
        Self::TnCfg,
        Self::Version,
        Self::KlipsDebug,
        Self::Stat,
    ];

    /// The file's name under `/proc/net`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eroute => "ipsec_eroute",
            Self::Spi => "ipsec_spi",
            Self::SpiGrp => "ipsec_spigrp",
            Self::TnCfg => "ipsec_tncfg",
            Self::Version => "ipsec_version",
            Self::KlipsDebug => "ipsec_klipsdebug",
            Self::Stat => "klips_stat",
        }
    }
}

/// The KLIPS to show and switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// The kernel's, by files.
    Kernel,
    /// klipsd's, by its control socket.
    Daemon(PathBuf),
}

impl Control {
    /// This host's KLIPS. Whether klipsd runs shows at the first use.
    pub fn find() -> Self {
        Self::find_in(&super::rundir())
    }

    /// As [`Control::find`], with klipsd's sockets in `rundir`.
    pub fn find_in(rundir: &Path) -> Self {
        if super::in_kernel() {
            Self::Kernel
        } else {
            Self::Daemon(rundir.join("klips.ctl"))
        }
    }

    /// Attaches `device` (ipsecN) to the device called `physical`. `mtu`: what ipsecN is to show and keep to.
    ///
    /// # Errors
    /// [`ClientError::Control`] with the reason, and the system's.
    pub fn attach(
        &self,
        device: &str,
        physical: &str,
        mtu: Option<u32>,
    ) -> Result<(), ClientError> {
        if let Self::Kernel = self {
            return ioctl::attach(device, physical, mtu.unwrap_or(0));
        }
        let mtu = mtu.map_or(String::new(), |mtu| format!(" {mtu}"));
        self.line(&format!("attach {device} {physical}{mtu}"))
            .map(drop)
    }

    /// Takes `device` off its physical device.
    ///
    /// # Errors
    /// As [`Control::attach`].
    pub fn detach(&self, device: &str) -> Result<(), ClientError> {
        match self {
            Self::Kernel => ioctl::detach(device),
            Self::Daemon(_) => self.line(&format!("detach {device}")).map(drop),
        }
    }

    /// Takes all ipsecN off their physical devices.
    ///
    /// # Errors
    /// As [`Control::attach`].
    pub fn clear(&self) -> Result<(), ClientError> {
        match self {
            Self::Kernel => ioctl::clear(),
            Self::Daemon(_) => self.line("clear").map(drop),
        }
    }

    /// The text of a table.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Permission`], [`ClientError::Io`].
    pub fn table(&self, table: Table) -> Result<String, ClientError> {
        match self {
            Self::Kernel => {
                let path = format!("/proc/net/{}", table.name());
                std::fs::read_to_string(&path).map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => ClientError::NoModule,
                    _ => ClientError::io(path, e),
                })
            }
            Self::Daemon(_) => self.line(&format!("get {}", table.name())),
        }
    }

    /// Reads a sysctl of KLIPS, such as `inbound_policy_check`.
    ///
    /// # Errors
    /// As [`Control::table`], and [`ClientError::Control`] for an unknown name.
    pub fn sysctl(&self, name: &str) -> Result<String, ClientError> {
        let text = match self {
            Self::Kernel => {
                let path = sysctl_path(name)?;
                std::fs::read_to_string(&path).map_err(|e| ClientError::io(path, e))?
            }
            Self::Daemon(_) => self.line(&format!("sysctl {name}"))?,
        };
        Ok(text.trim_end().to_owned())
    }

    /// Sets a sysctl of KLIPS.
    ///
    /// # Errors
    /// As [`Control::sysctl`], and [`ClientError::Control`] for a value it does not take.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), ClientError> {
        match self {
            Self::Kernel => {
                let path = sysctl_path(name)?;
                std::fs::write(&path, value).map_err(|e| match e.kind() {
                    std::io::ErrorKind::InvalidInput => ClientError::Control(format!(
                        "{name}: `{value}' not taken: 0 or 1, or for debug_* a number"
                    )),
                    _ => ClientError::io(path, e),
                })
            }
            Self::Daemon(_) => self.line(&format!("sysctl {name} {value}")).map(drop),
        }
    }

    /// Sends klipsd one line and answers the text after its `ok`.
    ///
    /// # Errors
    /// [`ClientError::Control`] with klipsd's own words, or that the kernel has no such lines; and the system's.
    fn line(&self, line: &str) -> Result<String, ClientError> {
        let Self::Daemon(path) = self else {
            return Err(ClientError::Control(format!(
                "`{line}' is for klipsd; this host's KLIPS is in the kernel"
            )));
        };
        if line.contains('\n') {
            return Err(ClientError::Control(
                "a control line cannot hold a line break".into(),
            ));
        }
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path: path.clone() }
            }
            _ => ClientError::io(path.display().to_string(), e),
        };
        let mut stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_TIME)).map_err(failed)?;
        stream
            .write_all(format!("{line}\n").as_bytes())
            .map_err(failed)?;
        let mut bytes = Vec::new();
        stream
            .take(MAX_TEXT)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let (status, rest) = text.split_once('\n').unwrap_or((&text, ""));
        match (status, status.strip_prefix("error: ")) {
            ("ok", _) => Ok(rest.to_owned()),
            (_, Some(why)) => Err(ClientError::Control(why.to_owned())),
            _ => Err(ClientError::Control(format!(
                "unexpected answer `{status}'"
            ))),
        }
    }
}

fn sysctl_path(name: &str) -> Result<String, ClientError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(ClientError::Control(format!(
            "`{name}' is no name of a KLIPS sysctl"
        )));
    }
    Ok(format!("/proc/sys/net/ipsec/{name}"))
}
