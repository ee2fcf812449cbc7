//! Vendor ids (RFC 2408 section 3.16): what peers say they are and can do beyond the RFCs. Most are hashes of a text;
//! some end in a version. Nobody vouches for them: they come in the clear, before there is a key.

use std::fmt::Write as _;

use crate::wire::Message;

/// Dead peer detection, version 1.0 (RFC 3706 section 5.1).
pub const DPD: &[u8; 16] = b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";

/// Fragments of IKE messages are understood: a hash of "FRAGMENTATION" and, as strongSwan and racoon have it, the bit that
/// means Main Mode.
pub const FRAGMENTATION: &[u8; 20] =
    b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3\x80\x00\x00\x00";

/// Most vendor ids of one message that are named; octets of an unknown one that are shown.
const MAX_NAMED: usize = 20;
const MAX_SHOWN: usize = 20;

/// A vendor id, or what it begins with, in hexadecimal; its name.
const KNOWN: &[(&str, &str)] = &[
    ("4f457246535741", "FreeS/WAN 3"),
    ("4f45", "FreeS/WAN, Openswan or libreswan"),
    ("882fe56d6fd20dbc2251613b2ebe5beb", "strongSwan"),
    ("afcad71368a1f1c96b8696fc7757", "Dead Peer Detection"),
    ("09002689dfd6b712", "XAUTH"),
    ("12f5f28c457168a9702d9fe274cc", "Cisco Unity"),
    ("1f07f70eaa6514d3b0fa96542a50", "Cisco VPN 3000"),
    ("3e984048", "Cisco IOS"),
    ("4048b7d56ebce88525e7de7f00d6c2d3", "FRAGMENTATION"),
    ("26244d38eddb61b3172a36e3d0cfb819", "Vid-Initial-Contact"),
    ("4a131c81070358455c5728f20e95452f", "RFC 3947"),
    (
        "4485152d18b6bbcd0be8a8469579ddcc",
        "draft-ietf-ipsec-nat-t-ike-00",
    ),
    (
        "16f6ca16e4a4066d83821a0f0aeaa862",
        "draft-ietf-ipsec-nat-t-ike-01",
    ),
    (
        "90cb80913ebb696e086381b5ec427b1f",
        "draft-ietf-ipsec-nat-t-ike-02_n",
    ),
    (
        "cd60464335df21f87cfdb2fc68b6a448",
        "draft-ietf-ipsec-nat-t-ike-02",
    ),
    (
        "7d9419a65310ca6f2c179d9215529d56",
        "draft-ietf-ipsec-nat-t-ike-03",
    ),
    (
        "9909b64eed937c6573de52ace952fa6b",
        "draft-ietf-ipsec-nat-t-ike-04",
    ),
    (
        "80d0bb3def54565ee84645d4c85ce3ee",
        "draft-ietf-ipsec-nat-t-ike-05",
    ),
    (
        "4d1e0e136deafa34c4f3ea9f02ec7285",
        "draft-ietf-ipsec-nat-t-ike-06",
    ),
    (
        "439b59f8ba676c4c7737ae22eab8f582",
        "draft-ietf-ipsec-nat-t-ike-07",
    ),
    (
        "8f8d83826d246b6fc7a8a6a428c11de8",
        "draft-ietf-ipsec-nat-t-ike-08",
    ),
    (
        "4df37928e9fc4fd1b3262170d515c662",
        "draft-ietf-ipsec-nat-t-ike",
    ),
    (
        "27bab5dc01ea0760ea4e3190ac27c0d0",
        "draft-stenberg-ipsec-nat-traversal-01",
    ),
    (
        "6105c422e76847e43f9684801292aecd",
        "draft-stenberg-ipsec-nat-traversal-02",
    ),
    (
        "6a7434c19d7e36348090a02334c9c805",
        "draft-huttunen-ipsec-esp-in-udp-00.txt",
    ),
    ("50760f624c63e5c53eea386c685ca083", "ESPThruNAT"),
    ("1e2b516905991c7d7c96fcbfb587e461", "MS NT5 ISAKMPOAKLEY"),
    (
        "fb1de3cdf341b7ea16b7e5be0855f120",
        "MS-Negotiation Discovery Capable",
    ),
    ("e3a5966a76379fe707228231e5ce8652", "IKE CGA version 1"),
    ("214ca4faffa7f32d6748e5303395ae83", "MS-MamieExists"),
    ("ad2c0dd0b9c32083ccba25b8861ec455", "GSS-API"),
    ("621b04bb09882ac1e15935fefa24aeee", "GSSAPI"),
    ("7003cbc1097dbe9c2600ba6983bc8b35", "KAME/racoon"),
    (
        "f4ed19e0c114eb516faaac0ee37daf2807b4381f",
        "Check Point Firewall-1",
    ),
    ("47bbe7c993f1fc13b4e6d0db565c68e5", "SafeNet SoftRemote"),
    ("f14b94b7bff1fef02773b8c49feded26", "Shrew Soft"),
    ("4865617274426561745f4e6f74696679", "HeartBeat_Notify"),
    ("4f70656e504750", "OpenPGP"),
    ("43414e2d494b457632", "can do IKEv2"),
];

