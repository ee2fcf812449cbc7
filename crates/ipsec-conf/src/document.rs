//! The sections of a configuration with all its includes, before anything is merged or converted.

use crate::diagnostic::{Diagnostic, nearest};
use crate::keyword::{self, SectionKind, Status};
use crate::scan::{Line, is_section_name, scan};
use crate::source::{Source, Span};
use core::ops::Range;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAX_INCLUDE_DEPTH: usize = 20;
const MAX_FILES: usize = 10_000;
const MAX_FILE_BYTES: u64 = 64 << 20;

/// `name=value` as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub name: String,
    pub value: String,
    pub name_span: Span,
    pub value_span: Span,
}

/// One section as it stands.
#[derive(Debug)]
pub(crate) struct Section {
    pub kind: SectionKind,
    pub name: String,
    pub header: Span,
    pub params: Vec<Param>,
    /// What makes this section, and those that refer to it, unusable; and warnings.
    pub problems: Vec<Diagnostic>,
}

/// All sections of all files.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub sources: Vec<Source>,
    pub sections: Vec<Section>,
    pub index: HashMap<(SectionKind, String), usize>,
    /// The `%default` sections.
    pub defaults: Vec<usize>,
    /// What concerns no single section.
    pub problems: Vec<Diagnostic>,
    pub version: Option<Span>,
    /// The sections that no file has written.
    pub implicit: Range<usize>,
}

/// Reads texts into a document.
pub(crate) struct Loader {
    pub document: Document,
    current: Current,
    includes: bool,
}

#[derive(Clone, Copy)]
enum Current {
    /// Parameters go into this section.
    In(usize),
    /// A header was bad and has been complained about: its parameters are passed over.
    Skip,
    /// No section is open; the one that a blank line ended, if any.
    Ended(Option<usize>),
}

impl Loader {
    pub fn new(includes: bool) -> Self {
        Self {
            document: Document::default(),
            current: Current::Ended(None),
            includes,
        }
    }

    pub fn file(&mut self, path: &Path, depth: usize, from: Option<Span>) {
        let name = path.to_string_lossy().into_owned();
        if depth > MAX_INCLUDE_DEPTH || self.document.sources.len() >= MAX_FILES {
            let help =
                format!("includes may nest {MAX_INCLUDE_DEPTH} deep; does a file include itself?");
            let error = Diagnostic::error(format!("{name} is not read: too many includes"), from)
                .help(help);
            return self.document.problems.push(error);
        }
        match contents(path) {
            Ok(text) => self.text(name, text, depth),
            Err(error) => {
                let error = Diagnostic::error(format!("cannot read {name}: {error}"), from);
                self.document.problems.push(error);
            }
        }
    }

    pub fn text(&mut self, name: String, text: String, depth: usize) {
        let file = self.document.sources.len();
        let mut lines = Vec::new();
        scan(&text, |line| lines.push(line));
        self.document.sources.push(Source::new(name, text));
        self.current = Current::Ended(None);
        for line in lines {
            self.line(file, line, depth);
        }
        self.current = Current::Ended(None);
    }

    fn slice(&self, span: &Span) -> &str {
        let text = self
            .document
            .sources
            .get(span.file)
            .map_or("", |s| s.text.as_str());
        text.get(span.bytes.clone()).unwrap_or("")
    }

    fn line(&mut self, file: usize, line: Line, depth: usize) {
        let span = |bytes: &Range<usize>| Span {
            file,
            bytes: bytes.clone(),
        };
        match line {
            Line::Nothing => {}
            Line::Break => {
                if let Current::In(section) = self.current {
                    self.current = Current::Ended(Some(section));
                } else if matches!(self.current, Current::Skip) {
                    self.current = Current::Ended(None);
                }
            }
            Line::Include(words) => self.include(words.iter().map(span).collect(), depth),
            Line::Header(words) => self.header(words.iter().map(span).collect()),
            Line::Param { name, value } => self.param(span(&name), span(&value)),
            Line::Bad { at, message, help } => {
                let error = Diagnostic::error(message, Some(span(&at))).help(help);
                self.complain(error);
            }
        }
    }

