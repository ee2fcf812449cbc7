//! Who may talk to klipsd: whoever runs as the same user, or root.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::{Domain, SockAddr, Socket, Type};

/// Whether the process at the other end may.
pub fn allowed(sock: &impl AsFd) -> bool {
    getsockopt(sock, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Listens on a Unix socket that only its owner can open. A socket left by a crashed run is removed: the caller
/// holds the pid file's lock, so nobody listens on it.
///
/// # Errors
/// The system's, naming the path.
pub fn listen(path: &Path, kind: Type) -> io::Result<Socket> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let sock = Socket::new(Domain::UNIX, kind, None)?;
    sock.set_nonblocking(true)?;
    let bind = || {
        sock.bind(&SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        sock.listen(64)
    };
    bind().map_err(named)?;
    Ok(sock)
}
