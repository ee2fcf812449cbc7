//! Reads `ipsec.secrets` and what it includes. A bad entry is reported with its place and left out.

use super::token::{Record, Text, Token, records};
use super::{Entry, Place, Problem, Psk, Secret, Secrets};
use crate::private_key::PrivateNumbers;
use crate::{Id, PrivateKey, data};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const MAX_INCLUDE_DEPTH: usize = 10;
const MAX_FILES: usize = 1000;
const MAX_FILE_BYTES: u64 = 16 << 20;

impl Secrets {
    /// Reads a file and its includes. Host names among the indices are looked up.
    pub fn load(path: &Path) -> (Secrets, Vec<Problem>) {
        let mut reader = Reader {
            names: true,
            files: true,
            ..Reader::default()
        };
        reader.file(path, 0, None);
        (reader.secrets, reader.problems)
    }

    /// Reads a text called `name` in messages; host names and includes in it are errors.
    pub fn parse(name: &str, text: &str) -> (Secrets, Vec<Problem>) {
        let mut reader = Reader::default();
        reader.text(&Arc::from(name), text, 0);
        (reader.secrets, reader.problems)
    }
}

#[derive(Default)]
struct Reader {
    secrets: Secrets,
    problems: Vec<Problem>,
    names: bool,
    files: bool,
    read: usize,
}

type Outcome<'a, T> = Result<T, (Token<'a>, String)>;

impl Reader {
    fn problem(&mut self, place: Place, message: impl Into<String>, warning: bool) {
        self.problems.push(Problem {
            place,
            message: message.into(),
            warning,
        });
    }

    fn file(&mut self, path: &Path, depth: usize, from: Option<Place>) {
        let name: Arc<str> = path.to_string_lossy().into();
        let top = Place {
            file: name.clone(),
            line: 1,
            column: 1,
        };
        self.read += 1;
        if depth > MAX_INCLUDE_DEPTH || self.read > MAX_FILES {
            let message = format!(
                "{name} is not read: includes nest deeper than {MAX_INCLUDE_DEPTH} or are more than {MAX_FILES} (does a file include itself?)"
            );
            return self.problem(from.unwrap_or(top), message, false);
        }
        match self.contents(path, &top) {
            Ok(text) => self.text(&name, &text, depth),
            Err(error) => self.problem(
                from.unwrap_or(top),
                format!("cannot read {name}: {error}"),
                false,
            ),
        }
    }

    fn contents(&mut self, path: &Path, top: &Place) -> std::io::Result<Zeroizing<String>> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.len() > MAX_FILE_BYTES {
            return Err(std::io::Error::other(format!(
                "longer than {MAX_FILE_BYTES} bytes"
            )));
        }
        let mode = meta.mode() & 0o777;
        if meta.is_file() && mode & 0o077 != 0 {
            let message = format!(
                "others can reach these secrets (mode {mode:04o}): chmod 600 {}",
                top.file
            );
            self.problem(top.clone(), message, true);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
        Read::by_ref(&mut file)
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut bytes)?;
        Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn text(&mut self, name: &Arc<str>, text: &str, depth: usize) {
        for record in records(text) {
            let Some(first) = record.tokens.first() else {
                continue;
            };
            let place = Place {
                file: name.clone(),
                line: first.line,
                column: first.column,
            };
            if record.indented {
                self.problem(
                    place,
                    "an entry must start at the left margin; only its further lines are indented",
                    false,
                );
            } else if first.text == Text::Word("include") {
                self.include(&record, place, depth);
            } else {
                match entry(&record, place, self.names) {
                    Ok(entry) => {
                        if let Secret::Rsa(key) = &entry.secret
                            && let Some(warning) = key.public().warning()
                        {
                            let message = format!("RSA key {}: {warning}", key.public().key_id());
                            self.problem(entry.place.clone(), message, true);
                        }
                        self.secrets.entries.push(entry);
                    }
                    Err((token, message)) => {
                        let place = Place {
                            file: name.clone(),
                            line: token.line,
                            column: token.column,
                        };
                        self.problem(place, message, false);
                    }
                }
            }
        }
    }

    fn include(&mut self, record: &Record<'_>, place: Place, depth: usize) {
        let pattern = match record.tokens.as_slice() {
            [
                _,
                Token {
                    text: Text::Word(p) | Text::Quoted(p),
                    ..
                },
            ] => *p,
            _ => {
                return self.problem(
                    place,
                    "include takes one file name: include /etc/ipsec.d/*.secrets",
                    false,
                );
            }
        };
        if !self.files {
            return self.problem(place, "include is not possible here", false);
        }
        let here = Path::new(&*place.file).parent().unwrap_or(Path::new(""));
        let full = here.join(pattern);
        let found: Vec<_> = match glob::glob(&full.to_string_lossy()) {
            Ok(paths) => paths.filter_map(Result::ok).collect(),
            Err(error) => {
                return self.problem(place, format!("bad pattern \"{pattern}\": {error}"), false);
            }
        };
        if found.is_empty() {
            let message = format!("no file matches \"{}\"", full.display());
            return self.problem(place, message, pattern.contains(['*', '?', '[']));
        }
        for path in found {
            self.file(&path, depth + 1, Some(place.clone()));
        }
    }
}

