//! The initiator's reading of the answer to its offer: it must be one of our own choices, whole and unchanged.
//!
//! Not here: how an offer is made or answered (the module above).

use super::{Candidate, IpsecChoice, IpsecPolicy, assemble, peer_spi};
use crate::proposal::ipsec_transform::Understood;
use crate::proposal::refusal::{AnswerError, Refused};
use crate::wire::{Proposal, Protocol, Sa};

impl IpsecPolicy {
    /// Reads the peer's answer to [`to_sa`](Self::to_sa): one transform for each protocol of one of our proposals, equal in
    /// meaning to one we offered. Attributes may stand in another order or form; their values may not differ.
    ///
    /// # Errors
    /// Any other answer.
    pub fn confirm(&self, answer: &Sa) -> Result<IpsecChoice, AnswerError> {
        let parts = without_repetition(&answer.proposals);
        let one = parts.iter().all(|p| p.transforms.len() == 1) && !parts.is_empty();
        let bundles = parts.chunk_by(|a, b| a.number == b.number).count();
        if !one || bundles != 1 {
            let transforms = parts.iter().map(|p| p.transforms.len()).max().unwrap_or(0);
            return Err(AnswerError::NotOne {
                proposals: bundles,
                transforms,
            });
        }
        let mut candidates = Vec::new();
        for p in parts {
            candidates.push(self.confirm_part(p)?);
        }
        let same = |protocols: &Vec<Protocol>| {
            protocols.len() == parts.len() && parts.iter().all(|p| protocols.contains(&p.protocol))
        };
        let distinct = parts
            .iter()
            .enumerate()
            .all(|(i, p)| parts.iter().take(i).all(|q| q.protocol != p.protocol));
        if !distinct || !self.alternatives().iter().any(same) {
            let names: Vec<String> = parts.iter().map(|p| p.protocol.to_string()).collect();
            return Err(AnswerError::NotOffered(names.join(" with ")));
        }
        Ok(assemble(&candidates, self.encapsulation, self.pfs_group))
    }

    fn confirm_part<'a>(&self, p: &'a Proposal) -> Result<Candidate<'a>, AnswerError> {
        let number = p.transforms.first().map(|t| t.number);
        let refused = |why| {
            AnswerError::Refused(Refused {
                proposal: p.number,
                protocol: p.protocol,
                transform: number,
                why,
            })
        };
        let spi = peer_spi(p).map_err(refused)?;
        let transform = p.transforms.first().ok_or(AnswerError::NotOne {
            proposals: 1,
            transforms: 0,
        })?;
        let understood = Understood::decode(p.protocol, transform).map_err(refused)?;
        match self.transforms(p.protocol).contains(&understood) {
            true => Ok(Candidate {
                proposal: p,
                index: 0,
                spi,
                understood,
            }),
            false => Err(AnswerError::NotOffered(format!(
                "{} {understood}",
                p.protocol
            ))),
        }
    }
}

/// strongSwan's answer with compression holds its choice twice: with IPCOMP, and again without it, under the next number. The
/// first is what it means.
fn without_repetition(answer: &[Proposal]) -> &[Proposal] {
    let Some(first) = answer.chunk_by(|a, b| a.number == b.number).next() else {
        return answer;
    };
    let again = |p: &Proposal| {
        first
            .iter()
            .any(|q| (q.protocol, &q.spi, &q.transforms) == (p.protocol, &p.spi, &p.transforms))
    };
    let rest = answer.get(first.len()..).unwrap_or(&[]);
    let compressed = first.iter().any(|p| p.protocol == Protocol::IPCOMP);
    if compressed && rest.len() < first.len() && rest.iter().all(again) {
        first
    } else {
        answer
    }
}
