//! `ipsec.secrets`: what entries there are and which of them serves two participants. See ipsec.secrets(5).
//!
//! Reading the file is in `read` and `token`; writing an entry is in `write`.

mod read;
mod token;
mod write;

pub use write::secret_entry;

use crate::{Id, PrivateKey, PublicKey};
use core::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Where something stands: file and line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path as given or as an include directive made it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something wrong in a file of secrets. The entry concerned is left out, all others count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what would be right. Never holds a secret.
    pub message: String,
    /// Whether the file is only doubtful (permissions, say) and nothing was left out.
    pub warning: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        write!(f, "{}: {kind}{}", self.place, self.message)
    }
}

/// A preshared key; wiped when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct Psk(Zeroizing<Vec<u8>>);

impl Psk {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Psk {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(hidden)")
    }
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub enum Secret {
    /// `: PSK "…"`.
    Psk(Psk),
    /// `: RSA { … }`.
    Rsa(Box<PrivateKey>),
}

/// One entry: its indices and its secret.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Empty for an entry that serves everyone.
    pub indices: Vec<Id>,
    /// The secret.
    pub secret: Secret,
    /// Where the entry starts.
    pub place: Place,
}

/// The secret found for two participants.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// The secret itself.
    pub secret: &'a T,
    /// Where its entry starts.
    pub place: &'a Place,
    /// Another entry that fits equally well and holds another secret.
    pub rival: Option<&'a Place>,
}

/// All entries of a file of secrets and its includes, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    entries: Vec<Entry>,
}

/// How well an entry fits, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Anyone,
    MeAmongOthers,
    MeAlone,
    MeAndAny,
    Both,
}

impl Secrets {
    /// The entries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The preshared key for `me` and `peer`: most specific entry first (both named; me and `anyone`; me alone; no index
    /// at all). `anyone` is `%any` or `%any6` where the peer is a road warrior: it stands for every such peer, whether its
    /// identity is an address or a name (FreeS/WAN's rule). `None` for a peer whose address is configured.
    pub fn psk(&self, me: &Id, peer: &Id, anyone: Option<&Id>) -> Option<Found<'_, Psk>> {
        let keys = self.entries.iter().filter_map(|e| match &e.secret {
            Secret::Psk(psk) => Some((e, psk)),
            Secret::Rsa(_) => None,
        });
        best(keys, |e| fit(e, me, peer, anyone, false), |a, b| a == b)
    }

    /// The RSA private key with which `me` signs towards `peer`; an entry of several indices needs to name only `me`.
    pub fn rsa(&self, me: &Id, peer: &Id) -> Option<Found<'_, PrivateKey>> {
        let anyone = match peer {
            Id::Address(addr) if addr.is_ipv6() => Id::any6(),
            _ => Id::any4(),
        };
        best(
            self.rsa_keys(),
            |e| fit(e, me, peer, Some(&anyone), true),
            |a, b| a.public() == b.public(),
        )
    }

    /// The private key that belongs to a public one.
    pub fn rsa_by_public_key(&self, public: &PublicKey) -> Option<&PrivateKey> {
        self.rsa_keys()
            .map(|(_, key)| key)
            .find(|key| key.public() == public)
    }

    fn rsa_keys(&self) -> impl Iterator<Item = (&Entry, &PrivateKey)> {
        self.entries.iter().filter_map(|e| match &e.secret {
            Secret::Rsa(key) => Some((e, &**key)),
            Secret::Psk(_) => None,
        })
    }
}

fn fit(entry: &Entry, me: &Id, peer: &Id, anyone: Option<&Id>, asymmetric: bool) -> Option<Fit> {
    if entry.indices.is_empty() {
        return Some(Fit::Anyone);
    }
    let names = |id: &Id| entry.indices.iter().any(|i| i.same(id));
    if !names(me) {
        return None;
    }
    if entry.indices.len() == 1 {
        return Some(if me.same(peer) {
            Fit::Both
        } else {
            Fit::MeAlone
        });
    }
    if names(peer) && !peer.is_any() {
        return Some(Fit::Both);
    }
    if anyone.is_some_and(names) {
        return Some(Fit::MeAndAny);
    }
    asymmetric.then_some(Fit::MeAmongOthers)
}