    /// Files a complaint with the open section, or with the whole document.
    fn complain(&mut self, error: Diagnostic) {
        match self.current {
            Current::In(section) => self.document.sections[section].problems.push(error),
            Current::Skip => {}
            Current::Ended(_) => self.document.problems.push(error),
        }
    }

    fn header(&mut self, words: Vec<Span>) {
        self.current = Current::Skip;
        let texts: Vec<String> = words.iter().map(|w| self.slice(w).to_string()).collect();
        let whole = match (words.first(), words.last()) {
            (Some(first), Some(last)) => Span {
                file: first.file,
                bytes: first.bytes.start..last.bytes.end,
            },
            _ => return,
        };
        let error = match texts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["version", number] => match self.version(number, &words[1]) {
                None => return,
                Some(error) => error,
            },
            ["config", "setup" | "%default"] | ["conn", _] => {
                let kind = if texts[0] == "conn" {
                    SectionKind::Conn
                } else {
                    SectionKind::Config
                };
                return self.section(kind, &texts[1], whole);
            }
            ["config", name] => Diagnostic::error(
                format!("unknown config section \"{name}\""),
                Some(words[1].clone()),
            )
            .help("the only one is \"config setup\""),
            ["conn" | "config" | "version", ..] => {
                Diagnostic::error("a section header has two words", Some(whole))
                    .help("conn NAME, config setup, or version 2")
            }
            [word, ..] => {
                let help = match (
                    nearest(word, ["conn", "config", "version", "include"]),
                    word.contains('='),
                ) {
                    (_, true) => "a parameter must be indented".to_string(),
                    (Some(near), _) => format!("did you mean \"{near}\"?"),
                    _ => "a line at the left margin starts with conn, config, version or include"
                        .to_string(),
                };
                Diagnostic::error(
                    format!("unknown section type \"{word}\""),
                    Some(words[0].clone()),
                )
                .help(help)
            }
            [] => return,
        };
        self.document.problems.push(error);
    }

    fn version(&mut self, number: &str, span: &Span) -> Option<Diagnostic> {
        if !matches!(number, "2" | "2.0") {
            return Some(
                Diagnostic::error(format!("unknown version \"{number}\""), Some(span.clone()))
                    .help("write \"version 2\"; files of 1.x have no such line"),
            );
        }
        if let Some(section) = self
            .document
            .sections
            .first()
            .filter(|_| self.document.version.is_none())
        {
            return Some(
                Diagnostic::error("version after a section", Some(span.clone()))
                    .other(&section.header, "this section is read as 1.x")
                    .help("move the version line to the top of the file"),
            );
        }
        self.document.version.get_or_insert_with(|| span.clone());
        None
    }

    fn section(&mut self, kind: SectionKind, name: &str, header: Span) {
        let document = &mut self.document;
        let default = name == "%default";
        if !default && !is_section_name(name) {
            let error = Diagnostic::error(format!("bad section name \"{name}\""), Some(header))
                .help("a name starts with a letter and has letters, digits, . _ and - only");
            return document.problems.push(error);
        }
        let number = document.sections.len();
        let mut problems = Vec::new();
        if default {
            if let Some(other) = document
                .sections
                .iter()
                .find(|s| s.kind == kind && s.name != "%default")
            {
                problems.push(
                    Diagnostic::error(
                        "%default comes after a section of its kind",
                        Some(header.clone()),
                    )
                    .other(&other.header, "this one stands before it")
                    .help("put %default sections first"),
                );
            }
            document.defaults.push(number);
        } else if let Some(first) = document.index.get(&(kind, name.to_string())).copied() {
            let other = document.sections[first].header.clone();
            let error = Diagnostic::error(
                format!("duplicate section \"{name}\""),
                Some(header.clone()),
            )
            .other(&other, "first one is here")
            .help("rename or remove one of them");
            document.sections[first].problems.push(error);
        } else {
            document.index.insert((kind, name.to_string()), number);
        }
        document.sections.push(Section {
            kind,
            name: name.to_string(),
            header,
            params: Vec::new(),
            problems,
        });
        self.current = Current::In(number);
    }

    fn param(&mut self, name_span: Span, value_span: Span) {
        let number = match self.current {
            Current::In(number) => number,
            Current::Skip => return,
            Current::Ended(before) => return self.stray(before, name_span),
        };
        let param = Param {
            name: self.slice(&name_span).to_string(),
            value: self.slice(&value_span).to_string(),
            name_span,
            value_span,
        };
        let section = &mut self.document.sections[number];
        if let Some(problem) = check_name(section, &param) {
            let error = problem.is_error();
            section.problems.push(problem);
            if error {
                return;
            }
        }
        section.params.push(param);
    }

    fn stray(&mut self, before: Option<usize>, name_span: Span) {
        let mut error = Diagnostic::error("parameter is not within a section", Some(name_span));
        error = match before.map(|b| &self.document.sections[b]) {
            Some(section) => error
                .other(
                    &section.header,
                    "an empty line or an unindented comment ended this section",
                )
                .help("remove the empty line, or indent the comment"),
            None => error.help("put it below a line \"conn NAME\" or \"config setup\""),
        };
        self.document.problems.push(error);
        self.current = Current::Skip;
    }

    fn include(&mut self, words: Vec<Span>, depth: usize) {
        self.current = Current::Ended(None);
        let [_, pattern] = &words[..] else {
            let error = Diagnostic::error("include takes one file name", words.first().cloned())
                .help("include /etc/ipsec.d/*.conf");
            return self.document.problems.push(error);
        };
        if !self.includes {
            let error = Diagnostic::error("include is not possible here", Some(pattern.clone()));
            return self.document.problems.push(error);
        }
        let name = &self.document.sources[pattern.file].name;
        let full = Path::new(name)
            .parent()
            .unwrap_or(Path::new(""))
            .join(self.slice(pattern));
        let found: Vec<PathBuf> = match glob::glob(&full.to_string_lossy()) {
            Ok(paths) => paths.filter_map(Result::ok).collect(),
            Err(error) => {
                let error =
                    Diagnostic::error(format!("bad pattern: {error}"), Some(pattern.clone()));
                return self.document.problems.push(error);
            }
        };
        if found.is_empty() {
            let message = format!("no file matches {}", full.display());
            let wild = self.slice(pattern).contains(['*', '?', '[']);
            let make = if wild {
                Diagnostic::warning
            } else {
                Diagnostic::error
            };
            self.document
                .problems
                .push(make(message, Some(pattern.clone())));
        }
        for path in found {
            self.file(&path, depth + 1, Some(pattern.clone()));
        }
    }
}

