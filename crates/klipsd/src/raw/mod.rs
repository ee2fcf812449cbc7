//! The physical side: raw sockets for what arrives (ESP, ESP in UDP, AH, IPCOMP, ICMP "too big") and what leaves.

pub mod answer;
pub mod header6;
pub mod icmp;
pub mod incoming;
pub mod outgoing;

pub use incoming::{Elsewhere, Incoming, Protocol};
pub use outgoing::Outgoing;

use std::io;
use std::os::fd::AsFd;

/// Receive and send buffers of raw sockets, in octets: a burst of some thousand packets.
const SOCKET_BUFFER: usize = 4 << 20;

/// Why a raw socket can't be had; says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// CAP_NET_RAW is missing.
    #[error(
        "no permission for raw sockets on {0}: CAP_NET_RAW in this network namespace is needed"
    )]
    NoPermission(String),
    /// Anything else.
    #[error("raw socket on {device}: {error}")]
    Io {
        /// The physical device.
        device: String,
        /// The system's answer.
        error: io::Error,
    },
}

fn raw_error(device: &str, error: io::Error) -> RawError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        RawError::NoPermission(device.to_owned())
    } else {
        RawError::Io {
            device: device.to_owned(),
            error,
        }
    }
}

/// Large buffers; past the system's limit where we may, else as large as that limit.
fn enlarge_buffers(sock: &socket2::Socket) {
    use nix::sys::socket::{setsockopt, sockopt};
    if setsockopt(&sock.as_fd(), sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        let _ = sock.set_recv_buffer_size(SOCKET_BUFFER);
    }
    if setsockopt(&sock.as_fd(), sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
        let _ = sock.set_send_buffer_size(SOCKET_BUFFER);
    }
}
