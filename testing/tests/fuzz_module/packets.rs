//! ESP, AH and IPCOMP as a peer makes them, by another implementation than the module's, so that what is wrong with a packet can be
//! put inside: what was changed before it was encrypted and authenticated reaches the parsers behind.

use hmac::{Hmac, KeyInit, Mac};
use ipsec_types::{AuthAlg, CompAlg, EncAlg, SaId, SaProto, Spi};
use md5::Md5;
use miniz_oxide::deflate::compress_to_vec;
use pfkey::SaFlags;
use pfkey::request::SaParams;
use sha1::Sha1;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::esp::{Cipher::*, Esp, PORTS, esp};
use crate::mutate::Random;

pub const HERE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const THERE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const HERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub const THERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Where what was inside ends.
pub const PORT: u16 = 4242;

const AUTH_KEY: [u8; 20] = *b"01234567890123456789";

const IPIP: u8 = 4;
pub const UDP: u8 = 17;
const IPV6: u8 = 41;
const ESP: u8 = 50;
const AH: u8 = 51;
const COMP: u8 = 108;

/// One layer that an SA puts around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Tunnel,
    Esp(Esp),
    Ah(Hash),
    /// AH with sequence numbers of 64 bits.
    AhEsn(Hash),
    Deflate,
}

/// HMACs, of which 12 octets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Md5,
    Sha1,
}
use Hash::{Md5 as MD5, Sha1 as SHA1};
use Layer::{Ah, AhEsn, Deflate, Tunnel};

const AES_SHA1: Esp = esp(Aes, Some(SHA1));
const DES_MD5: Esp = esp(TripleDes, Some(MD5));
/// For AH around it alone.
const AES: Esp = esp(Aes, None);
const AES_CTR: Esp = esp(AesCtr, Some(SHA1));
const GCM_16: Esp = esp(AesGcm(16), None);
const CHACHA: Esp = esp(ChaCha20Poly1305, None);

/// The groups of SAs that the host has, the layer next to the inner packet first; each layer's SPI is the group's number.
pub const GROUPS: [&[Layer]; 24] = [
    &[Tunnel, AES_SHA1.layer()],
    &[AES_SHA1.layer()],
    &[DES_MD5.layer()],
    &[Tunnel, AES.layer(), Ah(SHA1)],
    &[AES.layer(), Ah(SHA1)],
    &[Ah(SHA1)],
    &[Tunnel, Ah(MD5)],
    &[Deflate, AES_SHA1.layer()],
    &[Tunnel, Deflate, AES_SHA1.layer()],
    &[DES_MD5.layer(), Ah(SHA1)],
    &[Deflate, AES.layer(), Ah(MD5)],
    &[AES_CTR.layer()],
    &[Tunnel, GCM_16.layer()],
    &[esp(AesGcm(12), None).layer()],
    &[Tunnel, esp(AesGcm(8), None).esn().layer()],
    &[Tunnel, CHACHA.layer()],
    &[Deflate, CHACHA.esn().layer()],
    &[GCM_16.layer(), Ah(SHA1)],
    &[Tunnel, AES_SHA1.esn().layer()],
    &[AhEsn(SHA1)],
    &[Tunnel, AES_SHA1.in_udp().layer()],
    &[Tunnel, DES_MD5.in_udp().layer()],
    &[GCM_16.esn().in_udp().layer()],
    &[Deflate, AES_CTR.esn().in_udp().layer()],
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
            Tunnel => SaProto::IpIp,
            Layer::Esp(_) => SaProto::Esp,
            Ah(_) | AhEsn(_) => SaProto::Ah,
            Deflate => SaProto::Comp,
        };
        SaId::new(proto, Spi(spi(group)), dst)
    }

    /// As PF_KEY is told.
    pub fn params(self, group: usize, src: IpAddr, dst: IpAddr) -> SaParams<'static> {
        let plain = SaParams::new(self.said(group, dst), src);
        let replay = 64;
        let mac = |hash| match hash {
            Some(SHA1) => (AuthAlg::SHA1_HMAC, &AUTH_KEY[..]),
            Some(MD5) => (AuthAlg::MD5_HMAC, &AUTH_KEY[..16]),
            None => (AuthAlg::NONE, &[][..]),
        };
        match self {
            Tunnel => plain,
            Layer::Esp(esp) => {
                let ((auth, auth_key), (encrypt, enc_key)) = (mac(esp.mac()), esp.encryption());
                SaParams {
                    replay,
                    auth,
                    auth_key,
                    encrypt,
                    enc_key,
                    flags: if esp == AES {
                        SaFlags::AH_OUTSIDE
                    } else {
                        esp.flags()
                    },
                    nat_t: esp.nat_t(src),
                    ..plain
                }
            }
            Ah(hash) | AhEsn(hash) => {
                let (auth, auth_key) = mac(Some(hash));
                let flags = match self {
                    AhEsn(_) => SaFlags::ESN,
                    _ => SaFlags::NONE,
                };
                SaParams {
                    replay,
                    auth,
                    auth_key,
                    flags,
                    ..plain
                }
            }
            Deflate => SaParams {
                encrypt: EncAlg(CompAlg::DEFLATE.0),
                ..plain
            },
        }
    }
}

