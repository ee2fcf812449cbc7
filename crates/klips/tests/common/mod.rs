//! A host for tests: the core in the home that klipsd gives it, driven by PF_KEY messages and packets.
#![allow(dead_code, missing_docs)]

use std::net::IpAddr;

use ipsec_types::{AuthAlg, CompAlg, EncAlg, SaId, SaProto, Selector, Spi};
use klips::device::Name;
use klips::packet::{HEADROOM, TAILROOM, checksum, ip};
use klips::{Audience, Context, DeviceId, Inbound, Klips, Outbound, Packet, Physical, Socket};
use klipsd::home::{Pending, UserHome};
use pfkey::request::{self, Ids, SaParams};
use pfkey::{MAX_MESSAGE_LEN, Message, MsgType, SaFlags, SaType};

pub const PHYSICAL: u32 = 7;
pub const IDS: Ids = Ids { seq: 1, pid: 99 };

pub struct Host {
    pub klips: Klips<UserHome>,
    pub socket: Socket,
    pub out: Pending,
    pub now: u64,
}

pub fn device() -> DeviceId {
    DeviceId::new(0).expect("ipsec0")
}

pub fn a(text: &str) -> IpAddr {
    text.parse().expect("address")
}

pub fn flow(src: &str, dst: &str) -> Selector {
    Selector::nets(src.parse().expect("net"), dst.parse().expect("net"))
}

pub fn said(proto: SaProto, spi: u32, dst: &str) -> SaId {
    SaId::new(proto, Spi(spi), a(dst))
}

impl Host {
    /// A host with ipsec0 on a physical device of MTU 1500 that has these addresses.
    pub fn new(addresses: &[&str]) -> Self {
        let mut klips = Klips::new(&UserHome).expect("memory");
        let addresses: Vec<IpAddr> = addresses.iter().map(|t| a(t)).collect();
        let name = Name::new("eth0").expect("name");
        klips
            .attach(
                device(),
                Physical::new(PHYSICAL, name, 1500, &addresses),
                None,
            )
            .expect("free");
        Self {
            klips,
            socket: Socket::new(),
            out: Pending::default(),
            now: 1_000_000,
        }
    }

