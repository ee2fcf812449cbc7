//! Ways into the module for packets: a TUN device that an ipsecN is attached to, and ipsecN itself.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

nix::ioctl_write_int!(set_interface, b'T', 202);

/// `struct virtio_net_hdr`, as the kernel takes it before each packet.
const VNET_HEADER: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;

/// The physical device.
pub struct Tun(File);

impl Tun {
    /// Makes one in the calling thread's namespace.
    pub fn new(name: &str) -> Tun {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .expect("the kernel has TUN");
        // SAFETY: ifreq is a plain C structure for which all-zero bytes are a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags =
            (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is, and the file is open.
        unsafe { set_interface(file.as_raw_fd(), (&raw mut request) as libc::c_ulong) }
            .expect("a TUN device");
        Tun(file)
    }

    /// Has the host receive `packet`. The kernel refuses some, and that is as good.
    pub fn receive(&self, packet: &[u8]) {
        self.write(&[0; VNET_HEADER], packet);
    }

    /// As if a network card had put off its checksum or its segmentation (`struct virtio_net_hdr`).
    pub fn receive_unfinished(&self, kind: u8, segment: u16, header: u16, packet: &[u8]) {
        let mut meta = [0; VNET_HEADER];
        (meta[0], meta[1]) = (NEEDS_CHECKSUM, kind);
        for (at, value) in [(2, header), (4, segment), (6, header), (8, 6)] {
            meta[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        self.write(&meta, packet);
    }

    fn write(&self, meta: &[u8; VNET_HEADER], packet: &[u8]) {
        let _ = (&self.0).write(&[meta, packet].concat());
    }

    /// Takes what the host has sent, all of it; how many packets.
    pub fn drain(&self) -> usize {
        let mut buffer = vec![0; 70_000];
        let mut count = 0;
        while count < 10_000 && (&self.0).read(&mut buffer).is_ok() {
            count += 1;
        }
        count
    }
}

/// `UDP_ENCAP` and its value for RFC 3948, of `<linux/udp.h>`.
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: libc::c_int = 2;

/// Has the kernel take ESP out of what comes to the socket, as pluto has it.
pub fn encapsulate(socket: &UdpSocket) {
    let kind = UDP_ENCAP_ESPINUDP;
    // SAFETY: the descriptor is open, and the value is an int that lives through the call, with its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_ENCAP,
            (&raw const kind).cast(),
            size_of_val(&kind) as libc::socklen_t,
        )
    };
    Errno::result(done).expect("a socket of UDP encapsulation");
}

/// Reads all that waits in the socket.
pub fn empty(socket: &UdpSocket) {
    let mut buffer = [0; 70_000];
    socket.set_nonblocking(true).expect("a socket");
    while socket.recv_from(&mut buffer).is_ok() {}
    socket.set_nonblocking(false).expect("a socket");
}

/// A packet socket on one device.
pub struct Raw {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Raw {
    /// On device number `index` of the calling thread's namespace. It hears all that passes there, and nobody reads it, so that
    /// packets are shared with it until it is full.
    pub fn new(index: u32) -> Raw {
        // SAFETY: opens a socket; no pointers.
        let socket =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0) };
        Errno::result(socket).expect("a packet socket");
        // SAFETY: the kernel has just made it for us alone.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: sockaddr_ll is a plain C structure for which all-zero bytes are a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        // SAFETY: the address is one sockaddr_ll, as is said, and the socket is open.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
        Errno::result(bound).expect("bound");
        Raw { socket, address }
    }

    /// Transmits `packet` by the device, as it is.
    pub fn transmit(&self, ethertype: u16, packet: &[u8]) {
        let mut address = self.address;
        address.sll_protocol = ethertype.to_be();
        // SAFETY: the packet is readable for its length, the address one sockaddr_ll, and the socket open.
        unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        };
    }
}