fn best<'a, T>(
    candidates: impl Iterator<Item = (&'a Entry, &'a T)>,
    fit: impl Fn(&Entry) -> Option<Fit>,
    same: impl Fn(&T, &T) -> bool,
) -> Option<Found<'a, T>> {
    let mut best: Option<(Fit, Found<'a, T>)> = None;
    for (entry, secret) in candidates {
        let Some(fit) = fit(entry) else { continue };
        match &mut best {
            Some((so_far, _)) if fit < *so_far => {}
            Some((so_far, found)) if fit == *so_far => {
                if found.rival.is_none() && !same(found.secret, secret) {
                    found.rival = Some(&entry.place);
                }
            }
            _ => {
                best = Some((
                    fit,
                    Found {
                        secret,
                        place: &entry.place,
                        rival: None,
                    },
                ))
            }
        }
    }
    best.map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Secrets {
        let (secrets, problems) = Secrets::parse("t", text);
        assert_eq!(problems, []);
        secrets
    }

    fn psk(text: &str, me: &str, peer: &str, road_warrior: bool) -> Option<String> {
        let secrets = secrets(text);
        let id = |t| Id::parse_literal(t).unwrap();
        let anyone = match id(me) {
            Id::Address(addr) if addr.is_ipv6() => Id::any6(),
            _ => Id::any4(),
        };
        let found = secrets.psk(&id(me), &id(peer), road_warrior.then_some(&anyone))?;
        Some(String::from_utf8_lossy(found.secret.as_bytes()).into_owned())
    }

    const FILE: &str = "\
: PSK \"anyone\"
10.0.0.1: PSK \"mine\"
10.0.0.1 10.0.0.2: PSK \"both\"
10.0.0.1 %any: PSK \"roads\"
@east @west @north: PSK \"three\"
";

    #[test]
    fn the_most_specific_entry_wins() {
        assert_eq!(psk(FILE, "10.0.0.1", "10.0.0.2", false).unwrap(), "both");
        assert_eq!(psk(FILE, "10.0.0.1", "10.0.0.9", false).unwrap(), "mine");
        assert_eq!(psk(FILE, "10.0.0.1", "10.0.0.9", true).unwrap(), "roads");
        assert_eq!(psk(FILE, "10.0.0.1", "%any", true).unwrap(), "roads");
        assert_eq!(psk(FILE, "10.0.0.7", "10.0.0.9", false).unwrap(), "anyone");
        assert_eq!(psk(FILE, "@WEST", "@north.", false).unwrap(), "three");
        assert_eq!(psk(FILE, "@west", "@south", false).unwrap(), "anyone");
    }

    /// The rules of ipsec.secrets(5) for road warriors, one row each: entries, us, the peer's identity, the secret.
    #[test]
    fn g13_any_stands_for_road_warriors_of_every_identity() {
        let both = "@east @rw: PSK \"its own\"\n@east %any: PSK \"group\"\n";
        let address = "192.1.2.45 %any: PSK \"group\"\n";
        let v6 = "2001:db8::1 %any6: PSK \"group\"\n2001:db8::1 %any: PSK \"not this\"\n";
        let alone = "@east: PSK \"alone\"\n: PSK \"anyone\"\n@east %any: PSK \"group\"\n";
        let rows = [
            // An address, a name, a user, a key id, and a peer that has not named itself.
            (address, "192.1.2.45", "192.0.2.7", Some("group")),
            (address, "192.1.2.45", "@name", Some("group")),
            (address, "192.1.2.45", "joe@example.com", Some("group")),
            (address, "192.1.2.45", "@#deadbeef", Some("group")),
            (address, "192.1.2.45", "%any", Some("group")),
            (v6, "2001:db8::1", "@name", Some("group")),
            // What names the peer goes before what names anyone, in whatever order they stand.
            (both, "@east", "@rw", Some("its own")),
            (both, "@east", "@RW.", Some("its own")),
            (both, "@east", "@other", Some("group")),
            (both, "@east", "%any", Some("group")),
            // Anyone goes before us alone, and that before no index.
            (alone, "@east", "@rw", Some("group")),
            (alone, "@north", "@rw", Some("anyone")),
            // Another of our own identities.
            (address, "@east", "@name", None),
            ("%any: PSK \"x\"\n", "@east", "@name", None),
        ];
        for (text, me, peer, expected) in rows {
            let found = psk(text, me, peer, true);
            assert_eq!(found.as_deref(), expected, "{me} {peer} in\n{text}");
        }
        // A peer whose address is configured is no road warrior.
        assert_eq!(psk(address, "192.1.2.45", "@name", false), None);
        assert_eq!(psk(both, "@east", "@rw", false).unwrap(), "its own");
        assert_eq!(psk(alone, "@east", "@rw", false).unwrap(), "alone");
    }

    #[test]
    fn nothing_fits() {
        assert_eq!(psk("@a @b: PSK \"x\"\n", "@a", "@c", false), None);
        assert_eq!(psk("@a: PSK \"x\"\n", "@c", "@a", false), None);
    }

    #[test]
    fn two_equal_fits_with_other_secrets_are_told() {
        let secrets = secrets("@a @b: PSK \"x\"\n@b @a: PSK \"y\"\n@a @b: PSK \"x\"\n");
        let id = |t| Id::parse_literal(t).unwrap();
        let found = secrets.psk(&id("@a"), &id("@b"), None).unwrap();
        assert_eq!((found.secret.as_bytes(), found.place.line), (&b"x"[..], 1));
        assert_eq!(found.rival.unwrap().line, 2);
    }

    #[test]
    fn rsa_needs_only_me() {
        let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
        let text = secret_entry(&["@a", "@b"], &key, "host", "today");
        let (secrets, problems) = Secrets::parse("t", &text);
        assert!(problems.iter().all(|problem| problem.warning));
        let id = |t| Id::parse_literal(t).unwrap();
        assert_eq!(
            secrets.rsa(&id("@b"), &id("@z")).unwrap().secret.public(),
            key.public()
        );
        assert!(secrets.rsa(&id("@z"), &id("@b")).is_none());
        assert!(secrets.rsa_by_public_key(key.public()).is_some());
    }
}