    /// Runs `f` with the core and a context.
    pub fn with<R>(
        &mut self,
        f: impl FnOnce(&mut Klips<UserHome>, &mut Context<'_, UserHome>) -> R,
    ) -> R {
        let mut cx = Context {
            home: &UserHome,
            now: self.now,
            out: &mut self.out,
        };
        f(&mut self.klips, &mut cx)
    }

    /// Sends a request and answers with all that came back.
    pub fn ask(&mut self, message: &[u8]) -> Vec<(Audience, Vec<u8>)> {
        let before = self.out.messages.len();
        let mut cx = Context {
            home: &UserHome,
            now: self.now,
            out: &mut self.out,
        };
        self.klips.pfkey(&mut cx, &mut self.socket, message);
        while self.socket.is_sweeping() {
            self.klips.pfkey(&mut cx, &mut self.socket, message);
        }
        while self.socket.is_dumping() {
            self.klips.dump_more(&mut cx, &mut self.socket);
        }
        let mut all = self.out.messages.split_off(before);
        all.retain(|(audience, _)| *audience != Audience::Promiscuous);
        all
    }

    /// Sends a request that must be answered by one message, and answers its errno.
    pub fn errno(&mut self, message: &[u8]) -> u8 {
        let replies = self.ask(message);
        assert_eq!(replies.len(), 1, "one answer");
        Message::reply(&replies[0].1)
            .expect("a well-formed answer")
            .errno()
    }

    pub fn request<'b>(
        &mut self,
        build: impl FnOnce(&'b mut [u8]) -> Result<&'b [u8], pfkey::Error>,
    ) -> u8 {
        let buffer: &'b mut [u8] = Box::leak(Box::new([0; MAX_MESSAGE_LEN]));
        self.errno(build(buffer).expect("a request"))
    }

    pub fn ok<'b>(&mut self, build: impl FnOnce(&'b mut [u8]) -> Result<&'b [u8], pfkey::Error>) {
        assert_eq!(self.request(build), 0);
    }

    pub fn add(&mut self, params: &SaParams<'_>) {
        let mut buffer = [0; MAX_MESSAGE_LEN];
        let message = request::add(&mut buffer, IDS, params).expect("a request");
        assert_eq!(self.errno(message), 0, "{params:?}");
    }

    /// Adds the SAs and groups them in their order.
    pub fn add_group(&mut self, group: &[SaParams<'_>]) {
        for params in group {
            self.add(params);
        }
        for pair in group.windows(2) {
            let (first, second) = (pair[0].said, pair[1].said);
            self.ok(|b| request::group(b, IDS, &first, Some(&second)));
        }
    }

    pub fn eroute(&mut self, flow: &Selector, target: SaId) {
        let flow = *flow;
        self.ok(|b| request::add_flow(b, IDS, &flow, target, SaFlags::NONE));
    }

    pub fn replace_eroute(&mut self, flow: &Selector, target: SaId) {
        let flow = *flow;
        self.ok(|b| request::add_flow(b, IDS, &flow, target, SaFlags::REPLACEFLOW));
    }

    pub fn register(&mut self, satype: SaType) {
        self.ok(|b| request::register(b, IDS, satype));
    }

    /// Puts a packet on ipsec0, as a home does: again where room is asked for, with as much in front as that, and behind with the
    /// least that will do.
    pub fn send(&mut self, bytes: &[u8]) -> (Outbound, Vec<u8>) {
        let (mut bytes, mut head, mut tail) = (bytes.to_vec(), 0, 0);
        loop {
            let mut buffer = [vec![0xaa; head], bytes, vec![0xaa; tail]].concat();
            let end = buffer.len() - tail;
            let mut packet = Packet::new(&mut buffer, head, end).expect("range");
            let verdict = self.with(
                |klips, cx| match klips.outbound(cx, device(), &mut packet) {
                    Outbound::Trap => klips.trap(cx, device(), &mut packet),
                    verdict => verdict,
                },
            );
            bytes = packet.bytes().to_vec();
            match verdict {
                Outbound::Room { head: h, tail: t } => {
                    let lacks = h > packet.headroom() || t > packet.tailroom();
                    assert!(lacks, "room that was there");
                    tail += usize::from(head == h);
                    head = h;
                    assert!(tail <= t, "more room than was asked for");
                }
                verdict => return (verdict, bytes),
            }
        }
    }

    /// Sends a packet that must be protected, and answers what goes out.
    pub fn sealed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (verdict, sealed) = self.send(bytes);
        assert!(
            matches!(
                verdict,
                Outbound::Transmit {
                    physical: PHYSICAL,
                    ..
                }
            ),
            "{verdict:?}"
        );
        sealed
    }

    /// Puts a packet in from the wire.
    pub fn receive(&mut self, bytes: &[u8]) -> (Inbound, Vec<u8>) {
        let (mut buffer, end) = roomy(bytes);
        let mut packet = Packet::new(&mut buffer, HEADROOM, end).expect("range");
        let verdict = self.with(|klips, cx| klips.inbound(cx, PHYSICAL, &mut packet));
        (verdict, packet.bytes().to_vec())
    }

    /// Receives a packet that must be delivered, and answers the inner one.
    pub fn opened(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (verdict, inner) = self.receive(bytes);
        assert_eq!(verdict, Inbound::Deliver { device: device() });
        inner
    }

    pub fn proc(&self, file: klips::ProcFile) -> String {
        let (mut text, mut cursor) = (String::new(), klips::ProcCursor::default());
        while self
            .klips
            .proc(file, &mut cursor, self.now, &mut text)
            .expect("a String takes all")
        {}
        text
    }

    pub fn tick(&mut self) {
        self.with(|klips, cx| klips.tick(cx, 1000));
    }
}

fn roomy(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut buffer = vec![0xaa; HEADROOM + bytes.len() + TAILROOM.max(4096)];
    let end = HEADROOM + bytes.len();
    buffer[HEADROOM..end].copy_from_slice(bytes);
    (buffer, end)
}

