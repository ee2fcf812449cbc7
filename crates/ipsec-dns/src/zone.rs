//! The records as zone files have them: what `ipsec showhostkey`, `mailkey` and `verify` tell people to publish.

use crate::Gateway;
use crate::record::{ipseckey as ipseckey_record, key as key_record};
use ipsec_keys::PublicKey;

/// Longest string of a TXT record (RFC 1035 section 3.3).
const TXT_STRING: usize = 255;

/// `4.3.2.1.in-addr.arpa. IN TXT "X-IPsec-Server(10)=1.2.3.4" " AQ…"`, tabs between; without an owner the line continues the
/// name above it. The gateway stands in one string with the start of the key only if all of it fits.
pub fn txt(owner: Option<&str>, precedence: u16, gateway: &Gateway, key: &PublicKey) -> String {
    let head = format!("X-IPsec-Server({precedence})={gateway}");
    let key = format!(" {}", key.to_base64());
    let strings: Vec<String> = if head.len() + key.len() <= TXT_STRING {
        vec![head + &key]
    } else {
        core::iter::once(head)
            .chain(
                key.as_bytes()
                    .chunks(TXT_STRING)
                    .map(|c| String::from_utf8_lossy(c).into_owned()),
            )
            .collect()
    };
    let strings: Vec<String> = strings.iter().map(|s| format!("\"{s}\"")).collect();
    format!("{}\tIN\tTXT\t{}", with_dot(owner), strings.join(" "))
}

/// `xy.example.com. IN KEY 0x4200 4 1 AQ…`, tabs between.
pub fn key(owner: Option<&str>, key: &PublicKey) -> String {
    format!(
        "{}\tIN\tKEY\t0x{:04x} {} {} {}",
        with_dot(owner),
        key_record::FLAGS,
        key_record::PROTOCOL,
        key_record::ALGORITHM,
        key.to_base64()
    )
}

/// `4.3.2.1.in-addr.arpa. IN IPSECKEY 10 1 2 1.2.3.4 AQ…`, tabs between; without a gateway (type 0) the owner is its own.
pub fn ipseckey(
    owner: Option<&str>,
    precedence: u8,
    gateway: Option<&Gateway>,
    key: &PublicKey,
) -> String {
    let place = match gateway {
        None => ".".into(),
        Some(Gateway::Address(address)) => address.to_string(),
        Some(Gateway::Name(name)) => format!("{name}."),
    };
    format!(
        "{}\tIN\tIPSECKEY\t{precedence} {} {} {place} {}",
        with_dot(owner),
        gateway.map_or(0, ipseckey_record::kind),
        ipseckey_record::ALGORITHM,
        key.to_base64()
    )
}

fn with_dot(owner: Option<&str>) -> String {
    match owner {
        None => String::new(),
        Some(name) if name.ends_with('.') => name.into(),
        Some(name) => format!("{name}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::key as some_key;
    use crate::record::txt as txt_record;

    #[test]
    fn lines() {
        let base64 = some_key().to_base64();
        let address = Gateway::parse("192.0.2.1").unwrap();
        assert_eq!(
            txt(None, 10, &address, &some_key()),
            format!("\tIN\tTXT\t\"X-IPsec-Server(10)=192.0.2.1 {base64}\"")
        );
        assert_eq!(
            key(Some("xy.example.com"), &some_key()),
            format!("xy.example.com.\tIN\tKEY\t0x4200 4 1 {base64}")
        );
        assert_eq!(
            ipseckey(
                Some("1.2.0.192.in-addr.arpa."),
                10,
                Some(&address),
                &some_key()
            ),
            format!("1.2.0.192.in-addr.arpa.\tIN\tIPSECKEY\t10 1 2 192.0.2.1 {base64}")
        );
        assert_eq!(
            ipseckey(
                None,
                10,
                Gateway::parse("@gw.example").ok().as_ref(),
                &some_key()
            ),
            format!("\tIN\tIPSECKEY\t10 3 2 gw.example. {base64}")
        );
    }

    #[test]
    fn long_keys_are_cut_into_strings_that_read_back() {
        let key = PublicKey::new(&[0xa5; 512], &[1, 0, 1]).unwrap();
        let line = txt(None, 10, &Gateway::parse("@gw.example").unwrap(), &key);
        let strings: Vec<&[u8]> = line
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::as_bytes)
            .collect();
        assert!(strings.len() > 2 && strings.iter().all(|s| s.len() <= TXT_STRING));
        let read = txt_record::from_strings(&strings).unwrap().unwrap();
        assert_eq!(read.key, Some(key));
    }
}
