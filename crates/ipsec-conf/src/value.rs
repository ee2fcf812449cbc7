//! Texts of values into what they mean. Every function says what is wrong and what would be right.

use crate::keyword::Kind;
use core::net::IpAddr;
use ipsec_types::{ProtoPort, Subnet};

/// What is wrong with a value, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

fn bad<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue {
        message: message.into(),
        help: help.into(),
    })
}

/// `yes` or `no`.
pub fn yes_no(text: &str) -> Result<bool, BadValue> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => bad("neither yes nor no", "write yes or no"),
    }
}

/// Seconds of `30`, `30s`, `1.5m`, `8h` or `1d`.
pub fn duration(text: &str) -> Result<u32, BadValue> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let scale: u64 = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 1,
    };
    decimal(number, scale, unit != "s").map_or_else(
        || {
            bad(
                "not a time",
                "write a number and s, m, h or d, such as 90s, 1.5m or 8h",
            )
        },
        Ok,
    )
}

/// `number` times `scale` in whole units, rounded down; exact, so that 0.1h is 360 seconds.
fn decimal(number: &str, scale: u64, fraction_allowed: bool) -> Option<u32> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if fraction_allowed => (whole, fraction),
        Some(_) => return None,
        None => (number, "0"),
    };
    let digits = |t: &str| !t.is_empty() && t.len() <= 9 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let tenths = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let parts = whole.parse::<u64>().ok()? * tenths + fraction.parse::<u64>().ok()?;
    u32::try_from(parts * scale / tenths).ok()
}

/// `mssclamp=`: the parameter of `ipsec _updown`, none for `no`.
pub fn mss_clamp(text: &str) -> Result<Option<String>, BadValue> {
    match (yes_no(text), text.parse::<u16>()) {
        (Ok(false), _) => Ok(None),
        (Ok(true), _) => Ok(Some("mssclamp".to_string())),
        (_, Ok(octets @ 536..)) => Ok(Some(format!("mssclamp={octets}"))),
        _ => bad(
            "not a segment size",
            "write yes, no, or the octets of a TCP segment, such as 1360, at least 536",
        ),
    }
}

/// Digits only.
pub fn integer(text: &str) -> Result<u32, BadValue> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return bad("not a whole number", "write digits only");
    }
    text.parse()
        .or_else(|_| bad("number too large", format!("at most {}", u32::MAX)))
}

/// `100%` as 100.
pub fn percent(text: &str) -> Result<u32, BadValue> {
    match text.strip_suffix('%') {
        Some(number) => integer(number),
        None => bad(
            "not a percentage",
            "write a whole number and %, such as 100%",
        ),
    }
}

/// Attempts; 0 for `%forever`.
pub fn tries(text: &str) -> Result<u32, BadValue> {
    if text == "%forever" {
        Ok(0)
    } else {
        integer(text).or_else(|_| {
            bad(
                "not a number of attempts",
                "write a whole number or %forever",
            )
        })
    }
}

/// One of some words.
pub fn one_of(text: &str, words: &[&str]) -> Result<(), BadValue> {
    if words.contains(&text) {
        return Ok(());
    }
    let help = match crate::diagnostic::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean {near}? It is one of {}", words.join(", ")),
        None => format!("it is one of {}", words.join(", ")),
    };
    bad(format!("unknown value \"{text}\""), help)
}

/// A gateway as `left=` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A fixed address.
    Address(IpAddr),
    /// A host name, looked up when the connection is added.
    Name(String),
    /// `%defaultroute`: the address of the device that the default route takes.
    DefaultRoute,
    /// `%any`: whoever comes.
    Any,
    /// `%opportunistic`.
    Opportunistic,
    /// `%group`.
    Group,
    /// `%opportunisticgroup`.
    OpportunisticGroup,
}

/// Reads a gateway.
pub fn host(text: &str) -> Result<Host, BadValue> {
    Ok(match text {
        "%defaultroute" => Host::DefaultRoute,
        "%any" | "0.0.0.0" | "::" | "%any6" => Host::Any,
        "%opportunistic" => Host::Opportunistic,
        "%group" => Host::Group,
        "%opportunisticgroup" => Host::OpportunisticGroup,
        _ if text.starts_with('%') => {
            return bad(
                format!("unknown magic value \"{text}\""),
                "it is one of %defaultroute, %any, %opportunistic, %group, %opportunisticgroup",
            );
        }
        _ => match address(text) {
            Ok(address) => Host::Address(address),
            Err(_) if is_host_name(text) => Host::Name(text.to_string()),
            Err(error) => return Err(error),
        },
    })
}

/// Letters, digits, hyphens and dots, and at least one letter that is no hexadecimal address.
fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // A last label of digits only would be a misspelt address.
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && name.split('.').all(label) && !last_is_number
}