/// A UDP packet of either family with `payload` bytes of text.
pub fn udp(src: &str, dst: &str, ports: (u16, u16), payload: usize) -> Vec<u8> {
    let (src, dst) = (a(src), a(dst));
    let header = if src.is_ipv4() { 20 } else { 40 };
    let mut packet = vec![0; header + 8 + payload];
    ip::emit(&mut packet, src, dst, 17, 0, 63, 0x1234);
    packet[header..header + 2].copy_from_slice(&ports.0.to_be_bytes());
    packet[header + 2..header + 4].copy_from_slice(&ports.1.to_be_bytes());
    packet[header + 4..header + 6].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    for (n, byte) in packet[header + 8..].iter_mut().enumerate() {
        *byte = b"the quick brown fox "[n % 20];
    }
    packet
}

/// An IPCOMP packet of this CPI, as it is behind the IP header, without ESP or AH.
pub fn compressed(src: &str, dst: &str, cpi: u16, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut data = payload.to_vec();
    let len = klips::Home::deflate(&UserHome, &mut data, payload.len()).expect("smaller");
    let mut packet = vec![0; 24 + len];
    ip::emit(&mut packet, a(src), a(dst), 108, 0, 64, 7);
    packet[20] = next;
    packet[22..24].copy_from_slice(&cpi.to_be_bytes());
    packet[24..].copy_from_slice(&data[..len]);
    packet
}

/// Sets DF and makes the checksum right.
pub fn with_df(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] |= 0x40;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

pub fn esp<'a>(
    id: SaId,
    src: &str,
    enc: EncAlg,
    enc_key: &'a [u8],
    auth: AuthAlg,
    auth_key: &'a [u8],
) -> SaParams<'a> {
    SaParams {
        encrypt: enc,
        enc_key,
        auth,
        auth_key,
        replay: 64,
        ..SaParams::new(id, a(src))
    }
}

pub fn ah<'a>(id: SaId, src: &str, auth: AuthAlg, auth_key: &'a [u8]) -> SaParams<'a> {
    SaParams {
        auth,
        auth_key,
        replay: 64,
        ..SaParams::new(id, a(src))
    }
}

pub fn comp(id: SaId, src: &str) -> SaParams<'static> {
    SaParams {
        encrypt: EncAlg(CompAlg::DEFLATE.0),
        ..SaParams::new(id, a(src))
    }
}

pub fn tun(id: SaId, src: &str) -> SaParams<'static> {
    SaParams::new(id, a(src))
}

pub const DES3_KEY: [u8; 24] = *b"0123456789abcdefghijklmn";
pub const AES_KEY: [u8; 32] = *b"an AES key of thirty-two bytes..";
/// Long enough for any MAC and any cipher with its salt.
pub const LONG_KEY: [u8; 64] = *b"sixty-four bytes of key, for the longest of MACs or some cipher.";
pub const MD5_KEY: [u8; 16] = *b"sixteen bytes...";
pub const SHA1_KEY: [u8; 20] = *b"twenty bytes for SHA";

/// Two gateways, east and west, with a tunnel of 3DES and MD5 from east's net to west's.
pub fn tunnel_pair() -> (Host, Host) {
    let (mut east, mut west) = (Host::new(&["192.1.2.23"]), Host::new(&["192.1.2.45"]));
    let group = [
        tun(said(SaProto::IpIp, 0x1000, "192.1.2.45"), "192.1.2.23"),
        esp(
            said(SaProto::Esp, 0x1001, "192.1.2.45"),
            "192.1.2.23",
            EncAlg::TRIPLE_DES_CBC,
            &DES3_KEY,
            AuthAlg::MD5_HMAC,
            &MD5_KEY,
        ),
    ];
    east.add_group(&group);
    west.add_group(&group);
    let nets = flow("192.0.2.0/24", "192.0.1.0/24");
    east.eroute(&nets, group[0].said);
    let inside = group[1].said;
    west.ok(|b| request::set_inflow(b, IDS, &nets, inside));
    (east, west)
}

/// The messages of one type that went to one audience.
pub fn told(host: &mut Host, kind: MsgType) -> Vec<Vec<u8>> {
    let all = std::mem::take(&mut host.out.messages);
    let right = |m: &&(Audience, Vec<u8>)| {
        m.0 == Audience::Registered(SaType::Esp.number())
            && Message::reply(&m.1).is_ok_and(|m| m.msg_type() == kind)
    };
    all.iter().filter(right).map(|m| m.1.clone()).collect()
}