/// The name of a vendor id; of one that is not known, its first octets.
pub fn name(id: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * MAX_SHOWN);
    for octet in id.iter().take(MAX_SHOWN) {
        // Writing to a string can't fail.
        let _ = write!(hex, "{octet:02x}");
    }
    let known = KNOWN.iter().find(|(start, _)| hex.starts_with(start));
    match known {
        Some((_, name)) => (*name).to_owned(),
        None if id.len() > MAX_SHOWN => format!("unknown {hex}..."),
        None => format!("unknown {hex}"),
    }
}

/// What a peer has said it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// It answers R-U-THERE.
    pub dpd: bool,
    /// It takes fragments of IKE messages.
    pub fragmentation: bool,
}

impl Peer {
    /// Takes the vendor ids of a message in the clear into account, and names them.
    pub fn learn(&mut self, datagram: &[u8]) -> Vec<String> {
        let Ok(message) = Message::new_checked(datagram) else {
            return Vec::new();
        };
        let mut names = Vec::new();
        for id in message.vendor_ids() {
            // The version in the last two octets may grow.
            self.dpd |= id.len() == DPD.len() && id.starts_with(&DPD[..14]);
            let capabilities = id
                .strip_prefix(&FRAGMENTATION[..16])
                .map(|rest| rest.first().copied());
            // Windows sends the hash alone.
            self.fragmentation |= match capabilities {
                Some(None) => true,
                Some(Some(first)) => first & 0x80 != 0,
                None => false,
            };
            if names.len() < MAX_NAMED {
                names.push(name(id));
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cookie, ExchangeType, Header, MessageBuilder};

    #[test]
    fn hashes_are_of_their_names() {
        use md5::{Digest, Md5};
        for text in [
            "strongSwan",
            "FRAGMENTATION",
            "RFC 3947",
            "draft-ietf-ipsec-nat-t-ike-03",
            "MS NT5 ISAKMPOAKLEY",
            "KAME/racoon",
            "Vid-Initial-Contact",
            "IKE CGA version 1",
        ] {
            assert_eq!(name(&Md5::digest(text)), text);
        }
        let versions = [2, 4].map(|n| {
            let hash = Md5::digest("MS NT5 ISAKMPOAKLEY");
            name(&[&hash[..], &[0, 0, 0, n]].concat())
        });
        assert_eq!(versions, ["MS NT5 ISAKMPOAKLEY"; 2]);
        assert_eq!(name(super::super::VENDOR_ID), "FreeS/WAN 3");
        assert_eq!(
            name(b"OEu\\d\\jy\\\\ap"),
            "FreeS/WAN, Openswan or libreswan"
        );
        assert_eq!(name(&[1, 2, 3]), "unknown 010203");
        assert_eq!(name(&[7; 30]), format!("unknown {}...", "07".repeat(20)));
        assert_eq!(name(&[]), "unknown ");
    }

    #[test]
    fn a_peer_is_what_it_says() {
        let header = Header::new(Cookie([1; 8]), Cookie::ZERO, ExchangeType::MAIN_MODE, 0);
        let message = MessageBuilder::new(&header)
            .vendor_id(b"\x12\xf5\xf2\x8c\x45\x71\x68\xa9\x70\x2d\x9f\xe2\x74\xcc\x01\x00")
            .vendor_id(DPD)
            .finish();
        let mut peer = Peer::default();
        assert_eq!(peer.learn(&message), ["Cisco Unity", "Dead Peer Detection"]);
        assert!(peer.dpd);
        let mut peer = Peer::default();
        let message = MessageBuilder::new(&header).vendor_id(&DPD[..14]).finish();
        peer.learn(&message);
        assert!(!peer.dpd);
        for (id, understood) in [
            (&FRAGMENTATION[..], true),
            (&FRAGMENTATION[..16], true),
            (&[&FRAGMENTATION[..16], &[0xc0, 0, 0, 0]].concat(), true),
            (&[&FRAGMENTATION[..16], &[0x40, 0, 0, 0]].concat(), false),
            (&FRAGMENTATION[..15], false),
        ] {
            let message = MessageBuilder::new(&header).vendor_id(id).finish();
            let mut peer = Peer::default();
            peer.learn(&message);
            assert_eq!(peer.fragmentation, understood, "{id:02x?}");
        }
        assert_eq!(peer.learn(b"rubbish"), Vec::<String>::new());
    }
}
