//! `ipsec verify`: goes through what IPsec needs on this host, and says what to do about what is missing.

mod dns;
mod groups;

use crate::net;
use crate::paths::{Paths, version_code};
use crate::print;
use ipsec_keys::Secrets;
use ipsec_keys::secrets::Secret;
use pfkey::client::{Control, Table, in_kernel};
use std::io::IsTerminal;

/// What a check found: fine, with a remark; or wrong, with the remedy.
type Finding = Result<Option<String>, String>;

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    let mut colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut asked = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--host" | "--ip" => match args.next() {
                Some(value) => asked = Some((arg.as_str(), value.clone())),
                None => {
                    eprintln!("ipsec verify: option {arg} needs a value");
                    return 2;
                }
            },
            "--colour" | "--color" => colour = true,
            "--nocolour" | "--nocolor" => colour = false,
            "--help" => {
                print("Usage: ipsec verify [--host name | --ip address] [--colour | --nocolour]\n");
                return 0;
            }
            _ => {
                eprintln!("ipsec verify: unknown option `{arg}'");
                return 2;
            }
        }
    }
    if let Some((option, value)) = asked {
        return others(option, &value, colour);
    }
    if !nix::unistd::geteuid().is_root() {
        print("To check this machine, you need to run \"ipsec verify\" as root.\n");
        return 1;
    }
    print("Checking your system to see if IPsec got installed and started correctly:\n");
    let failed = checks()
        .into_iter()
        .filter(|(title, finding)| !show(title, finding, colour))
        .count();
    let config = ipsec_conf::Config::load(&Paths::get().conf());
    let failed = failed
        + dns::Wanted::of(&config).map_or(0, |wanted| {
            print("\nOpportunistic Encryption DNS checks:\n");
            failures(&dns::checks(&wanted), colour)
        });
    u8::from(failed > 0)
}

/// What `ipsec opportunism on` finds.
pub struct Found {
    /// Checks that failed.
    pub failed: usize,
    /// The lines that are to be added to zones.
    pub records: String,
}

/// Shows what opportunism needs on this host and whether it is there.
pub fn opportunism(config: &ipsec_conf::Config) -> Found {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let paths = Paths::get();
    let key = crate::keys::showhostkey::default_key(&paths.secrets());
    let key = key.map(|_| None).map_err(|why| {
        format!(
            "{why}\nmake one: ipsec newhostkey --output {}",
            paths.secrets().display()
        )
    });
    let mut failed = usize::from(!show("Looking for the key of this host", &key, colour));
    failed += usize::from(!show("Looking at the clock", &clock(), colour));
    if several_devices()
        && let Err(why) = forwarding()
    {
        show_as("Looking for IP forwarding", "N/A", "33", Some(&why), colour);
    }
    let mut records = Vec::new();
    if key.is_ok()
        && let Some(wanted) = dns::Wanted::of_version_2(config)
    {
        let checks = dns::checks(&wanted);
        failed += failures(&checks, colour);
        records = dns::records(&checks);
    }
    let records = records.iter().map(|line| format!("{line}\n")).collect();
    Found { failed, records }
}

/// DNSSEC signatures count from a date to a date.
fn clock() -> Finding {
    let installed = std::env::current_exe().and_then(std::fs::metadata);
    let installed = installed.and_then(|file| file.modified());
    let day = std::time::Duration::from_secs(86_400);
    match installed {
        Ok(installed) if std::time::SystemTime::now() + day < installed => Err(
            "it is before the day on which these programs were installed: set it (date, or an NTP client)".into(),
        ),
        _ => Ok(None),
    }
}

fn several_devices() -> bool {
    net::devices().is_ok_and(|d| {
        d.iter()
            .filter(|d| d.ifname != "lo" && !d.ifname.starts_with("ipsec"))
            .count()
            > 1
    })
}

/// `--host` and `--ip`: what DNS says of someone, who may be anyone.
fn others(option: &str, value: &str, colour: bool) -> u8 {
    let checks = match option {
        "--host" => dns::host(value),
        _ => dns::ip(value),
    };
    match checks {
        Ok(checks) => {
            print(&format!("Checking {value} for Opportunistic Encryption:\n"));
            u8::from(failures(&checks, colour) > 0)
        }
        Err(message) => {
            eprintln!("ipsec verify: {message}");
            2
        }
    }
}

