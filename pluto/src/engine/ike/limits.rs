//! Limits of IPsec SAs in KLIPS: what one may carry, and how long it may live even when pluto is no more.
//!
//! Not here: when pluto itself replaces an SA (`timer`), or what it does when KLIPS says that a limit is reached (`install`).

use pfkey::Lifetime;

use crate::engine::kernel::Limits;

/// Seconds that an SA lives longer in KLIPS than was agreed. pluto ends it in time; a responder's inbound SA is in KLIPS for about
/// a minute already when its life begins with the last message of Quick Mode.
const LEEWAY: u64 = 120;
/// Octets under one key of a cipher with blocks of 64 bits: 2^20 blocks (NIST SP 800-67 revision 2, section 3.3). Where blocks are
/// so small, equal ones come to be expected among many, and tell of what they hide (CVE-2016-2183, "Sweet32"; RFC 8221 section 5).
const SMALL_BLOCKS: u64 = (1 << 20) * 8;
/// Packets that sequence numbers of 32 bits are enough for, but one (RFC 4303 section 3.3.3).
const SEQUENCE_NUMBERS: u32 = u32::MAX - 1;

/// What an SA was agreed to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreement {
    /// Its life.
    pub(super) seconds: u32,
    /// What it may carry, where the peer has said so.
    pub(super) kilobytes: Option<u32>,
    /// Whether we began the negotiation; then we are to replace it before the peer does.
    pub(super) initiator: bool,
    /// Whether its cipher has blocks of 64 bits.
    pub(super) small_blocks: bool,
    /// Whether its sequence numbers have 64 bits.
    pub(super) esn: bool,
}

impl Agreement {
    /// The limits of each of its SAs. KLIPS asks for a successor when half of what an SA may carry is used up, or three quarters
    /// where the peer is to ask first: what is left is for the negotiation, during which traffic goes on.
    pub(super) fn limits(&self) -> Limits {
        let soft = |hard: u64| {
            if self.initiator {
                hard / 2
            } else {
                hard / 4 * 3
            }
        };
        let by_peer = self.kilobytes.map(|kilobytes| u64::from(kilobytes) * 1024);
        let by_cipher = self.small_blocks.then_some(SMALL_BLOCKS);
        let bytes = by_peer.into_iter().chain(by_cipher).min().unwrap_or(0);
        let packets = if self.esn { 0 } else { SEQUENCE_NUMBERS };
        Limits {
            soft: Lifetime {
                bytes: soft(bytes),
                packets: soft(packets.into()) as u32,
                ..Lifetime::NONE
            },
            hard: Lifetime {
                bytes,
                packets,
                addtime: u64::from(self.seconds) + LEEWAY,
                ..Lifetime::NONE
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement() -> Agreement {
        Agreement {
            seconds: 28800,
            kilobytes: None,
            initiator: true,
            small_blocks: false,
            esn: false,
        }
    }

    #[test]
    fn c9_every_sa_ends_by_itself() {
        let Limits { soft, hard } = agreement().limits();
        assert!(hard.addtime > 28800 + 64 && hard.addtime < 28800 + 600);
        // pluto's own timers replace it.
        assert_eq!(soft.addtime, 0);
        assert_eq!((soft.bytes, hard.bytes), (0, 0));
        assert_eq!((soft.packets, hard.packets), (0x7fff_ffff, 0xffff_fffe));
        let esn = Agreement {
            esn: true,
            ..agreement()
        };
        assert_eq!(
            (esn.limits().soft.packets, esn.limits().hard.packets),
            (0, 0)
        );
    }

    #[test]
    fn c9_small_blocks_and_kilobytes_limit_what_goes_through() {
        for (small_blocks, kilobytes, bytes) in [
            (true, None, 8 << 20),
            (false, Some(1000), 1_024_000),
            (true, Some(1000), 1_024_000),
            (true, Some(100_000), 8 << 20),
            (false, Some(u32::MAX), u64::from(u32::MAX) << 10),
            (false, Some(1), 1024),
        ] {
            for initiator in [true, false] {
                let agreed = Agreement {
                    small_blocks,
                    kilobytes,
                    initiator,
                    ..agreement()
                };
                let Limits { soft, hard } = agreed.limits();
                assert_eq!(hard.bytes, bytes, "{agreed:?}");
                let share = if initiator { bytes / 2 } else { bytes / 4 * 3 };
                assert_eq!(soft.bytes, share, "{agreed:?}");
            }
        }
    }
}
