//! Files, by Landlock: what is read, what is written; nothing is run. Rights that the running kernel does not know are left out.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use super::ConfineError;

/// The newest rights that are known here: those of Linux 6.10.
const RIGHTS: ABI = ABI::V5;

/// Restricts this thread and those it starts; `false` where the kernel has no Landlock.
pub fn restrict(reads: &[PathBuf], writes: &[PathBuf]) -> Result<bool, ConfineError> {
    rules(reads, writes).map_err(|e| ConfineError::new("files", e))
}

fn rules(reads: &[PathBuf], writes: &[PathBuf]) -> Result<bool, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let all = AccessFs::from_all(RIGHTS);
    // What is not there is left out: it can't be opened, and what comes in its place later can't either.
    let status = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(reads, read))?
        .add_rules(path_beneath_rules(writes, all & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
