//! `ipsec setup start`: KLIPS, its devices, pluto, and the connections, in this order. What fails is undone.

use super::daemon::{Daemon, Start};
use super::{Context, conns, interfaces};
use crate::paths::VERSION;
use ipsec_conf::Setup;
use pfkey::client::{Client, Control, Home, KERNEL_VERSION, in_kernel};
use std::path::Path;
use std::process::{Command, Stdio};

/// The exit status where IPsec runs, but not all that ipsec.conf asks for: a connection that could not be loaded, a UDP port that another
/// program has, secrets that can't be read. LSB leaves numbers from 150 on to programs.
pub const NOT_ALL: u8 = 150;

/// Runs it; `verb` is `Starting` or `Restarting`. Gives the exit status: 0, [`NOT_ALL`], or 1 where nothing is left running.
pub fn run(context: &Context, setup: &Setup, verb: &str) -> u8 {
    let (klipsd, pluto) = (
        Daemon::Klipsd.alive(context.paths),
        Daemon::Pluto.alive(context.paths),
    );
    if klipsd.is_none() {
        load(context);
    }
    let klips = klipsd.is_some() || in_kernel();
    let all = pluto.is_some() || !setup.pluto && context.paths.info().exists();
    if klips && all {
        context
            .messages
            .say("FreeS/WAN IPsec apparently already running, start aborted");
        return 0;
    }
    // Before anything is stopped: it may be the other KLIPS' at work.
    if let Err(message) = devices(in_kernel()) {
        context.messages.say(&message);
        return 1;
    }
    context
        .messages
        .say(&format!("{verb} FreeS/WAN IPsec {VERSION}..."));
    let all = match steps(context, setup) {
        Ok(all) => all,
        Err(message) => {
            context.messages.say(&message);
            context
                .messages
                .say("...start failed, nothing is left running");
            super::stop::undo(context);
            return 1;
        }
    };
    if all {
        context.messages.log("...FreeS/WAN IPsec started");
        return 0;
    }
    context
        .messages
        .say("...FreeS/WAN IPsec started, but not all of it (see above)");
    NOT_ALL
}

/// Gives whether all is there that ipsec.conf asks for, or comes by itself.
fn steps(context: &Context, setup: &Setup) -> Result<bool, String> {
    // A pluto without its KLIPS has lost all its SAs.
    Daemon::Pluto.stop(context.paths, || false, |_| {})?;
    let control = klips(context)?;
    switches(setup, &control)?;
    let mut attached = interfaces::attach(context, setup, &control)?;
    interfaces::settle_mtu(setup, &control)?;
    if let Some(waits) = attached.waits.first()
        && !setup.pluto
    {
        // Without pluto there is nobody who watches.
        return Err(waits.why.clone());
    }
    for waits in &attached.waits {
        context.messages.say(&format!("waiting: {}", waits.why));
        context.waits.set(true);
    }
    let info = &mut attached.info;
    info.push_str(&interfaces::forward(context, setup));
    write_info(context, info)?;
    let mut all = conns::start_manual(context, setup);
    if setup.pluto {
        pluto(context, setup, info)?;
        all &= conns::load(context, setup, !attached.waits.is_empty());
    }
    Ok(all && attached.waits.iter().all(|waits| !waits.amiss))
}

fn write_info(context: &Context, info: &str) -> Result<(), String> {
    std::fs::write(context.paths.info(), info)
        .map_err(|e| format!("cannot write {}: {e}", context.paths.info().display()))
}

/// The network has changed: ipsecN follow their physical devices and the default route.
pub fn follow(context: &Context, setup: &Setup) -> Result<(), String> {
    let control = match in_kernel() {
        true => Control::Kernel,
        false => Control::Daemon(context.paths.run("klips.ctl")),
    };
    let attached = interfaces::attach(context, setup, &control)?;
    let old = std::fs::read_to_string(context.paths.info()).unwrap_or_default();
    let new = merged(&old, &attached.info);
    for waits in &attached.waits {
        if !old.contains(&waits.why) {
            context.messages.say(&format!("waiting: {}", waits.why));
        }
    }
    if new == old {
        return Ok(());
    }
    write_info(context, &new)
}

