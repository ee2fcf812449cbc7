//! X_GRPSA: chains two SAs, or dissolves a chain.

use pfkey::{Message, errno};

use super::{Errno, echo};
use crate::home::{Context, Home};
use crate::klips::Klips;
use crate::pfkey_seam::Audience;
use crate::sadb::GroupError;

impl From<GroupError> for Errno {
    fn from(error: GroupError) -> Self {
        Self(match error {
            GroupError::NotFound => errno::ENOENT,
            GroupError::Linked => errno::EEXIST,
            GroupError::TooDeep => errno::ENOSPC,
        })
    }
}

/// With a second SA: it comes next after the first, towards the wire. Without: the first one's group is dissolved.
pub(super) fn group<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let inner = message.said().ok_or(Errno(errno::EINVAL))?;
    match message.said2() {
        Some(outer) => klips.sadb.group(&inner, &outer)?,
        None => klips.sadb.ungroup(&inner)?,
    }
    echo(cx, Audience::All, message)
}
