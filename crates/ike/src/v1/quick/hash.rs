//! What all Quick Mode messages have in common: the payloads they may hold, the hash in front, the
//! client identities, the public value of perfect forward secrecy.

use super::super::error::Error;
use super::super::ident::Client;
use crate::crypto::{Group, check_public, ct_eq};
use crate::wire::{Expect, Message, PayloadType, hashed};

/// Checks the payloads of QI1 and QR1 and their order (RFC 2409 section 5.5).
pub(super) fn check_form(message: &Message<'_>) -> Result<(), Error> {
    message.expect(&Expect {
        first: Some(PayloadType::HASH),
        counts: &[
            (PayloadType::HASH, 1, 1),
            (PayloadType::SA, 1, 1),
            (PayloadType::NONCE, 1, 1),
            (PayloadType::KE, 0, 1),
            (PayloadType::ID, 0, 2),
        ],
        tolerated: &[PayloadType::NAT_OA, PayloadType::NAT_OA_DRAFTS],
    })?;
    let payloads = message.payloads();
    if payloads
        .get(1)
        .is_none_or(|second| second.kind != PayloadType::SA)
    {
        return Err(Error::Header("SA payload is in wrong position"));
    }
    let ids: Vec<usize> = payloads
        .iter()
        .enumerate()
        .filter_map(|(at, payload)| (payload.kind == PayloadType::ID).then_some(at))
        .collect();
    match ids[..] {
        [] => Ok(()),
        [first, second] if second == first + 1 => Ok(()),
        [_, _] => Err(Error::Header("ID payloads are not adjacent")),
        _ => Err(Error::Header(
            "ID payload is alone: there must be exactly two, or none",
        )),
    }
}

/// The message in `clear`, if its hash is what `expected` makes of the payloads behind it; first that is asked, for only the peer's own
/// mistakes are worth an answer.
pub(super) fn proved<'a>(
    clear: &'a [u8],
    (which, message): (u8, &'static str),
    expected: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<Message<'a>, Error> {
    let Some((received, covered)) = hashed(clear) else {
        let form = Message::new_decrypted(clear).map_err(Error::from);
        let missing = Error::Header("hash payload is missing");
        return Err(form.err().unwrap_or(missing).unproved());
    };
    if !ct_eq(received, &expected(covered)) {
        return Err(Error::Hash { which, message });
    }
    Ok(Message::new_decrypted(clear)?)
}

/// The client identities, the initiator's first, or none.
pub(super) fn clients_of(message: &Message<'_>) -> Result<Option<(Client, Client)>, Error> {
    let mut ids = message.ids();
    match (ids.next(), ids.next()) {
        (Some((initiator, _)), Some((responder, _))) => Ok(Some((
            Client::from_wire(&initiator)?,
            Client::from_wire(&responder)?,
        ))),
        _ => Ok(None),
    }
}

/// The peer's public value, which must be there if and only if `group` was agreed on.
pub(super) fn pfs_value(
    message: &Message<'_>,
    group: Option<Group>,
) -> Result<Option<Vec<u8>>, Error> {
    match (group, message.ke()) {
        (None, None) => Ok(None),
        (Some(group), Some(public)) => {
            check_public(group, public)?;
            Ok(Some(public.to_vec()))
        }
        (Some(_), None) => Err(Error::Pfs(
            "missing KE payload in Quick Mode message with PFS",
        )),
        (None, Some(_)) => Err(Error::Pfs(
            "Quick Mode message KE payload requires a GROUP_DESCRIPTION attribute in SA",
        )),
    }
}