/// A numeric address; names the octet that is wrong.
pub fn address(text: &str) -> Result<IpAddr, BadValue> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.contains(':') {
        return bad(
            format!("\"{text}\" is not an IPv6 address"),
            "write eight groups of up to four hexadecimal digits, or :: for a run of zeros",
        );
    }
    if let Some((address, _)) = text.split_once('/') {
        return bad(
            format!("\"{text}\" is a subnet where an address must be"),
            format!("write {address}"),
        );
    }
    let octets: Vec<&str> = text.split('.').collect();
    let numeric = octets.iter().all(|o| o.bytes().all(|b| b.is_ascii_digit()));
    if numeric
        && let Some(octet) = octets
            .iter()
            .find(|o| o.parse::<u8>().is_err() || (o.len() > 1 && o.starts_with('0')))
    {
        return bad(
            format!("\"{text}\" is not an address: bad number \"{octet}\""),
            "each of the four numbers is 0 to 255, without leading zeros",
        );
    }
    if numeric {
        return bad(
            format!(
                "\"{text}\" is not an address: it has {} numbers",
                octets.len()
            ),
            "write four numbers with dots between, such as 192.0.2.1",
        );
    }
    bad(
        format!("\"{text}\" is not an address"),
        "write an address such as 192.0.2.1 or 2001:db8::1",
    )
}

/// A next hop as `leftnexthop=` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// `%direct`: the peer itself.
    Direct,
    /// `%defaultroute`: the next hop of the default route.
    DefaultRoute,
    /// A fixed address.
    Address(IpAddr),
    /// A host name, looked up when the connection is added.
    Name(String),
}

/// Reads a next hop.
pub fn next_hop(text: &str) -> Result<NextHop, BadValue> {
    match text {
        "%direct" => Ok(NextHop::Direct),
        "%defaultroute" => Ok(NextHop::DefaultRoute),
        _ if text.starts_with('%') => bad(
            format!("unknown magic value \"{text}\""),
            "it is an address, %direct or %defaultroute",
        ),
        _ => match address(text) {
            Ok(address) => Ok(NextHop::Address(address)),
            Err(_) if is_host_name(text) => Ok(NextHop::Name(text.to_string())),
            Err(error) => Err(error),
        },
    }
}

/// A subnet. Bits behind the mask are an error, for they hint at a slip.
pub fn subnet(text: &str) -> Result<Subnet, BadValue> {
    let subnet: Subnet = match text.parse() {
        Ok(subnet) => subnet,
        Err(error) => {
            if let Some((address_text, _)) = text.split_once('/')
                && address_text.split('.').count() == 4
            {
                address(address_text)?;
            }
            return bad(
                format!("\"{text}\" is not a subnet: {error}"),
                "write network/bits such as 10.0.1.0/24 or 2001:db8:1::/48",
            );
        }
    };
    let written = text
        .split('/')
        .next()
        .and_then(|a| a.parse::<IpAddr>().ok());
    if written.is_some_and(|w| w != subnet.addr()) {
        return bad(
            format!("\"{text}\" has address bits behind its mask"),
            format!("write {subnet} for the whole subnet, or a longer mask"),
        );
    }
    Ok(subnet)
}

/// An RSA public key as `leftrsasigkey=` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RsaKey {
    /// `%none`: none is known.
    None,
    /// `%dns`, `%dnsonload`: looked up when the connection is added.
    DnsOnLoad,
    /// `%dnsondemand`: looked up when it is needed.
    DnsOnDemand,
    /// The key itself, `0s…` or `0x…`.
    Key(String),
}

/// Reads an RSA public key. Whether the numbers make a key is found when pluto takes it.
pub fn rsa_key(text: &str) -> Result<RsaKey, BadValue> {
    Ok(match text {
        "%none" | "0x00" => RsaKey::None,
        "%cert" => {
            return bad(
                "%cert asks for certificates, which are not supported yet",
                crate::keyword::RAW_KEYS,
            );
        }
        "%dns" | "%dnsonload" => RsaKey::DnsOnLoad,
        "%dnsondemand" => RsaKey::DnsOnDemand,
        _ if text.starts_with('%') => {
            return bad(
                format!("unknown magic value \"{text}\""),
                "it is a key 0s… or one of %dnsondemand, %dnsonload, %none",
            );
        }
        _ if text.starts_with("AQ") || text.starts_with("AwE") => {
            return bad(
                "key without prefix",
                "put 0s before it, as ipsec showhostkey --left prints it",
            );
        }
        _ => {
            let mut blob = vec![0; text.len()];
            match ipsec_types::data::decode(text, &mut blob) {
                Ok(length) if length > 64 => RsaKey::Key(text.to_string()),
                Ok(_) => {
                    return bad(
                        "key is too short",
                        "was a part lost in copying? ipsec showhostkey --left prints the whole line",
                    );
                }
                Err(error) => {
                    return bad(
                        format!("not a key: {error}"),
                        "copy the line that ipsec showhostkey --left prints",
                    );
                }
            }
        }
    })
}

