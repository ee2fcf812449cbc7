//! One text into its lines: section headers, parameters, includes and blanks. See ipsec.conf(5) for the syntax.

use core::ops::Range;

/// What a line is. Ranges are byte offsets into the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Empty, or a comment at the left margin: ends a section.
    Break,
    /// Blanks only, or an indented comment: no meaning.
    Nothing,
    /// An unindented line, its words.
    Header(Vec<Range<usize>>),
    /// `include PATTERN`: its words, the first of which is `include`.
    Include(Vec<Range<usize>>),
    /// An indented `name=value`; the value without its quotes.
    Param {
        name: Range<usize>,
        value: Range<usize>,
    },
    /// Something else, with what is wrong and what would be right.
    Bad {
        at: Range<usize>,
        message: &'static str,
        help: &'static str,
    },
}

/// Goes through a text line by line.
pub(crate) fn scan(text: &str, mut each: impl FnMut(Line)) {
    let mut start = 0;
    for raw in text.split_inclusive('\n') {
        each(line(raw, start));
        start += raw.len();
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn line(raw: &str, start: usize) -> Line {
    let indented = raw.starts_with([' ', '\t']);
    let whole = raw.trim_end_matches(blank);
    let body = whole.trim_start_matches(blank);
    if body.is_empty() || body.starts_with('#') {
        return if indented { Line::Nothing } else { Line::Break };
    }
    let at = start + (whole.len() - body.len());
    let body = strip_comment(body);
    let words = words(body, at);
    let is_include = body.split(blank).next() == Some("include") && !body.contains('=');
    if is_include {
        return Line::Include(words);
    }
    if indented {
        parameter(body, at)
    } else {
        Line::Header(words)
    }
}

/// Cuts ` # comment` off, but not within quotes.
fn strip_comment(body: &str) -> &str {
    let mut quoted = false;
    let mut after_blank = false;
    for (i, c) in body.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if after_blank && !quoted => return body[..i].trim_end_matches(blank),
            _ => {}
        }
        after_blank = blank(c);
    }
    body
}

fn words(body: &str, at: usize) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut from = None;
    for (i, c) in body
        .char_indices()
        .chain(core::iter::once((body.len(), ' ')))
    {
        match (blank(c), from) {
            (true, Some(start)) => {
                words.push(at + start..at + i);
                from = None;
            }
            (false, None) => from = Some(i),
            _ => {}
        }
    }
    words
}

pub(crate) fn is_parameter_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

pub(crate) fn is_section_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn parameter(body: &str, at: usize) -> Line {
    let bad = |range: Range<usize>, message, help| Line::Bad {
        at: at + range.start..at + range.end,
        message,
        help,
    };
    let Some(equals) = body.find('=') else {
        return bad(
            0..body.len(),
            "not a parameter",
            "a line within a section reads name=value",
        );
    };
    let name = body[..equals].trim_end_matches(blank);
    if !is_parameter_name(name) {
        let help = "a name has letters, digits, _ and -, and starts with a letter or _";
        return bad(0..name.len(), "bad parameter name", help);
    }
    let value = body[equals + 1..].trim_start_matches(blank);
    let value_at = body.len() - value.len();
    let range = value_at..body.len();
    if let Some(control) = value.find(|c: char| c.is_control()) {
        let end = control + value[control..].chars().next().map_or(0, char::len_utf8);
        let help = "remove it; values hold printable characters only";
        return bad(
            value_at + control..value_at + end,
            "unprintable character in the value",
            help,
        );
    }
    let name = at..at + name.len();
    match (value.strip_prefix('"'), value.matches('"').count()) {
        (None, 0) if value.contains(blank) => bad(
            range,
            "blank in an unquoted value",
            "put double quotes around the whole value",
        ),
        (None, 0) => Line::Param {
            name,
            value: at + range.start..at + range.end,
        },
        (Some(_), 2) if value.ends_with('"') => Line::Param {
            name,
            value: at + value_at + 1..at + body.len() - 1,
        },
        _ => bad(
            range,
            "mismatched quotes",
            "double quotes stand around a whole value, never within it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let mut seen = Vec::new();
        scan(text, |l| seen.push(l));
        let show = |r: &Range<usize>| text[r.clone()].to_string();
        match &seen[0] {
            Line::Param { name, value } => format!("{}={}", show(name), show(value)),
            Line::Header(words) => format!(
                "header {}",
                words.iter().map(show).collect::<Vec<_>>().join(",")
            ),
            Line::Include(words) => format!(
                "include {}",
                words.iter().map(show).collect::<Vec<_>>().join(",")
            ),
            Line::Bad { at, message, .. } => format!("{message}: {}", show(at)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn kinds_of_line() {
        assert_eq!(one("\n"), "Break");
        assert_eq!(one("# x\n"), "Break");
        assert_eq!(one("\t# x\n"), "Nothing");
        assert_eq!(one("conn  east # c\r\n"), "header conn,east");
        assert_eq!(one("include /etc/*.conf\n"), "include include,/etc/*.conf");
        assert_eq!(one("\tleft = 10.0.0.1 # c\n"), "left=10.0.0.1");
        assert_eq!(one("\tx=\"a # b\" # c"), "x=a # b");
        assert_eq!(one("\tx=\n"), "x=");
        assert_eq!(one("\tx=a#b\n"), "x=a#b");
    }

    #[test]
    fn bad_lines() {
        assert_eq!(one("\tx=a b\n"), "blank in an unquoted value: a b");
        assert_eq!(one("\tx=\"a\n"), "mismatched quotes: \"a");
        assert_eq!(one("\tx=a\"b\"\n"), "mismatched quotes: a\"b\"");
        assert_eq!(one("\t9x=a\n"), "bad parameter name: 9x");
        assert_eq!(one("\tnonsense\n"), "not a parameter: nonsense");
        assert_eq!(
            one("\tx=a\u{7}b\n"),
            "unprintable character in the value: \u{7}"
        );
    }
}
