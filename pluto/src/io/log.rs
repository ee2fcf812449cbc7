//! The log: one line at a time to syslog, standard error or a file. Which lines there are, and that
//! none holds a secret, is up to whoever logs.

use std::{
    ffi::CString,
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    sync::Mutex,
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::options::LogTo;
use crate::engine::LogLevel;

const TARGET: &str = "pluto";

/// Opens the log for the rest of the process's life.
pub fn init(to: &LogTo) -> io::Result<()> {
    // Libraries may warn; their small talk stays out.
    let filter = Targets::new()
        .with_target(TARGET, Level::TRACE)
        // What strangers' name servers answer is told by whoever asked, once, and not by the library for each packet.
        .with_targets(
            ["hickory_net", "hickory_proto", "hickory_resolver"].map(|t| (t, LevelFilter::OFF)),
        )
        .with_default(LevelFilter::WARN);
    let lines = |with_time| tracing_subscriber::fmt::layer().event_format(Lines { with_time });
    let layer = match to {
        LogTo::Stderr => lines(false)
            .with_writer(io::stderr)
            .with_filter(filter)
            .boxed(),
        LogTo::Syslog => lines(false)
            .with_writer(Syslog::open())
            .with_filter(filter)
            .boxed(),
        LogTo::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            lines(true)
                .with_writer(Mutex::new(file))
                .with_filter(filter)
                .boxed()
        }
    };
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(io::Error::other)
}

/// Writes one line. Control characters, which a peer may have chosen, come out as `\ooo`.
pub fn line(level: LogLevel, text: &str) {
    let text = printable(text);
    match level {
        LogLevel::Debug => tracing::debug!(target: TARGET, "{text}"),
        LogLevel::Info => tracing::info!(target: TARGET, "{text}"),
        LogLevel::Warning => tracing::warn!(target: TARGET, "{text}"),
    }
}

/// The text with control characters as `\ooo`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.push_str(&format!("\\{:03o}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

/// A line is its message, after the time where nothing else adds one.
struct Lines {
    with_time: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.with_time {
            SystemTime.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        ctx.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// syslog(3).
struct Syslog;

impl Syslog {
    fn open() -> Syslog {
        // SAFETY: the name is a constant with an end, and lives as long as the process.
        unsafe {
            libc::openlog(
                c"pluto".as_ptr(),
                libc::LOG_NDELAY | libc::LOG_PID,
                libc::LOG_AUTHPRIV,
            )
        };
        Syslog
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = SyslogLine;

    fn make_writer(&'a self) -> SyslogLine {
        SyslogLine(libc::LOG_NOTICE)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> SyslogLine {
        SyslogLine(match *meta.level() {
            Level::ERROR => libc::LOG_ERR,
            Level::WARN => libc::LOG_WARNING,
            Level::INFO => libc::LOG_NOTICE,
            _ => libc::LOG_DEBUG,
        })
    }
}

struct SyslogLine(libc::c_int);

impl Write for SyslogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line with a zero byte would be cut there; `line` never writes one.
        let text = CString::new(line.trim_ascii_end())?;
        // SAFETY: both strings have an end, and the format takes exactly one string.
        unsafe { libc::syslog(self.0, c"%s".as_ptr(), text.as_ptr()) };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_cannot_forge_lines() {
        assert_eq!(
            printable("peer \"a\nb\u{1b}[2J\" ü"),
            "peer \"a\\012b\\033[2J\" ü"
        );
    }
}
