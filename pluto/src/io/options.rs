//! Pluto's command line and the places that follow from it and from the environment.

use std::{env, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser};
use whack::{DebugClass, Nets};

use crate::engine::{Config, NatConfig, connection::NAT_PORT};

/// The IKE daemon of Linux FreeS/WAN. Normally started by: ipsec setup start
#[derive(Debug, Parser)]
#[command(name = "pluto", version, disable_version_flag = true)]
struct Arguments {
    /// Print the version.
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Stay in the foreground.
    #[arg(long)]
    nofork: bool,
    /// Log to standard error instead of syslog.
    #[arg(long)]
    stderrlog: bool,
    /// Log to this file instead of syslog.
    #[arg(long, value_name = "FILE", conflicts_with = "stderrlog")]
    logfile: Option<PathBuf>,
    /// Negotiate only: do without KLIPS.
    #[arg(long)]
    noklips: bool,
    /// An ID is in one place at a time: a new connection of it replaces the old.
    #[arg(long)]
    uniqueids: bool,
    /// Use this network interface only; may be repeated.
    #[arg(long, value_name = "IFNAME")]
    interface: Vec<String>,
    /// UDP port for IKE.
    #[arg(long, value_name = "PORT", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    ikeport: u16,
    /// Get through NAT (RFC 3947 and 3948).
    #[arg(long = "nat_traversal")]
    nat_traversal: bool,
    /// UDP port for IKE and ESP through NAT.
    #[arg(long, value_name = "PORT", default_value_t = NAT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    natikeport: u16,
    /// Seconds between NAT keep-alives; 0 sends none.
    #[arg(long = "keep_alive", value_name = "SECONDS", default_value_t = 20)]
    keep_alive: u32,
    /// Send NAT keep-alives even where the NAT is in front of the peer.
    #[arg(long = "force_keepalive")]
    force_keepalive: bool,
    /// Do not go over to the port for NAT traversal, and hence offer none.
    #[arg(long = "disable_port_floating")]
    disable_port_floating: bool,
    /// Addresses that peers may have behind NAT, such as %v4:10.0.0.0/8,%v4:!10.1.0.0/16.
    #[arg(long = "virtual_private", value_name = "NETS", default_value = "")]
    virtual_private: Nets,
    /// File of DNSKEY records that DNSSEC begins from [default: the keys of the root].
    #[arg(long = "dnssec-rootkey-file", value_name = "FILE")]
    dnssec_rootkey_file: Option<PathBuf>,
    /// Path of the control socket and lock file without .ctl and .pid [default: RUNDIR/pluto].
    #[arg(long, value_name = "PATH")]
    ctlbase: Option<PathBuf>,
    /// Directory of sockets and pid files [default: $IPSEC_RUNDIR, or /run/pluto].
    #[arg(long, value_name = "DIR")]
    rundir: Option<PathBuf>,
    /// File of secrets [default: $IPSEC_CONFS/ipsec.secrets, or /etc/ipsec.secrets].
    #[arg(long, value_name = "FILE")]
    secretsfile: Option<PathBuf>,
    /// Write all keys to this file, for Wireshark: whoever reads it can decrypt what was sent.
    #[arg(long, value_name = "FILE")]
    keylogfile: Option<PathBuf>,
    /// Log everything that the following options name, except private information.
    #[arg(long)]
    debug_all: bool,
    /// Log nothing extra.
    #[arg(long)]
    debug_none: bool,
    #[command(flatten)]
    debug: DebugArguments,
}

