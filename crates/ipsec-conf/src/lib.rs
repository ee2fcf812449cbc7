//! `ipsec.conf` and policy-group files: read with positions, merged, converted, and complained about.
//!
//! Not here: what becomes of a connection (`ipsec auto`), look-ups of names and routes, and secrets (`ipsec-keys`).
//!
//! ```
//! let config = ipsec_conf::Config::parse("ipsec.conf", "conn a\n\tleft=192.0.2.1\n\tright=192.0.2.2\n");
//! let outcome = config.conn("a");
//! assert!(outcome.problems.is_empty() && outcome.value.is_some());
//! ```

mod clash;
mod conn;
mod diagnostic;
mod document;
pub mod implicit;
pub mod keyword;
pub mod policy;
mod scan;
mod settings;
mod setup;
mod source;
pub mod value;

pub use clash::clashes;
pub use conn::{Auto, Conn, ConnType, End, Esn, FailureShunt, Side};
pub use diagnostic::{Diagnostic, Severity};
pub use policy::PolicyGroup;
pub use settings::{Setting, Settings};
pub use setup::{Interface, RpFilter, Selection, Setup};
pub use source::{Place, Span};
pub use value::{Host, NextHop, RsaKey};

use document::{Document, Loader};
use keyword::SectionKind;
use std::path::Path;

/// Which grammar and which defaults a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.x: no version line; `authby=secret`, `keyingtries=3`, `uniqueids=no`.
    V1,
    /// `version 2`: `authby=rsasig`, `keyingtries=%forever`, `uniqueids=yes`.
    V2,
}

/// A value with what is to be said about it. There is no value if a problem is an error.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The value, if it is usable.
    pub value: Option<T>,
    /// Errors and warnings, in the order in which they were found.
    pub problems: Vec<Diagnostic>,
}

impl<T> Outcome<T> {
    fn new(value: Option<T>, problems: Vec<Diagnostic>) -> Self {
        let usable = !problems.iter().any(Diagnostic::is_error);
        Self {
            value: value.filter(|_| usable),
            problems,
        }
    }
}

/// A configuration that was read. Reading never fails; what is wrong is told when it is used.
#[derive(Debug)]
pub struct Config {
    document: Document,
}

impl Config {
    /// Reads a file and its includes.
    pub fn load(path: &Path) -> Self {
        let mut loader = Loader::new(true);
        loader.file(path, 0, None);
        implicit::supply(&mut loader);
        Self {
            document: loader.document,
        }
    }

    /// Reads a file without following includes, for `ipsec auto --noinclude`.
    pub fn load_without_includes(path: &Path) -> Self {
        let mut config = Self::load_alone(path);
        config
            .document
            .problems
            .retain(|p| !p.message.starts_with("include is not possible"));
        config
    }

    fn load_alone(path: &Path) -> Self {
        let mut loader = Loader::new(false);
        loader.file(path, 0, None);
        implicit::supply(&mut loader);
        Self {
            document: loader.document,
        }
    }

