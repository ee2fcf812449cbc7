//! KEY (RFC 2535 section 3.1; RFC 3445 took protocol 4 out of it, FreeS/WAN kept it): `0x4200 4 1 AQ…`.

use super::{RecordError, Source};
use ipsec_keys::PublicKey;

/// Flags that `ipsec showhostkey` writes: a key of a host, not for confidentiality.
pub const FLAGS: u16 = 0x4200;
/// Protocol IPSEC.
pub const PROTOCOL: u8 = 4;
/// RSA/MD5, the number that stood for RSA when the record was designed.
pub const ALGORITHM: u8 = 1;
/// RSA/SHA-1, whose keys have the same form (RFC 3110).
const ALGORITHM_SHA1: u8 = 5;

/// Not for authentication.
const NO_AUTHENTICATION: u16 = 0x8000;
/// Extensions and bits that must be zero (RFC 2535 section 3.1.2).
const MUST_BE_ZERO: u16 = 0x2cf0;

/// Reads the rdata of a KEY record.
pub fn from_rdata(rdata: &[u8]) -> Result<PublicKey, RecordError> {
    let [high, low, protocol, algorithm, blob @ ..] = rdata else {
        return Err(RecordError::Malformed(
            Source::Key,
            "it is shorter than flags, protocol and algorithm".into(),
        ));
    };
    let flags = u16::from_be_bytes([*high, *low]);
    let other = |what: String| Err(RecordError::NotForIpsec(what));
    if *protocol != PROTOCOL {
        return other(format!("protocol {protocol}, not {PROTOCOL}"));
    }
    if flags & (NO_AUTHENTICATION | MUST_BE_ZERO) != 0 {
        return other(format!("flags 0x{flags:04x}, not 0x{FLAGS:04x}"));
    }
    if !matches!(*algorithm, ALGORITHM | ALGORITHM_SHA1) {
        return other(format!("algorithm {algorithm}, not RSA ({ALGORITHM})"));
    }
    PublicKey::from_blob(blob).map_err(|error| RecordError::Key(Source::Key, error))
}

/// The rdata.
pub fn to_rdata(key: &PublicKey) -> Vec<u8> {
    let [high, low] = FLAGS.to_be_bytes();
    let mut rdata = vec![high, low, PROTOCOL, ALGORITHM];
    rdata.extend(key.to_blob());
    rdata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::key;

    #[test]
    fn both_ways() {
        let rdata = to_rdata(&key());
        assert_eq!(&rdata[..4], [0x42, 0, 4, 1]);
        assert_eq!(from_rdata(&rdata), Ok(key()));
        let mut sha1 = rdata;
        sha1[3] = 5;
        assert_eq!(from_rdata(&sha1), Ok(key()));
    }

    #[test]
    fn keys_for_other_things_are_told_apart() {
        for (head, fault) in [
            ([0x42, 0, 3, 1], "protocol 3"),
            ([0xc2, 0, 4, 1], "flags 0xc200"),
            ([0x42, 0x10, 4, 1], "flags 0x4210"),
            ([0x42, 0, 4, 3], "algorithm 3"),
        ] {
            let mut rdata = to_rdata(&key());
            rdata[..4].copy_from_slice(&head);
            let error = from_rdata(&rdata).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        assert!(from_rdata(&[0x42, 0, 4]).is_err());
        assert!(from_rdata(&[0x42, 0, 4, 1, 1, 3]).is_err());
    }
}
