//! Lists: the proposal that ACQUIRE carries and the algorithms that REGISTER answers with.

use crate::builder::Sink;
use crate::error::ErrorKind;
use crate::ext::Lifetime;
use crate::fields::Fields;

/// One combination of a PROPOSAL: `auth` u8, `encrypt` u8, `flags` u16, minimum and maximum bits of both keys as four
/// u16, 4 reserved octets, allocations soft and hard u32, bytes, addtime and usetime soft and hard u64 each, and KLIPS'
/// packets soft and hard u32. Before the first: `replay` u8 and 3 reserved octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Comb {
    /// Authentication algorithm number; 0 for none.
    pub auth: u8,
    /// Encryption algorithm number; 0 for none.
    pub encrypt: u8,
    /// SA flags.
    pub flags: u16,
    /// Least and most bits of the authentication key.
    pub auth_bits: (u16, u16),
    /// Least and most bits of the encryption key.
    pub encrypt_bits: (u16, u16),
    /// Soft limits.
    pub soft: Lifetime,
    /// Hard limits.
    pub hard: Lifetime,
}

const fn crossed(soft: u64, hard: u64) -> bool {
    hard != 0 && soft > hard
}

impl Comb {
    fn parse(body: &mut Fields<'_>) -> Result<Self, ErrorKind> {
        let mut comb = Self {
            auth: body.u8()?,
            encrypt: body.u8()?,
            flags: body.u16()?,
            auth_bits: (body.u16()?, body.u16()?),
            encrypt_bits: (body.u16()?, body.u16()?),
            ..Self::default()
        };
        body.zeros::<4>().map_err(|_| ErrorKind::Proposal)?;
        (comb.soft.allocations, comb.hard.allocations) = (body.u32()?, body.u32()?);
        (comb.soft.bytes, comb.hard.bytes) = (body.u64()?, body.u64()?);
        (comb.soft.addtime, comb.hard.addtime) = (body.u64()?, body.u64()?);
        (comb.soft.usetime, comb.hard.usetime) = (body.u64()?, body.u64()?);
        (comb.soft.packets, comb.hard.packets) = (body.u32()?, body.u32()?);
        if comb.is_sane() {
            Ok(comb)
        } else {
            Err(ErrorKind::Proposal)
        }
    }

    fn is_sane(&self) -> bool {
        let bits_ok = |alg: u8, (min, max): (u16, u16)| {
            if alg == 0 {
                (min, max) == (0, 0)
            } else {
                min <= max
            }
        };
        bits_ok(self.auth, self.auth_bits)
            && bits_ok(self.encrypt, self.encrypt_bits)
            && !crossed(self.soft.allocations.into(), self.hard.allocations.into())
            && !crossed(self.soft.bytes, self.hard.bytes)
            && !crossed(self.soft.addtime, self.hard.addtime)
            && !crossed(self.soft.usetime, self.hard.usetime)
            && !crossed(self.soft.packets.into(), self.hard.packets.into())
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        if !self.is_sane() {
            out.fail(ErrorKind::Proposal);
        }
        out.put(&[self.auth, self.encrypt]);
        for n in [
            self.flags,
            self.auth_bits.0,
            self.auth_bits.1,
            self.encrypt_bits.0,
            self.encrypt_bits.1,
        ] {
            out.put(&n.to_ne_bytes());
        }
        out.put(&[0; 4]);
        let (soft, hard) = (&self.soft, &self.hard);
        out.put(&soft.allocations.to_ne_bytes());
        out.put(&hard.allocations.to_ne_bytes());
        for n in [
            soft.bytes,
            hard.bytes,
            soft.addtime,
            hard.addtime,
            soft.usetime,
            hard.usetime,
        ] {
            out.put(&n.to_ne_bytes());
        }
        out.put(&soft.packets.to_ne_bytes());
        out.put(&hard.packets.to_ne_bytes());
    }
}

/// One algorithm of a SUPPORTED list: `id` u8, `ivlen` u8 (octets), `minbits` u16, `maxbits` u16, 2 reserved octets.
/// Before the first: 4 reserved octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alg {
    /// Algorithm number.
    pub id: u8,
    /// Octets of the initialization vector.
    pub ivlen: u8,
    /// Least bits of a key.
    pub min_bits: u16,
    /// Most bits of a key.
    pub max_bits: u16,
}

impl Alg {
    fn parse(body: &mut Fields<'_>) -> Result<Self, ErrorKind> {
        let alg = Self {
            id: body.u8()?,
            ivlen: body.u8()?,
            min_bits: body.u16()?,
            max_bits: body.u16()?,
        };
        body.zeros::<2>()?;
        Ok(alg)
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&[self.id, self.ivlen]);
        out.put(&self.min_bits.to_ne_bytes());
        out.put(&self.max_bits.to_ne_bytes());
        out.put(&[0; 2]);
    }
}

pub(crate) fn check_proposal(mut body: Fields<'_>) -> Result<(), ErrorKind> {
    body.u8()?;
    body.zeros::<3>()?;
    while !body.rest().is_empty() {
        Comb::parse(&mut body)?;
    }
    Ok(())
}

pub(crate) fn check_supported(mut body: Fields<'_>) -> Result<(), ErrorKind> {
    body.zeros::<4>()?;
    while !body.rest().is_empty() {
        Alg::parse(&mut body)?;
    }
    Ok(())
}

/// A checked PROPOSAL.
#[derive(Clone, Copy)]
pub struct Proposal<'a> {
    replay: u8,
    combs: Fields<'a>,
}

impl<'a> Proposal<'a> {
    pub(crate) fn new(mut body: Fields<'a>) -> Option<Self> {
        let replay = body.u8().ok()?;
        body.zeros::<3>().ok()?;
        Some(Self {
            replay,
            combs: body,
        })
    }

    /// Proposed size of the replay window.
    pub const fn replay(&self) -> u8 {
        self.replay
    }

    /// The combinations, best first.
    pub fn combs(&self) -> impl Iterator<Item = Comb> + 'a {
        let mut body = self.combs;
        core::iter::from_fn(move || Comb::parse(&mut body).ok())
    }
}

pub(crate) fn algs<'a>(body: Option<Fields<'a>>) -> impl Iterator<Item = Alg> + 'a {
    let mut body = body.and_then(|mut body| body.zeros::<4>().ok().map(|()| body));
    core::iter::from_fn(move || Alg::parse(body.as_mut()?).ok())
}
