//! Complaints about a configuration: what is wrong, where, and what would be right.

use crate::source::{Source, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, though perhaps not as meant.
    Warning,
    /// What it concerns cannot be used.
    Error,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; none for a file that could not be read or a section that isn't there.
    pub span: Option<Span>,
    /// What stands there, shown beneath it.
    pub label: String,
    /// Another place that matters, with what stands there.
    pub other: Option<(Span, String)>,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(message: impl Into<String>, span: Option<Span>) -> Self {
        let message = message.into();
        Self {
            severity: Severity::Error,
            message,
            span,
            label: String::new(),
            other: None,
            help: None,
        }
    }

    pub(crate) fn warning(message: impl Into<String>, span: Option<Span>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message, span)
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn other(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.other = Some((span.clone(), label.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The complaint with the lines it is about, as a person reads it on a terminal.
pub(crate) fn render(sources: &[Source], diagnostic: &Diagnostic, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&*diagnostic.message));
    let mut marks = Vec::new();
    if let Some(span) = &diagnostic.span {
        marks.push((span, AnnotationKind::Primary, diagnostic.label.as_str()));
    }
    if let Some((span, label)) = &diagnostic.other {
        marks.push((span, AnnotationKind::Context, label.as_str()));
    }
    for (span, kind, label) in marks {
        let Some(source) = sources.get(span.file) else {
            continue;
        };
        let (line, text, within) = source.lines(&span.bytes);
        let mark = if label.is_empty() {
            kind.span(within)
        } else {
            kind.span(within).label(label)
        };
        group = group.element(
            Snippet::source(text)
                .line_start(line)
                .path(&*source.name)
                .annotation(mark),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(&**help));
    }
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group]).to_string()
}

/// The name nearest to a misspelt one, if any is near.
pub(crate) fn nearest<'a>(
    wrong: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    let limit = (wrong.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wrong, &name.to_ascii_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}
