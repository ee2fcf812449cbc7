//! Where log lines go: standard error, a file, or syslog.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Facility `daemon`, shifted as RFC 3164 wants it.
const DAEMON: u8 = 3 << 3;

/// Starts logging at `level`. In the foreground to standard error, else to `file`, else to syslog.
///
/// # Errors
/// The file can't be opened.
pub fn start(level: Level, foreground: bool, file: Option<&Path>) -> io::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    let set = match file {
        Some(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?;
            builder.with_writer(Mutex::new(file)).try_init()
        }
        None if foreground => builder.with_writer(io::stderr).try_init(),
        None => builder
            .without_time()
            .with_level(false)
            .with_writer(Syslog::new()?)
            .try_init(),
    };
    set.map_err(io::Error::other)
}

/// Sends each line to `/dev/log`; without a syslog daemon, nowhere.
struct Syslog(UnixDatagram);

/// One line.
struct Line<'a> {
    sock: &'a UnixDatagram,
    text: Vec<u8>,
}

impl Syslog {
    fn new() -> io::Result<Self> {
        let sock = UnixDatagram::unbound()?;
        sock.set_nonblocking(true)?;
        Ok(Self(sock))
    }

    fn line(&self, severity: u8) -> Line<'_> {
        let text = format!("<{}>klipsd[{}]: ", DAEMON | severity, std::process::id()).into_bytes();
        Line {
            sock: &self.0,
            text,
        }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line(6)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        self.line(match *meta.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        })
    }
}

impl Write for Line<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let _ = self.sock.send_to(self.text.trim_ascii_end(), "/dev/log");
    }
}
