//! How algorithms are called: names that mean the same, and when one is used without being asked for.

/// When an algorithm is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Only where the configuration names it.
    Named,
    /// Also where a peer asks for it and the list is not strict.
    Accepted,
    /// Also offered where a list leaves its kind open.
    Offered,
}

/// A word as it is compared: in lower case, without underscores, so that `AES_GCM_16_256` and `aesgcm16256` are one.
pub(crate) fn canonical(word: &str) -> String {
    word.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Whether `word`, canonical already, is a row's name or one of its aliases (which are canonical too).
pub(crate) fn is_called(word: &str, name: &str, aliases: &[&str]) -> bool {
    aliases.contains(&word) || canonical(name) == word
}

/// What table rows of all kinds are: compared and printed by name.
macro_rules! named_row {
    ($($name:ident),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.name == other.0.name
            }
        }

        impl Eq for $name {}

        impl core::hash::Hash for $name {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                self.0.name.hash(state);
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.0.name)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.0.name)
            }
        }
    )*};
}
pub(super) use named_row;
