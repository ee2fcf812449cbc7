//! ipsec.conf(5) and the table of keywords say the same.

use ipsec_conf::Config;
use ipsec_conf::keyword::{self, KEYWORDS, Keyword, SectionKind, Status};
use std::collections::BTreeMap;

/// A page's paragraphs about parameters: each name that stands at a head, with the paragraph's text.
fn paragraphs(part: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut head = false;
    for line in part.lines() {
        if line.starts_with('.') && [".TP", ".SS", ".SH", ".PP"].contains(&&line[..3]) {
            names.clear();
            head = line.starts_with(".TP");
        } else if head {
            names = words(line).filter(|w| !w.starts_with('.')).collect();
            head = false;
            found.extend(names.iter().map(|n| (n.clone(), String::new())));
        } else {
            for name in &names {
                let text = found.entry(name.clone()).or_default();
                text.push_str(line);
                text.push(' ');
            }
        }
    }
    found
}

/// The words of a line without roff's requests, fonts and quotes.
fn words(line: &str) -> impl Iterator<Item = String> {
    let plain = line
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "")
        .replace("\\-", "-")
        .replace(['"', ',', ';', '*', '(', ')', '='], " ");
    let plain: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
    plain.into_iter()
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/ipsec.conf.5");
    std::fs::read_to_string(path).unwrap()
}

/// The page's part about a kind of section.
fn part(page: &str, section: SectionKind) -> &str {
    let title = match section {
        SectionKind::Conn => ".SH \"CONN SECTIONS\"",
        SectionKind::Config => ".SH \"CONFIG SETUP\"",
    };
    let rest = &page[page.find(title).unwrap() + 3..];
    &rest[..rest.find(".SH ").unwrap_or(rest.len())]
}

fn written(keyword: &Keyword) -> String {
    let side = if keyword.sided { "left" } else { "" };
    format!("{side}{}", keyword.name)
}

#[test]
fn every_keyword_is_described_with_its_default() {
    let page = page();
    let mut wrong = Vec::new();
    for k in KEYWORDS {
        let name = written(k);
        // also= and alsoflip= are told where the form of the file is; _plutodevel is for those who read the source.
        if name.starts_with("also") || name.starts_with('_') {
            continue;
        }
        let part = part(&page, k.section);
        if k.status != Status::Active {
            if !part.lines().flat_map(words).any(|word| word == name) {
                wrong.push(format!("lacks {name}"));
            }
            continue;
        }
        match paragraphs(part).get(&name) {
            None => wrong.push(format!("does not describe {name}")),
            Some(_) if k.default.is_empty() => {}
            Some(text) => {
                let said: Vec<String> = words(text).collect();
                let mut needed = k.default.split(' ').chain(["default"]);
                if !needed.all(|word| said.iter().any(|s| s.trim_end_matches(['.', ':']) == word)) {
                    wrong.push(format!(
                        "does not say that {name} is {} by default: {text}",
                        k.default
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "ipsec.conf(5)\n{}", wrong.join("\n"));
}

/// A section's parameters that have a default, with it.
fn defaults(section: SectionKind) -> String {
    let all = KEYWORDS
        .iter()
        .filter(|k| k.section == section && !k.default.is_empty());
    all.map(|k| format!("\t{}=\"{}\"\n", written(k), k.default))
        .collect()
}

#[test]
fn the_defaults_of_the_table_are_those_that_hold() {
    let ends = "version 2\nconn a\n\tleft=192.0.2.1\n\tleftid=@a\n\tright=192.0.2.2\n";
    let conn = |text: &str| {
        let outcome = Config::parse("f", text).conn("a");
        outcome
            .value
            .unwrap_or_else(|| panic!("{:?}", outcome.problems))
    };
    let (said, mut silent) = (
        conn(&format!("{ends}{}", defaults(SectionKind::Conn))),
        conn(ends),
    );
    silent.settings = said.settings.clone();
    assert_eq!(format!("{said:#?}"), format!("{silent:#?}"));

    let setup = |text: &str| Config::parse("f", text).setup().value.unwrap();
    let head = "version 2\nconfig setup\n";
    let (said, silent) = (
        setup(&format!("{head}{}", defaults(SectionKind::Config))),
        setup(head),
    );
    assert_eq!(format!("{said:#?}"), format!("{silent:#?}"));
}

#[test]
fn every_parameter_that_is_described_is_one() {
    let page = page();
    for section in [SectionKind::Conn, SectionKind::Config] {
        for name in paragraphs(part(&page, section)).keys() {
            assert!(keyword::find(section, name).is_some(), "there is no {name}");
        }
    }
}