/// Shows the checks, and counts those that failed and are needed.
fn failures(checks: &[dns::Check], colour: bool) -> usize {
    checks
        .iter()
        .filter(|check| match (&check.finding, check.needed) {
            (Err(why), false) => {
                show_as(&check.title, "N/A", "33", Some(why), colour);
                false
            }
            (finding, _) => !show(&check.title, finding, colour),
        })
        .count()
}

fn show(title: &str, finding: &Finding, colour: bool) -> bool {
    let (word, code, more) = match finding {
        Ok(remark) => ("OK", "32", remark.as_ref()),
        Err(remedy) => ("FAILED", "31", Some(remedy)),
    };
    show_as(title, word, code, more, colour);
    finding.is_ok()
}

fn show_as(title: &str, word: &str, code: &str, more: Option<&String>, colour: bool) {
    let word = if colour {
        format!("\x1b[1;{code}m{word}\x1b[0;39m")
    } else {
        word.to_string()
    };
    print(&format!("{title:<65}\t[{word}]\n"));
    if let Some(more) = more {
        print(&more.lines().map(|l| format!("  {l}\n")).collect::<String>());
    }
}

fn checks() -> Vec<(String, Finding)> {
    let paths = Paths::get();
    let mut all: Vec<(String, Finding)> = vec![
        ("Version check and ipsec on-path".into(), on_path()),
        (
            "Checking for the programs in the helper directory".into(),
            programs(paths),
        ),
        ("Checking ipsec.conf".into(), configuration(paths)),
        (
            "Checking for KLIPS support in kernel or klipsd".into(),
            klips(),
        ),
    ];
    if !in_kernel() {
        all.push((
            "Checking for TUN devices".into(),
            crate::tun::check().map(|()| None),
        ));
    }
    all.push((
        format!(
            "Checking for RSA private key ({})",
            paths.secrets().display()
        ),
        host_key(paths),
    ));
    all.push(("Checking that pluto is running".into(), pluto()));
    all.push((
        "Checking that pluto listens on UDP port 500".into(),
        listening(),
    ));
    let setup = ipsec_conf::Config::load(&paths.conf()).setup().value;
    if setup.is_some_and(|setup| setup.nat_traversal) {
        all.push((
            "Checking that pluto listens on UDP port 4500 (NAT traversal)".into(),
            nat_port(),
        ));
    }
    if several_devices() {
        all.push((
            "Two or more interfaces found, checking IP forwarding".into(),
            forwarding(),
        ));
    }
    all.extend(groups::check(&ipsec_conf::Config::load(&paths.conf())));
    all.push(("Checking the reverse path filter".into(), rp_filter()));
    all.push((
        "Checking that a firewall lets IKE and ESP in".into(),
        firewall(),
    ));
    all
}

fn on_path() -> Finding {
    let version = format!("Linux FreeS/WAN {}", version_code());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join("ipsec").is_file());
    if found {
        Ok(Some(version))
    } else {
        Err(
            "no ipsec in any directory of PATH: add the one it is installed in (/usr/local/sbin)"
                .into(),
        )
    }
}

