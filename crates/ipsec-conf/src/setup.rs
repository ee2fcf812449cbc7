//! `config setup` with its values converted.

use crate::Version;
use crate::conn::Taker;
use crate::diagnostic::Diagnostic;
use crate::keyword::{self, SectionKind};
use crate::settings::Settings;
use crate::value::{self, BadValue};

/// One word of `interfaces=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// `%defaultroute`: ipsec0 on the device of the default route.
    DefaultRoute,
    /// `ipsecN=device`.
    Pair {
        /// `ipsecN`.
        virtual_device: String,
        /// The physical device.
        physical: String,
    },
}

/// `plutoload=` and `plutostart=` of 1.x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By `auto=`.
    Search,
    /// These.
    Names(Vec<String>),
}

/// What becomes of a device's reverse path filter (`rp_filter` of the kernel's ip-sysctl).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpFilter {
    /// A strict one becomes loose; another stays.
    Loose,
    /// It becomes this.
    Set(u8),
    /// It stays.
    Unchanged,
}

/// What `config setup` says.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Empty for `%none`.
    pub interfaces: Vec<Interface>,
    /// Switch forwarding on at start.
    pub forwardcontrol: bool,
    /// The reverse path filter of the physical devices.
    pub rp_filter: RpFilter,
    /// Facility and priority.
    pub syslog: String,
    /// Classes, empty for none.
    pub klipsdebug: Vec<String>,
    /// Classes, empty for none.
    pub plutodebug: Vec<String>,
    /// More options for pluto.
    pub plutoopts: Vec<String>,
    /// File for pluto's log.
    pub plutostderrlog: Option<String>,
    /// File for keys.
    pub keylogfile: Option<String>,
    /// Start pluto again after a crash.
    pub plutorestartoncrash: bool,
    /// Directory for core dumps.
    pub dumpdir: Option<String>,
    /// Whether to start pluto.
    pub pluto: bool,
    /// Wait for each negotiation at startup.
    pub plutowait: bool,
    /// Which connections to add.
    pub plutoload: Selection,
    /// Which connections to start.
    pub plutostart: Selection,
    /// Command before pluto.
    pub prepluto: Option<String>,
    /// Command after pluto.
    pub postpluto: Option<String>,
    /// Manually keyed connections.
    pub manualstart: Vec<String>,
    /// ICMP for packets too large.
    pub fragicmp: bool,
    /// TOS 0 outside.
    pub hidetos: bool,
    /// One connection an ID.
    pub uniqueids: bool,
    /// Get through NAT.
    pub nat_traversal: bool,
    /// Addresses behind NAT, as written.
    pub virtual_private: Option<String>,
    /// Seconds between keep-alives.
    pub keep_alive: u32,
    /// Keep-alives even where the NAT is in front of the peer.
    pub force_keepalive: bool,
    /// Stay on port 500.
    pub disable_port_floating: bool,
    /// MTU of ipsecN.
    pub overridemtu: Option<u32>,
    /// `%myid`.
    pub myid: Option<String>,
    /// DNSSEC's trust anchor.
    pub dnssec_rootkey_file: Option<String>,
    /// `oe=`: whether the implicit connections are loaded; if not said, they are where the file of a policy group has a block.
    pub oe: Option<bool>,
}

