//! The zones as text: which there are, who is signed, and how a zone file is made of records.

use std::collections::{BTreeMap, BTreeSet};

/// A zone of the small internet.
pub(super) struct Zone {
    pub(super) name: &'static str,
    pub(super) signed: bool,
    /// Absence is proved by NSEC3 rather than NSEC.
    pub(super) hashed: bool,
}

const fn zone(name: &'static str, signed: bool, hashed: bool) -> Zone {
    Zone {
        name,
        signed,
        hashed,
    }
}

/// Parents before children.
pub(super) const ZONES: [Zone; 12] = [
    zone(".", true, false),
    zone("in-addr.arpa.", true, false),
    zone("ip6.arpa.", true, true),
    zone("example.", true, true),
    zone("unsigned.example.", false, false),
    zone("example.com.", true, false),
    zone("2.1.192.in-addr.arpa.", true, false),
    zone("1.0.192.in-addr.arpa.", true, true),
    zone("2.0.192.in-addr.arpa.", true, false),
    zone("3.0.192.in-addr.arpa.", true, false),
    zone("4.0.192.in-addr.arpa.", false, false),
    zone("8.b.d.0.1.0.0.2.ip6.arpa.", true, true),
];

/// Zones whose server is the liar.
const LIES: [&str; 2] = ["9.0.192.in-addr.arpa.", "liar.example."];

/// How long records live, in seconds.
const TTL: u32 = 10;

pub(super) struct Zones {
    records: BTreeMap<&'static str, Vec<String>>,
    damaged: BTreeSet<(String, String)>,
    dirty: BTreeSet<&'static str>,
    /// Zones that others serve: by which name server, and with which DS records above.
    handed: BTreeMap<&'static str, (String, String)>,
    serial: u32,
}

impl Zones {
    pub(super) fn new() -> Zones {
        Zones {
            records: BTreeMap::new(),
            damaged: BTreeSet::new(),
            dirty: ZONES.iter().map(|z| z.name).collect(),
            handed: BTreeMap::new(),
            serial: 0,
        }
    }

    fn zone_of(owner: &str) -> &'static str {
        let inside = |zone: &&Zone| {
            owner == zone.name || zone.name == "." || owner.ends_with(&format!(".{}", zone.name))
        };
        ZONES
            .iter()
            .filter(inside)
            .max_by_key(|zone| zone.name.len())
            .map(|zone| zone.name)
            .expect("the root is above all")
    }

    pub(super) fn add(&mut self, line: &str) {
        let (owner, _) = parts(line);
        assert!(owner.ends_with('.'), "owner without a final dot: {line}");
        let zone = Zones::zone_of(&owner);
        self.records.entry(zone).or_default().push(line.to_owned());
        self.dirty.insert(zone);
    }

    pub(super) fn remove(&mut self, owner: &str, kind: &str) {
        let zone = Zones::zone_of(owner);
        let of_it = (owner.to_ascii_lowercase(), kind.to_owned());
        self.records
            .entry(zone)
            .or_default()
            .retain(|line| parts(line) != of_it);
        self.dirty.insert(zone);
    }

    pub(super) fn damage(&mut self, owner: &str, kind: &str, wrong: bool) {
        let of_it = (owner.to_ascii_lowercase(), kind.to_owned());
        match wrong {
            true => self.damaged.insert(of_it),
            false => self.damaged.remove(&of_it),
        };
        self.dirty.insert(Zones::zone_of(owner));
    }

    /// Someone else serves a zone from now on.
    pub(super) fn hand_over(&mut self, name: &str, server: &str, ds: &str) {
        let zone = Zones::zone_of(name);
        assert_eq!(zone, name, "no zone of the small internet's");
        self.handed.insert(zone, (server.to_owned(), ds.to_owned()));
        self.dirty.extend(parent_of(zone));
    }

    /// The zones that are served here.
    pub(super) fn ours(&self) -> impl Iterator<Item = &'static Zone> {
        ZONES
            .iter()
            .filter(|zone| !self.handed.contains_key(zone.name))
    }

    /// The zones that changed, each with its file's text, and the serial that all of them have.
    pub(super) fn changed(&mut self) -> (u32, Vec<(&'static Zone, String)>) {
        self.serial += 1;
        let changed = self
            .ours()
            .filter(|zone| self.dirty.contains(zone.name))
            .map(|zone| (zone, self.text(zone)))
            .collect();
        self.dirty.clear();
        (self.serial, changed)
    }

    fn text(&self, zone: &Zone) -> String {
        let serial = self.serial;
        let mut text = format!(
            "$TTL {TTL}\n{name} IN SOA ns.example. hostmaster.example. {serial} 3600 600 86400 5\n{name} IN NS ns.example.\n",
            name = zone.name
        );
        if [".", "example."].contains(&zone.name) {
            text += "ns.example. IN A 192.1.2.53\n";
        }
        for child in ZONES
            .iter()
            .filter(|c| parent_of(c.name) == Some(zone.name))
        {
            if let Some((server, ds)) = self.handed.get(child.name) {
                text += &format!("{} IN NS {server}\n{ds}\n", child.name);
                continue;
            }
            text += &format!("{} IN NS ns.example.\n", child.name);
            if child.signed {
                text += &format!("$INCLUDE {}\n", ds_file(child.name));
            }
        }
        for lie in LIES.iter().filter(|l| parent_of(l) == Some(zone.name)) {
            text += &format!("{lie} IN NS ns.liar.example.\n");
        }
        if zone.name == "example." {
            text += "ns.liar.example. IN A 192.1.2.55\n";
        }
        if zone.signed {
            text += &format!("$INCLUDE {}\n", key_file(zone.name));
        }
        for line in self.records.get(zone.name).into_iter().flatten() {
            text += line;
            text.push('\n');
        }
        text
    }

    /// Breaks the signatures that are to be broken, in a signed zone with a record a line.
    pub(super) fn spoil(&self, zone: &str, signed: &str) -> Option<String> {
        let wanted = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [owner, _, _, "RRSIG", kind, ..] = words[..] else {
                return false;
            };
            self.damaged
                .contains(&(owner.to_ascii_lowercase(), kind.to_owned()))
        };
        if !self
            .damaged
            .iter()
            .any(|(owner, _)| Zones::zone_of(owner) == zone)
        {
            return None;
        }
        let spoilt = signed.lines().map(|line| match wanted(line) {
            true => break_last_word(line) + "\n",
            false => format!("{line}\n"),
        });
        Some(spoilt.collect())
    }
}

