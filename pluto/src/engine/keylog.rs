//! The key log that `--keylogfile` asks for: lines of Wireshark's tables of IKEv1 keys and of ESP SAs. Nothing here is called
//! without that option.

use core::fmt;
use core::net::IpAddr;

use ike::wire::Cookie;
use ipsec_types::{AuthAlg, EncAlg, Spi};
use zeroize::Zeroizing;

use super::event::Action;
use super::kernel::{Keys, SaParams};
use super::{Config, Engine};

/// One of Wireshark's tables, a file each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTable {
    /// `ikev1_decryption_table`: initiator's cookie, encryption key.
    Ike,
    /// `esp_sa`: protocol, source, destination, SPI, cipher, key, authenticator, key.
    Esp,
}

/// A line for a table. Holds keys, and so is never shown.
pub struct KeyLine {
    /// For which.
    pub table: KeyTable,
    /// The line, without its end.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLine({:?}, ..)", self.table)
    }
}

/// What everybody has to know who looks at such a pluto.
pub fn warning(config: &Config) -> Option<String> {
    let file = config.key_log.as_deref()?;
    Some(format!(
        "WARNING: keys are written to \"{file}\" (keylogfile=): whoever reads it can decrypt what was sent"
    ))
}

impl Engine {
    /// The key of an ISAKMP SA that is being negotiated.
    pub(crate) fn log_ike_key(&mut self, initiator: Cookie, key: &[u8]) {
        if self.config.key_log.is_some() {
            let mut text = line_with_room();
            push_hex(&mut text, &initiator.0);
            text.push(',');
            push_hex(&mut text, key);
            self.log_key(KeyTable::Ike, text);
        }
    }

    /// The keys of an ESP SA, both ways, where Wireshark knows the cipher.
    pub(crate) fn log_esp_keys(&mut self, local: IpAddr, remote: IpAddr, params: &SaParams) {
        if self.config.key_log.is_none() {
            return;
        }
        let Some(esp) = &params.esp else { return };
        for (src, dst, spi, keys) in [
            (local, remote, esp.spi_out, &esp.keys_out),
            (remote, local, esp.spi_in, &esp.keys_in),
        ] {
            if let Some(text) = esp_line((src, dst, spi), (esp.ealg, esp.aalg), keys) {
                self.log_key(KeyTable::Esp, text);
            }
        }
    }

    fn log_key(&mut self, table: KeyTable, text: Zeroizing<String>) {
        self.act(Action::LogKey(KeyLine { table, text }));
    }
}

/// Room for the longest line, so that growing leaves no unwiped copy behind.
fn line_with_room() -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(1024))
}

fn push_hex(text: &mut String, octets: &[u8]) {
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('?');
    for octet in octets {
        text.push(digit(octet >> 4));
        text.push(digit(octet & 15));
    }
}

fn esp_line(
    (src, dst, spi): (IpAddr, IpAddr, Spi),
    (ealg, aalg): (u8, u8),
    keys: &Keys,
) -> Option<Zeroizing<String>> {
    let (cipher, mac) = (cipher_name(ealg)?, mac_name(aalg));
    let family = if src.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut text = line_with_room();
    text.push_str(&format!(
        "\"{family}\",\"{src}\",\"{dst}\",\"{:#010x}\",\"{cipher}\"",
        spi.0
    ));
    push_key(&mut text, &keys.enc.0);
    text.push_str(&format!(",\"{mac}\""));
    push_key(&mut text, &keys.auth.0);
    Some(text)
}

fn push_key(text: &mut String, key: &[u8]) {
    text.push_str(if key.is_empty() { ",\"" } else { ",\"0x" });
    push_hex(text, key);
    text.push('"');
}

/// What Wireshark calls a cipher; it has no Camellia and no ChaCha20-Poly1305 for ESP.
fn cipher_name(number: u8) -> Option<&'static str> {
    Some(match EncAlg(number) {
        EncAlg::NULL => "NULL",
        EncAlg::TRIPLE_DES_CBC => "TripleDES-CBC [RFC2451]",
        EncAlg::AES_CBC => "AES-CBC [RFC3602]",
        EncAlg::AES_CTR => "AES-CTR [RFC3686]",
        EncAlg::AES_GCM_8 => "AES-GCM with 8 octet ICV [RFC4106]",
        EncAlg::AES_GCM_12 => "AES-GCM with 12 octet ICV [RFC4106]",
        EncAlg::AES_GCM_16 => "AES-GCM with 16 octet ICV [RFC4106]",
        _ => return None,
    })
}

/// What it calls a MAC; those that it has not it can leave out by their length.
fn mac_name(number: u8) -> &'static str {
    match AuthAlg(number) {
        AuthAlg::NONE => "NULL",
        AuthAlg::MD5_HMAC => "HMAC-MD5-96 [RFC2403]",
        AuthAlg::SHA1_HMAC => "HMAC-SHA-1-96 [RFC2404]",
        AuthAlg::SHA2_256_HMAC => "HMAC-SHA-256-128 [RFC4868]",
        AuthAlg::SHA2_384_HMAC => "HMAC-SHA-384-192 [RFC4868]",
        AuthAlg::SHA2_512_HMAC => "HMAC-SHA-512-256 [RFC4868]",
        _ => "ANY 96 bit authentication [no checking]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernel::Key;

    #[test]
    fn lines_as_wireshark_saves_them() {
        let keys = Keys {
            enc: Key::new(vec![0xab; 4]),
            auth: Key::new(vec![1; 3]),
        };
        let [src, dst] = ["192.1.2.45", "192.1.2.23"].map(|addr| addr.parse().unwrap());
        let of = |ealg: EncAlg, aalg: AuthAlg, keys: &Keys| {
            esp_line((src, dst, Spi(0x1001)), (ealg.0, aalg.0), keys)
        };
        assert_eq!(
            of(EncAlg::AES_CBC, AuthAlg::SHA1_HMAC, &keys)
                .unwrap()
                .as_str(),
            "\"IPv4\",\"192.1.2.45\",\"192.1.2.23\",\"0x00001001\",\"AES-CBC [RFC3602]\",\"0xabababab\",\
             \"HMAC-SHA-1-96 [RFC2404]\",\"0x010101\""
        );
        let null = of(EncAlg::NULL, AuthAlg::NONE, &Keys::default()).unwrap();
        assert!(null.ends_with(",\"NULL\",\"\",\"NULL\",\"\""), "{}", &*null);
        assert!(of(EncAlg::CHACHA20_POLY1305, AuthAlg::NONE, &keys).is_none());
        let line = KeyLine {
            table: KeyTable::Esp,
            text: null,
        };
        assert_eq!(format!("{line:?}"), "KeyLine(Esp, ..)");
    }
}
