//! What opportunism keeps in DNS: who is whose gateway, and with which key. Records read and written, and (feature `resolver`)
//! looked up and validated.
//!
//! Not here: what is done with an answer (pluto's engine), and whether an unsigned one will do (policy).

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

mod name;
mod query;
pub mod record;
#[cfg(feature = "resolver")]
pub mod resolver;
pub mod zone;

pub use name::{Name, NameError};
pub use query::{Answer, LookupError, Query, Security};
pub use record::{Delegation, Gateway, GatewayError, RecordError, Source};
#[cfg(feature = "resolver")]
pub use resolver::Resolver;

/// Reads any bytes as each kind of record; for fuzzing.
pub fn fuzz_records(input: &[u8]) {
    let here = Gateway::Address(std::net::Ipv4Addr::LOCALHOST.into());
    let _ = record::txt::from_rdata(input);
    let _ = record::key::from_rdata(input);
    if let Ok(delegation) = record::ipseckey::from_rdata(input, &here) {
        let rdata = record::ipseckey::to_rdata(&delegation);
        assert_eq!(
            record::ipseckey::from_rdata(&rdata, &here),
            Ok(delegation.clone())
        );
        if let Some(key) = &delegation.key {
            let _ = zone::ipseckey(None, 10, Some(&delegation.gateway), key);
        }
    }
    if let Ok(text) = core::str::from_utf8(input) {
        let _ = Name::parse(text);
        let _ = Gateway::parse(text);
        let _ = record::txt::from_text(text);
    }
}
