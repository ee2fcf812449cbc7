//! ISAKMP messages as octets (RFC 2408, with RFC 2407's and 2409's numbers): parsed once and completely by
//! [`Message::new_checked`], written by [`MessageBuilder`]. No cryptography and no policy here.

mod attribute;
mod builder;
mod error;
mod fragment;
mod header;
mod id;
mod ipsec_doi;
mod message;
mod notify;
mod numbers;
mod oakley;
mod reader;
mod sa;
#[cfg(test)]
pub(crate) mod tests;

pub use attribute::{
    Attribute, AttributeValue, MAX_ATTRIBUTE_LEN, MAX_ATTRIBUTES, emit_attributes, parse_attributes,
};
pub use builder::{HashSlot, MAX_MESSAGE, MessageBuilder};
pub use error::{ErrorKind, ParseError};
pub use fragment::{Fragment, MAX_FRAGMENTS};
pub use header::{Cookie, Flags, HEADER_LEN, Header};
pub use id::{Id, IdValue};
pub use ipsec_doi::{
    AhTransformId, AuthAlgorithm, Encapsulation, EspTransformId, IpcompTransformId, IpsecAttribute,
    SA_LIFE_DURATION_DEFAULT, SIT_IDENTITY_ONLY,
};
pub use message::{Cert, Content, Expect, MAX_PAYLOADS, Message, Payload, Unexpected, hashed};
pub use notify::{Delete, MAX_DELETE_SPIS, Notify};
pub use numbers::{CertEncoding, Doi, ExchangeType, IdType, NotifyType, PayloadType, Protocol};
pub use oakley::{
    AuthMethod, GroupId, KEY_IKE, LifeType, OakleyAttribute, OakleyCipher, OakleyHash,
};
pub use sa::{MAX_PROPOSALS, MAX_TRANSFORMS, Proposal, Sa, Transform};

/// Reads `data` as a clear and as a decrypted message and writes back what was read; for the fuzzer. A message that
/// parses must say the same after being written and read again.
#[expect(clippy::expect_used, reason = "the fuzzer is to see it")]
pub fn fuzz(data: &[u8]) {
    if let Ok((_, piece)) = Fragment::new_checked(data) {
        assert!(!piece.data.is_empty() && piece.number != 0);
    }
    if let Some(pieces) = Fragment::cut(data, 1, 300) {
        let whole = pieces.iter().flat_map(|piece| {
            let read = Fragment::new_checked(piece).map(|(_, piece)| piece.data);
            read.unwrap_or_default().to_vec()
        });
        assert!(whole.eq(data.iter().copied()));
    }
    for parsed in [Message::new_checked(data), Message::new_decrypted(data)]
        .into_iter()
        .flatten()
    {
        let header = *parsed.header();
        let built = parsed
            .payloads()
            .iter()
            .fold(MessageBuilder::new(&header), |b, p| match &p.content {
                Content::Sa(sa) => b.sa(sa),
                Content::Id(id) => b.id(id),
                Content::Notify(n) => b.notify(n),
                Content::Delete(d) => b.delete(d),
                Content::Cert(c) => b.cert(c),
                Content::CertReq(c) => b.certreq(c),
                _ => b.payload(p.kind, p.body()),
            });
        let bytes = built.finish();
        let again = if header.flags.encryption {
            Message::new_decrypted(&bytes)
        } else {
            Message::new_checked(&bytes)
        };
        let again = again.expect("a message we wrote parses");
        assert!(
            again
                .payloads()
                .iter()
                .map(|p| &p.content)
                .eq(parsed.payloads().iter().map(|p| &p.content))
        );
    }
}
