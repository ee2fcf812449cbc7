//! `ipsec opportunism on` and `off`.

use super::policy::{self, EVERYBODY, GROUP};
use crate::auto::{connection, send};
use crate::paths::Paths;
use crate::setup::used_groups;
use crate::{print, verify};
use ipsec_conf::{Config, Setup};
use ipsec_types::Subnet;
use std::process::Command;
use whack::{Request, RereadClass};

/// Checks what it takes, and switches it on if all is there.
pub fn on() -> Result<u8, String> {
    let config = Config::load(&Paths::get().conf());
    let setup = usable(&config)?;
    print("Checking what opportunism needs on this host:\n");
    let found = verify::opportunism(&config);
    if found.failed > 0 {
        if !found.records.is_empty() {
            print(&format!(
                "\nRecords to publish, in the form of a zone file:\n\n{}\n{}",
                found.records, WAYS
            ));
        }
        print(
            "\nOpportunism stays as it was. Do what stands below each [FAILED], then: ipsec opportunism on\n",
        );
        return Ok(1);
    }
    let missing = missing_blocks(&config)?;
    if !missing.is_empty() {
        policy::add(&missing)?;
    }
    apply(&config, &setup)?;
    print(&format!(
        "\nOpportunism is on, and will be after each start: {} is for everybody.\n\
         The first packet to a host waits until DNS has said whether the host has a key (about 30 ms; half a second\n\
         where a tunnel is made). Who has one gets encrypted packets only; to all others packets go in the clear.\n\
         The questions tell your name servers whom this host talks to. What happens: ipsec opportunism status\n",
        policy::file(GROUP).display()
    ));
    Ok(0)
}

const WAYS: &str = "The records under the name in in-addr.arpa or ip6.arpa let others begin too; whoever runs the reverse map of the address\n\
     adds them (ipsec mailkey writes to him). Those under this host's own name are enough to begin. One of the two will do.\n";

/// Whether ipsec.conf lets the connections of version 2 be loaded.
fn usable(config: &Config) -> Result<Setup, String> {
    let setup = config.setup();
    if let Some(problem) = setup.problems.iter().find(|problem| problem.is_error()) {
        return Err(config.render(problem, false));
    }
    let setup = setup.value.ok_or("ipsec.conf has no usable config setup")?;
    if config.implicit_names().next().is_none() {
        return Err(
            "ipsec.conf lacks its first line, `version 2.0': the policy groups are of version 2"
                .into(),
        );
    }
    if setup.oe == Some(false) {
        return Err("oe=no in config setup of ipsec.conf forbids it: take that line out".into());
    }
    let autos = config.autos();
    if autos
        .iter()
        .any(|(name, auto)| *name == GROUP && *auto == ipsec_conf::Auto::Ignore)
    {
        return Err(format!(
            "conn {GROUP} of ipsec.conf has auto=ignore: take that section out"
        ));
    }
    Ok(setup)
}

/// The blocks for everybody that no group has yet.
fn missing_blocks(config: &Config) -> Result<Vec<Subnet>, String> {
    let mut missing = Vec::new();
    for block in EVERYBODY {
        match policy::groups_with(config, block)[..] {
            [] => missing.push(block),
            [group @ ("clear" | "block"), ..] => {
                return Err(format!(
                    "{} has {block}, which would win: take it out",
                    policy::file(group).display()
                ));
            }
            [group, ..] if group != GROUP => print(&format!(
                "\n{block} is in the group {group} already, whose policy counts.\n"
            )),
            _ => {}
        }
    }
    Ok(missing)
}

/// Has a pluto that runs do what the files say, or starts all.
fn apply(config: &Config, setup: &Setup) -> Result<(), String> {
    let Some(loaded) = loaded() else {
        let mut start = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
        let status = start.args(["setup", "start"]).status();
        return match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err("`ipsec setup start' failed, see above".into()),
        };
    };
    if let Some(id) = &setup.myid {
        put(&Request::MyId { id: id.clone() })?;
    }
    let missing: Vec<&str> = config
        .implicit_names()
        .filter(|name| !loaded.iter().any(|other| other == name))
        .collect();
    for name in &missing {
        let conn = config
            .conn(name)
            .value
            .ok_or_else(|| format!("no conn {name}"))?;
        let requests =
            connection::requests(&conn).map_err(|problem| config.render(&problem, false))?;
        for request in &requests {
            put(request)?;
        }
    }
    reread()?;
    for name in missing {
        let name = name.to_owned();
        // One that has no address of its family yet waits for it.
        let _ = send(&Request::Route { name }, |_, _| {});
    }
    Ok(())
}

/// The names of connections that pluto has; none if it does not run.
fn loaded() -> Option<Vec<String>> {
    let mut names = Vec::new();
    let status = send(&Request::Status, |_, text| {
        let name = text
            .strip_prefix('"')
            .and_then(|text| text.split('"').next());
        names.extend(name.map(str::to_owned));
    });
    names.dedup();
    status.ok().map(|_| names)
}

fn reread() -> Result<(), String> {
    let class = RereadClass::All;
    put(&Request::Reread { class })
}

/// Puts a request to pluto; what is wrong is the error.
fn put(request: &Request) -> Result<(), String> {
    let mut said = Vec::new();
    let status = send(request, |_, text| said.push(text.to_owned()));
    match status.map_err(|error| error.to_string())? {
        0 => Ok(()),
        _ => Err(said.pop().unwrap_or_else(|| "pluto refuses".into())),
    }
}

/// Takes everybody out of the group, and all that was loaded for it out of pluto.
pub fn off() -> Result<u8, String> {
    let path = Paths::get().conf();
    let removed = policy::remove()?;
    let config = Config::load(&path);
    let oe = config.setup().value.and_then(|setup| setup.oe);
    if let Some(loaded) = loaded() {
        reread()?;
        if oe != Some(true) && used_groups(&config).next().is_none() {
            for name in config
                .implicit_names()
                .filter(|name| loaded.iter().any(|l| l == name))
            {
                put(&Request::Delete {
                    name: name.to_owned(),
                })?;
            }
        }
    }
    if oe == Some(true) {
        return Err("oe=yes in config setup of ipsec.conf keeps packetdefault, which is for everybody: take that line out, then ipsec setup restart".into());
    }
    print(match removed {
        true => {
            "Opportunism is off: what went encrypted by it goes in the clear. Other connections are as they were.\n"
        }
        false => "Opportunism was off.\n",
    });
    for group in used_groups(&config) {
        print(&format!(
            "{} has blocks of yours, which stay, and packetdefault with them.\n",
            policy::file(group).display()
        ));
    }
    Ok(0)
}
