//! The `ipsec` command: finds the subcommand and runs it, here or as a program of its own. One file or folder a subcommand.

mod auto;
mod diagnose;
mod dns;
mod keys;
mod klips;
mod manual;
mod net;
mod oetest;
mod opportunism;
mod options;
mod paths;
mod port_owner;
mod setup;
mod syslog;
mod tun;
mod verify;

use paths::Paths;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// A subcommand: what a person types, and what runs.
type Entry = (&'static str, fn(Vec<String>) -> u8);

const COMMANDS: &[Entry] = &[
    ("auto", auto::run),
    ("eroute", klips::eroute::run),
    ("klipsdebug", klips::klipsdebug::run),
    ("look", klips::look::run),
    ("mailkey", keys::mailkey::run),
    ("manual", manual::run),
    ("newhostkey", keys::newhostkey::run),
    ("oetest", oetest::run),
    ("opportunism", opportunism::run),
    ("pf_key", klips::pf_key::run),
    ("ranbits", keys::ranbits::run),
    ("rsasigkey", keys::rsasigkey::run),
    ("setup", setup::run),
    ("showdefaults", setup::showdefaults),
    ("showhostkey", keys::showhostkey::run),
    ("spi", klips::spi::run),
    ("spigrp", klips::spigrp::run),
    ("tncfg", klips::tncfg::run),
    ("verify", verify::run),
];

const SHORT_USAGE: &str = "\
Usage: ipsec command argument ...
Use --help for list of commands, or see ipsec(8) manual page
for names of the common ones.
Most have their own manual pages, e.g. ipsec_auto(8).
";

const COPYRIGHT: &str = "\
Linux FreeS/WAN, rebuilt in Rust. Copyright by its contributors.
This program is free software: you can redistribute it and modify it under the terms
of the GNU General Public License, version 2, as published by the Free Software Foundation.
It comes WITHOUT ANY WARRANTY, not even the implied warranty of merchantability or of
fitness for a particular purpose. See the file COPYING for the whole text.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned());
    let Some(command) = args.next() else {
        print(SHORT_USAGE);
        return ExitCode::SUCCESS;
    };
    ExitCode::from(dispatch(&command, args.collect()))
}

/// Writes to standard output; a reader that has gone is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn dispatch(command: &str, args: Vec<String>) -> u8 {
    let paths = Paths::get();
    match command {
        "--help" => print(&help(paths)),
        "version" | "--version" => print(&format!(
            "Linux FreeS/WAN {}\nSee `ipsec --copyright' for copyright information.\n",
            paths::version_code()
        )),
        "--versioncode" => print(&format!("{}\n", paths::version_code())),
        "--copyright" => print(COPYRIGHT),
        "--directory" => print(&format!("{}\n", paths.execdir.display())),
        "--confdir" => print(&format!("{}\n", paths.confs.display())),
        _ if command.starts_with("--") => {
            eprintln!("ipsec: unknown option `{command}' (perhaps command name was omitted?)");
            return 1;
        }
        _ => {
            if let Err(message) = pfkey::client::Home::chosen() {
                eprintln!("ipsec: {message}");
                return 2;
            }
            return match COMMANDS.iter().find(|(name, _)| *name == command) {
                Some((_, run)) => run(args),
                None => external(paths, command, args),
            };
        }
    }
    0
}

/// Becomes the program of that name in the directory of programs that people do not type.
fn external(paths: &Paths, command: &str, args: Vec<String>) -> u8 {
    let program = paths.execdir.join(command);
    if command.contains('/') || !program.is_file() {
        eprintln!("ipsec: unknown IPsec command `{command}' (`ipsec --help' for list)");
        return 1;
    }
    let mut child = Command::new(&program);
    paths.environment(&mut child);
    let error = child.args(args).exec();
    eprintln!("ipsec: cannot run {}: {error}", program.display());
    1
}

fn help(paths: &Paths) -> String {
    let mut names: Vec<String> = COMMANDS
        .iter()
        .map(|(name, _)| (*name).to_string())
        .collect();
    if let Ok(entries) = std::fs::read_dir(&paths.execdir) {
        let found = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok());
        names.extend(found.filter(|n| !n.starts_with('_') && !n.contains('.')));
    }
    names.sort();
    names.dedup();
    let list: String = names.iter().map(|n| format!("\t{n}\n")).collect();
    format!(
        "Usage: ipsec command argument ...\nwhere command is one of:\n{list}\nMost of these have their own manual pages, e.g. ipsec_auto(8).\nSee also the ipsec(8) manual page.\n"
    )
}
