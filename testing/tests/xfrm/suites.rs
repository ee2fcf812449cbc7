//! What stands between a packet and the wire, in the words of both: PF_KEY for KLIPS, `ip xfrm` for the kernel's own IPsec.
//!
//! Driven by the table of `klips::transform`: a row there that has no name in the kernel's crypto API here fails the tests.

use std::fmt;
use std::net::IpAddr;

use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Spi};
use klips::transform::{
    AUTHENTICATIONS, Authentication, COMPRESSIONS, ENCRYPTIONS, Encryption, Mode, authentication,
    encryption,
};
use pfkey::SaFlags;
use pfkey::request::SaParams;

/// What XFRM calls the ciphers, by KLIPS' names.
const CIPHERS: &[(&str, &str)] = &[
    ("3DES", "cbc(des3_ede)"),
    ("NULL", "ecb(cipher_null)"),
    ("AES", "cbc(aes)"),
    ("AES_CTR", "rfc3686(ctr(aes))"),
    ("AES_GCM_8", "rfc4106(gcm(aes))"),
    ("AES_GCM_12", "rfc4106(gcm(aes))"),
    ("AES_GCM_16", "rfc4106(gcm(aes))"),
    ("CAMELLIA", "cbc(camellia)"),
    ("CHACHA20_POLY1305", "rfc7539esp(chacha20,poly1305)"),
];
/// What XFRM calls the MACs.
const MACS: &[(&str, &str)] = &[
    ("HMAC_MD5", "hmac(md5)"),
    ("HMAC_SHA1", "hmac(sha1)"),
    ("HMAC_SHA2_256", "hmac(sha256)"),
    ("HMAC_SHA2_384", "hmac(sha384)"),
    ("HMAC_SHA2_512", "hmac(sha512)"),
    ("AES_XCBC", "xcbc(aes)"),
    ("AES_CMAC", "cmac(aes)"),
];

/// SADB_EALG_AESCBC and SADB_AALG_SHA1HMAC: what the others are combined with.
const AES: u8 = klips::transform::EALG_AES_CBC;
const SHA1: u8 = klips::transform::AALG_SHA1_HMAC;

/// One IPsec header.
#[derive(Clone, Copy)]
pub enum Step {
    /// ESP: a cipher with the length of its key in bytes, and a MAC.
    Esp(
        (&'static Encryption, usize),
        Option<&'static Authentication>,
    ),
    /// AH.
    Ah(&'static Authentication),
    /// IPCOMP.
    Comp,
}

/// The headers, from the one next to the inner packet.
pub type Suite = Vec<Step>;

fn aes(bytes: usize) -> (&'static Encryption, usize) {
    (encryption(AES).expect("a row"), bytes)
}

fn sha1() -> &'static Authentication {
    authentication(SHA1).expect("a row")
}

/// ESP with every cipher and key length, and with every MAC.
pub fn esp() -> Vec<Suite> {
    let mut all = Vec::new();
    for row in ENCRYPTIONS {
        let mac = (row.mode != Mode::Aead).then(sha1);
        all.extend(row.keys.iter().map(|len| vec![Step::Esp((row, *len), mac)]));
    }
    for row in AUTHENTICATIONS.iter().filter(|row| row.id != SHA1) {
        all.push(vec![Step::Esp(aes(16), Some(row))]);
    }
    all
}

/// ESP with every cipher, each with its shortest key.
pub fn esp_once() -> Vec<Suite> {
    let of = |suite: &Suite| match suite[0] {
        Step::Esp((row, _), _) => row.id,
        _ => 0,
    };
    let mut all = esp();
    all.dedup_by_key(|suite| of(suite));
    all.truncate(ENCRYPTIONS.len());
    all
}

/// What 64-bit sequence numbers are tried with: a cipher with a MAC, an AEAD, and AH.
pub fn for_esn() -> Vec<Suite> {
    let aead = ENCRYPTIONS.iter().find(|row| row.mode == Mode::Aead);
    vec![
        vec![Step::Esp(aes(16), Some(sha1()))],
        vec![Step::Esp((aead.expect("a row"), 16), None)],
        vec![Step::Ah(sha1())],
    ]
}

/// AH with every MAC, and over ESP, with a MAC of its own and without.
pub fn ah() -> Vec<Suite> {
    let mut all: Vec<Suite> = AUTHENTICATIONS
        .iter()
        .map(|row| vec![Step::Ah(row)])
        .collect();
    for mac in [Some(sha1()), None] {
        all.push(vec![Step::Esp(aes(16), mac), Step::Ah(sha1())]);
    }
    all
}

/// IPCOMP under ESP and under AH.
pub fn comp() -> Vec<Suite> {
    assert_eq!(
        COMPRESSIONS.len(),
        1,
        "a compression that this test does not know"
    );
    vec![
        vec![Step::Comp, Step::Esp(aes(16), Some(sha1()))],
        vec![Step::Comp, Step::Ah(sha1())],
    ]
}

/// `count` bytes of no repeating pattern.
fn key(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 7 + 17) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn kernel_name(names: &'static [(&'static str, &'static str)], name: &'static str) -> &'static str {
    let row = names.iter().find(|(ours, _)| *ours == name);
    row.unwrap_or_else(|| {
        panic!(
            "the transform {name} is not tested against XFRM: give it a row in {}",
            file!()
        )
    })
    .1
}