fn entry<'a>(record: &Record<'a>, place: Place, names: bool) -> Outcome<'a, Entry> {
    let mut indices = Vec::new();
    let mut tokens = record.tokens.iter();
    let mut last = record.tokens[0];
    for &token in tokens.by_ref() {
        last = token;
        match token.text {
            Text::Colon => {
                return Ok(Entry {
                    indices,
                    secret: secret(tokens.as_slice(), token)?,
                    place,
                });
            }
            // The oldest form of the file has no colon before a quoted secret.
            Text::Quoted(text) => {
                nothing_after(tokens.as_slice())?;
                return Ok(Entry {
                    indices,
                    secret: quoted_psk(text),
                    place,
                });
            }
            Text::OpenQuote => return Err((token, OPEN_QUOTE.into())),
            Text::Word(word) => {
                let id = if names {
                    Id::parse(word)
                } else {
                    Id::parse_literal(word)
                };
                indices.push(id.map_err(|e| (token, e.to_string()))?);
            }
        }
    }
    Err((
        last,
        "entry has no secret: after the indices must come a colon, a blank and PSK or RSA".into(),
    ))
}

const OPEN_QUOTE: &str = "quote is not closed on this line";

fn nothing_after<'a>(tokens: &[Token<'a>]) -> Outcome<'a, ()> {
    match tokens.first() {
        Some(token) => Err((
            *token,
            "unexpected word after the secret: the next entry must start at the left margin".into(),
        )),
        None => Ok(()),
    }
}

fn quoted_psk(text: &str) -> Secret {
    Secret::Psk(Psk::new(Zeroizing::new(text.as_bytes().to_vec())))
}

fn secret<'a>(tokens: &[Token<'a>], colon: Token<'a>) -> Outcome<'a, Secret> {
    let [kind, rest @ ..] = tokens else {
        return Err((
            colon,
            "nothing after the colon: write PSK \"secret\" or RSA { … }".into(),
        ));
    };
    match kind.text {
        Text::Quoted(text) => {
            nothing_after(rest)?;
            Ok(quoted_psk(text))
        }
        Text::Word(word) if word.eq_ignore_ascii_case("psk") => psk(rest, *kind),
        Text::Word(word) if word.eq_ignore_ascii_case("rsa") => rsa(rest, *kind),
        Text::OpenQuote => Err((*kind, OPEN_QUOTE.into())),
        // The word itself may be a secret that was put in the wrong place.
        _ => Err((
            *kind,
            "unknown kind of secret: PSK or RSA must follow the colon".into(),
        )),
    }
}

fn psk<'a>(tokens: &[Token<'a>], kind: Token<'a>) -> Outcome<'a, Secret> {
    let [value, rest @ ..] = tokens else {
        return Err((
            kind,
            "PSK needs a secret: \"in quotes\", or 0x…, 0s…, 0t…".into(),
        ));
    };
    nothing_after(rest)?;
    match value.text {
        Text::Quoted(text) => Ok(quoted_psk(text)),
        Text::Word(word) => {
            let bytes = data::parse(word)
                .map_err(|e| (*value, format!("bad preshared key: {e}, or be in quotes")))?;
            Ok(Secret::Psk(Psk::new(bytes)))
        }
        Text::OpenQuote => Err((*value, OPEN_QUOTE.into())),
        Text::Colon => Err((*value, "unexpected colon".into())),
    }
}

const FIELDS: [&str; 8] = [
    "Modulus",
    "PublicExponent",
    "PrivateExponent",
    "Prime1",
    "Prime2",
    "Exponent1",
    "Exponent2",
    "Coefficient",
];

fn rsa<'a>(tokens: &[Token<'a>], kind: Token<'a>) -> Outcome<'a, Secret> {
    let [open, rest @ ..] = tokens else {
        return Err((
            kind,
            "RSA needs a key: { Modulus: … }, as ipsec rsasigkey(8) makes it".into(),
        ));
    };
    if open.text != Text::Word("{") {
        return Err((
            *open,
            "RSA must be followed by \"{\" and the numbers of the key; key files are not read"
                .into(),
        ));
    }
    let mut values: [Option<Zeroizing<Vec<u8>>>; 8] = Default::default();
    let mut rest = rest.iter().copied().peekable();
    let close = loop {
        let Some(token) = rest.next() else {
            return Err((
                kind,
                "RSA key is not closed: the last line must be an indented \"}\"".into(),
            ));
        };
        let field = match token.text {
            Text::Word("}") => break token,
            Text::Word(word) => FIELDS.iter().position(|f| f.eq_ignore_ascii_case(word)),
            _ => None,
        };
        let slot = field.ok_or_else(|| {
            (
                token,
                format!("unknown field of an RSA key: it has {}", FIELDS.join(", ")),
            )
        })?;
        if rest.peek().is_some_and(|t| t.text == Text::Colon) {
            rest.next();
        }
        let value = match rest.next() {
            Some(Token {
                text: Text::Word(word),
                ..
            }) if word != "}" => {
                data::parse(word).map_err(|e| (token, format!("{}: {e}", FIELDS[slot])))?
            }
            _ => return Err((token, format!("{} has no value", FIELDS[slot]))),
        };
        if values[slot].replace(value).is_some() {
            return Err((token, format!("{} is given twice", FIELDS[slot])));
        }
    };
    nothing_after(&rest.collect::<Vec<_>>())?;
    let mut take = |slot: usize| values[slot].take();
    let mut need =
        |slot: usize| take(slot).ok_or_else(|| (close, format!("RSA key has no {}", FIELDS[slot])));
    let mut numbers = PrivateNumbers {
        modulus: need(0)?,
        public_exponent: need(1)?,
        private_exponent: need(2)?,
        prime1: need(3)?,
        prime2: need(4)?,
        ..PrivateNumbers::default()
    };
    (numbers.exponent1, numbers.exponent2, numbers.coefficient) = (take(5), take(6), take(7));
    let key = PrivateKey::from_numbers(&numbers).map_err(|e| (kind, e.to_string()))?;
    Ok(Secret::Rsa(Box::new(key)))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
