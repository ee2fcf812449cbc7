//! The manual pages, `--help` and the programs themselves name the same options; ipsec.conf(5) names every keyword.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use testing::{Host, Testbed};

/// Options that every program has, named or not.
const EVERYWHERE: [&str; 2] = ["--help", "--version"];

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../man")
        .join(name)
}

/// A manual page without its font changes; what a dot begins is still a request.
fn source(name: &str) -> String {
    let text = fs::read_to_string(page(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\\f") {
        plain.push_str(&rest[..at]);
        rest = rest.get(at + 3..).unwrap_or("");
    }
    plain.push_str(rest);
    plain.replace("\\-", "-")
}

/// Every `--option` in a text; `--{a|b}` is two.
fn options(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("--") {
        let follows = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        if text[..at].ends_with(follows) {
            continue;
        }
        let rest = &text[at + 2..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or("").split('|').collect(),
            None => vec![rest],
        };
        for name in names.iter().map(|n| n.trim_start_matches('-')) {
            let end = name.find(|c| !follows(c)).unwrap_or(name.len());
            if name.starts_with(char::is_alphabetic) {
                found.insert(format!("--{}", &name[..end]));
            }
        }
    }
    found
}

/// The options that a page is about: those in its synopsis and at the heads of its paragraphs.
fn described(page: &str) -> BTreeSet<String> {
    let mut about = String::new();
    let (mut synopsis, mut head) = (false, false);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix(".SH ") {
            synopsis = title == "SYNOPSIS";
        }
        if synopsis || head {
            about.push_str(line);
            about.push('\n');
        }
        head = line.starts_with(".TP");
    }
    options(&about)
}

/// `--debug-class` of a page stands for all classes, each of which it must name.
fn debug_class<'a>(option: &'a str, page: &str) -> Option<&'a str> {
    let class = option.strip_prefix("--debug-")?;
    let named = page
        .split(|c: char| !c.is_alphanumeric())
        .any(|w| w == class);
    (named && page.contains("--debug-class")).then_some(class)
}

/// The pages of commands, as `eroute`.
fn commands() -> Vec<String> {
    let pages = fs::read_dir(page("")).expect("man/ can be read");
    let mut names: Vec<String> = pages
        .filter_map(|p| {
            let name = p.expect("an entry can be read").file_name();
            let name = name.to_string_lossy();
            Some(name.strip_prefix("ipsec_")?.strip_suffix(".8")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn pages_and_help_name_the_same_options() {
    let testbed = Testbed::new();
    let host = testbed.host("west");
    let mut wrong = Vec::new();
    for command in commands() {
        let page = source(&format!("ipsec_{command}.8"));
        let help = host.run(&format!("ipsec {command} --help")).ok();
        let helped = options(&format!("{}{}", help.stdout, help.stderr));
        assert!(!help.stdout.is_empty(), "{help}");
        let in_page = options(&page);
        for option in &helped {
            if !EVERYWHERE.contains(&option.as_str())
                && !in_page.contains(option)
                && debug_class(option, &page).is_none()
            {
                wrong.push(format!("ipsec_{command}(8) lacks {option} of its --help"));
            }
        }
        for option in described(&page) {
            if !EVERYWHERE.contains(&option.as_str())
                && !helped.contains(&option)
                && option != "--debug-class"
            {
                wrong.push(format!(
                    "`ipsec {command} --help' lacks {option} of its page"
                ));
            }
        }
        known(&host, &command, &helped, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Asks the program whether it knows the options: what it does not know it calls by one of these.
fn known(host: &Host, command: &str, options: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let unknown = |option: &str| {
        let said = host.run(&format!(
            "cd /run && timeout 5 ipsec {command} {option} </dev/null"
        ));
        ["unexpected argument '", "option `", "unrecognized option "]
            .iter()
            .any(|words| said.stderr.contains(&format!("{words}{option}")))
    };
    assert!(unknown("--no-such-option"), "{command}");
    for option in options {
        // The options of the daemons would start them for good.
        if !["pluto", "klipsd"].contains(&command) && unknown(option) {
            wrong.push(format!("ipsec {command} does not know {option}"));
        }
    }
}

#[test]
fn every_command_has_a_page_and_every_page_is_listed() {
    let testbed = Testbed::new();
    let host = testbed.host("west");
    let help = host.run("ipsec --help").ok();
    let listed: Vec<&str> = help.lines().filter_map(|l| l.strip_prefix('\t')).collect();
    assert_eq!(listed, commands());
    let overview = source("ipsec.8");
    for command in listed {
        let named = overview
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == command || word.strip_prefix("ipsec_") == Some(command));
        assert!(named, "ipsec(8) lacks {command}");
    }
}
