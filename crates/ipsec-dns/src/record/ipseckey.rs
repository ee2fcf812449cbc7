//! IPSECKEY (RFC 4025): precedence, gateway type, algorithm, gateway, key.

use super::{Delegation, Gateway, RecordError, Source};
use crate::Name;
use ipsec_keys::PublicKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RSA, in the form of RFC 3110 (RFC 4025 section 2.4).
pub const ALGORITHM: u8 = 2;

/// Gateway types (RFC 4025 section 2.3).
const NONE: u8 = 0;
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const NAME: u8 = 3;

/// Reads the rdata of an IPSECKEY record that belongs to `owner`: where it names no gateway, the owner is its own.
pub fn from_rdata(rdata: &[u8], owner: &Gateway) -> Result<Delegation, RecordError> {
    let malformed = |what: String| RecordError::Malformed(Source::IpsecKey, what);
    let [precedence, kind, algorithm, rest @ ..] = rdata else {
        return Err(malformed(
            "it is shorter than precedence, gateway type and algorithm".into(),
        ));
    };
    let cut = || malformed("the gateway is cut short".into());
    let (gateway, blob) = match *kind {
        NONE => (owner.clone(), rest),
        IPV4 => {
            let (octets, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (Gateway::Address(Ipv4Addr::from(*octets).into()), rest)
        }
        IPV6 => {
            let (octets, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            (Gateway::Address(Ipv6Addr::from(*octets).into()), rest)
        }
        NAME => {
            let (name, rest) =
                Name::from_wire(rest).map_err(|error| malformed(error.to_string()))?;
            (Gateway::Name(name), rest)
        }
        other => {
            return Err(malformed(format!(
                "gateway type {other}: types 0 to 3 are defined"
            )));
        }
    };
    // Without a key the algorithm says nothing (RFC 4025 section 2.4).
    let key = match (*algorithm, blob.is_empty()) {
        (_, true) => None,
        (ALGORITHM, _) => Some(
            PublicKey::from_blob(blob)
                .map_err(|error| RecordError::Key(Source::IpsecKey, error))?,
        ),
        (1, _) => return Err(RecordError::Algorithm("a DSA key (algorithm 1)".into())),
        (other, _) => return Err(RecordError::Algorithm(format!("algorithm {other}"))),
    };
    Ok(Delegation {
        precedence: u16::from(*precedence),
        gateway,
        key,
        source: Source::IpsecKey,
    })
}

/// The rdata; a precedence above 255 becomes 255.
pub fn to_rdata(delegation: &Delegation) -> Vec<u8> {
    let precedence = u8::try_from(delegation.precedence).unwrap_or(u8::MAX);
    let algorithm = if delegation.key.is_some() {
        ALGORITHM
    } else {
        0
    };
    let (kind, gateway) = match &delegation.gateway {
        Gateway::Address(IpAddr::V4(v4)) => (IPV4, v4.octets().to_vec()),
        Gateway::Address(IpAddr::V6(v6)) => (IPV6, v6.octets().to_vec()),
        Gateway::Name(name) => (NAME, name.to_wire()),
    };
    let mut rdata = vec![precedence, kind, algorithm];
    rdata.extend(gateway);
    if let Some(key) = &delegation.key {
        rdata.extend(key.to_blob());
    }
    rdata
}

/// The gateway type as zone files write it.
pub(crate) fn kind(gateway: &Gateway) -> u8 {
    match gateway {
        Gateway::Address(IpAddr::V4(_)) => IPV4,
        Gateway::Address(IpAddr::V6(_)) => IPV6,
        Gateway::Name(_) => NAME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::key;

    fn owner() -> Gateway {
        Gateway::parse("192.0.2.38").unwrap()
    }

    #[test]
    fn all_gateway_types() {
        for (gateway, head) in [
            ("192.0.2.1", &[10, 1, 2, 192, 0, 2, 1][..]),
            (
                "2001:db8::1",
                &[
                    10, 2, 2, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                ],
            ),
            ("@gw.example", b"\x0a\x03\x02\x02gw\x07example\0"),
        ] {
            let delegation = Delegation {
                precedence: 10,
                gateway: Gateway::parse(gateway).unwrap(),
                key: Some(key()),
                source: Source::IpsecKey,
            };
            let rdata = to_rdata(&delegation);
            assert_eq!(rdata, [head, &key().to_blob()].concat());
            assert_eq!(from_rdata(&rdata, &owner()), Ok(delegation));
        }
        let own = from_rdata(&[&[10, 0, 2], &key().to_blob()[..]].concat(), &owner()).unwrap();
        assert_eq!((own.gateway, own.key), (owner(), Some(key())));
        assert_eq!(from_rdata(&[10, 0, 0], &owner()).unwrap().key, None);
    }

    #[test]
    fn the_records_of_rfc_4025() {
        // Section 3.2: 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==, whose key is too short to be used.
        let mut rdata = vec![10, 1, 2, 192, 0, 2, 38];
        let blob =
            ipsec_keys::data::parse_base64("AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==");
        rdata.extend(blob.unwrap().iter());
        assert_eq!(
            from_rdata(&rdata, &owner()),
            Err(RecordError::Key(
                Source::IpsecKey,
                ipsec_keys::KeyError::ModulusSize(255)
            ))
        );
    }

    #[test]
    fn faults_are_named() {
        for (rdata, fault) in [
            (&[10, 1][..], "shorter"),
            (&[10, 1, 2, 192, 0, 2], "cut short"),
            (&[10, 2, 2, 192, 0, 2], "cut short"),
            (&[10, 3, 2, 9, b'a'], "cut short"),
            (&[10, 3, 2, 0xc0, 0x0c], "compressed"),
            (&[10, 4, 2, 1], "gateway type 4"),
            (&[10, 0, 1, 1], "DSA"),
            (&[10, 0, 9, 1], "algorithm 9"),
            (&[10, 0, 2, 1, 3], "cut short"),
        ] {
            let error = from_rdata(rdata, &owner()).unwrap_err().to_string();
            assert!(error.contains(fault), "{rdata:?}: {error}");
        }
    }
}
