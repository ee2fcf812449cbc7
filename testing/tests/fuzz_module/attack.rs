//! What the fuzzer's threads do: packets in, packets out, PF_KEY, and all else that a host may do to its KLIPS meanwhile.

use std::fs;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pfkey::client::{Client, Control};

use crate::Target;
use crate::esp::PORTS;
use crate::mutate::Random;
use crate::packets::{GROUPS, Maker, UDP, ends, ip, seal_v4};
use crate::requests;

/// What the eroutes tell apart, and a little more.
const NETS: usize = GROUPS.len() + 8;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

impl Target {
    /// Packets, in and out.
    pub fn send(&self, random: &mut Random, until: Instant) {
        let mut last = Vec::new();
        let mut numbers = Numbers::new();
        for n in 1_u32.. {
            if n % 128 == 0 {
                self.tun.drain();
                if Instant::now() > until {
                    break;
                }
            }
            self.packets.fetch_add(1, Ordering::Relaxed);
            let (group, v6) = (random.below(GROUPS.len()), random.one_in(2));
            let most = if random.one_in(60) {
                60_000
            } else if random.one_in(6) {
                1500
            } else {
                200
            };
            let len = random.below(most);
            // A byte again and again is what can be compressed.
            let text = if random.one_in(2) {
                vec![random.byte(); len]
            } else {
                random.bytes(len)
            };
            let every = [0, 1, 2, 4, 8][random.below(5)];
            let sequence = numbers.next(random, group, v6);
            let mut packet = Maker {
                random,
                every,
                sequence,
            }
            .packet(group, v6, &text);
            if random.one_in(4) {
                random.mutate(&mut packet);
            }
            match random.below(12) {
                0 => fragments(random, &packet)
                    .iter()
                    .for_each(|piece| self.tun.receive(piece)),
                1 => {
                    let (kind, segment, header) = (
                        [0, 1, 3, 4, 5, 0x81][random.below(6)],
                        1 + random.below(1500),
                        random.below(80),
                    );
                    self.tun
                        .receive_unfinished(kind, segment as u16, header as u16, &packet);
                }
                2 => self.tun.receive(&too_big(random, v6, &packet)),
                3 => self.tun.receive(&last),
                4 if random.one_in(4) => self.tun.receive(&datagram(random, v6)),
                4 => {
                    lengthen_header(random, &mut packet);
                    self.tun.receive(&packet);
                }
                5 | 6 => self.transmit(random, packet),
                _ => {
                    if random.one_in(2) && packet.first().is_some_and(|first| *first == 0x45) {
                        seal_v4(&mut packet);
                    }
                    self.tun.receive(&packet);
                    last = packet;
                }
            }
        }
    }

    /// A packet to send: of an application, or one that is protected already, or neither.
    fn transmit(&self, random: &mut Random, mut packet: Vec<u8>) {
        if random.one_in(30) {
            packet.clear();
        }
        // Towards some eroute.
        match packet.first().map(|first| first >> 4) {
            Some(4) if packet.len() >= 20 => {
                packet[16..18].copy_from_slice(&[10, random.below(NETS) as u8]);
                seal_v4(&mut packet);
            }
            Some(6) if packet.len() >= 40 => {
                packet[24..32].copy_from_slice(&[
                    0x20,
                    1,
                    0x0d,
                    0xb8,
                    0,
                    1,
                    0,
                    random.below(NETS) as u8,
                ]);
            }
            _ => {}
        }
        let ethertype =
            [IPV4, IPV6, 0x0806, random.next() as u16][random.below(4).min(random.below(4))];
        self.out[usize::from(random.one_in(8))].transmit(ethertype, &packet);
    }

    /// PF_KEY messages; nobody waits for what is answered.
    pub fn ask(&self, random: &mut Random, until: Instant) {
        let mut clients = Vec::new();
        let mut buffer = [0; pfkey::MAX_MESSAGE_LEN];
        while Instant::now() < until {
            if clients.len() < 4 {
                let client = Client::connect().expect("the module is loaded");
                client.set_nonblocking(true).expect("a socket");
                clients.push(client);
            }
            let n = random.below(clients.len());
            let message = requests::changed(random, &self.requests);
            // Refused, or answered, or full: all of that is allowed.
            let _ = clients[n].send(&message);
            self.asked.fetch_add(1, Ordering::Relaxed);
            if random.one_in(4) {
                while clients[n].recv(&mut buffer).is_ok() {}
            }
            if random.one_in(50) {
                clients.swap_remove(n);
            }
        }
    }

    /// Devices, switches and tables.
    pub fn meddle(&self, random: &mut Random, until: Instant) {
        const SWITCHES: [&str; 6] = [
            "icmp",
            "inbound_policy_check",
            "tos",
            "hidetos",
            "fragicmp",
            "debug_esp",
        ];
        const TABLES: [&str; 6] = ["eroute", "spi", "spigrp", "tncfg", "version", "klipsdebug"];
        while Instant::now() < until {
            let device = ["ipsec0", "ipsec1", "ipsec3"][random.below(3)];
            match random.below(8) {
                0 => drop(Control::Kernel.detach(device)),
                1 | 2 => drop(Control::Kernel.attach(
                    device,
                    ["tun0", "lo"][random.below(2)],
                    Some(random.below(3000) as u32),
                )),
                3 => {
                    let value = ["0", "1", "2", "-1", "x", "99999999999"][random.below(6)];
                    drop(Control::Kernel.set_sysctl(SWITCHES[random.below(6)], value));
                }
                4 => {
                    let mtu = [1500, 1280, 600, 9000][random.below(4)].to_string();
                    drop(fs::write("/proc/sys/net/ipv6/conf/tun0/mtu", mtu));
                }
                _ => drop(fs::read(format!(
                    "/proc/thread-self/net/ipsec_{}",
                    TABLES[random.below(6)]
                ))),
            }
            std::thread::sleep(std::time::Duration::from_millis(random.below(20) as u64));
        }
        // The debug switches would fill the log.
        drop(Control::Kernel.set_sysctl("debug_esp", "0"));
        drop(fs::write("/proc/sys/net/ipv6/conf/tun0/mtu", "1500"));
    }
}