fn contents(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "longer than {MAX_FILE_BYTES} bytes"
        )));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file)
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn check_name(section: &Section, param: &Param) -> Option<Diagnostic> {
    let name = &param.name;
    if keyword::is_private(name) {
        return None;
    }
    let Some(found) = keyword::find(section.kind, name) else {
        let names = keyword::names(section.kind);
        let near = nearest(name, names.iter().map(String::as_str));
        let other = match section.kind {
            SectionKind::Conn => SectionKind::Config,
            SectionKind::Config => SectionKind::Conn,
        };
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if keyword::find(other, name).is_some() => match other {
                SectionKind::Config => "it belongs into \"config setup\"".into(),
                SectionKind::Conn => "it belongs into a conn section".into(),
            },
            None => "see ipsec.conf(5) for the names; those of your own start with x-".into(),
        };
        return Some(
            Diagnostic::error(
                format!("unknown parameter \"{name}\""),
                Some(param.name_span.clone()),
            )
            .help(help),
        );
    };
    let is_also = matches!(name.as_str(), "also" | "alsoflip");
    if is_also && section.name == "%default" {
        let error = Diagnostic::error(
            format!("%default may not contain \"{name}\""),
            Some(param.name_span.clone()),
        );
        return Some(error.help("write it in the sections that need it"));
    }
    if let Some(first) = section
        .params
        .iter()
        .find(|p| p.name == *name)
        .filter(|_| !is_also)
    {
        return Some(
            Diagnostic::error(
                format!("duplicate parameter \"{name}\""),
                Some(param.name_span.clone()),
            )
            .other(&first.name_span, "first one is here")
            .help("remove one of them"),
        );
    }
    if let Status::Obsolete(why) = found.status {
        let warning = Diagnostic::warning(
            format!("\"{name}\" is obsolete and ignored"),
            Some(param.name_span.clone()),
        );
        return Some(warning.help(why));
    }
    None
}
