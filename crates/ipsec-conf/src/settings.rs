//! One section with everything that `also=`, `alsoflip=` and `%default` add to it.

use crate::diagnostic::{Diagnostic, nearest};
use crate::document::{Document, Param, Section};
use crate::keyword::{self, SectionKind, Status};
use crate::scan::is_section_name;
use crate::source::Span;
use std::collections::{BTreeMap, HashSet};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value without quotes, never empty.
    pub value: String,
    /// Where the value stands.
    pub span: Span,
    /// Where the name stands.
    pub name_span: Span,
}

/// The parameters of a section, merged. Names are as in the file, flipped where `alsoflip=` says so.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the section.
    pub name: String,
    /// Where its header stands.
    pub header: Span,
    map: BTreeMap<String, Setting>,
}

impl Settings {
    /// A parameter that is given and not empty.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.map.get(name)
    }

    /// All parameters that are given, by name; without `also`, obsolete ones and those of users (`x-…`).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.map
            .iter()
            .map(|(name, setting)| (name.as_str(), setting))
    }
}

/// What `also=` gathers.
struct Gathered {
    params: Vec<(String, Param)>,
    problems: Vec<Diagnostic>,
    seen: HashSet<usize>,
}

/// Merges a section. Problems of every section it takes part of are reported too.
pub(crate) fn merge(
    document: &Document,
    kind: SectionKind,
    name: &str,
) -> (Option<Settings>, Vec<Diagnostic>) {
    let Some(&number) = document.index.get(&(kind, name.to_string())) else {
        let what = match kind {
            SectionKind::Conn => format!("no conn section named \"{name}\""),
            SectionKind::Config => format!("no config section named \"{name}\""),
        };
        let error = Diagnostic::error(what, None).help_if(known_names(document, kind, name));
        return (None, vec![error]);
    };
    let mut gathered = Gathered {
        params: Vec::new(),
        problems: Vec::new(),
        seen: HashSet::from([number]),
    };
    gather(document, number, &mut gathered);
    let mut map = BTreeMap::new();
    let mut emptied = HashSet::new();
    for (name, param) in gathered.params {
        put(&mut map, &mut emptied, name, &param, &mut gathered.problems);
    }
    if !document.implicit.contains(&number) {
        add_defaults(document, kind, &mut map, &emptied, &mut gathered.problems);
    }
    refuse_unsupported(kind, &map, &mut gathered.problems);
    let header = document.sections[number].header.clone();
    (
        Some(Settings {
            name: name.to_string(),
            header,
            map,
        }),
        gathered.problems,
    )
}

/// Sections still to be taken, kept in a list of its own: `also=` may nest as deep as a file is long.
fn gather(document: &Document, first: usize, gathered: &mut Gathered) {
    let mut todo = vec![(first, false)];
    while let Some((number, flipped)) = todo.pop() {
        let section = &document.sections[number];
        gathered.problems.extend(section.problems.iter().cloned());
        let mut wanted = Vec::new();
        for param in &section.params {
            match param.name.as_str() {
                "also" | "alsoflip" => {
                    let found = target(document, section, param, gathered);
                    wanted.extend(found.map(|n| (n, flipped != (param.name == "alsoflip"))));
                }
                name => gathered.params.push((orient(name, flipped), param.clone())),
            }
        }
        todo.extend(wanted.into_iter().rev());
    }
}

fn target(
    document: &Document,
    section: &Section,
    param: &Param,
    gathered: &mut Gathered,
) -> Option<usize> {
    let name = &param.value;
    let Gathered { problems, seen, .. } = gathered;
    let mut fail = |error| {
        problems.push(error);
        None
    };
    if name.is_empty() {
        return None;
    }
    let span = Some(param.value_span.clone());
    if !is_section_name(name) {
        return fail(
            Diagnostic::error(format!("bad section name \"{name}\""), span)
                .help("one name an also= line; several lines for several sections"),
        );
    }
    let Some(&number) = document.index.get(&(section.kind, name.clone())) else {
        return fail(
            Diagnostic::error(
                format!("also= asks for section \"{name}\", which does not exist"),
                span,
            )
            .help_if(known_names(document, section.kind, name)),
        );
    };
    if !seen.insert(number) {
        let header = &document.sections[number].header;
        return fail(Diagnostic::error(
            format!("also= takes section \"{name}\" a second time"),
            span,
        )
        .other(header, "this section")
        .help(
            "a section may be appended once, and never to itself; remove one of the also= lines",
        ));
    }
    Some(number)
}