/// The sequence numbers of each group, IPv4 and IPv6, as its peer counts them.
struct Numbers([[u64; 2]; GROUPS.len()]);

impl Numbers {
    /// 1 was the packet that showed that all works.
    fn new() -> Self {
        Self([[1; 2]; GROUPS.len()])
    }

    /// Mostly the next one; at times one far ahead, so that the lower half comes round in its time. Rarely any, after which the
    /// replay window takes nothing else.
    fn next(&mut self, random: &mut Random, group: usize, v6: bool) -> u64 {
        if random.one_in(300) {
            return random.next();
        }
        let number = &mut self.0[group][usize::from(v6)];
        *number += if random.one_in(20) {
            random.next() >> (33 + random.below(30))
        } else {
            1
        };
        *number
    }
}

/// An IPv4 packet in two or three pieces, not always such that they fit together.
fn fragments(random: &mut Random, packet: &[u8]) -> Vec<Vec<u8>> {
    let Some((header, payload)) = packet.split_at_checked(20) else {
        return Vec::new();
    };
    let step = (payload.len() / 2).next_multiple_of(8).max(8);
    let id = random.next() as u16;
    let mut pieces = Vec::new();
    for (n, piece) in payload.chunks(step).enumerate() {
        let more = (n + 1) * step < payload.len();
        let mut fragment = [header, piece].concat();
        let len = fragment.len() as u16;
        let offset = if random.one_in(20) {
            random.next() as u16
        } else {
            (n * step / 8) as u16 | u16::from(more) << 13
        };
        fragment[2..4].copy_from_slice(&len.to_be_bytes());
        fragment[4..6].copy_from_slice(&id.to_be_bytes());
        fragment[6..8].copy_from_slice(&offset.to_be_bytes());
        seal_v4(&mut fragment);
        pieces.push(fragment);
    }
    if random.one_in(3) {
        pieces.reverse();
    }
    pieces
}

/// An ICMP error about a packet of ours, as a router would send it.
fn too_big(random: &mut Random, v6: bool, packet: &[u8]) -> Vec<u8> {
    let (router, here) = ends(v6);
    let mtu = [0, 68, 576, 1280, 1400, random.next() as u16][random.below(6)];
    let quoted = &packet[..random.below(packet.len().min(600) + 1)];
    let mut icmp = if v6 {
        vec![2, 0, 0, 0, 0, 0]
    } else {
        vec![3, 4, 0, 0, 0, 0]
    };
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(quoted);
    let mut pseudo = Vec::new();
    if let (IpAddr::V6(src), IpAddr::V6(dst)) = (router, here) {
        pseudo.extend(src.octets());
        pseudo.extend(dst.octets());
        pseudo.extend([0, 0]);
        pseudo.extend((icmp.len() as u16).to_be_bytes());
        pseudo.extend([0, 0, 0, ICMPV6]);
    }
    let sum = crate::packets::checksum(&[&pseudo[..], &icmp].concat());
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(router, here, if v6 { ICMPV6 } else { ICMP }, &icmp)
}

/// What comes to the port of ESP in UDP and is something else: a keep-alive, a piece of one, IKE, an SPI of nobody.
fn datagram(random: &mut Random, v6: bool) -> Vec<u8> {
    let (peer, here) = ends(v6);
    let mut text = vec![[0, 0xff][random.below(2)]; random.below(10)];
    if random.one_in(2) {
        let more = random.below(40);
        text.extend(random.bytes(more));
    }
    let mut maker = Maker {
        random,
        every: 0,
        sequence: 0,
    };
    let udp = maker.udp(peer, here, PORTS, &text);
    ip(peer, here, UDP, &udp)
}

/// IPv4 options or an IPv6 extension header before the payload.
fn lengthen_header(random: &mut Random, packet: &mut Vec<u8>) {
    match packet.first() {
        Some(0x45) if packet.len() > 20 && packet.len() < 60_000 => {
            let words = 1 + random.below(10);
            let mut options = vec![1; words * 4];
            if random.one_in(2) {
                options[0..3].copy_from_slice(&[0x83, 3, 4]);
            }
            packet.splice(20..20, options);
            packet[0] += words as u8;
            let len = packet.len() as u16;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            // Over all of the header, which is longer than seal_v4 knows.
            packet[10..12].fill(0);
            let header = 20 + words * 4;
            let sum = crate::packets::checksum(&packet[..header]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(0x60) if packet.len() > 40 && packet.len() < 60_000 => {
            let kind = [0, 60, 43, 44][random.below(4)];
            let next = std::mem::replace(&mut packet[6], kind);
            let header = [
                [next, 0, 1, 4, 0, 0, 0, 0],
                [next, 0, 0, 0, 0, 0, 0, random.byte()],
            ][random.below(2)];
            packet.splice(40..40, header);
            let len = packet.len() as u16 - 40;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
        }
        _ => {}
    }
}
