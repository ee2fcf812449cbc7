//! TXT `X-IPsec-Server(10)=192.0.2.1 AQ…`: any white space between the parts, the key in base 64 with white space anywhere.

use super::{Delegation, Gateway, RecordError, Source};
use ipsec_keys::PublicKey;

const ATTRIBUTE: &str = "X-IPsec-Server";
const LONGEST_STRING: usize = 255;

/// Reads the rdata of a TXT record. None: some other TXT record, neither of use nor wrong.
pub fn from_rdata(rdata: &[u8]) -> Result<Option<Delegation>, RecordError> {
    let malformed = |what: &str| RecordError::Malformed(Source::Txt, what.into());
    let mut strings = Vec::new();
    let mut rest = rdata;
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after
            .split_at_checked(usize::from(*length))
            .ok_or_else(|| malformed("a string is cut short"))?;
        strings.push(string);
        rest = after;
    }
    from_strings(&strings)
}

/// Reads the strings of a TXT record. Where one is not full, white space may have been lost between it and the next.
pub fn from_strings(strings: &[&[u8]]) -> Result<Option<Delegation>, RecordError> {
    let mut bytes = Vec::new();
    for (at, string) in strings.iter().enumerate() {
        bytes.extend_from_slice(string);
        if string.len() < LONGEST_STRING && at + 1 < strings.len() {
            bytes.push(b' ');
        }
    }
    if !is_ours(&bytes) {
        return Ok(None);
    }
    match core::str::from_utf8(&bytes) {
        Ok(text) => from_text(text),
        Err(_) => Err(RecordError::Txt("with characters beyond ASCII")),
    }
}

fn is_ours(bytes: &[u8]) -> bool {
    let start = bytes
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    bytes
        .get(start..start + ATTRIBUTE.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(ATTRIBUTE.as_bytes()))
}

/// Reads the joined text.
pub fn from_text(text: &str) -> Result<Option<Delegation>, RecordError> {
    if !is_ours(text.as_bytes()) {
        return Ok(None);
    }
    let rest = skip(text).get(ATTRIBUTE.len()..).unwrap_or_default();
    let rest = skip(rest)
        .strip_prefix('(')
        .ok_or(RecordError::Txt("without ( after it"))?;
    let (number, rest) = rest
        .split_once(')')
        .ok_or(RecordError::Txt("without ) after the precedence"))?;
    let precedence = precedence(number.trim_matches([' ', '\t']))?;
    let rest = skip(rest)
        .strip_prefix('=')
        .ok_or(RecordError::Txt("without = after the precedence"))?;
    let rest = skip(rest);
    let (gateway, key) = match rest.find([' ', '\t']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    if gateway.is_empty() {
        return Err(RecordError::Txt("without a gateway after ="));
    }
    let gateway = Gateway::parse(gateway).map_err(RecordError::TxtGateway)?;
    let key: String = key.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let key = match key.as_str() {
        "" => None,
        text => Some(
            PublicKey::from_base64(text).map_err(|error| RecordError::Key(Source::Txt, error))?,
        ),
    };
    Ok(Some(Delegation {
        precedence,
        gateway,
        key,
        source: Source::Txt,
    }))
}

fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn precedence(text: &str) -> Result<u16, RecordError> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u16::from_str_radix(hex, 16).ok(),
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    value.ok_or(RecordError::Txt(
        "with a precedence that is no number from 0 to 65535",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::key;

    fn read(text: &str) -> Delegation {
        from_text(text).unwrap().unwrap()
    }

    #[test]
    fn white_space_and_case_as_the_reference_takes_them() {
        let key = key();
        let text = key.to_base64();
        let expected = Delegation {
            precedence: 10,
            gateway: Gateway::parse("192.0.2.1").unwrap(),
            key: Some(key),
            source: Source::Txt,
        };
        for form in [
            format!("X-IPsec-Server(10)=192.0.2.1 {text}"),
            format!("  x-ipsec-server ( 10 ) = 192.0.2.1\t{text} "),
            format!(
                "X-IPsec-Server(0xa)=192.0.2.1 {} {}",
                &text[..40],
                &text[40..]
            ),
        ] {
            assert_eq!(read(&form), expected, "{form}");
        }
    }

    #[test]
    fn strings_are_joined() {
        let text = key().to_base64();
        let head = b"X-IPsec-Server(10)=192.0.2.1";
        let spaced = format!(" {text}");
        for strings in [
            vec![&head[..], spaced.as_bytes()],
            vec![&head[..], text.as_bytes()],
            vec![
                &head[..],
                b" ",
                &text.as_bytes()[..11],
                &text.as_bytes()[11..],
            ],
        ] {
            let rdata: Vec<u8> = strings
                .iter()
                .flat_map(|s| [&[s.len() as u8][..], s].concat())
                .collect();
            let delegation = from_rdata(&rdata).unwrap().unwrap();
            assert_eq!(delegation.key, Some(key()));
            assert_eq!(delegation.gateway.to_string(), "192.0.2.1");
        }
    }

    #[test]
    fn a_full_string_goes_on_in_the_next() {
        // 255 characters that end within the gateway's name: nothing was lost between.
        let name = format!("@{}.{}.example", "a".repeat(63), "b".repeat(63));
        let text = format!("X-IPsec-Server(10)={name}");
        let padded = format!("{}{text}", " ".repeat(255 - text.len() + 4));
        let (one, two) = padded.as_bytes().split_at(255);
        let read = from_strings(&[one, two]).unwrap().unwrap();
        assert_eq!(read.gateway.to_string(), name);
    }

    #[test]
    fn gateways_and_keyless_records() {
        assert_eq!(
            read("X-IPsec-Server(10)=2001:db8::1").gateway,
            Gateway::Address("2001:db8::1".parse().unwrap())
        );
        let named = read("X-IPsec-Server(65535)=@Gateway.Example.com");
        assert_eq!(named.gateway.to_string(), "@gateway.example.com");
        assert_eq!((named.precedence, named.key), (65535, None));
    }

    #[test]
    fn other_records_are_no_fault() {
        for text in ["", "v=spf1 -all", "X-IPsec", "  X-IPsec-Serve"] {
            assert_eq!(from_text(text), Ok(None), "{text}");
        }
        assert_eq!(from_rdata(b"\x02\xff\xfe"), Ok(None));
    }

    #[test]
    fn faults_are_named() {
        for (text, fault) in [
            ("X-IPsec-Server=192.0.2.1", "without ("),
            ("X-IPsec-Server(10=192.0.2.1", "without )"),
            ("X-IPsec-Server(70000)=192.0.2.1", "precedence"),
            ("X-IPsec-Server(-1)=192.0.2.1", "precedence"),
            ("X-IPsec-Server()=192.0.2.1", "precedence"),
            ("X-IPsec-Server(10) 192.0.2.1", "without ="),
            ("X-IPsec-Server(10)=", "without a gateway"),
            (
                "X-IPsec-Server(10)=gateway.example",
                "neither an address nor @",
            ),
            ("X-IPsec-Server(10)=@", "empty name"),
            ("X-IPsec-Server(10)=192.0.2.1 !!", "base 64"),
            ("X-IPsec-Server(10)=192.0.2.1 AQAB", "modulus"),
        ] {
            let error = from_text(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
        let cut = from_rdata(b"\x20X-IPsec").unwrap_err().to_string();
        assert!(cut.contains("cut short"), "{cut}");
    }
}
