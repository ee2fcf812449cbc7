//! ESP, AH and IPCOMP as a peer makes them, by another implementation than the module's, so that what is wrong with a packet can be
//! put inside: what was changed before it was encrypted and authenticated reaches the parsers behind.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use des::TdesEde3;
use hmac::{Hmac, KeyInit, Mac};
use ipsec_types::{AuthAlg, CompAlg, EncAlg, SaId, SaProto, Spi};
use md5::Md5;
use miniz_oxide::deflate::compress_to_vec;
use pfkey::request::SaParams;
use sha1::Sha1;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mutate::Random;

pub const HERE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const THERE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const HERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub const THERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Where what was inside ends.
pub const PORT: u16 = 4242;

pub const ENC_KEY: [u8; 24] = *b"abcdefghijklmnopqrstuvwx";
pub const AUTH_KEY: [u8; 20] = *b"01234567890123456789";

const IPIP: u8 = 4;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const ESP: u8 = 50;
const AH: u8 = 51;
const COMP: u8 = 108;

/// One layer that an SA puts around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Tunnel,
    Aes128Sha1,
    TripleDesMd5,
    /// Not authenticated, so that everything that is changed is decrypted.
    Aes128,
    AhSha1,
    AhMd5,
    Deflate,
}

/// The groups of SAs that the host has, the layer next to the inner packet first; each layer's SPI is the group's number.
pub const GROUPS: [&[Layer]; 11] = [
    &[Layer::Tunnel, Layer::Aes128Sha1],
    &[Layer::Aes128Sha1],
    &[Layer::TripleDesMd5],
    &[Layer::Tunnel, Layer::Aes128],
    &[Layer::Aes128],
    &[Layer::AhSha1],
    &[Layer::Tunnel, Layer::AhMd5],
    &[Layer::Deflate],
    &[Layer::Tunnel, Layer::Deflate, Layer::Aes128Sha1],
    &[Layer::TripleDesMd5, Layer::AhSha1],
    &[Layer::Deflate, Layer::Aes128, Layer::AhMd5],
];

/// The SPI of a group's layers.
pub fn spi(group: usize) -> u32 {
    0x1001 + group as u32
}

/// From a peer to this host, IPv4 or IPv6.
pub fn ends(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        (THERE6.into(), HERE6.into())
    } else {
        (THERE4.into(), HERE4.into())
    }
}

impl Layer {
    pub fn said(self, group: usize, dst: IpAddr) -> SaId {
        let proto = match self {
            Layer::Tunnel => SaProto::IpIp,
            Layer::Aes128Sha1 | Layer::TripleDesMd5 | Layer::Aes128 => SaProto::Esp,
            Layer::AhSha1 | Layer::AhMd5 => SaProto::Ah,
            Layer::Deflate => SaProto::Comp,
        };
        SaId::new(proto, Spi(spi(group)), dst)
    }

    /// As PF_KEY is told.
    pub fn params(self, group: usize, src: IpAddr, dst: IpAddr) -> SaParams<'static> {
        let plain = SaParams {
            replay: 64,
            ..SaParams::new(self.said(group, dst), src)
        };
        let (sha1, md5) = (
            (AuthAlg::SHA1_HMAC, &AUTH_KEY[..]),
            (AuthAlg::MD5_HMAC, &AUTH_KEY[..16]),
        );
        let (aes, des) = (
            (EncAlg::AES_CBC, &ENC_KEY[..16]),
            (EncAlg::TRIPLE_DES_CBC, &ENC_KEY[..]),
        );
        let none = ((AuthAlg::NONE, &[][..]), (EncAlg::NONE, &[][..]));
        let ((auth, auth_key), (encrypt, enc_key)) = match self {
            Layer::Tunnel => none,
            Layer::Aes128Sha1 => (sha1, aes),
            Layer::TripleDesMd5 => (md5, des),
            Layer::Aes128 => (none.0, aes),
            Layer::AhSha1 => (sha1, none.1),
            Layer::AhMd5 => (md5, none.1),
            Layer::Deflate => (none.0, (EncAlg(CompAlg::DEFLATE.0), &[][..])),
        };
        let replay = if matches!(self, Layer::Tunnel | Layer::Deflate) {
            0
        } else {
            plain.replay
        };
        SaParams {
            replay,
            auth,
            auth_key,
            encrypt,
            enc_key,
            ..plain
        }
    }
}

/// Where a packet under construction is changed: at each layer, before what comes next is put around it.
pub struct Maker<'r> {
    pub random: &'r mut Random,
    /// Each layer is changed once in so many times; 0: never.
    pub every: usize,
    /// The sequence number of the packet.
    pub sequence: u32,
}

