//! MODP groups: primes recomputed from the formula of RFC 2409 and RFC 3526, exponentiation against values computed
//! with another program (Python's `pow`), and refused public values. The curves are in `curves`.

use super::hex;
use crate::crypto::{DhError, DhKey, Group, Hash, Standing, check_public};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A natural number in base 2^32, lowest digit first; of fixed length, wrapping.
type Digits = Vec<u32>;

fn divide(n: &mut [u32], by: u64) {
    let mut rest = 0u64;
    for d in n.iter_mut().rev() {
        let whole = rest << 32 | u64::from(*d);
        *d = (whole / by) as u32;
        rest = whole % by;
    }
}

fn add(n: &mut [u32], m: &[u32], negative: bool) {
    let mut carry = 0;
    for (d, e) in n.iter_mut().zip(m) {
        let sum = i64::from(*d)
            + if negative {
                -i64::from(*e)
            } else {
                i64::from(*e)
            }
            + carry;
        *d = sum as u32;
        carry = sum >> 32;
    }
}

/// unit * atan(1/x) by its power series.
fn atan_inverse(x: u64, unit: &Digits) -> Digits {
    let mut power = unit.clone();
    divide(&mut power, x);
    let mut sum = power.clone();
    let mut n = 3;
    let mut negative = true;
    while power.iter().any(|d| *d != 0) {
        divide(&mut power, x * x);
        let mut term = power.clone();
        divide(&mut term, n);
        add(&mut sum, &term, negative);
        (n, negative) = (n + 2, !negative);
    }
    sum
}

fn bit(n: usize, len: usize) -> Digits {
    let mut out = vec![0; len];
    out[n / 32] = 1 << (n % 32);
    out
}

fn shift_right(n: &[u32], bits: usize) -> Digits {
    let (whole, part) = (bits / 32, bits % 32);
    let digit = |i: usize| u64::from(n.get(i).copied().unwrap_or(0));
    (0..n.len())
        .map(|i| ((digit(i + whole + 1) << 32 | digit(i + whole)) >> part) as u32)
        .collect()
}

/// 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c), with pi = 16 atan(1/5) - 4 atan(1/239).
fn prime(n: usize, c: u32) -> Vec<u8> {
    let len = n / 32 + 4;
    let guard = 64;
    let unit = bit(n - 130 + guard, len);
    let (five, other) = (atan_inverse(5, &unit), atan_inverse(239, &unit));
    let mut pi = vec![0; len];
    (0..16).for_each(|_| add(&mut pi, &five, false));
    (0..4).for_each(|_| add(&mut pi, &other, true));
    let mut sum = shift_right(&pi, guard);
    let mut constant = vec![0; len];
    constant[0] = c;
    add(&mut sum, &constant, false);
    let mut p = vec![0, 0];
    p.extend_from_slice(&sum[..len - 2]);
    add(&mut p, &bit(n, len), false);
    add(&mut p, &bit(n - 64, len), true);
    add(&mut p, &bit(0, len), true);
    p.truncate(n / 32);
    p.iter().rev().flat_map(|d| d.to_be_bytes()).collect()
}

#[test]
fn primes_follow_their_formula() {
    for (group, c) in [
        (Group::MODP1024, 129_093),
        (Group::MODP1536, 741_804),
        (Group::MODP2048, 124_476),
        (Group::MODP3072, 1_690_314),
        (Group::MODP4096, 240_904),
        (Group::MODP6144, 929_484),
        (Group::MODP8192, 4_743_158),
    ] {
        let computed = prime(group.public_len() * 8, c);
        assert_eq!(group.prime(), Some(computed), "{group}");
    }
}

