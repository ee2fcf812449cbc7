//! `--life` of `ipsec spi`: `soft-bytes=1000,hard-addtime=3600` as lifetimes.

use pfkey::Lifetime;

/// Soft and hard limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// At which EXPIRE asks for a successor.
    pub soft: Lifetime,
    /// At which the SA dies.
    pub hard: Lifetime,
}

impl Limits {
    /// Adds what one `--life` says.
    ///
    /// # Errors
    /// The part that is wrong, and what would be right.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        text.split([',', ' '])
            .filter(|part| !part.is_empty())
            .try_for_each(|part| self.add_one(part))
    }

    fn add_one(&mut self, part: &str) -> Result<(), String> {
        let expected = "expected soft- or hard-, then allocations, bytes, addtime, usetime or packets, then = and a number";
        let bad = || format!("--life {part}: {expected}");
        let (name, value) = part.split_once('=').ok_or_else(bad)?;
        let (severity, kind) = name.split_once('-').ok_or_else(bad)?;
        let limit = match severity {
            "soft" => &mut self.soft,
            "hard" => &mut self.hard,
            _ => return Err(bad()),
        };
        let number: u64 = value
            .parse()
            .map_err(|_| format!("--life {part}: `{value}' is no number"))?;
        let small =
            || u32::try_from(number).map_err(|_| format!("--life {part}: at most {}", u32::MAX));
        let before = *limit;
        match kind {
            "allocations" => limit.allocations = small()?,
            "bytes" => limit.bytes = number,
            "addtime" => limit.addtime = number,
            "usetime" => limit.usetime = number,
            "packets" => limit.packets = small()?,
            _ => return Err(bad()),
        }
        let twice = match kind {
            "allocations" => before.allocations != 0,
            "bytes" => before.bytes != 0,
            "addtime" => before.addtime != 0,
            "usetime" => before.usetime != 0,
            _ => before.packets != 0,
        };
        if twice {
            Err(format!("--life {part}: {name} is given twice"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let mut limits = Limits::default();
        limits
            .add("soft-bytes=1000,hard-bytes=5000000000,hard-packets=7")
            .unwrap();
        limits.add("soft-addtime=60").unwrap();
        assert_eq!((limits.soft.bytes, limits.soft.addtime), (1000, 60));
        assert_eq!((limits.hard.bytes, limits.hard.packets), (5_000_000_000, 7));
        for (bad, want) in [
            ("bytes=1", "expected soft-"),
            ("soft-byte=1", "expected soft-"),
            ("soft-bytes", "expected soft-"),
            ("hard-packets=4294967296", "at most"),
            ("soft-usetime=x", "no number"),
            ("soft-bytes=1", "twice"),
        ] {
            let why = limits.add(bad).unwrap_err();
            assert!(why.contains(want), "{bad}: {why}");
        }
    }
}
