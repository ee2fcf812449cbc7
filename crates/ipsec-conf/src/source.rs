//! The texts that were read, and positions in them.

use core::ops::Range;

/// A stretch of one text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub(crate) file: usize,
    pub(crate) bytes: Range<usize>,
}

/// Where a span starts: file, line and column, both from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Path as given, or as an include made it.
    pub file: &'a str,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl core::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One text with its name.
#[derive(Debug)]
pub(crate) struct Source {
    pub name: String,
    pub text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub fn new(name: String, text: String) -> Self {
        let line_starts = core::iter::once(0)
            .chain(text.match_indices('\n').map(|(i, _)| i + 1))
            .collect();
        Self {
            name,
            text,
            line_starts,
        }
    }

    /// Index of the line that holds a byte offset.
    fn line_index(&self, offset: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    fn line_start(&self, index: usize) -> usize {
        self.line_starts
            .get(index)
            .copied()
            .unwrap_or(self.text.len())
    }

    pub fn place(&self, offset: usize) -> Place<'_> {
        let index = self.line_index(offset);
        let before = self.text.get(self.line_start(index)..offset).unwrap_or("");
        Place {
            file: &self.name,
            line: index + 1,
            column: before.chars().count() + 1,
        }
    }

    /// The lines that a span touches: the first one's number, their text, and the span within it.
    pub fn lines(&self, bytes: &Range<usize>) -> (usize, &str, Range<usize>) {
        let first = self.line_index(bytes.start);
        let last = self.line_index(bytes.end.max(bytes.start));
        let start = self.line_start(first);
        let text = self
            .text
            .get(start..self.line_start(last + 1))
            .unwrap_or("");
        (
            first + 1,
            text,
            bytes.start - start..bytes.end.max(bytes.start) - start,
        )
    }
}