/// ipsec.info with new lines about devices. A default route that has gone stays noted, as what was made by it stays.
fn merged(old: &str, new: &str) -> String {
    let about_devices = |line: &&str| line.starts_with("defaultroute") || line.starts_with('#');
    let route = |line: &&str| line.starts_with("defaultroute");
    let keep = !new.lines().any(|line| route(&line)) && old.lines().any(|line| route(&line));
    let first = old.lines().filter(|line| keep && route(line));
    let fresh = new
        .lines()
        .filter(|line| !keep || !line.starts_with("#dr:"));
    let rest = old.lines().filter(|line| !about_devices(line));
    let all: Vec<&str> = first.chain(fresh).chain(rest).collect();
    all.join("\n") + "\n"
}

/// Loads the kernel module if there is one for this kernel and nobody wants klipsd. Without it klipsd does.
fn load(context: &Context) {
    let unwanted = Home::chosen() == Ok(Some(Home::Klipsd));
    if unwanted || Path::new(KERNEL_VERSION).exists() || !Path::new("/proc/modules").exists() {
        return;
    }
    // Quiet where no such module is installed; what else keeps it out is said, such as another owner of PF_KEY.
    let Ok(output) = Command::new("modprobe").args(["-q", "klips"]).output() else {
        return;
    };
    let why = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !why.trim().is_empty() {
        context.messages.say(&format!(
            "the KLIPS module cannot be loaded, the kernel's log says more: {}",
            why.trim()
        ));
    }
}

/// Finds KLIPS in the kernel, or starts klipsd, or cleans one that an earlier life left.
fn klips(context: &Context) -> Result<Control, String> {
    let control = match in_kernel() {
        true => Control::Kernel,
        false => Control::Daemon(context.paths.run("klips.ctl")),
    };
    if in_kernel() || Daemon::Klipsd.alive(context.paths).is_some() {
        // Eroutes stay away until pluto makes new ones: packets for ipsecN are dropped meanwhile, never leaked.
        let mut client = Client::connect().map_err(|e| e.to_string())?;
        client
            .call(pfkey::request::clear_flows)
            .map_err(|e| e.to_string())?;
        client
            .call(|buf, ids| pfkey::request::flush(buf, ids, pfkey::SaType::Unspec))
            .map_err(|e| e.to_string())?;
    } else {
        crate::tun::check()?;
        Daemon::Klipsd.stop(context.paths, || false, |_| {})?;
        Daemon::Klipsd.start(context.paths, &Start::default())?;
    }
    Ok(control)
}

/// How many ipsecN the module has in this network namespace, and how many it makes.
const DEVICES: &str = "/proc/sys/net/ipsec/devices";
const USUAL_DEVICES: &str = "/sys/module/klips/parameters/devices";

/// Where there is the module, its ipsecN are there for it and not there for klipsd, whose own have the same names.
fn devices(for_module: bool) -> Result<(), String> {
    let Ok(now) = std::fs::read_to_string(DEVICES) else {
        return Ok(());
    };
    let there = now.trim() != "0";
    if there == for_module {
        return Ok(());
    }
    let attached = std::fs::read_to_string("/proc/net/ipsec_tncfg").unwrap_or_default();
    if there && attached.lines().any(|line| !line.contains(" -> NULL ")) {
        return Err(format!(
            "ipsecN of the KLIPS module are in use, klipsd cannot have their names: stop with `{}=module ipsec setup stop' first",
            pfkey::client::CHOICE
        ));
    }
    let wanted = match for_module {
        true => std::fs::read_to_string(USUAL_DEVICES).unwrap_or_else(|_| "1".into()),
        false => "0".into(),
    };
    std::fs::write(DEVICES, wanted.trim()).map_err(|e| format!("cannot set {DEVICES}: {e}"))
}

/// The names of `klipsdebug=` beside `all`.
const DEBUG: [&str; 12] = [
    "tunnel", "netlink", "xform", "eroute", "spi", "radij", "esp", "ah", "rcv", "ipcomp",
    "verbose", "pfkey",
];

