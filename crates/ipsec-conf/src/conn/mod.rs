//! A connection with its values converted and its contradictions found.

mod check;

use crate::Version;
use crate::diagnostic::Diagnostic;
use crate::settings::{Setting, Settings};
use crate::source::Span;
use crate::value::{self, BadValue, Host, NextHop, RsaKey};
use core::net::IpAddr;
use ipsec_types::{ProtoPort, Subnet};

/// `type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnType {
    /// Subnets through a tunnel.
    Tunnel,
    /// The two hosts themselves.
    Transport,
    /// Packets pass in the clear.
    Passthrough,
    /// Packets are discarded.
    Drop,
    /// Packets are discarded and their senders told.
    Reject,
}

/// `failureshunt=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureShunt {
    /// As before negotiation.
    None,
    /// In the clear.
    Passthrough,
    /// Discarded.
    Drop,
    /// Discarded, senders told.
    Reject,
}

/// `auto=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Auto {
    /// Nothing.
    Ignore,
    /// Added.
    Add,
    /// Added and routed.
    Route,
    /// Added, routed and initiated.
    Start,
    /// Manually keyed.
    Manual,
}

/// `esn=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Esn {
    /// Sequence numbers of 32 bits.
    No,
    /// Of 64 bits.
    Yes,
    /// Of 64 bits, or 32 if the peer wants them.
    Either,
}

/// Which participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `left…`.
    Left,
    /// `right…`.
    Right,
}

impl Side {
    /// `left` or `right`.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Left => "left",
            Side::Right => "right",
        }
    }

    /// The other one.
    pub const fn flip(self) -> Self {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    fn key(self, rest: &str) -> String {
        format!("{}{rest}", self.name())
    }
}

/// One participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Public address.
    pub host: Host,
    /// Subnet behind it.
    pub subnet: Option<Subnet>,
    /// What the peer may propose, as written (`vhost:%priv,%no`).
    pub virtual_subnet: Option<String>,
    /// The peer may propose any subnet within this.
    pub subnet_within: Option<Subnet>,
    /// Next hop towards the other one.
    pub next_hop: NextHop,
    /// Where this gateway's own packets to the other subnet come from.
    pub source_ip: Option<IpAddr>,
    /// Updown command, with ` iptables` appended for `firewall=yes`.
    pub updown: String,
    /// Identity as written; none for the address.
    pub id: Option<String>,
    /// Public key.
    pub rsasigkey: Option<RsaKey>,
    /// Second public key.
    pub rsasigkey2: Option<RsaKey>,
    /// Protocol and port.
    pub protoport: Option<ProtoPort>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Name.
    pub name: String,
    /// `left…`.
    pub left: End,
    /// `right…`.
    pub right: End,
    /// `type=`.
    pub conn_type: ConnType,
    /// `failureshunt=`.
    pub failure_shunt: FailureShunt,
    /// `auto=`.
    pub auto: Auto,
    /// RSA signatures authenticate.
    pub rsasig: bool,
    /// A preshared key authenticates.
    pub psk: bool,
    /// `auth=ah`, `phase2=ah`.
    pub ah: bool,
    /// `phase2=ah`: without ESP.
    pub only_ah: bool,
    /// Perfect forward secrecy.
    pub pfs: bool,
    /// IPCOMP.
    pub compress: bool,
    /// `rekey=`.
    pub rekey: bool,
    /// `disablearrivalcheck=`.
    pub disable_arrival_check: bool,
    /// `forceencaps=`.
    pub force_encaps: bool,
    /// `dnssec=`.
    pub dnssec: bool,
    /// Life of an IPsec SA, seconds.
    pub keylife: u32,
    /// Life of an ISAKMP SA, seconds.
    pub ikelifetime: u32,
    /// Seconds before expiry.
    pub rekeymargin: u32,
    /// Per cent.
    pub rekeyfuzz: u32,
    /// Attempts; 0 for ever.
    pub keyingtries: u32,
    /// `fragmentation=` or `ike_frag=` as written.
    pub fragmentation: String,
    /// Seconds of silence before the peer is asked whether it is there.
    pub dpddelay: Option<u32>,
    /// Seconds of silence after which it is dead.
    pub dpdtimeout: Option<u32>,
    /// `dpdaction=` as written.
    pub dpdaction: String,
    /// `ike=` as written.
    pub ike: Option<String>,
    /// `esp=` or `phase2alg=` as written.
    pub esp: Option<String>,
    /// `pfsgroup=` as written.
    pub pfsgroup: Option<String>,
    /// `esn=`.
    pub esn: Esn,
    /// The merged section, for places.
    pub settings: Settings,
}

