//! Text forms of binary data: `0x` hexadecimal, `0s` base 64, `0t` text, as in ipsec_ttodata(3).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use thiserror::Error;
use zeroize::Zeroizing;

/// What is wrong with a text form. Never holds the data itself, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DataError {
    /// Nothing follows the prefix.
    #[error("no data: a prefix 0x, 0s or 0t must be followed by data")]
    Empty,
    /// The prefix is not one of the three.
    #[error("data must start with 0x (hexadecimal), 0s (base 64) or 0t (text)")]
    Prefix,
    /// A character that is no hexadecimal digit, at this offset in bytes.
    #[error("character {0} is not a hexadecimal digit")]
    Hex(usize),
    /// An odd number of hexadecimal digits.
    #[error("odd number of hexadecimal digits: write two for each byte")]
    OddHex,
    /// Not base 64 of RFC 4648.
    #[error("not base 64 (A-Z a-z 0-9 + /, padded with = to a multiple of four)")]
    Base64,
}

/// Reads `0x…`, `0s…` or `0t…`. Underscores between hexadecimal digits are ignored.
pub fn parse(text: &str) -> Result<Zeroizing<Vec<u8>>, DataError> {
    let Some((prefix, body)) = text.split_at_checked(2) else {
        return Err(DataError::Prefix);
    };
    let bytes = match prefix {
        "0x" | "0X" => parse_hex(body)?,
        "0s" | "0S" => parse_base64(body)?,
        "0t" | "0T" => Zeroizing::new(body.as_bytes().to_vec()),
        _ => return Err(DataError::Prefix),
    };
    if bytes.is_empty() {
        Err(DataError::Empty)
    } else {
        Ok(bytes)
    }
}

fn parse_hex(body: &str) -> Result<Zeroizing<Vec<u8>>, DataError> {
    let mut out = Zeroizing::new(Vec::with_capacity(body.len() / 2));
    let mut high: Option<u8> = None;
    for (i, c) in body.char_indices() {
        if c == '_' {
            continue;
        }
        let digit = c.to_digit(16).ok_or(DataError::Hex(i + 3))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(h) => out.push(h << 4 | digit),
        }
    }
    if high.is_some() {
        Err(DataError::OddHex)
    } else {
        Ok(out)
    }
}

/// Reads base 64 without a prefix, with or without padding.
pub fn parse_base64(body: &str) -> Result<Zeroizing<Vec<u8>>, DataError> {
    let engine = if body.ends_with('=') {
        &STANDARD
    } else {
        &STANDARD_NO_PAD
    };
    engine
        .decode(body)
        .map(Zeroizing::new)
        .map_err(|_| DataError::Base64)
}

/// `0x…`, two lower-case digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    out.push_str("0x");
    push_hex(&mut out, bytes);
    out
}

/// `0x…` with an underscore after every four bytes, as `ipsec ranbits` prints it.
pub fn to_hex_grouped(bytes: &[u8]) -> String {
    let mut out = String::from("0x");
    for (i, group) in bytes.chunks(4).enumerate() {
        if i > 0 {
            out.push('_');
        }
        push_hex(&mut out, group);
    }
    out
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

/// Base 64 with padding, without a prefix.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!(**parse("0x01_02").unwrap(), [1, 2]);
        assert_eq!(**parse("0sAQI=").unwrap(), [1, 2]);
        assert_eq!(**parse("0sAQI").unwrap(), [1, 2]);
        assert_eq!(**parse("0tab").unwrap(), *b"ab");
    }

    #[test]
    fn errors_name_the_fault() {
        assert_eq!(parse("0x012").unwrap_err(), DataError::OddHex);
        assert_eq!(parse("0x0g").unwrap_err(), DataError::Hex(4));
        assert_eq!(parse("0x").unwrap_err(), DataError::Empty);
        assert_eq!(parse("12").unwrap_err(), DataError::Prefix);
        assert_eq!(parse("é").unwrap_err(), DataError::Prefix);
        assert_eq!(parse("0s!!").unwrap_err(), DataError::Base64);
    }

    #[test]
    fn printed_forms() {
        assert_eq!(to_hex(&[0, 0xab]), "0x00ab");
        assert_eq!(to_hex_grouped(&[1, 2, 3, 4, 5]), "0x01020304_05");
        assert_eq!(to_base64(&[1, 3]), "AQM=");
    }
}
