//! `ipsec manual`: connections with the keys that ipsec.conf gives them, without pluto. See ipsec_manual(8).
//!
//! `plan` makes the steps out of a connection, `step` takes them or writes them down.

mod plan;
mod step;

use crate::auto::ends::{self, Routes};
use crate::klips::common::{self, Common};
use crate::paths::Paths;
use crate::{diagnose, net};
use clap::{ArgGroup, Parser};
use ipsec_conf::Config;
use plan::{Here, Plan};
use std::net::IpAddr;
use std::path::PathBuf;

/// Takes manually keyed connections up and down
#[derive(Parser, Debug)]
#[command(group(ArgGroup::new("operation").required(true).args(["up", "down", "route", "unroute"])))]
struct Options {
    /// Make the connection's SAs and eroute, and route it
    #[arg(long)]
    up: bool,
    /// Delete its SAs and eroute; the route stays, and what follows it is dropped
    #[arg(long)]
    down: bool,
    /// Only route it: its packets are dropped until it is up
    #[arg(long)]
    route: bool,
    /// Delete its route
    #[arg(long)]
    unroute: bool,
    /// Show each command as it is run, without the keys
    #[arg(long)]
    show: bool,
    /// Print the commands, keys and all, and run none
    #[arg(long)]
    showonly: bool,
    /// Be the other end; for --showonly
    #[arg(long)]
    other: bool,
    /// What this host is, instead of looking for it
    #[arg(long, value_name = "address@interface", value_parser = here)]
    iam: Option<Here>,
    /// Read this file instead of ipsec.conf
    #[arg(long, value_name = "file")]
    config: Option<PathBuf>,
    /// Name of the connection
    connection: String,
    #[command(flatten)]
    common: Common,
}

fn here(text: &str) -> Result<Here, String> {
    let (address, interface) = text
        .split_once('@')
        .ok_or("it has the form ADDRESS@INTERFACE, such as 192.0.2.1@ipsec0")?;
    Ok(Here {
        address: address
            .parse()
            .map_err(|_| format!("{address} is no address"))?,
        interface: interface.to_owned(),
    })
}

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    common::run("manual", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), String> {
    let path = options
        .config
        .clone()
        .unwrap_or_else(|| Paths::get().conf());
    let config = Config::load(&path);
    let plan = plan(
        &config,
        &options.connection,
        options.iam.as_ref(),
        options.other,
    )?;
    let steps = match options {
        Options { up: true, .. } => plan.up(),
        Options { down: true, .. } => plan.down(),
        Options { route: true, .. } => plan.route(),
        _ => plan.unroute(),
    };
    if options.showonly {
        crate::print(&step::script(&plan, &steps));
        return Ok(());
    }
    step::take(&plan, &steps, options.show)
}

/// What the connection comes to on this host; mistakes in its section are shown.
fn plan(config: &Config, name: &str, iam: Option<&Here>, other: bool) -> Result<Plan, String> {
    let unusable = || format!("conn \"{name}\" is not usable");
    let told = |problem: Box<ipsec_conf::Diagnostic>| {
        diagnose::show(config, &[*problem]);
        unusable()
    };
    let conn = diagnose::usable(config, config.conn(name)).ok_or_else(unusable)?;
    let ends = ends::ends(&conn, &mut Routes::new(net::default_route)).map_err(told)?;
    let here = match iam {
        Some(here) => here.clone(),
        None => find(ends.map(|end| end.address))?,
    };
    Plan::new(&conn, ends, &here, other).map_err(told)
}

/// `--up`, when IPsec starts.
pub fn up(config: &Config, name: &str) -> Result<(), String> {
    let plan = plan(config, name, None, false)?;
    step::take(&plan, &plan.up(), false)
}

/// What `up` did outside KLIPS is taken back, before KLIPS is emptied.
pub fn leave(config: &Config, name: &str) -> Result<(), String> {
    let plan = plan(config, name, None, false)?;
    step::take(&plan, &plan.leave(), false)
}

/// The ipsecN interface that has one of the addresses.
fn find(ends: [IpAddr; 2]) -> Result<Here, String> {
    let devices = net::devices().map_err(|e| e.to_string())?;
    let found: Vec<Here> = devices
        .iter()
        .filter(|device| device.ifname.starts_with("ipsec"))
        .flat_map(|device| device.addr_info.iter().map(|a| (a.local, &device.ifname)))
        .filter(|(address, _)| ends.contains(address))
        .map(|(address, interface)| Here {
            address,
            interface: interface.clone(),
        })
        .collect();
    let [left, right] = ends;
    match &found[..] {
        [] => Err(format!(
            "no ipsecN interface has the address {left} or {right}: start IPsec first (ipsec setup start), or use --iam"
        )),
        [one] => Ok(one.clone()),
        [one, other, ..] => Err(format!(
            "ambiguous: this host could be {}@{} or {}@{}: choose with --iam",
            one.address, one.interface, other.address, other.interface
        )),
    }
}