/// One flag for each class of log lines.
#[derive(Debug, clap::Args)]
struct DebugArguments {
    /// Raw bytes of packets.
    #[arg(long = "debug-raw")]
    raw: bool,
    /// Encryption and decryption.
    #[arg(long = "debug-crypt")]
    crypt: bool,
    /// Messages taken apart.
    #[arg(long = "debug-parsing")]
    parsing: bool,
    /// Messages put together.
    #[arg(long = "debug-emitting")]
    emitting: bool,
    /// Decisions.
    #[arg(long = "debug-control")]
    control: bool,
    /// Lives of SAs.
    #[arg(long = "debug-lifecycle")]
    lifecycle: bool,
    /// The conversation with KLIPS.
    #[arg(long = "debug-klips")]
    klips: bool,
    /// DNS.
    #[arg(long = "debug-dns")]
    dns: bool,
    /// Opportunism.
    #[arg(long = "debug-oppo")]
    oppo: bool,
    /// More decisions.
    #[arg(long = "debug-controlmore")]
    controlmore: bool,
    /// PF_KEY messages.
    #[arg(long = "debug-pfkey")]
    pfkey: bool,
    /// Private information; not part of --debug-all.
    #[arg(long = "debug-private")]
    private: bool,
}

impl DebugArguments {
    fn has(&self, class: DebugClass) -> bool {
        match class {
            DebugClass::Raw => self.raw,
            DebugClass::Crypt => self.crypt,
            DebugClass::Parsing => self.parsing,
            DebugClass::Emitting => self.emitting,
            DebugClass::Control => self.control,
            DebugClass::Lifecycle => self.lifecycle,
            DebugClass::Klips => self.klips,
            DebugClass::Dns => self.dns,
            DebugClass::Oppo => self.oppo,
            DebugClass::ControlMore => self.controlmore,
            DebugClass::Pfkey => self.pfkey,
            DebugClass::Private => self.private,
        }
    }
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// syslog, facility authpriv.
    Syslog,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// What the command line and the environment come to. All paths are absolute.
#[derive(Debug, Clone)]
pub struct Options {
    /// Stay in the foreground.
    pub nofork: bool,
    /// Where log lines go.
    pub log_to: LogTo,
    /// The only interfaces to use; empty for all.
    pub interfaces: Vec<String>,
    /// UDP port for IKE.
    pub ike_port: u16,
    /// The control socket.
    pub control_socket: PathBuf,
    /// The lock file.
    pub pid_file: PathBuf,
    /// Directory of KLIPS' sockets.
    pub rundir: PathBuf,
    /// `ipsec.secrets`.
    pub secrets_file: PathBuf,
    /// Directory of the policy groups' files.
    pub policies: PathBuf,
    /// DNSSEC's trust anchor; none for the root's keys.
    pub dnssec_rootkey_file: Option<PathBuf>,
    /// Where keys are written to.
    pub key_log: Option<PathBuf>,
    /// What the engine is told; the process id comes later, when there is a daemon.
    pub engine: Config,
}

/// Reads the command line; on `--help`, `--version` and mistakes prints and gives the exit status.
pub fn parse() -> Result<Options, u8> {
    let arguments = Arguments::try_parse().map_err(|e| {
        let _ = e.print();
        if e.use_stderr() { 1 } else { 0 }
    })?;
    arguments.resolve().map_err(|e| {
        eprintln!("pluto: {e}");
        1
    })
}

impl Arguments {
    fn resolve(self) -> Result<Options, String> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|e| format!("path {}: {e}", path.display()))
        };
        let rundir = absolute(self.rundir.clone().unwrap_or_else(whack::rundir))?;
        let base = absolute(self.ctlbase.clone().unwrap_or_else(|| rundir.join("pluto")))?;
        let with = |suffix: &str| {
            let mut path = base.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let confs = env::var_os("IPSEC_CONFS").filter(|dir| !dir.is_empty());
        let confs = PathBuf::from(confs.unwrap_or_else(|| "/etc".into()));
        let secrets_file = absolute(
            self.secretsfile
                .clone()
                .unwrap_or_else(|| confs.join("ipsec.secrets")),
        )?;
        let policies = absolute(confs.join("ipsec.d/policies"))?;
        let log_to = match (self.stderrlog, &self.logfile) {
            (_, Some(file)) => LogTo::File(absolute(file.clone())?),
            (true, None) => LogTo::Stderr,
            (false, None) => LogTo::Syslog,
        };
        let key_log = self.keylogfile.clone().map(absolute).transpose()?;
        Ok(Options {
            nofork: self.nofork,
            log_to,
            control_socket: with(".ctl"),
            pid_file: with(".pid"),
            ike_port: self.ikeport,
            rundir,
            secrets_file,
            dnssec_rootkey_file: self.dnssec_rootkey_file.clone().map(absolute).transpose()?,
            policies,
            engine: Config {
                unique_ids: self.uniqueids,
                debug: self.debug_classes().collect(),
                no_klips: self.noklips,
                nat: NatConfig {
                    traversal: self.nat_traversal,
                    port: self.natikeport,
                    keep_alive: Duration::from_secs(self.keep_alive.into()),
                    force_keep_alive: self.force_keepalive,
                    port_floating: !self.disable_port_floating,
                },
                virtual_private: self.virtual_private.clone(),
                key_log: key_log.as_ref().map(|file| file.display().to_string()),
                ..Config::default()
            },
            key_log,
            interfaces: self.interface,
        })
    }

    fn debug_classes(&self) -> impl Iterator<Item = DebugClass> {
        DebugClass::ALL.into_iter().filter(|&class| {
            let all = self.debug_all && class != DebugClass::Private;
            !self.debug_none && (all || self.debug.has(class))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(line: &str) -> Result<Options, String> {
        Arguments::try_parse_from(line.split_whitespace())
            .map_err(|e| e.to_string())?
            .resolve()
    }

    #[test]
    fn places_follow_the_base() {
        let options = resolve("pluto --rundir /r --secretsfile /s").unwrap();
        assert_eq!(options.control_socket, PathBuf::from("/r/pluto.ctl"));
        assert_eq!(options.pid_file, PathBuf::from("/r/pluto.pid"));
        assert_eq!(options.secrets_file, PathBuf::from("/s"));
        let options = resolve("pluto --rundir /r --ctlbase /x/y --ikeport 5000").unwrap();
        assert_eq!(options.control_socket, PathBuf::from("/x/y.ctl"));
        assert_eq!(
            (options.rundir, options.ike_port),
            (PathBuf::from("/r"), 5000)
        );
        assert!(resolve("pluto --rundir r").unwrap().rundir.is_absolute());
    }

    #[test]
    fn debug_classes_add_up() {
        let classes = |line: &str| resolve(line).unwrap().engine.debug;
        assert!(classes("pluto").is_empty());
        assert_eq!(classes("pluto --debug-klips --debug-raw").len(), 2);
        assert_eq!(
            classes("pluto --debug-all").len(),
            DebugClass::ALL.len() - 1
        );
        assert!(classes("pluto --debug-all --debug-private").contains(&DebugClass::Private));
    }

    #[test]
    fn nat_traversal_as_it_has_always_been_asked_for() {
        let engine = |line: &str| resolve(line).unwrap().engine;
        assert!(!engine("pluto").nat.traversal);
        let nat = engine(
            "pluto --nat_traversal --keep_alive 60 --force_keepalive --virtual_private %v4:10.0.0.0/8,%v4:!10.1.0.0/16",
        );
        assert_eq!(nat.nat.keep_alive, Duration::from_secs(60));
        assert!(nat.nat.traversal && nat.nat.force_keep_alive && nat.nat.port_floating);
        assert_eq!(nat.nat.port, 4500);
        assert_eq!(nat.virtual_private.0.len(), 2);
        assert!(!engine("pluto --disable_port_floating").nat.port_floating);
        let error = resolve("pluto --virtual_private 10.0.0.0/8").unwrap_err();
        assert!(error.contains("%v4:NET/BITS"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            resolve("pluto --ikeport 0")
                .unwrap_err()
                .contains("--ikeport")
        );
        assert!(resolve("pluto --bogus").unwrap_err().contains("--bogus"));
        assert!(resolve("pluto stray").unwrap_err().contains("stray"));
    }
}
