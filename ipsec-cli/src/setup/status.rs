//! `ipsec setup status`: 0 if all runs, 3 if nothing does (as init scripts have it), 1 if something is amiss.

use super::daemon::Daemon;
use super::interfaces::WAITS;
use crate::auto::send;
use crate::paths::Paths;
use crate::port_owner;
use crate::print;
use pfkey::client::{Control, Table, in_kernel};
use whack::Request;

/// Runs it.
pub fn run(paths: &Paths) -> u8 {
    let pluto = Daemon::Pluto.alive(paths);
    let klips = in_kernel() || Daemon::Klipsd.alive(paths).is_some();
    let started = paths.info().exists();
    let eroutes = klips
        && Control::find()
            .table(Table::Eroute)
            .is_ok_and(|t| !t.trim().is_empty());
    let mut amiss = Vec::new();
    if started {
        print("IPsec running\n");
        if let (Some(pid), true) = (pluto, klips) {
            print(&format!("pluto pid {pid}\n"));
            for waits in waiting(paths) {
                print(&format!("waiting: {waits}\n"));
            }
            amiss = problems();
            if amiss.is_empty() {
                return 0;
            }
            print(&format!("but...\n{}\n", amiss.join("\n")));
            return 1;
        }
        if pluto.is_none() {
            amiss.push("no Pluto running! (ipsec setup start starts it again)".to_string());
        }
        if !klips {
            amiss.push("no KLIPS: neither klipsd runs nor is it in the kernel! (ipsec setup start starts it again)".to_string());
        }
        if eroutes {
            amiss.push("some eroutes exist".to_string());
        }
    } else {
        print("IPsec stopped\n");
        if let Some(pid) = pluto {
            amiss.push(format!("illicit Pluto is running (pid {pid})!"));
        }
        if let Some(pid) = Daemon::Klipsd.alive(paths) {
            amiss.push(format!("klipsd is running (pid {pid})!"));
        }
        if eroutes {
            amiss.push("some eroutes exist!".to_string());
        }
        if amiss.is_empty() {
            return 3;
        }
    }
    print(&format!("but...\n{}\n", amiss.join("\n")));
    1
}

/// What ipsecN wait for.
fn waiting(paths: &Paths) -> Vec<String> {
    let info = std::fs::read_to_string(paths.info()).unwrap_or_default();
    let lines = info.lines().filter_map(|line| line.strip_prefix(WAITS));
    lines.map(str::to_string).collect()
}

/// What pluto says is wrong with interfaces and ports, or that it says nothing.
fn problems() -> Vec<String> {
    let mut problems = Vec::new();
    let outcome = send(&Request::Status, |_, text| {
        problems.extend(text.strip_prefix("problem: ").map(port_owner::named));
    });
    if let Err(error) = outcome {
        problems.push(error.to_string());
    }
    problems
}