/// An identity: checks the form, keeps the text.
pub fn id(text: &str) -> Result<String, BadValue> {
    match text.split_once('@') {
        _ if text == "%fromcert" => bad(
            "%fromcert asks for certificates, which are not supported yet",
            crate::keyword::RAW_KEYS,
        ),
        _ if text.starts_with('%') && !matches!(text, "%myid" | "%any") => bad(
            format!("unknown magic value \"{text}\""),
            "it is %myid or %any, or an identity",
        ),
        Some((_, "")) => bad(
            "identity has nothing after @",
            "write @name.example or user@name.example",
        ),
        Some(_) => Ok(text.to_string()),
        None if text.contains('=') => bad(
            "distinguished names are not supported",
            "use an address, @name.example or user@name.example",
        ),
        None if text.starts_with('%') => Ok(text.to_string()),
        None => match host(text)? {
            Host::Address(_) | Host::Any => Ok(text.to_string()),
            _ => bad(
                format!("\"{text}\" is a bare name"),
                format!("write @{text} for the name itself, or an address"),
            ),
        },
    }
}

/// Checks that a value suits its kind.
pub fn check(kind: Kind, text: &str) -> Result<(), BadValue> {
    match kind {
        Kind::Text | Kind::Section => Ok(()),
        Kind::YesNo => yes_no(text).map(drop),
        Kind::Duration => duration(text).map(drop),
        Kind::Integer => integer(text).map(drop),
        Kind::Percent => percent(text).map(drop),
        Kind::Tries => tries(text).map(drop),
        Kind::OneOf(words) => one_of(text, words),
        Kind::Host => host(text).map(drop),
        Kind::NextHop => next_hop(text).map(drop),
        Kind::Subnet => subnet(text).map(drop),
        Kind::Address => address(text).map(drop),
        Kind::Client => client(text).map(drop),
        Kind::Id => id(text).map(drop),
        Kind::RsaKey => rsa_key(text).map(drop),
        Kind::ProtoPort => proto_port(text).map(drop),
    }
}

/// What is behind a participant; `None` for a virtual one, which `vhost:` or `vnet:` begins.
pub fn client(text: &str) -> Result<Option<Subnet>, BadValue> {
    if is_virtual(text) {
        Ok(None)
    } else {
        subnet(text).map(Some)
    }
}

/// Whether a client is one that the peer chooses (`vhost:%priv,%no`).
pub fn is_virtual(text: &str) -> bool {
    text.starts_with("vhost:") || text.starts_with("vnet:")
}

/// A protocol and port.
pub fn proto_port(text: &str) -> Result<ProtoPort, BadValue> {
    text.parse().or_else(|error| {
        bad(
            format!("\"{text}\": {error}"),
            "write protocol/port such as 17/1701 or tcp/%any",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("1.5m", 90),
            ("8.0h", 28_800),
            ("0.1h", 360),
            ("1d", 86_400),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "h",
            "1.5s",
            "1.",
            ".5h",
            "8 h",
            "-1h",
            "1w",
            "99999999999d",
            "999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn segment_sizes() {
        assert_eq!(mss_clamp("no"), Ok(None));
        assert_eq!(mss_clamp("yes"), Ok(Some("mssclamp".into())));
        assert_eq!(mss_clamp("1360"), Ok(Some("mssclamp=1360".into())));
        for text in ["", "535", "70000", "-1", "1360; reboot", "%yes"] {
            assert!(mss_clamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("%any"), Ok(Host::Any));
        assert_eq!(host("0.0.0.0"), Ok(Host::Any));
        assert_eq!(host("east.example"), Ok(Host::Name("east.example".into())));
        assert!(matches!(host("192.0.2.1"), Ok(Host::Address(_))));
        assert!(host("192.0.2.300").unwrap_err().message.contains("\"300\""));
        assert!(host("192.0.2").unwrap_err().message.contains("3 numbers"));
        assert!(host("192.0.2.1/24").unwrap_err().help.contains("192.0.2.1"));
        assert!(
            host("%defaultrout").is_err() && host("a_b c").is_err() && host("1.2.3.4.5").is_err()
        );
    }

    #[test]
    fn subnets() {
        assert_eq!(subnet("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(
            subnet("10.0.1.1/24")
                .unwrap_err()
                .help
                .contains("10.0.1.0/24")
        );
        assert!(subnet("10.0.0.0/33").is_err());
        assert!(subnet("10.0.256.0/24").unwrap_err().message.contains("256"));
    }

    #[test]
    fn keys_and_ids() {
        assert_eq!(rsa_key("%dns"), Ok(RsaKey::DnsOnLoad));
        assert!(rsa_key("AQOF8tZ2m").unwrap_err().help.contains("0s"));
        assert!(rsa_key("0sAQOF8tZ2m").is_err());
        assert!(
            id("@east").is_ok()
                && id("joe@east").is_ok()
                && id("10.0.0.1").is_ok()
                && id("%myid").is_ok()
        );
        assert!(
            id("east.example")
                .unwrap_err()
                .help
                .contains("@east.example")
        );
        assert!(id("@").is_err());
    }

    #[test]
    fn words() {
        assert_eq!(percent("100%"), Ok(100));
        assert_eq!(tries("%forever"), Ok(0));
        assert!(
            one_of("strat", crate::keyword::AUTO)
                .unwrap_err()
                .help
                .starts_with("did you mean start")
        );
        assert!(
            integer("99999999999").is_err() && percent("10").is_err() && yes_no("true").is_err()
        );
    }
}
