//! KLIPS in user space: TUN devices, raw sockets, worker threads and ciphers around `klips`.
//!
//! What is decided about a packet, a PF_KEY message or a table is decided in `klips`; this crate brings
//! packets, memory, time, randomness and ciphers to it. The daemon's manual is ipsec_klipsd(8).
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod clear;
pub mod control;
pub mod crypto;
pub mod daemon;
pub mod home;
pub mod host;
pub mod link;
pub mod path;
pub mod raw;
pub mod sys;
pub mod tun;

/// One input for everything here that reads what others wrote, for fuzzing and mutation tests: TUN frames both ways, ICMP
/// errors, ancillary data, control lines.
pub fn fuzz(data: &[u8]) {
    let mut out = [0; 2048];
    if let Some((header, packet)) = tun::VnetHeader::parse(data) {
        let mut segments = tun::Segments::new(&header, packet);
        while let Ok(true) = segments.as_mut().map(|s| s.next_into(&mut out).is_some()) {}
    }
    let mut joined = tun::Coalescer::new();
    for packet in data.chunks(data.first().map_or(1, |n| usize::from(*n).max(20))) {
        joined.push(packet, &mut |_| {});
    }
    joined.flush(&mut |frame| assert!(frame.len() >= tun::vnet::LEN));
    for message in [raw::icmp::parse_v4(data), raw::icmp::parse_v6(data)] {
        assert!(message.is_none_or(|m| m.quoted.len() < data.len()));
    }
    let _ = raw::header6::Header6::from_control(std::net::Ipv6Addr::LOCALHOST, data);
    let _ = str::from_utf8(data).map(control::ctl::Command::parse);
    let mut buffer = data.to_vec();
    buffer.resize(data.len() + 512, 0);
    let _ = crypto::deflate::inflate(&mut buffer, data.len());
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_mutation_panics() {
        let seeds: [&[u8]; 3] = [
            b"attach ipsec0 eth0 1400\n",
            &[
                0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 3, 4, 0, 0,
            ],
            &[
                1, 1, 40, 0, 100, 0, 20, 0, 16, 0, 0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0,
            ],
        ];
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize
        };
        for _ in 0..5_000 {
            let mut input = seeds[next() % seeds.len()].to_vec();
            input.resize(input.len() + next() % 200, next() as u8);
            for _ in 0..next() % 8 {
                let at = next() % input.len();
                input[at] = next() as u8;
            }
            super::fuzz(&input);
        }
    }
}