/// Where a packet under construction is changed: at each layer, before what comes next is put around it.
pub struct Maker<'r> {
    pub random: &'r mut Random,
    /// Each layer is changed once in so many times; 0: never.
    pub every: usize,
    /// The sequence number of the packet. Its upper half counts where the SA has 64 bits of it.
    pub sequence: u64,
}

impl Maker<'_> {
    pub fn touch(&mut self, bytes: &mut Vec<u8>) {
        if self.every != 0 && self.random.one_in(self.every) {
            self.random.mutate(bytes);
        }
    }

    /// A UDP packet between the inner addresses of the group, through all its layers; it ends at [`PORT`].
    pub fn packet(&mut self, group: usize, v6: bool, text: &[u8]) -> Vec<u8> {
        let (src, dst) = ends(v6);
        let udp = self.udp(src, dst, [9, PORT], text);
        let (mut next, mut payload) = (UDP, udp);
        let layers = GROUPS[group];
        for (n, layer) in layers.iter().enumerate() {
            (next, payload) = match layer {
                Tunnel => (if v6 { IPV6 } else { IPIP }, ip(src, dst, next, &payload)),
                Layer::Esp(how) => {
                    let esp = self.esp(*how, group, next, payload);
                    match how.in_udp {
                        true => (UDP, self.udp(src, dst, PORTS, &esp)),
                        false => (ESP, esp),
                    }
                }
                Ah(_) | AhEsn(_) => {
                    debug_assert!(
                        n + 1 == layers.len(),
                        "AH covers the outer header, which is made here"
                    );
                    (AH, self.ah(*layer, group, src, dst, next, payload))
                }
                Deflate => (COMP, self.deflate(group, next, payload)),
            };
            self.touch(&mut payload);
        }
        let mut packet = ip(src, dst, next, &payload);
        self.touch(&mut packet);
        packet
    }

    /// A UDP packet; in IPv4 it goes without checksum, so that what is changed later is looked at.
    pub fn udp(&mut self, src: IpAddr, dst: IpAddr, ports: [u16; 2], text: &[u8]) -> Vec<u8> {
        let mut udp = Vec::with_capacity(text.len() + 8);
        for field in [ports[0], ports[1], text.len() as u16 + 8, 0] {
            udp.extend(field.to_be_bytes());
        }
        udp.extend(text);
        if src.is_ipv6() {
            let sum = udp_checksum(src, dst, &udp);
            udp[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        self.touch(&mut udp);
        udp
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
        ah.extend((self.sequence as u32).to_be_bytes());
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
        let high = ((self.sequence >> 32) as u32).to_be_bytes();
        let (hash, high) = match layer {
            Ah(hash) => (hash, &[][..]),
            // Behind all else, and not sent (RFC 4302 section 2.5.1).
            AhEsn(hash) => (hash, &high[..]),
            _ => unreachable!("{layer:?} is not AH"),
        };
        if ah.len() >= 24 {
            ah[12..24].fill(0);
            let icv = icv(hash, &[&header, &ah, high]);
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

pub fn icv(hash: Hash, segments: &[&[u8]]) -> [u8; 12] {
    let mut out = [0; 12];
    match hash {
        SHA1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(&AUTH_KEY).expect("any length");
            segments.iter().for_each(|segment| mac.update(segment));
            out.copy_from_slice(&mac.finalize().into_bytes()[..12]);
        }
        MD5 => {
            let mut mac = Hmac::<Md5>::new_from_slice(&AUTH_KEY[..16]).expect("any length");
            segments.iter().for_each(|segment| mac.update(segment));
            out.copy_from_slice(&mac.finalize().into_bytes()[..12]);
        }
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
