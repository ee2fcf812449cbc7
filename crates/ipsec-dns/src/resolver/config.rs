//! Whom to ask, whom to trust, and how much of everything.

use super::lock;
use hickory_net::proto::dnssec::TrustAnchors;
use hickory_resolver::system_conf::parse_resolv_conf;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;

/// How often resolv.conf is looked at for changes.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A resolv.conf or trust anchor above this is some other file.
const MAX_FILE: u64 = 1 << 20;
/// More name servers than this are not asked.
const MAX_SERVERS: usize = 8;

/// The name servers.
#[derive(Clone, Debug)]
pub enum Servers {
    /// Those of this resolv.conf, read again when it changes.
    File(PathBuf),
    /// These.
    List(Vec<SocketAddr>),
}

/// Bounds. The defaults suit a gateway with thousands of destinations.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For one lookup in all.
    pub time: Duration,
    /// Until a question is sent again.
    pub patience: Duration,
    /// Lookups that run at a time; more wait.
    pub at_once: usize,
    /// Lookups that wait; more are refused.
    pub waiting: usize,
    /// Lookups in one zone (names that differ in the first label) that run at a time.
    pub of_a_zone: usize,
    /// Questions to name servers for one lookup, those of its validation included.
    pub questions: usize,
    /// Answers remembered.
    pub cached: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            patience: Duration::from_secs(2),
            at_once: 512,
            waiting: 8192,
            of_a_zone: 64,
            questions: 150,
            cached: 16384,
        }
    }
}

/// What [`super::Resolver::new`] takes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to ask.
    pub servers: Servers,
    /// A file of DNSKEY records in zone-file form; none: the root's keys, compiled in.
    pub anchor: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Servers::File("/etc/resolv.conf".into()),
            anchor: None,
            limits: Limits::default(),
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The trust anchor can't be read.
    #[error("cannot read trust anchor {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file has something else in it.
    #[error(
        "trust anchor {path} holds no keys: {why}; lines read `. IN DNSKEY 257 3 8 AwEA…', as in /usr/share/dns/root.key (DS records won't do)"
    )]
    Anchor {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
}

impl Config {
    pub(super) fn read_anchor(&self) -> Result<TrustAnchors, ConfigError> {
        let Some(file) = &self.anchor else {
            return Ok(TrustAnchors::default());
        };
        let path = file.display().to_string();
        let text = read_small(file).map_err(|error| ConfigError::Unreadable {
            path: path.clone(),
            error,
        })?;
        // unbound's own file says `IN DNSKEY` with comments of state behind, which zone files allow.
        let keys: String = text
            .lines()
            .map(|line| line.split(';').next().unwrap_or_default().trim_end())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        if keys.is_empty() {
            return Err(ConfigError::Anchor {
                path,
                why: "it is empty".into(),
            });
        }
        TrustAnchors::from_str(&keys).map_err(|error| ConfigError::Anchor {
            path,
            why: error.to_string(),
        })
    }
}

fn read_small(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The name servers as they are now.
pub(super) struct Source {
    servers: Servers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    list: Vec<SocketAddr>,
    fault: Option<String>,
}

impl Source {
    pub(super) fn new(servers: Servers) -> Self {
        let source = Self {
            servers,
            state: Mutex::default(),
        };
        source.refresh();
        source
    }

    /// Reads resolv.conf if it has changed; says whether the servers have.
    pub(super) fn refresh(&self) -> bool {
        let mut state = lock(&self.state);
        let file = match &self.servers {
            Servers::List(list) => {
                let changed = state.list != *list;
                state.list.clone_from(list);
                return changed;
            }
            Servers::File(file) => file,
        };
        let now = Instant::now();
        if state
            .looked
            .is_some_and(|at| now.duration_since(at) < LOOK_AGAIN)
        {
            return false;
        }
        state.looked = Some(now);
        let modified = std::fs::metadata(file).and_then(|m| m.modified()).ok();
        if modified.is_some() && modified == state.modified {
            return false;
        }
        state.modified = modified;
        let list = match read_small(file) {
            Ok(text) => parse_resolv_conf(text)
                .map(|(config, _)| config.name_servers().iter().map(|s| s.ip).collect())
                .unwrap_or_default(),
            Err(error) => {
                state.fault = Some(format!("{}: {error}", file.display()));
                Vec::new()
            }
        };
        let mut list: Vec<SocketAddr> = list
            .into_iter()
            .map(|ip: IpAddr| SocketAddr::new(ip, 53))
            .collect();
        list.truncate(MAX_SERVERS);
        if !list.is_empty() {
            state.fault = None;
        } else if state.fault.is_none() {
            state.fault = Some(format!("{} has no nameserver line", file.display()));
        }
        let changed = state.list != list;
        state.list = list;
        changed
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.refresh();
        lock(&self.state).list.iter().map(SocketAddr::ip).collect()
    }

    pub(super) fn servers(&self) -> Result<Vec<SocketAddr>, String> {
        let state = lock(&self.state);
        if state.list.is_empty() {
            return Err(state
                .fault
                .clone()
                .unwrap_or_else(|| "the list of them is empty".into()));
        }
        Ok(state.list.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(text: &str) -> Result<TrustAnchors, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config {
            anchor: Some(file.path().into()),
            ..Config::default()
        }
        .read_anchor()
    }

    #[test]
    fn trust_anchors() {
        let key = ". 172800 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ== ;{id = 1 (ksk)}\n";
        assert_eq!(anchor(&format!("; comment\n{key}")).unwrap().len(), 1);
        for wrong in ["", "; nothing\n", ". IN DS 20326 8 2 E06D44B8\n", "hello\n"] {
            let error = anchor(wrong).err().unwrap().to_string();
            assert!(error.contains("DNSKEY 257 3 8"), "{wrong}: {error}");
        }
        let missing = Config {
            anchor: Some("/nonexistent/root.key".into()),
            ..Config::default()
        };
        let error = missing.read_anchor().err().unwrap().to_string();
        assert!(error.contains("/nonexistent/root.key"), "{error}");
    }

    #[test]
    fn resolv_conf_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "search example.com\n").unwrap();
        let source = Source::new(Servers::File(file.path().into()));
        assert!(source.servers().unwrap_err().contains("no nameserver line"));
        std::fs::write(
            file.path(),
            "nameserver 192.0.2.53\nnameserver 2001:db8::53\n",
        )
        .unwrap();
        lock(&source.state).looked = None;
        lock(&source.state).modified = None;
        assert!(source.refresh());
        assert_eq!(source.addresses().len(), 2);
        assert_eq!(source.servers().unwrap()[0].to_string(), "192.0.2.53:53");
        let missing = Source::new(Servers::File("/nonexistent".into()));
        assert!(missing.servers().unwrap_err().contains("/nonexistent"));
    }
}