fn switches(setup: &Setup, control: &Control) -> Result<(), String> {
    let number = |on: bool| if on { "1" } else { "0" };
    let mut wanted = vec![
        ("inbound_policy_check".to_string(), "1"),
        ("icmp".to_string(), number(setup.fragicmp)),
        ("fragicmp".to_string(), number(setup.fragicmp)),
        ("tos".to_string(), number(setup.hidetos)),
    ];
    for class in &setup.klipsdebug {
        match class.as_str() {
            "all" => wanted.extend(
                DEBUG
                    .iter()
                    .filter(|c| **c != "verbose")
                    .map(|c| (format!("debug_{c}"), "0xffffffff")),
            ),
            class if DEBUG.contains(&class) => {
                wanted.push((format!("debug_{class}"), "0xffffffff"))
            }
            class => {
                return Err(format!(
                    "unknown klipsdebug class `{class}': there are none, all, {}",
                    DEBUG.join(", ")
                ));
            }
        }
    }
    for (name, value) in wanted {
        control
            .set_sysctl(&name, value)
            .map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn pluto(context: &Context, setup: &Setup, info: &str) -> Result<(), String> {
    shell(context, "prepluto", setup.prepluto.as_deref());
    let secrets = context.paths.secrets();
    if !secrets.exists() {
        context
            .messages
            .say(&format!("no file {}, generating key", secrets.display()));
        crate::keys::newhostkey::run(vec![
            "--output".into(),
            secrets.display().to_string(),
            "--quiet".into(),
        ]);
    }
    let mut args = vec!["--secretsfile".to_string(), secrets.display().to_string()];
    if setup.uniqueids {
        args.push("--uniqueids".into());
    }
    args.extend(nat_options(setup)?);
    if let Some(file) = &setup.keylogfile {
        args.extend(["--keylogfile".to_string(), file.clone()]);
    }
    for class in &setup.plutodebug {
        args.push(format!("--debug-{class}"));
    }
    if let Some(file) = &setup.dnssec_rootkey_file {
        args.extend(["--dnssec-rootkey-file".to_string(), file.clone()]);
    }
    args.extend(setup.plutoopts.iter().cloned());
    let env: Vec<(String, String)> = info
        .lines()
        .filter(|l| l.starts_with("defaultroute"))
        .filter_map(|l| {
            l.split_once('=')
                .map(|(k, v)| (k.to_string(), v.to_string()))
        })
        .collect();
    let how = Start {
        args: &args,
        log: setup.plutostderrlog.as_deref(),
        dumpdir: setup.dumpdir.as_deref(),
        env: &env,
    };
    Daemon::Pluto.start(context.paths, &how)
}

/// Pluto's options about NAT.
fn nat_options(setup: &Setup) -> Result<Vec<String>, String> {
    if !setup.nat_traversal {
        return Ok(Vec::new());
    }
    let mut args = vec![
        "--nat_traversal".to_string(),
        "--keep_alive".to_string(),
        setup.keep_alive.to_string(),
    ];
    for (on, option) in [
        (setup.force_keepalive, "--force_keepalive"),
        (setup.disable_port_floating, "--disable_port_floating"),
    ] {
        args.extend(on.then(|| option.to_string()));
    }
    if let Some(nets) = &setup.virtual_private {
        let nets: whack::Nets = nets.parse().map_err(|error| {
            format!("virtual_private: {error}; write nets such as %v4:10.0.0.0/8,%v4:!10.1.0.0/16")
        })?;
        args.extend(["--virtual_private".to_string(), nets.to_string()]);
    }
    Ok(args)
}

/// Runs `prepluto=` or `postpluto=`.
pub fn shell(context: &Context, what: &str, command: Option<&str>) {
    let Some(command) = command else { return };
    let mut child = Command::new("/bin/sh");
    child.args(["-c", command]).stdin(Stdio::null());
    context.paths.environment(&mut child);
    match child.status() {
        Ok(status) if status.success() => {}
        Ok(status) => context
            .messages
            .say(&format!("...{what} command exited with {status}")),
        Err(error) => context
            .messages
            .say(&format!("...{what} command cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn ipsec_info_follows_and_keeps_what_is_not_about_devices() {
        let none = "#dr: no default route\n#waits: no default route\n";
        let one = "defaultroutephys=eth1\ndefaultrouteaddr=192.0.2.1\n";
        let two = "defaultroutephys=eth2\ndefaultrouteaddr=192.0.2.2\n";
        let before = format!("{none}ipforwardingwas=0\n");
        let after = merged(&before, one);
        assert_eq!(after, format!("{one}ipforwardingwas=0\n"));
        assert_eq!(merged(&after, two), format!("{two}ipforwardingwas=0\n"));
        assert_eq!(
            merged(&after, none),
            format!("{one}#waits: no default route\nipforwardingwas=0\n")
        );
    }
}
