//! Negotiation: what a connection allows in phase 1 ([`IkePolicy`]) and phase 2 ([`IpsecPolicy`]), turned into SA payloads
//! and held against a peer's. No cryptography and no state: exchanges keep the results.

mod algorithms;
mod attributes;
mod ike;
mod ipsec;
mod ipsec_transform;
mod refusal;
mod supported;
#[cfg(test)]
mod tests;
mod words;

pub use algorithms::{AhAlgorithms, EspAlgorithms, EspSuite, IkeAlgorithms, IkeSuite, parse_group};
pub use attributes::{
    LIFE_MAXIMUM, Lifetimes, read_responder_lifetime, read_responder_lifetimes, responder_lifetime,
};
pub use ike::{IkePolicy, IkeTransform};
pub use ipsec::{AhChoice, Esn, EspChoice, IpcompChoice, IpsecChoice, IpsecPolicy, Spis};
pub use refusal::{AnswerError, NoProposal, Refusal, Refused};
pub use supported::Supported;
pub use words::AlgorithmError;

/// Reads `data` as an SA payload's body, holds it as an offer and as an answer against policies of both phases, and reads
/// it as algorithm lists; for the fuzzer. What is chosen must be readable as an answer.
pub fn fuzz(data: &[u8]) {
    use crate::wire::{AuthMethod, Encapsulation, Sa};
    if let Ok(sa) = Sa::parse(data) {
        let ike = IkePolicy {
            auth: vec![AuthMethod::RSA_SIG, AuthMethod::PRESHARED_KEY],
            algorithms: IkeAlgorithms::default(),
            life_seconds: 3600,
            fragmentation: true,
        };
        if let Ok((_, answer)) = ike.choose(&sa) {
            assert_eq!(Sa::parse(&answer.to_body()), Ok(answer));
        }
        let _ = ike.confirm(&sa);
        for (authenticate, esn) in [(false, Esn::No), (true, Esn::Either)] {
            let ipsec = IpsecPolicy {
                encrypt: true,
                authenticate,
                compress: true,
                esp: EspAlgorithms::default(),
                ah: AhAlgorithms::default(),
                supported: Supported::default(),
                esn,
                encapsulation: Encapsulation::TUNNEL,
                pfs_group: None,
                life_seconds: 28800,
            };
            if let Ok(choice) = ipsec.choose(&sa) {
                let answer = choice.answer(&Spis {
                    ah: 256,
                    esp: 257,
                    ipcomp: 258,
                });
                assert_eq!(Sa::parse(&answer.to_body()), Ok(answer));
            }
            let _ = ipsec.confirm(&sa);
        }
    }
    if let Ok(text) = core::str::from_utf8(data) {
        let _ = (
            IkeAlgorithms::parse(text),
            EspAlgorithms::parse(text),
            AhAlgorithms::parse(text),
            parse_group(text),
        );
    }
}
