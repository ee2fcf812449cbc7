//! Finds the KLIPS of this host and talks to it: PF_KEY over the kernel's socket or klipsd's, and the texts and
//! controls that the kernel shows under `/proc/net` and klipsd at `klips.ctl`.
//!
//! The kernel's is used where `/proc/net/ipsec_version` exists: a kernel may answer `socket(PF_KEY)` without having
//! our module, and its eroutes would be none. `$IPSEC_KLIPS` chooses: `module` or `klipsd`. The directory of klipsd's
//! sockets is `$IPSEC_RUNDIR`, `/run/pluto` by default. What messages mean is [`crate::request`]'s and the data path's.

mod control;
mod ioctl;
mod socket;

use std::io;
use std::path::{Path, PathBuf};

pub use control::{Control, Table};
pub use socket::{Client, Reply};

use crate::types::MsgType;

/// Why KLIPS could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Neither kernel module nor klipsd.
    #[error("KLIPS is not running: neither in the kernel nor klipsd at {}; start it with `ipsec setup start'", path.display())]
    NotRunning {
        /// Where klipsd's socket should be.
        path: PathBuf,
    },
    /// `$IPSEC_KLIPS` wants the module, which is not there.
    #[error(
        "KLIPS is not in the kernel, as IPSEC_KLIPS=module wants it: no {KERNEL_VERSION}; load the module with `modprobe klips'"
    )]
    NoModule,
    /// The socket is there and may not be opened.
    #[error("no permission for {what}: this command must be run as root")]
    Permission {
        /// What was opened.
        what: String,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A message that cannot be built, or an answer that cannot be read.
    #[error(transparent)]
    Message(#[from] crate::Error),
    /// KLIPS did not answer within the time.
    #[error("KLIPS did not answer within {seconds} seconds")]
    NoAnswer {
        /// How long was waited.
        seconds: u64,
    },
    /// KLIPS closed the socket.
    #[error("KLIPS closed the PF_KEY socket: it was stopped")]
    Closed,
    /// KLIPS answered with an errno.
    #[error("{}: {}", request.name(), io::Error::from_raw_os_error(i32::from(*errno)))]
    Refused {
        /// What was asked.
        request: MsgType,
        /// The errno, see [`crate::errno`].
        errno: u8,
    },
    /// klipsd answered a control line with an error.
    #[error("KLIPS: {0}")]
    Control(String),
}

impl ClientError {
    /// Sorts an error of the system at opening or using `what`.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { what },
            _ => Self::Io { what, source },
        }
    }

    /// The errno that KLIPS answered, if it answered.
    pub const fn refused_errno(&self) -> Option<u8> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// The directory of klipsd's sockets: `$IPSEC_RUNDIR`, else `/run/pluto`.
pub fn rundir() -> PathBuf {
    std::env::var_os("IPSEC_RUNDIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| "/run/pluto".into(), PathBuf::from)
}

/// The file by which the kernel module shows itself.
pub const KERNEL_VERSION: &str = "/proc/net/ipsec_version";

/// The variable that chooses between the two homes of KLIPS.
pub const CHOICE: &str = "IPSEC_KLIPS";

/// Where KLIPS can live.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Home {
    /// In the kernel: the module klips.
    Module,
    /// In user space: klipsd.
    Klipsd,
}

impl Home {
    /// What `$IPSEC_KLIPS` says; `None` when it says nothing, and the module is used where it is.
    ///
    /// # Errors
    /// The value, and what it may be.
    pub fn chosen() -> Result<Option<Self>, String> {
        let value = std::env::var_os(CHOICE).unwrap_or_default();
        Self::choice(&value.to_string_lossy())
    }

    fn choice(value: &str) -> Result<Option<Self>, String> {
        match value {
            "" => Ok(None),
            "module" => Ok(Some(Self::Module)),
            "klipsd" => Ok(Some(Self::Klipsd)),
            other => Err(format!(
                "{CHOICE}={other}: may be `module' or `klipsd', or unset"
            )),
        }
    }
}

/// Whether the KLIPS of this host is the kernel's: it is there, and `$IPSEC_KLIPS` does not say `klipsd`; or that says
/// `module`, there or not.
pub fn in_kernel() -> bool {
    match Home::chosen() {
        Ok(Some(home)) => home == Home::Module,
        _ => Path::new(KERNEL_VERSION).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_one_of_two() {
        assert_eq!(Home::choice(""), Ok(None));
        assert_eq!(Home::choice("module"), Ok(Some(Home::Module)));
        assert_eq!(Home::choice("klipsd"), Ok(Some(Home::Klipsd)));
        let error = Home::choice("kernel").unwrap_err();
        assert!(
            error.contains("IPSEC_KLIPS=kernel") && error.contains("klipsd"),
            "{error}"
        );
    }
}
