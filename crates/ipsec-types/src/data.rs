//! Key data as text (ipsec_ttodata(3)): `0x` hexadecimal, `0s` base64, `0t` characters. Decodes into the caller's
//! buffer and never repeats the text in an error, since it is often secret.

use core::fmt;

/// How bytes are written as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataFormat {
    /// `0x`, two hexadecimal digits a byte; `_` may stand between bytes.
    Hex,
    /// `0s`, RFC 4648 base64 with padding.
    Base64,
    /// `0t`, each character's bytes as they are.
    Text,
}

/// Why a text is no data. Positions count bytes of the text from 0, prefix included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DataError {
    /// The text does not begin with `0x`, `0s` or `0t`.
    Prefix,
    /// Nothing follows the prefix.
    Empty,
    /// A character that the format does not have.
    BadCharacter {
        /// Where it is.
        at: usize,
    },
    /// Hexadecimal data ends amid a byte.
    OddHexDigits,
    /// Base64 ends amid a group of four, or is padded wrongly.
    Base64Length,
    /// The unused bits of the last base64 character are not zero.
    Base64TrailingBits,
    /// More bytes than the caller's buffer holds.
    TooLong {
        /// The buffer's size in bytes.
        max: usize,
    },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => {
                f.write_str("data must begin with 0x (hexadecimal), 0s (base64) or 0t (text)")
            }
            Self::Empty => f.write_str("no data after the prefix"),
            Self::BadCharacter { at } => write!(
                f,
                "character {} does not belong to this kind of data",
                at + 1
            ),
            Self::OddHexDigits => {
                f.write_str("odd number of hexadecimal digits: two are needed for every byte")
            }
            Self::Base64Length => f.write_str(
                "base64 data is cut short: groups of four characters, the last padded with `='",
            ),
            Self::Base64TrailingBits => {
                f.write_str("the last base64 character has bits beyond the data: it was damaged")
            }
            Self::TooLong { max } => write!(f, "too much data: at most {max} bytes fit here"),
        }
    }
}

impl core::error::Error for DataError {}

/// Collects decoded bytes into the caller's buffer.
struct Sink<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Sink<'_> {
    fn push(&mut self, byte: u8) -> Result<(), DataError> {
        let max = self.out.len();
        *self
            .out
            .get_mut(self.len)
            .ok_or(DataError::TooLong { max })? = byte;
        self.len += 1;
        Ok(())
    }
}

/// Decodes `0x…`, `0s…` or `0t…` into `out`; answers how many bytes were written.
///
/// # Errors
/// See [`DataError`]; `out` may then hold a part of the data.
pub fn decode(text: &str, out: &mut [u8]) -> Result<usize, DataError> {
    let format = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => DataFormat::Hex,
        [b'0', b's' | b'S', ..] => DataFormat::Base64,
        [b'0', b't' | b'T', ..] => DataFormat::Text,
        _ => return Err(DataError::Prefix),
    };
    decode_as(format, &text[2..], out).map_err(|e| match e {
        DataError::BadCharacter { at } => DataError::BadCharacter { at: at + 2 },
        other => other,
    })
}

/// Decodes text without its prefix; positions in errors count from the start of `body`.
///
/// # Errors
/// See [`DataError`]; `out` may then hold a part of the data.
pub fn decode_as(format: DataFormat, body: &str, out: &mut [u8]) -> Result<usize, DataError> {
    if body.is_empty() {
        return Err(DataError::Empty);
    }
    let mut sink = Sink { out, len: 0 };
    match format {
        DataFormat::Hex => decode_hex(body.as_bytes(), &mut sink)?,
        DataFormat::Base64 => decode_base64(body.as_bytes(), &mut sink)?,
        DataFormat::Text => body.bytes().try_for_each(|b| sink.push(b))?,
    }
    Ok(sink.len)
}

fn decode_hex(body: &[u8], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let mut high = None;
    let mut separator_allowed = false;
    for (at, &c) in body.iter().enumerate() {
        if c == b'_' && separator_allowed && at + 1 < body.len() {
            separator_allowed = false;
            continue;
        }
        let digit = (c as char)
            .to_digit(16)
            .ok_or(DataError::BadCharacter { at })? as u8;
        separator_allowed = high.is_some();
        match high.take() {
            None => high = Some(digit),
            Some(h) => sink.push(h << 4 | digit)?,
        }
    }
    if high.is_some() {
        Err(DataError::OddHexDigits)
    } else {
        Ok(())
    }
}

