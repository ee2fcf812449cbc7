//! Clients of road warriors that are not known beforehand: `rightsubnet=vhost:%priv,%no` and `virtual_private=`, as
//! FreeS/WAN with the NAT traversal patch and Openswan write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipsec_types::Subnet;

/// One word of a list of nets: `%v4:10.0.0.0/8`, or `%v4:!10.1.0.0/16` for one that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    /// The net.
    pub subnet: Subnet,
    /// It is left out of the others.
    pub excluded: bool,
}

/// Nets with others left out of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nets(pub Vec<Net>);

impl Nets {
    /// Whether `subnet` lies in one of the nets and touches none that is left out.
    pub fn allow(&self, subnet: &Subnet) -> bool {
        let of = |excluded| self.0.iter().filter(move |net| net.excluded == excluded);
        of(false).any(|net| net.subnet.contains_subnet(subnet))
            && !of(true).any(|net| net.subnet.overlaps(subnet))
    }

    /// Whether nothing is in them.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|net| net.excluded)
    }
}

/// What may be behind a peer (`vhost:…`, `vnet:…`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Virtual {
    /// `vnet:`, a subnet may be; else a single host.
    pub net: bool,
    /// `%no`: nothing, the peer speaks for itself, at the address that we see it at.
    pub none: bool,
    /// `%priv`: whatever `virtual_private=` allows.
    pub private: bool,
    /// `%all`: anything.
    pub all: bool,
    /// Nets named here.
    pub nets: Nets,
}

impl Virtual {
    /// Whether a peer at `peer` may have `client` behind it; `private` is what `virtual_private=` says.
    pub fn accepts(&self, client: &Subnet, peer: IpAddr, private: &Nets) -> bool {
        if *client == Subnet::host(peer) {
            return self.none || self.all;
        }
        (self.net || client.is_host())
            && (self.all || (self.private && private.allow(client)) || self.nets.allow(client))
    }
}

/// Why a text is no list of virtual nets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtualError {
    /// It begins otherwise.
    #[error("\"{0}\" begins with neither vhost: nor vnet:")]
    Prefix(String),
    /// A word that means nothing.
    #[error(
        "\"{0}\" is none of %no, %priv, %all, %v4:NET/BITS, %v4:!NET/BITS, %v6:NET/BITS, %v6:!NET/BITS"
    )]
    Word(String),
    /// A way that is not built.
    #[error("\"{0}\" is not supported: the peer's address comes from %no, %priv, %all or a net")]
    Method(String),
    /// A net that is none.
    #[error("\"{word}\": {error}")]
    Net {
        /// The word.
        word: String,
        /// What is wrong with the net.
        error: String,
    },
    /// No words.
    #[error("the list is empty")]
    Empty,
}

impl FromStr for Net {
    type Err = VirtualError;

    fn from_str(word: &str) -> Result<Self, VirtualError> {
        let families = [
            ("%v4:", false),
            ("%4:", false),
            ("%v6:", true),
            ("%6:", true),
        ];
        let found = families
            .iter()
            .find_map(|(prefix, v6)| Some((word.strip_prefix(prefix)?, *v6)));
        let (rest, v6) = found.ok_or_else(|| VirtualError::Word(word.to_owned()))?;
        let (net, excluded) = match rest.strip_prefix('!') {
            Some(net) => (net, true),
            None => (rest, false),
        };
        let bad = |error: String| VirtualError::Net {
            word: word.to_owned(),
            error,
        };
        let subnet: Subnet = net.parse().map_err(|e| bad(format!("{e}")))?;
        if subnet.addr().is_ipv6() != v6 {
            return Err(bad("the net is of the other family".to_owned()));
        }
        Ok(Self { subnet, excluded })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.subnet.addr().is_ipv6() { 6 } else { 4 };
        let not = if self.excluded { "!" } else { "" };
        write!(f, "%v{family}:{not}{}", self.subnet)
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

impl FromStr for Nets {
    type Err = VirtualError;

    fn from_str(list: &str) -> Result<Self, VirtualError> {
        words(list)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Nets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Net::to_string).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Virtual {
    type Err = VirtualError;

    fn from_str(text: &str) -> Result<Self, VirtualError> {
        let (net, list) = match (text.strip_prefix("vhost:"), text.strip_prefix("vnet:")) {
            (Some(list), _) => (false, list),
            (_, Some(list)) => (true, list),
            _ => return Err(VirtualError::Prefix(text.to_owned())),
        };
        let mut found = Self {
            net,
            ..Self::default()
        };
        for word in words(list) {
            match word {
                "%no" => found.none = true,
                "%priv" => found.private = true,
                "%all" => found.all = true,
                "%dhcp" | "%ike" | "%oppo" => return Err(VirtualError::Method(word.to_owned())),
                net => found.nets.0.push(net.parse()?),
            }
        }
        if words(list).next().is_none() {
            return Err(VirtualError::Empty);
        }
        Ok(found)
    }
}

impl fmt::Display for Virtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.net { "vnet:" } else { "vhost:" })?;
        let named = [
            (self.none, "%no"),
            (self.private, "%priv"),
            (self.all, "%all"),
        ];
        let mut words: Vec<String> = named
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| (*word).to_owned())
            .collect();
        words.extend(self.nets.0.iter().map(Net::to_string));
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn as_people_write_them() {
        for text in [
            "vhost:%no,%priv",
            "vnet:%priv",
            "vhost:%all",
            "vhost:%v4:10.0.0.0/8,%v4:!10.1.0.0/16",
        ] {
            assert_eq!(text.parse::<Virtual>().unwrap().to_string(), text);
        }
        assert_eq!(
            "vhost: %priv , %no".parse::<Virtual>().unwrap().to_string(),
            "vhost:%no,%priv"
        );
        for (bad, why) in [
            ("10.0.0.0/8", "neither vhost: nor vnet:"),
            ("vhost:", "empty"),
            ("vhost:%dhcp", "not supported"),
            ("vhost:priv", "is none of"),
            ("vhost:%v4:10.0.0.0/33", "prefix length"),
            ("vhost:%v6:10.0.0.0/8", "other family"),
        ] {
            let error = bad.parse::<Virtual>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn who_may_be_behind_whom() {
        let private: Nets = "%v4:10.0.0.0/8,%v4:192.168.0.0/16,%v4:!192.168.7.0/24"
            .parse()
            .unwrap();
        let peer: IpAddr = "203.0.113.5".parse().unwrap();
        let may = |rule: &str, client: &str| {
            let rule: Virtual = rule.parse().unwrap();
            rule.accepts(&net(client), peer, &private)
        };
        assert!(may("vhost:%priv", "10.1.2.3/32"));
        assert!(!may("vhost:%priv", "10.1.2.0/24"));
        assert!(may("vnet:%priv", "10.1.2.0/24"));
        assert!(!may("vhost:%priv", "192.168.7.9/32"));
        assert!(!may("vnet:%priv", "192.168.0.0/16"));
        assert!(!may("vhost:%priv", "203.0.113.5/32"));
        assert!(may("vhost:%no,%priv", "203.0.113.5/32"));
        assert!(!may("vhost:%no", "10.1.2.3/32"));
        assert!(may("vhost:%all", "198.51.100.1/32"));
        assert!(may("vhost:%v4:172.16.0.0/12", "172.20.0.1/32"));
        assert!(!"vhost:%priv".parse::<Virtual>().unwrap().accepts(
            &net("10.1.2.3/32"),
            peer,
            &Nets::default()
        ));
    }
}
