//! PF_KEY requests of every kind, and what becomes of them when they are changed.

use ipsec_types::{MagicSpi, SaId, SaProto, Selector, Spi};
use pfkey::request::{self, Ids, SaParams};
use pfkey::{DebugFlags, Error, Ident, IdentType, Lifetime, MAX_MESSAGE_LEN, SaFlags, SaType};

use crate::mutate::Random;
use crate::packets::{GROUPS, HERE4, THERE4, THERE6, ends};

const IDS: Ids = Ids { seq: 7, pid: 4242 };

fn build(f: impl FnOnce(&mut [u8]) -> Result<&[u8], Error>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    f(&mut buffer)
        .expect("a request that can be built")
        .to_vec()
}

/// As they should be.
pub fn all() -> Vec<Vec<u8>> {
    let tun = SaId::new(SaProto::IpIp, Spi(0x9001), HERE4.into());
    let esp = SaId::new(SaProto::Esp, Spi(0x9001), HERE4.into());
    let flow = Selector::nets(
        "10.5.1.0/24".parse().expect("a net"),
        "10.5.2.0/24".parse().expect("a net"),
    );
    let mut all = Vec::new();
    for (group, layers) in GROUPS.iter().enumerate() {
        for v6 in [false, true] {
            let (src, dst) = ends(v6);
            for layer in *layers {
                let mut params = layer.params(group, src, dst);
                all.push(build(|b| request::add(b, IDS, &params)));
                params.hard = Lifetime {
                    bytes: 5000,
                    addtime: 1,
                    packets: 50,
                    ..Lifetime::NONE
                };
                params.soft = Lifetime {
                    usetime: 1,
                    packets: 10,
                    ..Lifetime::NONE
                };
                let text = "west.example";
                params.ident_src = Some(Ident {
                    kind: IdentType::Fqdn,
                    id: 3,
                    text,
                });
                params.inflow = Some(flow);
                all.push(build(|b| request::update(b, IDS, &params)));
                all.push(build(|b| request::get(b, IDS, &params.said, None)));
                all.push(build(|b| request::delete(b, IDS, &params.said, None)));
            }
        }
    }
    for satype in [
        SaType::Esp,
        SaType::Ah,
        SaType::Comp,
        SaType::IpIp,
        SaType::Unspec,
    ] {
        all.push(build(|b| request::register(b, IDS, satype)));
        all.push(build(|b| request::dump(b, IDS, satype)));
    }
    for magic in [
        MagicSpi::Trap,
        MagicSpi::Drop,
        MagicSpi::Pass,
        MagicSpi::Reject,
        MagicSpi::Hold,
    ] {
        for flags in [SaFlags::NONE, SaFlags::REPLACEFLOW] {
            all.push(build(|b| {
                request::add_flow(b, IDS, &flow, SaId::magic(magic), flags)
            }));
        }
    }
    let (src, dst) = (THERE4.into(), HERE4.into());
    for (group, layers) in GROUPS.iter().enumerate() {
        for layer in *layers {
            let (said, [from, to]) = (
                layer.said(group, dst),
                [src, THERE6.into()].map(|ip| (ip, 4500).into()),
            );
            all.push(build(|b| {
                request::nat_t_new_mapping(b, IDS, &said, from, from)
            }));
            all.push(build(|b| {
                request::nat_t_new_mapping(b, IDS, &said, from, to)
            }));
        }
    }
    all.extend([
        build(|b| request::get_spi(b, IDS, SaProto::Esp, src, dst, (Spi(0x9000), Spi(0x9fff)))),
        build(|b| request::add(b, IDS, &SaParams::new(tun, src))),
        build(|b| request::group(b, IDS, &tun, Some(&esp))),
        build(|b| request::group(b, IDS, &tun, None)),
        build(|b| request::add_flow(b, IDS, &flow, tun, SaFlags::NONE)),
        build(|b| request::set_inflow(b, IDS, &flow, esp)),
        build(|b| request::del_flow(b, IDS, &flow)),
        build(|b| request::clear_flows(b, IDS)),
        build(|b| request::flush(b, IDS, SaType::Ah)),
        build(|b| request::promisc(b, IDS, true)),
        build(|b| request::promisc(b, IDS, false)),
        build(|b| request::debug(b, IDS, &DebugFlags::switch_on("esp", 3))),
        build(|b| request::acquire_failed(b, IDS, SaType::Esp, 3)),
    ]);
    all
}

/// Where each extension of `message` begins, and its end.
fn extensions(message: &[u8]) -> Vec<usize> {
    let mut at = pfkey::HEADER_LEN;
    let mut all = vec![at];
    while let Some([low, high]) = message.get(at..at + 2) {
        at += (usize::from(u16::from_ne_bytes([*low, *high])) * 8).max(8);
        if at > message.len() {
            break;
        }
        all.push(at);
    }
    all
}

/// Says the message's true length in its header, as most changed ones should, or they go no further than the first check.
fn measure(message: &mut Vec<u8>) {
    message.resize(message.len().next_multiple_of(8).max(pfkey::HEADER_LEN), 0);
    let words = (message.len() / 8) as u16;
    message[4..6].copy_from_slice(&words.to_ne_bytes());
}

/// One of `all`, changed somehow.
pub fn changed(random: &mut Random, all: &[Vec<u8>]) -> Vec<u8> {
    let mut message = all[random.below(all.len())].clone();
    match random.below(6) {
        0 => random.mutate(&mut message),
        1 | 2 => {
            // Octets in place, the frame as it was.
            for _ in 0..=random.below(5) {
                let at = random.below(message.len());
                message[at] = if random.one_in(2) {
                    random.byte()
                } else {
                    [0, 1, 0x7f, 0x80, 0xff][random.below(5)]
                };
            }
            measure(&mut message);
        }
        3 => {
            // An extension of another message.
            let other = &all[random.below(all.len())];
            let ends = extensions(other);
            let n = random.below(ends.len());
            if let [from, to, ..] = ends[n..] {
                message.extend_from_slice(&other[from..to]);
            }
            measure(&mut message);
        }
        4 => {
            let ends = extensions(&message);
            let n = random.below(ends.len());
            if let [from, to, ..] = ends[n..] {
                message.drain(from..to);
            }
            measure(&mut message);
        }
        _ => {}
    }
    message
}