impl Maker<'_> {
    fn touch(&mut self, bytes: &mut Vec<u8>) {
        if self.every != 0 && self.random.one_in(self.every) {
            self.random.mutate(bytes);
        }
    }

    /// A UDP packet between the inner addresses of the group, through all its layers; it ends at [`PORT`].
    pub fn packet(&mut self, group: usize, v6: bool, text: &[u8]) -> Vec<u8> {
        let (src, dst) = ends(v6);
        let mut udp = Vec::with_capacity(text.len() + 8);
        for field in [9, PORT, text.len() as u16 + 8, 0] {
            udp.extend(field.to_be_bytes());
        }
        udp.extend(text);
        if v6 {
            let sum = udp_checksum(src, dst, &udp);
            udp[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        self.touch(&mut udp);
        let (mut next, mut payload) = (UDP, udp);
        let layers = GROUPS[group];
        for (n, layer) in layers.iter().enumerate() {
            (next, payload) = match layer {
                Layer::Tunnel => (if v6 { IPV6 } else { IPIP }, ip(src, dst, next, &payload)),
                Layer::Aes128Sha1 | Layer::TripleDesMd5 | Layer::Aes128 => {
                    (ESP, self.esp(*layer, group, next, payload))
                }
                Layer::AhSha1 | Layer::AhMd5 => {
                    debug_assert!(
                        n + 1 == layers.len(),
                        "AH covers the outer header, which is made here"
                    );
                    (AH, self.ah(*layer, group, src, dst, next, payload))
                }
                Layer::Deflate => (COMP, self.deflate(group, next, payload)),
            };
            self.touch(&mut payload);
        }
        let mut packet = ip(src, dst, next, &payload);
        self.touch(&mut packet);
        packet
    }

    fn esp(&mut self, layer: Layer, group: usize, next: u8, mut plain: Vec<u8>) -> Vec<u8> {
        let block = if layer == Layer::TripleDesMd5 { 8 } else { 16 };
        let padding = (plain.len() + 2).next_multiple_of(block) - plain.len() - 2;
        plain.extend((1..=padding).map(|n| n as u8));
        plain.extend([padding as u8, next]);
        self.touch(&mut plain);
        // A cipher takes whole blocks only, so a wrong length must be added behind.
        let odd = plain.split_off(plain.len() / block * block);
        let iv = self.random.bytes(block);
        let len = plain.len();
        if layer == Layer::TripleDesMd5 {
            let cipher =
                cbc::Encryptor::<TdesEde3>::new_from_slices(&ENC_KEY, &iv).expect("lengths fit");
            cipher
                .encrypt_padded::<NoPadding>(&mut plain, len)
                .expect("whole blocks");
        } else {
            let cipher = cbc::Encryptor::<Aes128>::new_from_slices(&ENC_KEY[..16], &iv)
                .expect("lengths fit");
            cipher
                .encrypt_padded::<NoPadding>(&mut plain, len)
                .expect("whole blocks");
        }
        let mut esp = [
            &spi(group).to_be_bytes()[..],
            &self.sequence.to_be_bytes(),
            &iv,
            &plain,
            &odd,
        ]
        .concat();
        match layer {
            Layer::Aes128Sha1 => esp.extend(icv(true, &[&esp])),
            Layer::TripleDesMd5 => esp.extend(icv(false, &[&esp])),
            _ => {}
        }
        esp
    }

    fn ah(
        &mut self,
        layer: Layer,
        group: usize,
        src: IpAddr,
        dst: IpAddr,
        next: u8,
        payload: Vec<u8>,
    ) -> Vec<u8> {
        let v6 = dst.is_ipv6();
        // The ICV is 12 octets; IPv6 wants whole 8s, which 24 are.
        let mut ah = vec![next, 4, 0, 0];
        ah.extend(spi(group).to_be_bytes());
        ah.extend(self.sequence.to_be_bytes());
        ah.extend([0; 12]);
        ah.extend(payload);
        let mut header = ip(src, dst, AH, &ah);
        header.truncate(header.len() - ah.len());
        if !v6 {
            // What routers change counts as zero.
            header[1] = 0;
            header[6..9].fill(0);
            header[10..12].fill(0);
        } else {
            header[7] = 0;
        }
        self.touch(&mut ah);
        if ah.len() >= 24 {
            ah[12..24].fill(0);
            let icv = icv(layer == Layer::AhSha1, &[&header, &ah]);
            ah[12..24].copy_from_slice(&icv);
        }
        ah
    }

    fn deflate(&mut self, group: usize, next: u8, payload: Vec<u8>) -> Vec<u8> {
        let mut plain = payload;
        if self.every != 0 && self.random.one_in(40) {
            // More than any packet holds.
            plain.resize(300_000, 0);
        }
        let mut deflated = compress_to_vec(&plain, 6);
        self.touch(&mut deflated);
        let mut comp = vec![next, 0];
        comp.extend((spi(group) as u16).to_be_bytes());
        comp.extend(deflated);
        comp
    }
}

fn icv(sha1: bool, segments: &[&[u8]]) -> [u8; 12] {
    let mut out = [0; 12];
    if sha1 {
        let mut mac = Hmac::<Sha1>::new_from_slice(&AUTH_KEY).expect("any length");
        segments.iter().for_each(|segment| mac.update(segment));
        out.copy_from_slice(&mac.finalize().into_bytes()[..12]);
    } else {
        let mut mac = Hmac::<Md5>::new_from_slice(&AUTH_KEY[..16]).expect("any length");
        segments.iter().for_each(|segment| mac.update(segment));
        out.copy_from_slice(&mac.finalize().into_bytes()[..12]);
    }
    out
}

/// An IP packet.
pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + payload.len());
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            packet.extend([0x45, 0]);
            packet.extend((payload.len() as u16).wrapping_add(20).to_be_bytes());
            packet.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            seal_v4(&mut packet);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
        }
        _ => unreachable!("both ends are of one family"),
    }
    packet.extend(payload);
    packet
}

/// Makes the checksum of an IPv4 header right.
pub fn seal_v4(packet: &mut [u8]) {
    if let Some(header) = packet.get_mut(..20) {
        header[10..12].fill(0);
        let sum = fold(header, 0);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fn udp_checksum(src: IpAddr, dst: IpAddr, udp: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for end in [src, dst] {
        match end {
            IpAddr::V4(a) => pseudo.extend(a.octets()),
            IpAddr::V6(a) => pseudo.extend(a.octets()),
        }
    }
    pseudo.extend(udp);
    match fold(&pseudo, udp.len() as u64 + u64::from(UDP)) {
        0 => 0xffff,
        sum => sum,
    }
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    fold(bytes, 0)
}

fn fold(bytes: &[u8], start: u64) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    let mut sum = start + bytes.chunks(2).map(word).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