/// Takes values out of settings and gathers complaints.
pub(crate) struct Taker<'a> {
    pub settings: &'a Settings,
    pub problems: Vec<Diagnostic>,
}

impl<'a> Taker<'a> {
    pub fn complain(&mut self, key: &str, setting: Option<&Setting>, error: BadValue) {
        let span = setting
            .map(|s| s.span.clone())
            .or(Some(self.settings.header.clone()));
        let label = setting.map_or(String::new(), |_| format!("value of {key}"));
        self.problems.push(
            Diagnostic::error(error.message, span)
                .label(label)
                .help(error.help),
        );
    }

    pub fn take<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, BadValue>) -> Option<T> {
        let setting = self.settings.get(key)?;
        match read(&setting.value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.complain(key, Some(setting), error);
                None
            }
        }
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.settings.get(key).map(|s| s.value.as_str())
    }

    pub fn span(&self, key: &str) -> Option<Span> {
        Some(
            self.settings
                .get(key)
                .map_or(&self.settings.header, |s| &s.span)
                .clone(),
        )
    }

    fn contradiction(&mut self, keys: [&str; 2], message: &str, help: &str) {
        self.complaint(
            Diagnostic::error(message, self.span(keys[0])),
            keys[1],
            help,
        );
    }

    fn doubt(&mut self, keys: [&str; 2], message: &str, help: &str) {
        self.complaint(
            Diagnostic::warning(message, self.span(keys[0])),
            keys[1],
            help,
        );
    }

    fn complaint(&mut self, mut about: Diagnostic, other: &str, help: &str) {
        if let Some(setting) = self.settings.get(other) {
            about = about.other(&setting.span, format!("and this is {other}"));
        }
        self.problems.push(about.help(help));
    }
}

/// Converts a connection. It is usable if no complaint is an error.
pub(crate) fn convert(settings: &Settings, version: Version) -> (Conn, Vec<Diagnostic>) {
    let mut t = Taker {
        settings,
        problems: Vec::new(),
    };
    for side in [Side::Left, Side::Right] {
        if settings.get(side.name()).is_none() {
            let error = Diagnostic::error(
                format!("conn \"{}\" has no {}=", settings.name, side.name()),
                Some(settings.header.clone()),
            );
            t.problems.push(error.help(format!(
                "add {}=ADDRESS, or %defaultroute for this host, or %any for a road warrior",
                side.name()
            )));
        }
    }
    check::words(&mut t);
    let (rsasig, psk) = authby(t.text("authby"), version);
    let conn = Conn {
        name: settings.name.clone(),
        left: end(&mut t, Side::Left, rsasig, version),
        right: end(&mut t, Side::Right, rsasig, version),
        conn_type: match t.text("type") {
            Some("transport") => ConnType::Transport,
            Some("passthrough") => ConnType::Passthrough,
            Some("drop") => ConnType::Drop,
            Some("reject") => ConnType::Reject,
            _ => ConnType::Tunnel,
        },
        failure_shunt: match t.text("failureshunt") {
            Some("passthrough") => FailureShunt::Passthrough,
            Some("drop") => FailureShunt::Drop,
            Some("reject") => FailureShunt::Reject,
            _ => FailureShunt::None,
        },
        auto: auto(t.text("auto")),
        rsasig,
        psk,
        ah: t.text("auth") == Some("ah") || t.text("phase2") == Some("ah"),
        only_ah: t.text("phase2") == Some("ah"),
        pfs: t.take("pfs", value::yes_no).unwrap_or(true),
        compress: t.take("compress", value::yes_no).unwrap_or(false),
        rekey: t.take("rekey", value::yes_no).unwrap_or(true),
        disable_arrival_check: t
            .take("disablearrivalcheck", value::yes_no)
            .unwrap_or(false),
        force_encaps: t.take("forceencaps", value::yes_no).unwrap_or(false),
        dnssec: t.take("dnssec", value::yes_no).unwrap_or(false),
        keylife: t.take("keylife", value::duration).unwrap_or(28_800),
        ikelifetime: t.take("ikelifetime", value::duration).unwrap_or(3600),
        rekeymargin: t.take("rekeymargin", value::duration).unwrap_or(540),
        rekeyfuzz: t.take("rekeyfuzz", value::percent).unwrap_or(100),
        // 1.x gave up after three attempts unless told otherwise.
        keyingtries: t
            .take("keyingtries", value::tries)
            .unwrap_or(if version == Version::V1 { 3 } else { 0 }),
        fragmentation: t
            .text("fragmentation")
            .or(t.text("ike_frag"))
            .unwrap_or("yes")
            .to_string(),
        dpddelay: t.take("dpddelay", value::duration),
        dpdtimeout: t.take("dpdtimeout", value::duration),
        dpdaction: t.text("dpdaction").unwrap_or("hold").to_string(),
        ike: t.text("ike").map(str::to_string),
        esp: t.text("phase2alg").or(t.text("esp")).map(str::to_string),
        pfsgroup: t.text("pfsgroup").map(str::to_string),
        esn: match t.text("esn") {
            Some("yes") => Esn::Yes,
            Some("either") => Esn::Either,
            _ => Esn::No,
        },
        settings: settings.clone(),
    };
    check::together(&mut t, &conn);
    (conn, t.problems)
}

