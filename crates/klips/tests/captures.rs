//! Packets that KLIPS in C made, against the SAs they were made with. The captures are not ours to carry: the environment
//! variable `KLIPS_CAPTURES` names the directory they are in.

mod common;
#[path = "common/pcap.rs"]
mod pcap;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::packet::IpHeader;

/// The IP packets of a capture; `None` when there are no captures here.
fn packets(name: &str) -> Option<Vec<Vec<u8>>> {
    let frames = pcap::frames(name)?;
    Some(frames.iter().map(|frame| frame[14..].to_vec()).collect())
}

fn assert_echo_requests(host: &mut Host, name: &str, at_least: usize) {
    let Some(packets) = packets(name) else { return };
    assert!(packets.len() >= at_least, "{} packets", packets.len());
    for packet in packets {
        let inner = host.opened(&packet);
        let header = IpHeader::new_checked(&inner).expect("an IP packet");
        assert_eq!((header.src, header.dst), (a("192.0.2.1"), a("192.0.1.1")));
        assert_eq!(
            (header.protocol, inner[header.payload]),
            (1, 8),
            "ICMP echo request"
        );
        assert_eq!(
            klips::packet::checksum(&[&inner[header.payload..]]),
            0,
            "ICMP checksum"
        );
    }
}

const EAST: &str = "192.1.2.23";
const WEST: &str = "192.1.2.45";
const ENC: &str = "4043434545464649494a4a4c4c4f4f515152525454575758";
const AUTH: &str = "87658765876587658765876587658765";

fn des_md5(host: &mut Host) {
    let (enc, auth) = (
        hex::decode(ENC).expect("hex"),
        hex::decode(AUTH).expect("hex"),
    );
    let id = said(SaProto::Esp, 0x1234_5678, WEST);
    let sa = esp(
        id,
        EAST,
        EncAlg::TRIPLE_DES_CBC,
        &enc,
        AuthAlg::MD5_HMAC,
        &auth,
    );
    host.add_group(&[tun(said(SaProto::IpIp, 0x1234_5678, WEST), EAST), sa]);
}

#[test]
fn esp_3des_md5() {
    let mut west = Host::new(&[WEST]);
    des_md5(&mut west);
    assert_echo_requests(&mut west, "02-sunrise-sunset-esp.pcap", 8);
}

#[test]
fn esp_aes_sha1() {
    let mut west = Host::new(&[WEST]);
    let enc = hex::decode("aaaabbbbccccdddd4043434545464649").expect("hex");
    let auth = hex::decode("8765876587658765876587658765876587658765").expect("hex");
    let id = said(SaProto::Esp, 0xed12_3456, WEST);
    let sa = esp(id, EAST, EncAlg::AES_CBC, &enc, AuthAlg::SHA1_HMAC, &auth);
    west.add_group(&[tun(said(SaProto::IpIp, 0xed12_3456, WEST), EAST), sa]);
    assert_echo_requests(&mut west, "08-sunrise-sunset-aes128.pcap", 1);
}

#[test]
fn ah_md5() {
    let mut west = Host::new(&[WEST]);
    let auth = hex::decode("98765876587658765876587658765876").expect("hex");
    let sa = ah(
        said(SaProto::Ah, 0x9123_4567, WEST),
        EAST,
        AuthAlg::MD5_HMAC,
        &auth,
    );
    west.add_group(&[tun(said(SaProto::IpIp, 0x9123_4567, WEST), EAST), sa]);
    assert_echo_requests(&mut west, "08-sunrise-sunset-ah-md5.pcap", 1);
}

#[test]
fn out_of_east() {
    let Some(packets) = packets("01-sunrise-sunset-ping.pcap") else {
        return;
    };
    let (mut east, mut west) = (Host::new(&[EAST]), Host::new(&[WEST]));
    des_md5(&mut east);
    des_md5(&mut west);
    east.eroute(
        &flow("192.0.2.0/24", "192.0.1.0/24"),
        said(SaProto::IpIp, 0x1234_5678, WEST),
    );
    assert_eq!(packets.len(), 8);
    for (n, packet) in packets.iter().enumerate() {
        let sealed = east.sealed(packet);
        let header = IpHeader::new_checked(&sealed).expect("an IP packet");
        assert_eq!(
            (header.src, header.dst, header.protocol),
            (a(EAST), a(WEST), 50)
        );
        assert_eq!(sealed[20..24], 0x1234_5678u32.to_be_bytes());
        assert_eq!(sealed[24..28], (n as u32 + 1).to_be_bytes());
        assert_eq!(sealed.len() - 20, 116);
        let inner = IpHeader::new_checked(packet).expect("an IP packet");
        assert_eq!(west.opened(&sealed), packet[..inner.total]);
    }
}
