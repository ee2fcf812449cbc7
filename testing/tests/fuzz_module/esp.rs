//! ESP as a peer makes it: ciphers, AEADs, sequence numbers of 64 bits, UDP around it.

use std::net::IpAddr;

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit, StreamCipher};
use des::TdesEde3;
use ipsec_types::EncAlg;
use pfkey::{NatT, SaFlags};
use ring::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::packets::{Hash, Layer, Maker, icv, spi};

/// A key of any cipher, and behind it its salt.
const KEY: [u8; 36] = *b"abcdefghijklmnopqrstuvwxyz0123456789";
/// UDP ports of the peer, as its NAT maps it, and of this host.
pub const PORTS: [u16; 2] = [61_000, 4500];

/// How an SA does ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Esp {
    cipher: Cipher,
    mac: Option<Hash>,
    esn: bool,
    pub in_udp: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    TripleDes,
    Aes,
    AesCtr,
    /// With an ICV of so many octets.
    AesGcm(usize),
    ChaCha20Poly1305,
}
use Cipher::*;

pub const fn esp(cipher: Cipher, mac: Option<Hash>) -> Esp {
    Esp {
        cipher,
        mac,
        esn: false,
        in_udp: false,
    }
}

impl Esp {
    /// With sequence numbers of 64 bits.
    pub const fn esn(self) -> Esp {
        Esp { esn: true, ..self }
    }

    /// In UDP.
    pub const fn in_udp(self) -> Esp {
        Esp {
            in_udp: true,
            ..self
        }
    }

    pub const fn layer(self) -> Layer {
        Layer::Esp(self)
    }

    /// The algorithm's number, and the key with its salt.
    pub fn encryption(self) -> (EncAlg, &'static [u8]) {
        let alg = match self.cipher {
            TripleDes => EncAlg::TRIPLE_DES_CBC,
            Aes => EncAlg::AES_CBC,
            AesCtr => EncAlg::AES_CTR,
            AesGcm(8) => EncAlg::AES_GCM_8,
            AesGcm(12) => EncAlg::AES_GCM_12,
            AesGcm(_) => EncAlg::AES_GCM_16,
            ChaCha20Poly1305 => EncAlg::CHACHA20_POLY1305,
        };
        let [key, salt, ..] = self.cipher.lengths();
        (alg, &KEY[..key + salt])
    }

    pub fn mac(self) -> Option<Hash> {
        self.mac
    }

    pub fn flags(self) -> SaFlags {
        if self.esn {
            SaFlags::ESN
        } else {
            SaFlags::NONE
        }
    }

    pub fn nat_t(self, peer: IpAddr) -> Option<NatT> {
        self.in_udp.then_some(NatT {
            kind: NatT::ESP_IN_UDP,
            sport: PORTS[0],
            dport: PORTS[1],
            oa: Some(peer),
        })
    }
}

impl Cipher {
    /// Octets of key, salt, IV and block.
    fn lengths(self) -> [usize; 4] {
        match self {
            TripleDes => [24, 0, 8, 8],
            Aes => [16, 0, 16, 16],
            AesCtr | AesGcm(_) => [16, 4, 8, 4],
            ChaCha20Poly1305 => [32, 4, 8, 4],
        }
    }

    /// Encrypts whole blocks in place; what an AEAD has for its ICV.
    fn encrypt(self, iv: &[u8], aad: &[u8], data: &mut [u8]) -> Vec<u8> {
        let [key, salt, ..] = self.lengths();
        let (key, salt) = KEY[..key + salt].split_at(key);
        let (nonce, len) = ([salt, iv].concat(), data.len());
        let fits = "lengths fit";
        match self {
            TripleDes => {
                let cipher = cbc::Encryptor::<TdesEde3>::new_from_slices(key, iv).expect(fits);
                cipher.encrypt_padded::<NoPadding>(data, len).expect(fits);
                Vec::new()
            }
            Aes => {
                let cipher = cbc::Encryptor::<Aes128>::new_from_slices(key, iv).expect(fits);
                cipher.encrypt_padded::<NoPadding>(data, len).expect(fits);
                Vec::new()
            }
            AesCtr => {
                // RFC 3686 section 4: a counter of 32 bits from 1 behind the nonce.
                let block = [&nonce[..], &[0, 0, 0, 1]].concat();
                ctr::Ctr32BE::<Aes128>::new_from_slices(key, &block)
                    .expect(fits)
                    .apply_keystream(data);
                Vec::new()
            }
            AesGcm(_) | ChaCha20Poly1305 => {
                let (algorithm, icv) = match self {
                    AesGcm(icv) => (&AES_128_GCM, icv),
                    _ => (&CHACHA20_POLY1305, 16),
                };
                let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect(fits));
                let nonce = Nonce::try_assume_unique_for_key(&nonce).expect(fits);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), data);
                tag.expect("a packet is not too long").as_ref()[..icv].to_vec()
            }
        }
    }
}

impl Maker<'_> {
    /// The ESP packet of `esp` around `plain`, changed now and then before it is encrypted.
    pub fn esp(&mut self, esp: Esp, group: usize, next: u8, mut plain: Vec<u8>) -> Vec<u8> {
        let [.., iv, block] = esp.cipher.lengths();
        let padding = (plain.len() + 2).next_multiple_of(block) - plain.len() - 2;
        plain.extend((1..=padding).map(|n| n as u8));
        plain.extend([padding as u8, next]);
        self.touch(&mut plain);
        // A cipher takes whole blocks only, so a wrong length must be added behind.
        let odd = plain.split_off(plain.len() / block * block);
        let iv = self.random.bytes(iv);
        let (spi, high, low) = (
            spi(group).to_be_bytes(),
            ((self.sequence >> 32) as u32).to_be_bytes(),
            (self.sequence as u32).to_be_bytes(),
        );
        // The upper half is authenticated and not sent (RFC 4303 section 2.2.1).
        let high = if esp.esn { &high[..] } else { &[] };
        let tag = esp
            .cipher
            .encrypt(&iv, &[&spi[..], high, &low].concat(), &mut plain);
        let mut packet = [&spi[..], &low, &iv, &plain, &odd, &tag].concat();
        if let Some(hash) = esp.mac {
            packet.extend(icv(hash, &[&packet, high]));
        }
        packet
    }
}
