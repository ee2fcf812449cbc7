//! The long options of whack and how a command line falls apart into them. What they mean together
//! is in `command`.

use std::{collections::VecDeque, fs};

/// Whether an option takes a value, and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None.
    Nothing,
    /// A text.
    Text,
    /// A number: decimal, `0x` hexadecimal or `0` octal.
    Number,
}

/// One option as it stood on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its full name, without the dashes.
    pub name: &'static str,
    /// Its text; empty for options that take nothing.
    pub text: String,
    /// Its value if the option takes a number, else 0.
    pub number: u64,
}

use Takes::{Nothing, Number, Text};

/// Every option, in the order of the manual page.
pub const OPTIONS: &[(&str, Takes)] = &[
    ("help", Nothing),
    ("version", Nothing),
    ("optionsfrom", Text),
    ("label", Text),
    ("ctlbase", Text),
    ("rundir", Text),
    ("name", Text),
    ("keyid", Text),
    ("addkey", Nothing),
    ("pubkeyrsa", Text),
    ("myid", Text),
    ("route", Nothing),
    ("unroute", Nothing),
    ("initiate", Nothing),
    ("terminate", Nothing),
    ("delete", Nothing),
    ("deletestate", Number),
    ("crash", Text),
    ("listen", Nothing),
    ("unlisten", Nothing),
    ("utc", Nothing),
    ("listpubkeys", Nothing),
    ("listall", Nothing),
    ("rereadsecrets", Nothing),
    ("rereadall", Nothing),
    ("status", Nothing),
    ("shutdown", Nothing),
    ("oppohere", Text),
    ("oppothere", Text),
    ("asynchronous", Nothing),
    ("host", Text),
    ("id", Text),
    ("ikeport", Number),
    ("nexthop", Text),
    ("sourceip", Text),
    ("client", Text),
    ("clientwithin", Text),
    ("clientprotoport", Text),
    ("dnskeyondemand", Nothing),
    ("updown", Text),
    ("to", Nothing),
    ("psk", Nothing),
    ("rsasig", Nothing),
    ("encrypt", Nothing),
    ("authenticate", Nothing),
    ("compress", Nothing),
    ("tunnel", Nothing),
    ("tunnelipv4", Nothing),
    ("tunnelipv6", Nothing),
    ("pfs", Nothing),
    ("pfsgroup", Text),
    ("esn", Text),
    ("disablearrivalcheck", Nothing),
    ("initiateontraffic", Nothing),
    ("pass", Nothing),
    ("drop", Nothing),
    ("reject", Nothing),
    ("failnone", Nothing),
    ("failpass", Nothing),
    ("faildrop", Nothing),
    ("failreject", Nothing),
    ("dontrekey", Nothing),
    ("forceencaps", Nothing),
    ("dnssec", Nothing),
    ("ipv4", Nothing),
    ("ipv6", Nothing),
    ("ikelifetime", Number),
    ("ipseclifetime", Number),
    ("rekeymargin", Number),
    ("rekeywindow", Number),
    ("rekeyfuzz", Number),
    ("keyingtries", Number),
    ("ikefrag-allow", Nothing),
    ("ikefrag-force", Nothing),
    ("dpddelay", Number),
    ("dpdtimeout", Number),
    ("dpdaction", Text),
    ("ike", Text),
    ("esp", Text),
    ("debug-none", Nothing),
    ("debug-all", Nothing),
    ("debug-raw", Nothing),
    ("debug-crypt", Nothing),
    ("debug-parsing", Nothing),
    ("debug-emitting", Nothing),
    ("debug-control", Nothing),
    ("debug-lifecycle", Nothing),
    ("debug-klips", Nothing),
    ("debug-dns", Nothing),
    ("debug-oppo", Nothing),
    ("debug-controlmore", Nothing),
    ("debug-pfkey", Nothing),
    ("debug-private", Nothing),
];

/// How deep `--optionsfrom` files may name one another.
const OPTIONSFROM_MAX: usize = 16;