fn programs(paths: &Paths) -> Finding {
    let missing: Vec<&str> = ["pluto", "whack", "klipsd", "_updown"]
        .into_iter()
        .filter(|n| !paths.execdir.join(n).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    Err(format!(
        "{} has no {}: run make install, or set IPSEC_EXECDIR",
        paths.execdir.display(),
        missing.join(", ")
    ))
}

fn configuration(paths: &Paths) -> Finding {
    let config = ipsec_conf::Config::load(&paths.conf());
    let mut problems = config.setup().problems;
    for name in config.conn_names() {
        // A section that others append with also= need not be a whole connection.
        problems.extend(config.conn_settings(name).problems);
    }
    match problems.iter().find(|p| p.is_error()) {
        Some(problem) => Err(config.render(problem, false)),
        None => Ok(None),
    }
}

fn klips() -> Finding {
    match Control::find().table(Table::Version) {
        Ok(text) => Ok(Some(format!(
            "{} ({})",
            text.trim(),
            if in_kernel() {
                "the kernel module"
            } else {
                "klipsd"
            }
        ))),
        Err(error) => Err(error.to_string()),
    }
}

fn host_key(paths: &Paths) -> Finding {
    if !paths.secrets().exists() {
        return Err(format!(
            "no such file: ipsec newhostkey --output {}",
            paths.secrets().display()
        ));
    }
    let (secrets, problems) = Secrets::load(&paths.secrets());
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let has_rsa = secrets
        .entries()
        .iter()
        .any(|e| matches!(e.secret, Secret::Rsa(_)));
    let has_psk = secrets
        .entries()
        .iter()
        .any(|e| matches!(e.secret, Secret::Psk(_)));
    match (problems.iter().any(|p| !p.warning), has_rsa, has_psk) {
        (true, ..) => Err(said.join("\n")),
        (_, true, _) => Ok(Some(said.join("\n")).filter(|s| !s.is_empty())),
        (_, _, true) => Ok(Some(
            "no RSA key, only shared secrets: enough for authby=secret".into(),
        )),
        _ => Err(format!(
            "no secret at all: ipsec newhostkey --output {}",
            paths.secrets().display()
        )),
    }
}

fn pluto() -> Finding {
    match crate::auto::send(&whack::Request::Status, |_, _| {}) {
        Ok(_) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// 4500 as /proc/net/udp writes it.
const NAT_PORT: &str = ":1194";

fn is_bound(port: &str) -> bool {
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().skip(1).any(|l| {
            l.split_whitespace()
                .nth(1)
                .is_some_and(|local| local.ends_with(port))
        })
    })
}

fn nat_port() -> Finding {
    if is_bound(NAT_PORT) {
        Ok(None)
    } else {
        Err("nothing listens on UDP port 4500, so no peer can be behind NAT: ipsec auto --ready tells why, or nat_traversal=no in config setup does without".into())
    }
}

/// Pluto's own word: another program's socket would look the same from here.
fn listening() -> Finding {
    let (mut interfaces, mut problems) = (0, Vec::new());
    let outcome = crate::auto::send(&whack::Request::Status, |_, text| {
        interfaces += usize::from(text.starts_with("interface "));
        problems.extend(text.strip_prefix("problem: ").map(crate::port_owner::named));
    });
    if let Err(error) = outcome {
        return Err(error.to_string());
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    if interfaces > 0 {
        return Ok(None);
    }
    let info = std::fs::read_to_string(Paths::get().info()).unwrap_or_default();
    let waits: Vec<&str> = info
        .lines()
        .filter_map(|line| line.strip_prefix(crate::setup::WAITS))
        .collect();
    if !waits.is_empty() {
        return Err(format!("IPsec waits: {}", waits.join("\n")));
    }
    Err(
        "nothing listens on UDP port 500: check interfaces= in ipsec.conf, then ipsec auto --ready"
            .into(),
    )
}

fn forwarding() -> Finding {
    match std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
        Ok(text) if text.trim() == "0" => {
            Err("subnets behind this host are not served: forwardcontrol=yes in config setup, or sysctl -w net.ipv4.ip_forward=1".into())
        }
        _ => Ok(None),
    }
}

fn rp_filter() -> Finding {
    let table = Control::find().table(Table::TnCfg).unwrap_or_default();
    let attached = table
        .lines()
        .filter_map(|l| l.split_once("-> ")?.1.split_whitespace().next());
    let mut filtered: Vec<&str> = attached
        .filter(|phys| {
            let value =
                std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{phys}/rp_filter"));
            value.is_ok_and(|v| v.trim() == "1")
        })
        .collect();
    filtered.dedup();
    if filtered.is_empty() {
        return Ok(None);
    }
    Err(format!(
        "packets of tunnels may be dropped: sysctl -w net.ipv4.conf.{}.rp_filter=2",
        filtered.join(".rp_filter=2 net.ipv4.conf.")
    ))
}

/// Looks for input chains of nftables that drop by default and say nothing of what IPsec needs.
fn firewall() -> Finding {
    let Ok(output) = std::process::Command::new("nft")
        .args(["list", "ruleset"])
        .output()
    else {
        return Ok(Some("nft is not installed, not checked".into()));
    };
    let rules = String::from_utf8_lossy(&output.stdout);
    let drops = rules
        .lines()
        .any(|l| l.contains("hook input") && l.contains("policy drop"));
    let opened =
        (rules.contains("dport 500") || rules.contains("dport { 500") || rules.contains("isakmp"))
            && (rules.contains("esp") || rules.contains("protocol 50"));
    if drops && !opened {
        return Err("input is dropped by default and no rule names IKE or ESP: nft add rule inet filter input udp dport { 500, 4500 } accept, and meta l4proto { esp, ah } accept".into());
    }
    Ok(None)
}