impl Step {
    fn proto(&self) -> SaProto {
        match self {
            Self::Esp(..) => SaProto::Esp,
            Self::Ah(_) => SaProto::Ah,
            Self::Comp => SaProto::Comp,
        }
    }

    /// XFRM's words for the protocol and its algorithms.
    fn algorithms(&self) -> String {
        let mac = |row: &Authentication| {
            format!(
                "auth-trunc {} {} {}",
                kernel_name(MACS, row.name),
                hex(&key(row.key)),
                row.icv * 8
            )
        };
        match self {
            Self::Esp((row, len), auth) => {
                let name = kernel_name(CIPHERS, row.name);
                let key = match len + row.salt {
                    0 => "\"\"".to_owned(),
                    len => hex(&key(len)),
                };
                match row.mode {
                    Mode::Aead => format!("aead {name} {key} {}", row.icv * 8),
                    _ => format!("enc {name} {key} {}", auth.map_or(String::new(), mac)),
                }
            }
            // RFC 4302 pads AH to 32 bits in IPv4; XFRM does so when it is told.
            Self::Ah(row) => format!("flag align4 {}", mac(row)),
            Self::Comp => "comp deflate".to_owned(),
        }
    }
}

/// The SPI of header `n` towards west (`true`) or east; those of IPCOMP have 16 bits.
fn spi(n: usize, to_west: bool) -> u32 {
    0x1000 + 0x10 * u32::from(to_west) + n as u32
}

/// KLIPS' SAs for packets from `src` to `dst`, in their group's order; a tunnel's own SA first.
pub fn for_klips<R>(
    suite: &[Step],
    tunnel: bool,
    (src, dst): (IpAddr, IpAddr),
    [to_west, esn]: [bool; 2],
    f: impl FnOnce(&[SaParams<'_>]) -> R,
) -> R {
    let keys = key(256);
    let said = |proto, n| SaId::new(proto, Spi(spi(n, to_west)), dst);
    let mut group = Vec::new();
    if tunnel {
        group.push(SaParams::new(said(SaProto::IpIp, 9), src));
    }
    for (n, step) in suite.iter().enumerate() {
        let mut sa = SaParams {
            replay: 64,
            ..SaParams::new(said(step.proto(), n), src)
        };
        if esn {
            sa.flags = SaFlags::ESN;
        }
        let auth = match step {
            Step::Esp(cipher, auth) => {
                let (row, len) = cipher;
                sa.encrypt = EncAlg(row.id);
                sa.enc_key = &keys[..*len + row.salt];
                if auth.is_none() && row.mode != Mode::Aead {
                    sa.flags = SaFlags::AH_OUTSIDE;
                }
                *auth
            }
            Step::Ah(row) => Some(*row),
            Step::Comp => {
                sa.encrypt = EncAlg(COMPRESSIONS[0].id);
                sa.replay = 0;
                None
            }
        };
        if let Some(row) = auth {
            sa.auth = AuthAlg(row.id);
            sa.auth_key = &keys[..row.key];
        }
        group.push(sa);
    }
    f(&group)
}

/// XFRM's states for packets from `src` to `dst`, a line each of `ip -batch`.
pub fn states(
    suite: &[Step],
    tunnel: bool,
    (src, dst): (IpAddr, IpAddr),
    [to_west, esn]: [bool; 2],
) -> String {
    let mut lines = String::new();
    for (n, step) in suite.iter().enumerate() {
        let window = if matches!(step, Step::Comp) { 0 } else { 32 };
        // A tunnel of one family may carry packets of the other, through all of its states.
        let mode = match (tunnel, n) {
            (true, 0) => "tunnel flag af-unspec",
            (true, _) => "transport flag af-unspec",
            (false, _) => "transport",
        };
        let esn = if esn { "flag esn" } else { "" };
        lines += &format!(
            "xfrm state add src {src} dst {dst} proto {} spi {:#x} reqid {} mode {mode} replay-window {window} {esn} {}\n",
            step.proto().name(),
            spi(n, to_west),
            n + 1,
            step.algorithms(),
        );
    }
    lines
}

/// XFRM's templates of a policy, in the order in which they are applied.
pub fn templates(suite: &[Step], tunnel: bool, src: IpAddr, dst: IpAddr, inward: bool) -> String {
    let mut words = String::new();
    for (n, step) in suite.iter().enumerate() {
        let mode = if tunnel && n == 0 {
            "tunnel"
        } else {
            "transport"
        };
        // What does not get smaller comes without IPCOMP.
        let level = if inward && matches!(step, Step::Comp) {
            " level use"
        } else {
            ""
        };
        words += &format!(
            " tmpl src {src} dst {dst} proto {} reqid {} mode {mode}{level}",
            step.proto().name(),
            n + 1
        );
    }
    words
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esp(cipher, auth) => {
                let (row, len) = cipher;
                let auth = auth.map_or("none", |row| row.name);
                write!(f, "ESP({}-{}, {auth})", row.name, len * 8)
            }
            Self::Ah(row) => write!(f, "AH({})", row.name),
            Self::Comp => write!(f, "IPCOMP"),
        }
    }
}
