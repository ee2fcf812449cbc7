//! Datagrams with any source: IPv4 packets by a raw socket, their headers made here.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A raw socket.
pub struct Raw(Socket);

impl Raw {
    /// Opens it.
    ///
    /// # Errors
    /// Not root.
    pub fn open() -> io::Result<Raw> {
        // IPPROTO_RAW: what is sent has its IP header.
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_send_buffer_size(1 << 20)?;
        Ok(Raw(socket))
    }

    /// Sends a datagram that shows `from`.
    ///
    /// # Errors
    /// The system's.
    pub fn udp(&mut self, from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) -> io::Result<()> {
        let mut packet = ip(*from.ip(), *to.ip(), UDP, 8 + data.len());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(((8 + data.len()) as u16).to_be_bytes());
        // No checksum, which IPv4 allows.
        packet.extend([0, 0]);
        packet.extend(data);
        self.send(&packet, *to.ip())
    }

    /// Sends an ICMP error, port unreachable, about a datagram that `to` is said to have sent to `from`.
    ///
    /// # Errors
    /// The system's.
    pub fn icmp_error(&mut self, from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
        let mut about = ip(*to.ip(), from, UDP, 180);
        about.extend(to.port().to_be_bytes());
        about.extend(500u16.to_be_bytes());
        about.extend([0, 180, 0, 0]);
        let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
        error.extend(about);
        let sum = checksum(&error);
        error[2..4].copy_from_slice(&sum);
        let mut packet = ip(from, *to.ip(), ICMP, error.len());
        packet.extend(error);
        self.send(&packet, *to.ip())
    }

    fn send(&self, packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
        let to = SocketAddrV4::new(to, 0);
        self.0.send_to(packet, &to.into()).map(|_| ())
    }
}

fn ip(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(((20 + length) as u16).to_be_bytes());
    header.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    header
}

/// The Internet's checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!(folded as u16)).to_be_bytes()
}