#[test]
fn exponentiation_agrees_with_python() {
    let x: Vec<u8> = (1..=32).collect();
    let y: Vec<u8> = (0x41..=0x60).collect();
    let sha1 = |data: &[u8]| Hash::SHA1.digest(&[data]);
    // SHA-1 of 2^x mod p, 2^y mod p and 2^(xy) mod p.
    let known = [
        (
            Group::MODP2048,
            "2bc32a0b97072770c875069a586869dbbb9e5ccc",
            "e382aca8a2d81ad25f9591fa1ad2324393939446",
            "1dcba9f67bbca9352bae56eaaa06217d58b09b7a",
        ),
        (
            Group::MODP1536,
            "619e7d9958f76613d292a23ad14e0586f0c89965",
            "b5a370d592e0ac3b29caa7725ae029ad4310985d",
            "1bd63efb6698f8c081bcb1b7dab32371504244ed",
        ),
        (
            Group::MODP3072,
            "9f406323b35dd1c0cd676bdbc101c8218398c7c8",
            "6a5522839390d01b7d61f002672ead95a9a55881",
            "7e164d974eeb90d5be662b1bff75bcafa119d831",
        ),
        (
            Group::MODP4096,
            "51ed517e1ffc3a41fa3177476f0b3050325c5eee",
            "13e9ba6b62f70292f317a55940d74b00e87d3191",
            "6d8ea560192fbdf8ad55a7d4feffb441f3258753",
        ),
        (
            Group::MODP6144,
            "bc61f2b8383c82613501385315a1048352fc9831",
            "5ca34240463c927bde5ccc9dc619574ce066437e",
            "9ef1d056a0cf99d9692001e11c51f6bc05a7a060",
        ),
        (
            Group::MODP8192,
            "2fcddaf0900d5af4ac012832361cffc0af93a536",
            "45bf60349ac6b29ef5836d1cd272fd5c36f39abe",
            "7c007e6dc977c2f5ac79cf2e726f37472d8be156",
        ),
        (
            Group::MODP1024,
            "8e17666cf190eb80129c7a693ab88fddcd2ed674",
            "1bc64880d8ea994319a66d594810005f8ca9fe26",
            "127c4b0529fd6865cbeed98f04245c7c156ef809",
        ),
    ];
    for (group, gx, gy, gxy) in known {
        let (a, b) = (
            DhKey::with_private(group, &x),
            DhKey::with_private(group, &y),
        );
        assert_eq!(
            (sha1(a.public()), sha1(b.public())),
            (hex(gx), hex(gy)),
            "{group}"
        );
        let secret = a.agree(b.public()).unwrap();
        assert_eq!(sha1(secret.expose()), hex(gxy), "{group}");
        assert_eq!(secret, b.agree(a.public()).unwrap());
    }
}

#[test]
fn both_sides_agree_in_every_group() {
    let mut rng = StdRng::seed_from_u64(500);
    for group in Group::all() {
        let (a, b) = (
            DhKey::generate(group, &mut rng),
            DhKey::generate(group, &mut rng),
        );
        assert_eq!(a.public().len(), group.public_len());
        assert_ne!(a.public(), b.public());
        assert_eq!(a.agree(b.public()), b.agree(a.public()));
        assert_eq!(format!("{a:?}"), format!("DhKey({group})"));
        assert_eq!(
            (Group::from_wire(group.id()), Group::by_name(group.name())),
            (Some(group), Some(group))
        );
    }
    let named: Vec<&str> = Group::all()
        .filter(|g| g.standing() == Standing::Named)
        .map(Group::name)
        .collect();
    assert_eq!(named, ["modp6144", "modp8192", "modp1024"]);
}

#[test]
fn degenerate_public_values_are_refused() {
    for (group, prime) in Group::all().filter_map(|g| Some((g, g.prime()?))) {
        let len = group.public_len();
        let small = |n: u8| [vec![0; len - 1], vec![n]].concat();
        let near = |below: u8| [&prime[..len - 1], &[prime[len - 1] - below]].concat();
        let key = DhKey::with_private(group, &[7; 32]);
        for bad in [small(0), small(1), near(1), prime.clone(), vec![0xff; len]] {
            assert_eq!(key.agree(&bad), Err(DhError::Range(group)));
        }
        for good in [small(2), near(2)] {
            assert_eq!(check_public(group, &good), Ok(()));
        }
        for length in [0, len - 1, len + 1] {
            let error = DhError::Length {
                found: length,
                expected: len,
                group,
            };
            assert_eq!(key.agree(&vec![2; length]), Err(error));
        }
    }
}
