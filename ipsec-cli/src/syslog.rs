//! Messages of `ipsec setup`: to the terminal and to syslog under the name `ipsec_setup`.

use std::os::unix::net::UnixDatagram;

/// RFC 3164 facilities by name.
const FACILITIES: [(&str, u8); 12] = [
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// RFC 3164 severities by name.
const SEVERITIES: [(&str, u8); 8] = [
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("error", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
];

/// Where messages go.
pub struct Messages {
    priority: u8,
}

impl Messages {
    /// With the facility and priority of `syslog=`, such as `daemon.error`.
    pub fn new(selector: &str) -> Self {
        let (facility, severity) = selector.split_once('.').unwrap_or((selector, "error"));
        let find = |table: &[(&str, u8)], name: &str, default: u8| {
            table
                .iter()
                .find(|(n, _)| *n == name)
                .map_or(default, |(_, v)| *v)
        };
        Self {
            priority: find(&FACILITIES, facility, 3) << 3 | find(&SEVERITIES, severity, 3),
        }
    }

    /// To terminal and log, line by line.
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            eprintln!("ipsec_setup: {line}");
        }
        self.log(text);
    }

    /// To the log only; without a syslog daemon nowhere.
    pub fn log(&self, text: &str) {
        let Ok(socket) = UnixDatagram::unbound() else {
            return;
        };
        let _ = socket.set_nonblocking(true);
        for line in text.lines() {
            let _ = socket.send_to(
                format!("<{}>ipsec_setup: {line}", self.priority).as_bytes(),
                "/dev/log",
            );
        }
    }
}
