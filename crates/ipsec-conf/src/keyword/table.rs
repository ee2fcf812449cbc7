//! The table of all keywords.

use super::Kind::{
    Address, Client, Duration, Host, Id, Integer, NextHop, OneOf, Percent, ProtoPort, RsaKey,
    Section, Subnet, Text, Tries, YesNo,
};
use super::{Keyword, Kind, RAW_KEYS, SectionKind, Status};

/// Values of `auto=`.
pub const AUTO: &[&str] = &["ignore", "add", "route", "start", "manual"];
/// Values of `type=`.
pub const TYPE: &[&str] = &["tunnel", "transport", "passthrough", "drop", "reject"];
/// Values of `authby=`.
pub const AUTHBY: &[&str] = &[
    "rsasig",
    "secret",
    "secret|rsasig",
    "rsasig|secret",
    "never",
];
/// Values of `failureshunt=`.
pub const FAILURE_SHUNT: &[&str] = &["none", "passthrough", "drop", "reject"];

/// Values of `fragmentation=`.
pub const FRAGMENTATION: &[&str] = &["yes", "no", "force"];
/// Values of `dpdaction=`.
pub const DPD_ACTION: &[&str] = &["hold", "clear", "restart"];

/// Values of `esn=`.
pub const ESN: &[&str] = &["no", "yes", "either"];

const X509: &str = "certificates are not supported: use raw keys (leftrsasigkey=, rightrsasigkey=)";