/// The options in the order given, with `--optionsfrom` files in their place.
pub fn split(args: impl IntoIterator<Item = String>) -> Result<Vec<Given>, String> {
    let mut args: VecDeque<String> = args.into_iter().collect();
    let mut given = Vec::new();
    let mut files = 0;
    while let Some(arg) = args.pop_front() {
        let option = match arg.strip_prefix("--") {
            Some("") if args.is_empty() => break,
            Some("") => return Err(format!("unexpected argument \"{}\"", args[0])),
            Some(option) => option,
            None => return Err(format!("unexpected argument \"{arg}\"")),
        };
        let (word, value) = match option.split_once('=') {
            Some((word, value)) => (word, Some(value.to_string())),
            None => (option, None),
        };
        let (name, takes) = find(word)?;
        let text = match (takes, value) {
            (Nothing, Some(_)) => return Err(format!("option --{name} takes no value")),
            (Nothing, None) => String::new(),
            (_, Some(value)) => value,
            (_, None) => args
                .pop_front()
                .ok_or_else(|| format!("option --{name} needs a value"))?,
        };
        if name == "optionsfrom" {
            files += 1;
            if files > OPTIONSFROM_MAX {
                return Err("--optionsfrom files name one another without end".into());
            }
            for word in options_from(&text)?.into_iter().rev() {
                args.push_front(word);
            }
            continue;
        }
        let number = if takes == Number { number(&text)? } else { 0 };
        given.push(Given { name, text, number });
    }
    Ok(given)
}

/// An option by its name, or by a beginning that only one name has.
fn find(word: &str) -> Result<(&'static str, Takes), String> {
    if let Some(&exact) = OPTIONS.iter().find(|(name, _)| *name == word) {
        return Ok(exact);
    }
    let mut matching = OPTIONS.iter().filter(|(name, _)| name.starts_with(word));
    match (matching.next(), matching.next()) {
        (Some(&only), None) => Ok(only),
        (Some((one, _)), Some((other, _))) => Err(format!(
            "option --{word} is ambiguous: --{one} or --{other}?"
        )),
        _ => Err(format!("unrecognized option --{word}; try --help")),
    }
}

/// A number as C writes it.
fn number(text: &str) -> Result<u64, String> {
    let parsed = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        u64::from_str_radix(&text[1..], 8)
    } else {
        text.parse()
    };
    parsed.map_err(|_| format!("badly formed numeric argument \"{text}\""))
}

/// The words of an `--optionsfrom` file: separated by white space, `"` or `'` around a word keeps
/// white space in it, `#` begins a comment.
fn options_from(path: &str) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("--optionsfrom {path}: {e}"))?;
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|&c| c != '#') {
            let (word, after) = if first == '"' || first == '\'' {
                rest[1..].split_once(first).ok_or_else(|| {
                    format!(
                        "--optionsfrom {path}: line {}: {first} without its end",
                        index + 1
                    )
                })?
            } else {
                rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
            };
            words.push(word.to_string());
            rest = after.trim_start();
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Result<Vec<&'static str>, String> {
        let given = split(line.split_whitespace().map(String::from))?;
        Ok(given.into_iter().map(|g| g.name).collect())
    }

    #[test]
    fn names_may_be_shortened_when_clear() {
        assert_eq!(
            names("--termi --asy").unwrap(),
            ["terminate", "asynchronous"]
        );
        assert!(names("--rer").unwrap_err().contains("ambiguous"));
        assert_eq!(names("--ike 3des").unwrap(), ["ike"]);
        assert!(
            names("--bogus")
                .unwrap_err()
                .contains("unrecognized option --bogus")
        );
        assert!(names("stray").unwrap_err().contains("unexpected argument"));
        assert!(names("--name").unwrap_err().contains("needs a value"));
        assert!(names("--listen=1").unwrap_err().contains("takes no value"));
    }

    #[test]
    fn numbers_are_as_c_writes_them() {
        let value = |line: &str| split([line.to_string()]).map(|given| given[0].number);
        assert_eq!(value("--keyingtries=0"), Ok(0));
        assert_eq!(value("--ikelifetime=0x10"), Ok(16));
        assert_eq!(value("--ikelifetime=010"), Ok(8));
        for bad in [
            "--ikelifetime=",
            "--ikelifetime=5m",
            "--ikelifetime=-1",
            "--ikelifetime=0x",
        ] {
            assert!(
                value(bad)
                    .unwrap_err()
                    .contains("badly formed numeric argument"),
                "{bad}"
            );
        }
    }

    #[test]
    fn options_from_a_file_stand_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("options");
        fs::write(&path, "--name 'two words' # comment\n\n  --initiate\n").unwrap();
        let given = split(vec![
            "--listen".into(),
            format!("--optionsfrom={}", path.display()),
            "--asynchronous".into(),
        ])
        .unwrap();
        let names: Vec<_> = given.iter().map(|g| g.name).collect();
        assert_eq!(names, ["listen", "name", "initiate", "asynchronous"]);
        assert_eq!(given[1].text, "two words");

        fs::write(&path, format!("--optionsfrom {}\n", path.display())).unwrap();
        let endless = split([format!("--optionsfrom={}", path.display())]).unwrap_err();
        assert!(endless.contains("without end"));
    }
}