/// Changes a digit of base 64 that counts.
fn break_last_word(line: &str) -> String {
    let at = line
        .trim_end()
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + 1);
    let (head, tail) = line.split_at(at);
    let first = if tail.starts_with('A') { 'B' } else { 'A' };
    format!("{head}{first}{}", &tail[1..])
}

/// Owner and kind of a line.
fn parts(line: &str) -> (String, String) {
    let mut words = line.split_whitespace();
    let owner = words.next().unwrap_or_default().to_ascii_lowercase();
    let kind = words.find(|word| *word != "IN" && word.parse::<u32>().is_err());
    (owner, kind.unwrap_or_default().to_owned())
}

fn parent_of(name: &str) -> Option<&'static str> {
    if name == "." {
        return None;
    }
    let above = name.split_once('.').map_or("", |(_, above)| above);
    Some(Zones::zone_of(if above.is_empty() { "." } else { above }))
}

/// File names without the dots that would hide or confuse them.
pub(super) fn file(zone: &str) -> String {
    match zone {
        "." => "root".into(),
        name => name.trim_end_matches('.').replace('/', "_"),
    }
}

pub(super) fn key_file(zone: &str) -> String {
    format!("{}.key", file(zone))
}

pub(super) fn ds_file(zone: &str) -> String {
    format!("{}.ds", file(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_find_their_zones() {
        assert_eq!(
            Zones::zone_of("45.2.1.192.in-addr.arpa."),
            "2.1.192.in-addr.arpa."
        );
        assert_eq!(Zones::zone_of("com."), ".");
        assert_eq!(parent_of("2.1.192.in-addr.arpa."), Some("in-addr.arpa."));
        assert_eq!(parent_of("example."), Some("."));
        assert_eq!(
            parts("a.example. 60 IN TXT \"x y\""),
            ("a.example.".into(), "TXT".into())
        );
    }

    #[test]
    fn a_spoilt_signature_is_another_one() {
        let mut zones = Zones::new();
        zones.damage("a.example.", "TXT", true);
        let line =
            "a.example.\t10 IN RRSIG TXT 13 2 10 20260101000000 20250101000000 1 example. Abc=";
        let spoilt = zones.spoil("example.", line).unwrap();
        assert!(spoilt.ends_with("example. Bbc=\n"), "{spoilt}");
        assert_eq!(zones.spoil("2.0.192.in-addr.arpa.", line), None);
    }
}