fn base64_value(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

fn decode_base64(body: &[u8], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let data_len = body.iter().rposition(|&c| c != b'=').map_or(0, |at| at + 1);
    let mut bits = 0u32;
    for (at, &c) in body[..data_len].iter().enumerate() {
        bits = bits << 6 | base64_value(c).ok_or(DataError::BadCharacter { at })?;
        if at % 4 == 3 {
            let [_, a, b, c] = bits.to_be_bytes();
            for byte in [a, b, c] {
                sink.push(byte)?;
            }
            bits = 0;
        }
    }
    let (rest, pad) = (data_len % 4, body.len() - data_len);
    let whole = match rest {
        0 => {
            return if pad == 0 {
                Ok(())
            } else {
                Err(DataError::Base64Length)
            };
        }
        2 if pad == 2 => bits << 12,
        3 if pad == 1 => bits << 6,
        _ => return Err(DataError::Base64Length),
    };
    let [_, a, b, c] = whole.to_be_bytes();
    sink.push(a)?;
    if rest == 3 {
        sink.push(b)?;
    }
    if (rest == 2 && b != 0) || c != 0 {
        return Err(DataError::Base64TrailingBits);
    }
    Ok(())
}

/// Writes `0x` and two lower-case digits a byte.
///
/// # Errors
/// Those of `out`.
pub fn write_hex(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str("0x")?;
    bytes.iter().try_for_each(|b| write!(out, "{b:02x}"))
}

/// Writes base64 with padding and without prefix; put `0s` before it where a prefix is wanted.
///
/// # Errors
/// Those of `out`.
pub fn write_base64(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let c = if i <= group.len() {
                ALPHABET[(word >> (18 - 6 * i) & 63) as usize]
            } else {
                b'='
            };
            out.write_char(c as char)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String};

    fn get(text: &str) -> Result<std::vec::Vec<u8>, DataError> {
        let mut buf = [0u8; 64];
        decode(text, &mut buf).map(|n| buf[..n].to_vec())
    }

    #[test]
    fn forms() {
        assert_eq!(get("0xab_cd0F").unwrap(), [0xab, 0xcd, 0x0f]);
        assert_eq!(get("0sAAEC").unwrap(), [0, 1, 2]);
        assert_eq!(get("0sAAE=").unwrap(), [0, 1]);
        assert_eq!(get("0sAA==").unwrap(), [0]);
        assert_eq!(get("0txyz\u{e9}").unwrap(), "xyz\u{e9}".as_bytes());
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, want) in [
            ("abcd", DataError::Prefix),
            ("", DataError::Prefix),
            ("0", DataError::Prefix),
            ("0x", DataError::Empty),
            ("0xabc", DataError::OddHexDigits),
            ("0xag", DataError::BadCharacter { at: 3 }),
            ("0x_ab", DataError::BadCharacter { at: 2 }),
            ("0xab_", DataError::BadCharacter { at: 4 }),
            ("0xa_b", DataError::BadCharacter { at: 3 }),
            ("0sAAE", DataError::Base64Length),
            ("0sAAEC=", DataError::Base64Length),
            ("0sA===", DataError::Base64Length),
            ("0s====", DataError::Base64Length),
            ("0sAB==", DataError::Base64TrailingBits),
            ("0sA=EC", DataError::BadCharacter { at: 3 }),
        ] {
            assert_eq!(get(text), Err(want), "{text}");
        }
        assert_eq!(
            decode("0x010203", &mut [0; 2]),
            Err(DataError::TooLong { max: 2 })
        );
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 1..48)) {
            let mut hex = String::new();
            write_hex(&bytes, &mut hex).unwrap();
            prop_assert_eq!(get(&hex).unwrap(), &bytes[..]);
            let mut b64 = String::new();
            write_base64(&bytes, &mut b64).unwrap();
            prop_assert_eq!(get(&format!("0s{b64}")).unwrap(), &bytes[..]);
        }

        #[test]
        fn any_text_is_refused_without_panic(text in "0[xst][0-9A-Za-z+/=_\u{e9}]{0,20}") {
            let _ = get(&text);
        }
    }
}