/// Converts the section; it is usable if no complaint is an error.
pub(crate) fn convert(settings: &Settings, version: Version) -> (Setup, Vec<Diagnostic>) {
    let mut t = Taker {
        settings,
        problems: Vec::new(),
    };
    for (name, setting) in settings.iter() {
        if let Some(keyword) = keyword::find(SectionKind::Config, name)
            && let Err(error) = value::check(keyword.kind, &setting.value)
        {
            t.complain(name, Some(setting), error);
        }
    }
    let words = |key: &str| -> Vec<String> {
        let text = t.text(key).filter(|text| *text != "none").unwrap_or("");
        text.split_whitespace().map(str::to_string).collect()
    };
    let yes = |key: &str, default: bool| {
        t.text(key).map_or(default, |text| {
            matches!(text, "yes" | "true" | "y" | "restart")
        })
    };
    let text = |key: &str| t.text(key).map(str::to_string);
    let selection = |key: &str| match t.text(key) {
        None => Selection::Search,
        Some(names) if names.split_whitespace().any(|n| n == "%search") => Selection::Search,
        Some(names) => Selection::Names(
            names
                .split_whitespace()
                .filter(|n| *n != "%none")
                .map(str::to_string)
                .collect(),
        ),
    };
    let mut setup = Setup {
        interfaces: Vec::new(),
        forwardcontrol: yes("forwardcontrol", false),
        rp_filter: match t.text("rp_filter") {
            Some("%unchanged") => RpFilter::Unchanged,
            Some(level) if level != "%loose" => {
                level.parse().map_or(RpFilter::Loose, RpFilter::Set)
            }
            _ => RpFilter::Loose,
        },
        syslog: text("syslog").unwrap_or_else(|| "daemon.error".into()),
        klipsdebug: words("klipsdebug"),
        plutodebug: words("plutodebug"),
        plutoopts: words("plutoopts"),
        plutostderrlog: text("plutostderrlog"),
        keylogfile: text("keylogfile"),
        plutorestartoncrash: yes("plutorestartoncrash", true),
        dumpdir: text("dumpdir"),
        pluto: yes("pluto", true),
        plutowait: yes("plutowait", false),
        plutoload: selection("plutoload"),
        plutostart: selection("plutostart"),
        prepluto: text("prepluto"),
        postpluto: text("postpluto"),
        manualstart: words("manualstart"),
        fragicmp: yes("fragicmp", true),
        hidetos: yes("hidetos", true),
        // 1.x kept every connection unless told otherwise.
        uniqueids: yes("uniqueids", version == Version::V2),
        nat_traversal: yes("nat_traversal", true),
        virtual_private: text("virtual_private"),
        keep_alive: t
            .text("keep_alive")
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(20),
        force_keepalive: yes("force_keepalive", false),
        disable_port_floating: yes("disable_port_floating", false),
        overridemtu: t.text("overridemtu").and_then(|m| m.parse().ok()),
        myid: text("myid"),
        dnssec_rootkey_file: text("dnssec-rootkey-file"),
        oe: t.text("oe").map(|_| yes("oe", false)),
    };
    setup.interfaces = t
        .take("interfaces", interfaces)
        .unwrap_or_else(|| vec![Interface::DefaultRoute]);
    check_mtu(&mut t, &setup);
    (setup, t.problems)
}

fn check_mtu(t: &mut Taker<'_>, setup: &Setup) {
    if setup
        .overridemtu
        .is_some_and(|mtu| !(68..=65_535).contains(&mtu))
    {
        let help = "an MTU lies between 68 and 65535".to_string();
        let error = BadValue {
            message: "no possible MTU".into(),
            help,
        };
        t.complain("overridemtu", t.settings.get("overridemtu"), error);
    }
}

/// Highest N of `ipsecN`, as KLIPS has devices.
const DEVICES: u8 = 10;

fn interfaces(text: &str) -> Result<Vec<Interface>, BadValue> {
    let bad = |message: String, help: &str| BadValue {
        message,
        help: help.into(),
    };
    let mut found: Vec<Interface> = Vec::new();
    for word in text.split_whitespace().filter(|w| *w != "%none") {
        let interface = match word.split_once('=') {
            None if word == "%defaultroute" => Interface::DefaultRoute,
            Some((device, physical)) if !physical.is_empty() => {
                let number = device
                    .strip_prefix("ipsec")
                    .and_then(|n| n.parse::<u8>().ok());
                if number.is_none_or(|n| n >= DEVICES || device.len() != 6) {
                    return Err(bad(
                        format!("\"{device}\" is no virtual interface"),
                        "they are ipsec0 to ipsec9",
                    ));
                }
                if physical.len() > 15 || physical.contains('/') {
                    return Err(bad(
                        format!("\"{physical}\" is no device name"),
                        "ip link shows the names",
                    ));
                }
                Interface::Pair {
                    virtual_device: device.into(),
                    physical: physical.into(),
                }
            }
            _ => {
                return Err(bad(
                    format!("interface \"{word}\" not understood"),
                    "write %defaultroute, %none, or pairs such as \"ipsec0=eth0 ipsec1=ppp0\"",
                ));
            }
        };
        let device = |i: &Interface| match i {
            Interface::DefaultRoute => "ipsec0".to_string(),
            Interface::Pair { virtual_device, .. } => virtual_device.clone(),
        };
        if found.iter().any(|f| device(f) == device(&interface)) {
            return Err(bad(
                format!("{} is given twice", device(&interface)),
                "each virtual interface has one physical device",
            ));
        }
        found.push(interface);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_words() {
        assert_eq!(interfaces("%none"), Ok(vec![]));
        assert_eq!(interfaces("%defaultroute ipsec1=ppp0").unwrap().len(), 2);
        for (text, part) in [
            ("eth0", "not understood"),
            ("ipsec0=", "not understood"),
            ("ipsecX=eth0", "no virtual interface"),
            ("ipsec10=eth0", "no virtual interface"),
            ("ipsec0=eth0 ipsec0=eth1", "twice"),
            ("%defaultroute ipsec0=eth1", "twice"),
            ("ipsec0=../x", "no device name"),
        ] {
            assert!(
                interfaces(text).unwrap_err().message.contains(part),
                "{text}"
            );
        }
    }
}
