//! Finds the KLIPS of this host and talks to it: PF_KEY over the kernel's socket or klipsd's, and the texts and
//! controls that the kernel shows under `/proc/net` and klipsd at `klips.ctl`.
//!
//! The kernel's is used where `/proc/net/ipsec_version` exists: a kernel may answer `socket(PF_KEY)` without having
//! our module, and its eroutes would be none. The directory of klipsd's sockets is `$IPSEC_RUNDIR`, `/run/pluto` by
//! default. What messages mean is [`crate::request`]'s and the data path's.

mod control;
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
    #[error("KLIPS is not running: no /proc/net/ipsec_version and no {}; start it with `ipsec setup start'", path.display())]
    NotRunning {
        /// Where klipsd's socket should be.
        path: PathBuf,
    },
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

/// Whether the KLIPS of this host is the kernel's.
pub fn in_kernel() -> bool {
    Path::new(KERNEL_VERSION).exists()
}
