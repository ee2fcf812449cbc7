//! The one table of keywords: which section has them, what they hold, their defaults, and what became of old ones.

mod table;

pub use table::{AUTHBY, AUTO, DPD_ACTION, ESN, FAILURE_SHUNT, FRAGMENTATION, KEYWORDS, TYPE};

/// What is right where a connection asks for certificates.
pub(crate) const RAW_KEYS: &str = "use raw keys: leftrsasigkey= and rightrsasigkey=";

/// The kinds of section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// `config setup`.
    Config,
    /// `conn NAME`.
    Conn,
}

/// What a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything printable.
    Text,
    /// `yes` or `no`.
    YesNo,
    /// `30s`, `1.5m`, `8h`, `1d`, or seconds.
    Duration,
    /// Digits.
    Integer,
    /// `100%`.
    Percent,
    /// Digits or `%forever`.
    Tries,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A gateway: address, host name, `%defaultroute`, `%any`, `%opportunistic`, `%group`, `%opportunisticgroup`.
    Host,
    /// Address, `%direct`, `%defaultroute`.
    NextHop,
    /// A numeric address.
    Address,
    /// `10.0.0.0/8`.
    Subnet,
    /// The same, or `vhost:%priv,%no`.
    Client,
    /// Address, `@fqdn`, `user@fqdn`, `%myid`, `%any`.
    Id,
    /// `0s…`, `0x…`, `%dns`, `%dnsondemand`, `%dnsonload`, `%none`.
    RsaKey,
    /// `17/1701`, `tcp/%any`.
    ProtoPort,
    /// The name of another section of the same kind.
    Section,
}

/// Whether a keyword still does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In use.
    Active,
    /// Read by `ipsec manual` only.
    Manual,
    /// Accepted so that old files load; a warning tells why it does nothing.
    Obsolete(&'static str),
    /// Asks for trust that cannot be given yet: a section that holds it is an error, which tells what would be right.
    Unsupported(&'static str),
}

/// One keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// Its name; the part after `left` or `right` if it is `sided`.
    pub name: &'static str,
    /// The section it belongs to.
    pub section: SectionKind,
    /// Whether it is written with `left` or `right` before it.
    pub sided: bool,
    /// What it holds.
    pub kind: Kind,
    /// What it is when it is not given; empty for none.
    pub default: &'static str,
    /// Whether it does something.
    pub status: Status,
    /// What it is for.
    pub doc: &'static str,
}

/// Finds a keyword by the name that stands in a file. Sided ones match with `left` or `right` before them.
pub fn find(section: SectionKind, name: &str) -> Option<&'static Keyword> {
    let bare = name
        .strip_prefix("left")
        .or_else(|| name.strip_prefix("right"));
    KEYWORDS.iter().find(|k| {
        k.section == section
            && if k.sided {
                bare == Some(k.name)
            } else {
                k.name == name
            }
    })
}

/// All names that a section of a kind may hold.
pub fn names(section: SectionKind) -> Vec<String> {
    let mut all = Vec::new();
    for keyword in KEYWORDS
        .iter()
        .filter(|k| k.section == section && matches!(k.status, Status::Active | Status::Manual))
    {
        if keyword.sided {
            all.extend(["left", "right"].map(|side| format!("{side}{}", keyword.name)));
        } else {
            all.push(keyword.name.to_string());
        }
    }
    all
}

/// Whether a name is reserved for users: `x-…`, `x_…`, in either case.
pub fn is_private(name: &str) -> bool {
    let mut bytes = name.bytes();
    matches!(
        (bytes.next(), bytes.next()),
        (Some(b'x' | b'X'), Some(b'-' | b'_'))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_symmetrical() {
        for name in [
            "left",
            "right",
            "leftsubnet",
            "rightsubnet",
            "rightrsasigkey2",
        ] {
            assert!(
                find(SectionKind::Conn, name).is_some_and(|k| k.sided),
                "{name}"
            );
        }
        assert!(find(SectionKind::Conn, "subnet").is_none());
        assert!(find(SectionKind::Config, "left").is_none());
        assert!(find(SectionKind::Conn, "leftpfs").is_none());
    }

    #[test]
    fn every_keyword_is_found_by_its_own_name() {
        for k in KEYWORDS {
            let name = if k.sided {
                format!("left{}", k.name)
            } else {
                k.name.to_string()
            };
            assert_eq!(find(k.section, &name), Some(k));
        }
    }
}
