//! Telling pluto's process for updown commands which ones may be run.
//!
//! That process does not believe pluto, which reads what strangers send, but those who may give pluto connections: they say so
//! themselves, over a socket of its own beside pluto's.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// FreeS/WAN's own, which may be run with any plain arguments.
const USUAL: &str = "ipsec _updown";
/// How long that process is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket beside pluto's control socket.
#[must_use]
pub fn socket_beside(control: &Path) -> PathBuf {
    control.with_extension("updown")
}

/// Whether a command may be run without anybody's saying so: `ipsec _updown`, and no more for a shell to do.
#[must_use]
pub fn is_usual(command: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _=./:,+-".contains(c);
    command
        .strip_prefix(USUAL)
        .is_some_and(|rest| (rest.is_empty() || rest.starts_with(' ')) && rest.chars().all(plain))
}

/// Says that `command` may be run. A failure shows when the command is wanted, and pluto says then what is missing.
pub(crate) fn permit(control: &Path, command: &str) {
    if is_usual(command) {
        return;
    }
    let tell = || -> std::io::Result<()> {
        let mut socket = UnixStream::connect(socket_beside(control))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.write_all(command.as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        socket.read_exact(&mut [0])
    };
    let _ = tell();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g11_usual_commands_leave_nothing_to_a_shell() {
        for usual in [
            "ipsec _updown",
            "ipsec _updown --route yes",
            "ipsec _updown a=b /x",
        ] {
            assert!(is_usual(usual), "{usual}");
        }
        for other in [
            "",
            "true",
            "ipsec _updownx",
            "ipsec auto --status",
            "ipsec _updown; id",
            "ipsec _updown $(id)",
            "ipsec _updown\nid",
            "ipsec _updown | sh",
            "ipsec _updown > /etc/x",
            "ipsec _updown 'a'",
        ] {
            assert!(!is_usual(other), "{other}");
        }
    }
}