/// The nearest name, or some of those that exist.
fn known_names(document: &Document, kind: SectionKind, wrong: &str) -> Option<String> {
    const SHOWN: usize = 8;
    let names = || {
        document
            .sections
            .iter()
            .filter(move |s| s.kind == kind && s.name != "%default")
            .map(|s| s.name.as_str())
    };
    if let Some(near) = nearest(wrong, names()) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    let shown: Vec<&str> = names().take(SHOWN).collect();
    let more = if names().count() > SHOWN { ", …" } else { "" };
    Some(if shown.is_empty() {
        "there are none".into()
    } else {
        format!("there are: {}{more}", shown.join(", "))
    })
}

fn orient(name: &str, flipped: bool) -> String {
    match (
        flipped,
        name.strip_prefix("left"),
        name.strip_prefix("right"),
    ) {
        (true, Some(rest), _) => format!("right{rest}"),
        (true, _, Some(rest)) => format!("left{rest}"),
        _ => name.to_string(),
    }
}

/// What asks for trust that can't be given must not be passed over: another kind of trust would stand in its place.
fn refuse_unsupported(
    kind: SectionKind,
    map: &BTreeMap<String, Setting>,
    problems: &mut Vec<Diagnostic>,
) {
    for (name, setting) in map {
        if let Some(Status::Unsupported(why)) = keyword::find(kind, name).map(|k| k.status) {
            let message = format!("\"{name}\" asks for certificates, which are not supported yet");
            problems.push(Diagnostic::error(message, Some(setting.name_span.clone())).help(why));
        }
    }
}

fn ignored(name: &str, kind: SectionKind) -> bool {
    keyword::find(kind, name).is_none_or(|k| matches!(k.status, Status::Obsolete(_)))
}

fn put(
    map: &mut BTreeMap<String, Setting>,
    emptied: &mut HashSet<String>,
    name: String,
    param: &Param,
    problems: &mut Vec<Diagnostic>,
) {
    if let Some(first) = map.get(&name) {
        // Within one section this has been told when it was read.
        problems.push(
            Diagnostic::error(
                format!("duplicate parameter \"{name}\", brought in by also="),
                Some(param.name_span.clone()),
            )
            .other(&first.name_span, "first one is here")
            .help("remove one of them, or keep it out of the section that also= names"),
        );
    } else if param.value.is_empty() {
        emptied.insert(name);
    } else {
        map.insert(name, setting(param));
    }
}

fn setting(param: &Param) -> Setting {
    Setting {
        value: param.value.clone(),
        span: param.value_span.clone(),
        name_span: param.name_span.clone(),
    }
}

fn add_defaults(
    document: &Document,
    kind: SectionKind,
    map: &mut BTreeMap<String, Setting>,
    emptied: &HashSet<String>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut defaults: BTreeMap<&str, &Param> = BTreeMap::new();
    for section in document
        .defaults
        .iter()
        .map(|&n| &document.sections[n])
        .filter(|s| s.kind == kind)
    {
        problems.extend(section.problems.iter().cloned());
        for param in &section.params {
            if let Some(first) = defaults.insert(&param.name, param) {
                problems.push(
                    Diagnostic::error(
                        format!("duplicate default \"{}\"", param.name),
                        Some(param.name_span.clone()),
                    )
                    .other(&first.name_span, "first one is here")
                    .help("one %default section may give it"),
                );
            }
        }
    }
    for (name, param) in defaults {
        if !param.value.is_empty() && !emptied.contains(name) {
            map.entry(name.to_string())
                .or_insert_with(|| setting(param));
        }
    }
    map.retain(|name, _| !ignored(name, kind));
}