    /// Reads a text called `name` in messages; it may not include anything.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut loader = Loader::new(false);
        loader.text(name.to_string(), text.to_string(), 0);
        implicit::supply(&mut loader);
        Self {
            document: loader.document,
        }
    }

    /// 1.x or 2.
    pub fn version(&self) -> Version {
        if self.document.version.is_some() {
            Version::V2
        } else {
            Version::V1
        }
    }

    /// What concerns the files as such. If one is an error, no section can be used.
    pub fn problems(&self) -> &[Diagnostic] {
        &self.document.problems
    }

    /// Names of the connections, in the order of the file, without `%default` and the implicit ones.
    pub fn conn_names(&self) -> impl Iterator<Item = &str> {
        let sections = self.document.sections.iter().enumerate();
        sections
            .filter(|(i, _)| !self.document.implicit.contains(i))
            .filter(|(i, s)| self.document.index.get(&(s.kind, s.name.clone())) == Some(i))
            .filter(|(_, s)| s.kind == SectionKind::Conn)
            .map(|(_, s)| s.name.as_str())
    }

    /// Names of the implicit connections (see [`implicit`]) in whose place the file has none.
    pub fn implicit_names(&self) -> impl Iterator<Item = &str> {
        let sections = &self.document.sections[self.document.implicit.clone()];
        sections.iter().map(|section| section.name.as_str())
    }

    /// The merged parameters of a connection.
    pub fn conn_settings(&self, name: &str) -> Outcome<Settings> {
        self.settings(SectionKind::Conn, name)
    }

    /// The merged parameters of `config setup`.
    pub fn setup_settings(&self) -> Outcome<Settings> {
        self.settings(SectionKind::Config, "setup")
    }

    fn settings(&self, kind: SectionKind, name: &str) -> Outcome<Settings> {
        let mut problems: Vec<Diagnostic> = self
            .document
            .problems
            .iter()
            .filter(|p| p.is_error())
            .cloned()
            .collect();
        if !problems.is_empty() {
            return Outcome::new(None, problems);
        }
        let (settings, more) = settings::merge(&self.document, kind, name);
        problems.extend(more);
        Outcome::new(settings, problems)
    }

    /// A connection.
    pub fn conn(&self, name: &str) -> Outcome<Conn> {
        self.convert(self.conn_settings(name), conn::convert)
    }

    /// What `config setup` says; all defaults if there is no such section.
    pub fn setup(&self) -> Outcome<Setup> {
        if !self
            .document
            .index
            .contains_key(&(SectionKind::Config, "setup".into()))
        {
            let empty = match self.version() {
                Version::V1 => "config setup\n",
                Version::V2 => "version 2\nconfig setup\n",
            };
            let mut outcome = Config::parse("", empty).setup();
            let errors: Vec<_> = self
                .document
                .problems
                .iter()
                .filter(|p| p.is_error())
                .cloned()
                .collect();
            outcome = Outcome::new(outcome.value, errors);
            return outcome;
        }
        self.convert(self.setup_settings(), setup::convert)
    }

    fn convert<T>(
        &self,
        settings: Outcome<Settings>,
        convert: fn(&Settings, Version) -> (T, Vec<Diagnostic>),
    ) -> Outcome<T> {
        let mut problems = settings.problems;
        let Some(settings) = settings.value else {
            return Outcome {
                value: None,
                problems,
            };
        };
        let (value, more) = convert(&settings, self.version());
        problems.extend(more);
        Outcome::new(Some(value), problems)
    }

    /// Connections with their `auto=`, in the order of the file. Those that cannot be merged are left out;
    /// [`Config::conn`] tells why.
    pub fn autos(&self) -> Vec<(&str, Auto)> {
        let auto = |name: &str| {
            let (settings, _) = settings::merge(&self.document, SectionKind::Conn, name);
            Some(conn::auto(settings?.get("auto").map(|s| s.value.as_str())))
        };
        self.conn_names()
            .filter_map(|name| Some((name, auto(name)?)))
            .collect()
    }

    /// A complaint with the lines it is about.
    pub fn render(&self, problem: &Diagnostic, colour: bool) -> String {
        diagnostic::render(&self.document.sources, problem, colour)
    }

    /// Where a span starts.
    pub fn place(&self, span: &Span) -> Option<Place<'_>> {
        self.document
            .sources
            .get(span.file)
            .map(|s| s.place(span.bytes.start))
    }
}

/// Reads any bytes as a configuration and uses all of it; for fuzzing.
pub fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let config = Config::parse("fuzz", &text);
    let mut problems = config.problems().to_vec();
    problems.extend(config.setup().problems);
    let names: Vec<&str> = config.conn_names().collect();
    let outcomes: Vec<_> = names.iter().map(|name| config.conn(name)).collect();
    let conns: Vec<&Conn> = outcomes.iter().filter_map(|o| o.value.as_ref()).collect();
    problems.extend(clashes(conns));
    problems.extend(outcomes.iter().flat_map(|o| o.problems.clone()));
    // Enough to reach every kind of rendering; a large input may have millions.
    for problem in problems.iter().take(64) {
        let _ = config.render(problem, false);
    }
    let group = PolicyGroup::parse("fuzz", &text);
    for problem in group.problems.iter().take(8) {
        let _ = group.render(problem, false);
    }
}