/// Every keyword.
pub const KEYWORDS: &[Keyword] = &[
    conn(
        "also",
        Section,
        "",
        "append the parameters of another section",
    ),
    conn(
        "alsoflip",
        Section,
        "",
        "append another section with left and right exchanged",
    ),
    conn(
        "type",
        OneOf(TYPE),
        "tunnel",
        "tunnel, transport, or a shunt",
    ),
    conn(
        "auto",
        OneOf(AUTO),
        "ignore",
        "what ipsec setup does with the connection at startup",
    ),
    conn(
        "authby",
        OneOf(AUTHBY),
        "rsasig",
        "how the gateways authenticate each other",
    ),
    conn(
        "keyexchange",
        OneOf(&["ike"]),
        "ike",
        "method of key exchange",
    ),
    conn(
        "auth",
        OneOf(&["esp", "ah"]),
        "esp",
        "authentication within ESP or by AH",
    ),
    conn("pfs", YesNo, "yes", "perfect forward secrecy of keys"),
    conn(
        "keylife",
        Duration,
        "8h",
        "life of an IPsec SA, at most 24h",
    ),
    conn(
        "rekey",
        YesNo,
        "yes",
        "negotiate again before an SA expires",
    ),
    conn(
        "rekeymargin",
        Duration,
        "9m",
        "how long before expiry to negotiate again",
    ),
    conn(
        "rekeyfuzz",
        Percent,
        "100%",
        "random lengthening of rekeymargin",
    ),
    conn(
        "keyingtries",
        Tries,
        "%forever",
        "attempts before giving up",
    ),
    conn(
        "fragmentation",
        OneOf(FRAGMENTATION),
        "yes",
        "IKE messages too long for one packet are cut to pieces",
    ),
    conn(
        "ike_frag",
        OneOf(FRAGMENTATION),
        "yes",
        "another name of fragmentation",
    ),
    conn(
        "mssclamp",
        Text,
        "no",
        "TCP through the tunnel agrees on segments that fit it: yes, no or octets",
    ),
    conn(
        "dpddelay",
        Duration,
        "",
        "silence after which the peer is asked whether it is there; 0 is never",
    ),
    conn(
        "dpdtimeout",
        Duration,
        "",
        "silence after which the peer is dead",
    ),
    conn(
        "dpdaction",
        OneOf(DPD_ACTION),
        "hold",
        "what becomes of the tunnel of a dead peer",
    ),
    conn(
        "ikelifetime",
        Duration,
        "1h",
        "life of an ISAKMP SA, at most 24h",
    ),
    conn("compress", YesNo, "no", "propose IPCOMP"),
    conn(
        "disablearrivalcheck",
        YesNo,
        "no",
        "leave inner addresses of arriving packets unchecked",
    ),
    conn(
        "dnssec",
        YesNo,
        "no",
        "believe keys and gateways in DNS only where DNSSEC has proved them",
    ),
    conn(
        "forceencaps",
        YesNo,
        "no",
        "put ESP in UDP even where there is no NAT",
    ),
    conn(
        "failureshunt",
        OneOf(FAILURE_SHUNT),
        "none",
        "what happens to packets when negotiation failed",
    ),
    conn(
        "ike",
        Text,
        "",
        "proposals for the ISAKMP SA, such as aes256-sha2_256-modp2048,3des-sha1",
    ),
    conn(
        "esp",
        Text,
        "",
        "proposals for the IPsec SA, such as aes_gcm256,aes128-sha1; for manual keying the one transform",
    ),
    conn(
        "phase2alg",
        Text,
        "",
        "another name of esp; with phase2=ah, proposals for AH, such as sha2_256,sha1",
    ),
    conn("phase2", OneOf(&["esp", "ah"]), "esp", "ESP, or AH alone"),
    conn(
        "pfsgroup",
        Text,
        "",
        "group for perfect forward secrecy, that of the ISAKMP SA unless given",
    ),
    conn("esn", OneOf(ESN), "no", "sequence numbers of 64 bits"),
    conn(
        "sha2-truncbug",
        OneOf(&["no"]),
        "no",
        "HMAC-SHA2-256 cut to 96 bits instead of RFC 4868's 128: not supported",
    ),
    conn("_plutodevel", Text, "", "options for developers of pluto"),
    side("", Host, "", "public address of the participant"),
    side(
        "subnet",
        Client,
        "",
        "subnet behind the participant, or vhost:%priv,%no for a road warrior behind NAT",
    ),
    side(
        "subnetwithin",
        Subnet,
        "",
        "the peer may propose any subnet within this",
    ),
    side(
        "nexthop",
        NextHop,
        "%direct",
        "next hop towards the other participant",
    ),
    side(
        "sourceip",
        Address,
        "",
        "address that this gateway's own packets to the other subnet come from",
    ),
    side(
        "updown",
        Text,
        "ipsec _updown",
        "command that adjusts routes and firewall",
    ),
    side(
        "firewall",
        YesNo,
        "no",
        "whether the default updown command opens a firewall",
    ),
    side(
        "id",
        Id,
        "",
        "identity for authentication, the address unless given",
    ),
    side("rsasigkey", RsaKey, "", "public key for RSA signatures"),
    side(
        "rsasigkey2",
        RsaKey,
        "",
        "a second public key, for key rollover",
    ),
    side("protoport", ProtoPort, "", "only this protocol and port"),
    unsupported(side("cert", Text, "", "certificate"), RAW_KEYS),
    unsupported(side("cert2", Text, "", "second certificate"), RAW_KEYS),
    unsupported(side("ca", Text, "", "certification authority"), RAW_KEYS),
    unsupported(
        side("groups", Text, "", "groups of attribute certificates"),
        RAW_KEYS,
    ),
    unsupported(
        side(
            "certpolicy",
            Text,
            "",
            "policies that a certificate must have",
        ),
        RAW_KEYS,
    ),
    obsolete(
        side("sendcert", Text, "", "when to send the certificate"),
        X509,
    ),
    obsolete(
        conn("lifetime", Duration, "", "old name of keylife"),
        "write keylife=",
    ),
    obsolete(
        conn("rekeystart", Duration, "", "old name of rekeymargin"),
        "write rekeymargin=",
    ),
    obsolete(
        conn("rekeytries", Integer, "", "old name of keyingtries"),
        "write keyingtries=",
    ),
    manual(conn("spi", Text, "", "SPI of a manually keyed connection")),
    manual(conn(
        "spibase",
        Text,
        "",
        "base of the SPIs of a manually keyed connection",
    )),
    manual(conn("espenckey", Text, "", "ESP encryption key")),
    manual(conn("espauthkey", Text, "", "ESP authentication key")),
    manual(conn("espreplay_window", Integer, "", "ESP replay window")),
    manual(conn("ah", Text, "", "AH transform")),
    manual(conn("ahkey", Text, "", "AH key")),
    manual(conn("ahreplay_window", Integer, "", "AH replay window")),
    manual(side(
        "espenckey",
        Text,
        "",
        "ESP encryption key of one direction",
    )),
    manual(side(
        "espauthkey",
        Text,
        "",
        "ESP authentication key of one direction",
    )),
    manual(side("ahkey", Text, "", "AH key of one direction")),
    manual(side("espspi", Text, "", "ESP SPI of one direction")),
    manual(side("ahspi", Text, "", "AH SPI of one direction")),
    setup(
        "also",
        Section,
        "",
        "append the parameters of another section",
    ),
    setup(
        "interfaces",
        Text,
        "%defaultroute",
        "pairs ipsecN=device, %defaultroute or %none",
    ),
    setup(
        "forwardcontrol",
        YesNo,
        "no",
        "switch IP forwarding on at start and back at stop",
    ),
    setup(
        "rp_filter",
        OneOf(&["%loose", "%unchanged", "0", "1", "2"]),
        "%loose",
        "reverse path filter of the physical devices",
    ),
    setup(
        "syslog",
        Text,
        "daemon.error",
        "facility and priority of messages at startup",
    ),
    setup(
        "klipsdebug",
        Text,
        "none",
        "classes of KLIPS debugging output",
    ),
    setup(
        "plutodebug",
        Text,
        "none",
        "classes of pluto debugging output",
    ),
    setup("plutoopts", Text, "", "more options for pluto"),
    setup(
        "plutostderrlog",
        Text,
        "",
        "file for pluto's log instead of syslog",
    ),
    setup(
        "keylogfile",
        Text,
        "",
        "file for the keys of all SAs, for Wireshark",
    ),
    setup(
        "plutorestartoncrash",
        OneOf(&["yes", "no", "true", "false", "y", "n", "restart", "die"]),
        "yes",
        "start pluto again when it crashed",
    ),
    setup("dumpdir", Text, "", "directory for core dumps"),
    setup(
        "manualstart",
        Text,
        "",
        "manually keyed connections to set up at start",
    ),
    setup("pluto", YesNo, "yes", "whether to start pluto"),
    setup(
        "plutowait",
        YesNo,
        "no",
        "wait for each negotiation at startup",
    ),
    setup(
        "plutoload",
        Text,
        "",
        "1.x: connections to add at start, or %search for auto=",
    ),
    setup(
        "plutostart",
        Text,
        "",
        "1.x: connections to start, or %search for auto=",
    ),
    setup("prepluto", Text, "", "command to run before pluto starts"),
    setup("postpluto", Text, "", "command to run after pluto started"),
    setup(
        "fragicmp",
        YesNo,
        "yes",
        "answer a packet too large for a tunnel with ICMP",
    ),
    setup(
        "hidetos",
        YesNo,
        "yes",
        "set the TOS of tunnel packets to 0",
    ),
    setup(
        "uniqueids",
        YesNo,
        "yes",
        "a new connection of an ID from another address replaces the old",
    ),
    setup(
        "nat_traversal",
        YesNo,
        "yes",
        "get through NAT (RFC 3947 and 3948)",
    ),
    setup(
        "virtual_private",
        Text,
        "",
        "addresses that road warriors may have behind NAT",
    ),
    setup(
        "keep_alive",
        Integer,
        "20",
        "seconds between NAT keep-alives, 0 for none",
    ),
    setup(
        "force_keepalive",
        YesNo,
        "no",
        "send NAT keep-alives even where the NAT is in front of the peer",
    ),
    setup(
        "disable_port_floating",
        YesNo,
        "no",
        "do not go over to port 4500, and hence offer no NAT traversal",
    ),
    setup("overridemtu", Integer, "", "MTU of the ipsecN devices"),
    setup(
        "dnssec-rootkey-file",
        Text,
        "",
        "file with the keys that DNSSEC begins from; the root's, unless given",
    ),
    setup("myid", Id, "", "what %myid stands for"),
    setup(
        "oe",
        YesNo,
        "",
        "load the implicit connections: all, none, or the policy groups whose file has a block",
    ),
    obsolete(setup("nocrsend", YesNo, "", "certificate requests"), X509),
    obsolete(
        setup("strictcrlpolicy", YesNo, "", "revocation lists"),
        X509,
    ),
    obsolete(
        setup("crlcheckinterval", Text, "", "revocation lists"),
        X509,
    ),
    obsolete(
        setup("plutobackgroundload", Text, "", "loading in the background"),
        "it has no effect since 1.9",
    ),
    obsolete(
        setup("no_eroute_pass", YesNo, "", "packets without eroute"),
        "it has no effect since 1.9: write a passthrough conn",
    ),
    obsolete(
        setup("opportunistic", YesNo, "", "experimental opportunism"),
        "it has no effect since 1.9",
    ),
    obsolete(
        setup("packetdefault", Text, "", "packets without eroute"),
        "it has no effect since 2.0: see the policy groups",
    ),
];

const fn entry(
    section: SectionKind,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Keyword {
    Keyword {
        name,
        section,
        sided: false,
        kind,
        default,
        status: Status::Active,
        doc,
    }
}
const fn conn(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Keyword {
    entry(SectionKind::Conn, name, kind, default, doc)
}
const fn side(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Keyword {
    Keyword {
        sided: true,
        ..conn(name, kind, default, doc)
    }
}
const fn setup(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Keyword {
    entry(SectionKind::Config, name, kind, default, doc)
}
const fn manual(keyword: Keyword) -> Keyword {
    Keyword {
        status: Status::Manual,
        ..keyword
    }
}
const fn unsupported(keyword: Keyword, why: &'static str) -> Keyword {
    Keyword {
        status: Status::Unsupported(why),
        ..keyword
    }
}

const fn obsolete(keyword: Keyword, why: &'static str) -> Keyword {
    Keyword {
        status: Status::Obsolete(why),
        ..keyword
    }
}
