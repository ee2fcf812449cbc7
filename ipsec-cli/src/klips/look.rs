//! `ipsec look`: a quick look at what KLIPS does now. See ipsec_look(8).

use std::collections::HashMap;

use clap::Parser;
use ipsec_types::Subnet;
use pfkey::client::{Control, Table};

use super::common::{self, Common, Failure};
use super::routes;

/// Shows eroutes with their SA groups, attached devices, SAs and the routes that matter.
#[derive(Parser, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("look", args, |o: &Options| &o.common, |_| act())
}

fn act() -> Result<(), Failure> {
    let control = Control::find();
    let table = |table| control.table(table).map_err(|e| e.to_string());
    let tncfg = table(Table::TnCfg)?;
    let mut spis: Vec<String> = table(Table::Spi)?.lines().map(str::to_owned).collect();
    spis.sort();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut out = format!("{} {}\n", read("/proc/sys/kernel/hostname").trim(), date());
    out.push_str(&eroutes(&table(Table::SpiGrp)?, &table(Table::Eroute)?));
    let (lines, devices) = attached(&tncfg);
    out.push_str(&lines);
    spis.iter().for_each(|line| out.extend([line, "\n"]));
    // A module of before has no such file.
    out.push_str(&drops(&table(Table::Stat).unwrap_or_default()));
    out.push_str(&routes::table(
        &read("/proc/net/route"),
        &read("/proc/net/ipv6_route"),
        &devices,
    ));
    crate::print(&out);
    Ok(())
}

/// Why packets were dropped, what has happened at least once.
fn drops(stat: &str) -> String {
    let happened = |line: &&str| line.split_whitespace().nth(1).is_some_and(|n| n != "0");
    stat.lines()
        .filter(happened)
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn date() -> String {
    jiff::Zoned::now()
        .strftime("%a %b %e %H:%M:%S %Z %Y")
        .to_string()
}

/// Each eroute with the whole group of its SA and its count of packets, by source and destination.
fn eroutes(spigrp: &str, eroute: &str) -> String {
    let groups: HashMap<&str, &str> = spigrp
        .lines()
        .filter_map(|line| Some((line.split_whitespace().next()?, line.trim_end())))
        .collect();
    let mut lines: Vec<_> = eroute
        .lines()
        .filter_map(|line| eroute_line(line, &groups))
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What a line sorts by, and the line.
type Sorted = ((Option<Subnet>, Option<Subnet>, String), String);

fn eroute_line(line: &str, groups: &HashMap<&str, &str>) -> Option<Sorted> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [count, src, "->", dst, "=>", target, ..] = words.as_slice() else {
        return None;
    };
    let sas = match groups.get(target) {
        Some(group) => (*group).to_owned(),
        // A protocol selector stands after the SA id: `tun0x1001@192.0.2.1:17`.
        None => match target
            .rsplit_once(':')
            .and_then(|(said, proto)| Some((groups.get(said)?, proto)))
        {
            Some((group, proto)) => format!("{group} :{proto}"),
            None => (*target).to_owned(),
        },
    };
    let text = format!("{src:<18} -> {dst:<18} => {sas} ({count})\n");
    Some(((net(src), net(dst), text.clone()), text))
}

/// The net of `10.0.0.0/8` or `10.0.0.0/8:500`.
fn net(text: &str) -> Option<Subnet> {
    let end = text
        .find('/')
        .and_then(|slash| Some(slash + text.get(slash..)?.find(':')?));
    text.get(..end.unwrap_or(text.len()))?.parse().ok()
}

/// The lines of attached devices, and all the devices in them.
fn attached(tncfg: &str) -> (String, Vec<String>) {
    let (mut out, mut devices) = (String::new(), Vec::new());
    for line in tncfg.lines() {
        if let [ipsec, "->", physical, ..] = line.split_whitespace().collect::<Vec<_>>().as_slice()
            && *physical != "NULL"
        {
            devices.extend([(*ipsec).to_owned(), (*physical).to_owned()]);
            out.push_str(&line.replace(" -> ", "->"));
            out.push('\n');
        }
    }
    (out, devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eroutes_carry_their_groups_in_order() {
        let spigrp =
            "tun0x1001@192.0.2.1 esp0x1234@192.0.2.1 \ntun0x1002@192.0.2.1 esp0x5@192.0.2.1 \n";
        let eroute = "7          10.0.10.0/24       -> 10.0.2.0/24        => tun0x1001@192.0.2.1\n\
                      0          10.0.9.0/24:500    -> 10.0.2.0/24        => tun0x1002@192.0.2.1:17\n\
                      3          10.0.1.0/24        -> 0.0.0.0/0          => %trap\n";
        assert_eq!(
            eroutes(spigrp, eroute),
            "10.0.1.0/24        -> 0.0.0.0/0          => %trap (3)\n\
             10.0.9.0/24:500    -> 10.0.2.0/24        => tun0x1002@192.0.2.1 esp0x5@192.0.2.1 :17 (0)\n\
             10.0.10.0/24       -> 10.0.2.0/24        => tun0x1001@192.0.2.1 esp0x1234@192.0.2.1 (7)\n"
        );
    }

    #[test]
    fn only_attached_devices() {
        let (text, devices) =
            attached("ipsec0 -> eth1 mtu=16260(1443) -> 1500\nipsec1 -> NULL mtu=0(0) -> 0\n");
        assert_eq!(text, "ipsec0->eth1 mtu=16260(1443)->1500\n");
        assert_eq!(devices, ["ipsec0", "eth1"]);
    }
}
