//! Proposals, in the words of each program.

use crate::peer::Kind;

/// One IKE and one ESP proposal.
#[derive(Debug)]
pub struct Suite {
    /// `ike=` and `esp=` of ours; libreswan reads the same.
    pub ours: [&'static str; 2],
    /// `proposals` and `esp_proposals` of swanctl.conf, without the group for PFS.
    pub swanctl: [&'static str; 2],
    /// The group in both, as swanctl.conf names it, which is PFS's group too.
    pub group: &'static str,
    /// Why a peer does not have it.
    pub lacks: &'static [(Kind, &'static str)],
}

impl Suite {
    /// Its name in test filters and tables: IKE proposal and ESP proposal.
    pub fn name(&self) -> String {
        format!("{}/{}", self.ours[0], self.ours[1])
    }
}

/// Both have it in IKEv2 alone: charon encodes no number of IKEv1's for it, and libreswan does not know the name.
const NO_CHACHA: &[(Kind, &str)] = &[
    (Kind::Strongswan, "not in charon's IKEv1"),
    (Kind::Libipsec, "not in charon's IKEv1"),
    (Kind::Libreswan, "not in libreswan's IKEv1"),
];

/// What is tried, weakest first.
pub const SUITES: &[Suite] = &[
    Suite {
        ours: ["3des-sha1-modp1536", "3des-sha1"],
        swanctl: ["3des-sha1-modp1536", "3des-sha1"],
        group: "modp1536",
        lacks: &[],
    },
    Suite {
        ours: ["aes128-sha1-modp2048", "aes128-sha1"],
        swanctl: ["aes128-sha1-modp2048", "aes128-sha1"],
        group: "modp2048",
        lacks: &[],
    },
    Suite {
        ours: ["aes256-sha2_256-modp2048", "aes256-sha2_256"],
        swanctl: ["aes256-sha256-modp2048", "aes256-sha256"],
        group: "modp2048",
        lacks: &[],
    },
    Suite {
        ours: ["aes256-sha2_512-ecp384", "aes256-sha2_512"],
        swanctl: ["aes256-sha512-ecp384", "aes256-sha512"],
        group: "ecp384",
        lacks: &[],
    },
    Suite {
        ours: ["aes128-sha2_256-modp2048", "aes_gcm128-null"],
        swanctl: ["aes128-sha256-modp2048", "aes128gcm16"],
        group: "modp2048",
        lacks: &[],
    },
    Suite {
        ours: ["aes256-sha2_256-modp2048", "aes_gcm256-null"],
        swanctl: ["aes256-sha256-modp2048", "aes256gcm16"],
        group: "modp2048",
        lacks: &[],
    },
    Suite {
        ours: ["aes256-sha2_256-modp2048", "chacha20_poly1305"],
        swanctl: ["aes256-sha256-modp2048", "chacha20poly1305"],
        group: "modp2048",
        lacks: NO_CHACHA,
    },
];
