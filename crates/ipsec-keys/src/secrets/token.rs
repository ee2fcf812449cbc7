//! Cuts a file of secrets into records (an unindented line and the indented ones after it) and these into words.

/// One word of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub text: Text<'a>,
    pub line: usize,
    pub column: usize,
}

/// What a word is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// Between blanks.
    Word(&'a str),
    /// Between quotes, without them.
    Quoted(&'a str),
    /// The colon that ends the indices.
    Colon,
    /// A quote that no other closes on its line.
    OpenQuote,
}

impl core::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Text::Word(_) => "Word",
            Text::Quoted(_) => "Quoted",
            Text::Colon => "Colon",
            Text::OpenQuote => "OpenQuote",
        })
    }
}

/// A record: its words; `indented` when its first line wrongly starts with a blank.
pub(super) struct Record<'a> {
    pub tokens: Vec<Token<'a>>,
    pub indented: bool,
}

/// All records of a text that have words.
pub(super) fn records(text: &str) -> Vec<Record<'_>> {
    let mut records: Vec<Record<'_>> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let mut tokens = Vec::new();
        words(line, i + 1, &mut tokens);
        if tokens.is_empty() {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        match records.last_mut() {
            Some(record) if indented => record.tokens.append(&mut tokens),
            _ => records.push(Record { tokens, indented }),
        }
    }
    records
}

fn words<'a>(line: &'a str, number: usize, out: &mut Vec<Token<'a>>) {
    let blank = |c: char| c.is_ascii_whitespace();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(blank);
        if rest.is_empty() || rest.starts_with('#') {
            return;
        }
        let column = line[..line.len() - rest.len()].chars().count() + 1;
        let mut push = |text, column| {
            out.push(Token {
                text,
                line: number,
                column,
            })
        };
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let inner = &rest[1..];
            let Some(end) = inner.find(quote) else {
                push(Text::OpenQuote, column);
                return;
            };
            push(Text::Quoted(&inner[..end]), column);
            rest = &inner[end + 1..];
            continue;
        }
        let end = rest.find(blank).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match word.strip_suffix(':') {
            Some("") => push(Text::Colon, column),
            Some(head) => {
                push(Text::Word(head), column);
                push(Text::Colon, column + head.chars().count());
            }
            None => push(Text::Word(word), column),
        }
        rest = after;
    }
}