/// What `auto=` says; anything unknown counts as `ignore`, since it has been complained about.
pub(crate) fn auto(text: Option<&str>) -> Auto {
    match text {
        Some("add") => Auto::Add,
        Some("route") => Auto::Route,
        Some("start") => Auto::Start,
        Some("manual") => Auto::Manual,
        _ => Auto::Ignore,
    }
}

fn authby(text: Option<&str>, version: Version) -> (bool, bool) {
    match text {
        Some("rsasig") => (true, false),
        Some("secret") => (false, true),
        Some("never") => (false, false),
        Some("secret|rsasig" | "rsasig|secret") => (true, true),
        // 1.x took preshared keys unless told otherwise.
        _ if version == Version::V1 => (false, true),
        _ => (true, false),
    }
}

fn end(t: &mut Taker<'_>, side: Side, rsasig: bool, version: Version) -> End {
    let key = |rest| side.key(rest);
    let firewall = t.take(&key("firewall"), value::yes_no).unwrap_or(false);
    let updown = t.text(&key("updown"));
    if firewall && updown.is_some() {
        let help = "let your own updown command open the firewall, and remove firewall=";
        t.contradiction(
            [&key("firewall"), &key("updown")],
            "cannot have both firewall=yes and updown=",
            help,
        );
    }
    let mut updown = updown.unwrap_or("ipsec _updown").to_string();
    let clamp = t.take("mssclamp", value::mss_clamp).flatten();
    if clamp.is_some() && updown != "ipsec _updown" {
        t.contradiction(
            ["mssclamp", &key("updown")],
            "cannot have both mssclamp= and updown=",
            "let your own updown command clamp, as ipsec _updown does with the parameter mssclamp",
        );
    }
    if firewall {
        updown.push_str(" iptables");
    }
    if let Some(parameter) = clamp {
        updown.push(' ');
        updown.push_str(&parameter);
    }
    let on_demand = (rsasig && version == Version::V2).then_some(RsaKey::DnsOnDemand);
    End {
        host: t.take(side.name(), value::host).unwrap_or(Host::Any),
        subnet: t.take(&key("subnet"), value::client).flatten(),
        virtual_subnet: t
            .text(&key("subnet"))
            .filter(|text| value::is_virtual(text))
            .map(str::to_string),
        subnet_within: t.take(&key("subnetwithin"), value::subnet),
        next_hop: t
            .take(&key("nexthop"), value::next_hop)
            .unwrap_or(NextHop::Direct),
        source_ip: t.take(&key("sourceip"), value::address),
        updown,
        id: t.take(&key("id"), value::id),
        rsasigkey: t.take(&key("rsasigkey"), value::rsa_key).or(on_demand),
        rsasigkey2: t.take(&key("rsasigkey2"), value::rsa_key),
        protoport: t.take(&key("protoport"), value::proto_port),
    }
}
