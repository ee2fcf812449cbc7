//! The IKE sockets: one on each address of ours, and another there for NAT traversal, kept in step with the interfaces, datagrams in and
//! out. What datagrams mean is the engine's business.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc, task::AbortHandle};

use super::{super::driver::Datagram, encap, errors, first};
use crate::engine::Interface;

/// The longest UDP payload there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams or error reports taken from one socket before others get their turn.
const BATCH: usize = 64;

/// One bound socket.
#[derive(Debug)]
struct Endpoint {
    interface: Interface,
    socket: Arc<UdpSocket>,
    /// Of this socket, and of the one for first messages.
    readers: Vec<AbortHandle>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}

/// What a change of interfaces did, as lines for the log.
#[derive(Debug, Default)]
pub struct Changes {
    /// Sockets opened and closed.
    pub news: Vec<String>,
    /// Sockets that could not be opened, with the remedy.
    pub failures: Vec<String>,
}

/// The ports that sockets are bound to.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// IKE.
    pub ike: u16,
    /// IKE and ESP through NAT; `None` without NAT traversal.
    pub nat: Option<u16>,
    /// KLIPS is in the kernel, and gets its ESP from there.
    pub klips_in_kernel: bool,
}

/// All IKE sockets, by address and port. An address with two devices has none, see `interfaces::pair`.
#[derive(Debug)]
pub struct Sockets {
    ports: Ports,
    endpoints: BTreeMap<SocketAddr, Endpoint>,
    received: Received,
}

/// Where what the sockets receive goes.
#[derive(Clone, Debug)]
pub struct Received {
    /// Messages of exchanges.
    pub datagrams: mpsc::Sender<Datagram>,
    /// What anybody may send: first messages, and reports of errors. They wait until nothing else does.
    pub others: mpsc::Sender<Datagram>,
}

impl Sockets {
    /// None yet; what they receive will go to `received`.
    pub fn new(ports: Ports, received: Received) -> Sockets {
        Sockets {
            ports,
            endpoints: BTreeMap::new(),
            received,
        }
    }

    /// Opens and closes sockets until there is one for each of `wanted`.
    pub fn follow(&mut self, wanted: &[Interface]) -> Changes {
        let mut changes = Changes::default();
        let ports = self.ports;
        self.endpoints.retain(|local, endpoint| {
            let keep = wanted.contains(&endpoint.interface);
            if !keep {
                let shown = shown(&endpoint.interface, *local, &ports);
                changes
                    .news
                    .push(format!("shutting down interface {shown}"));
            }
            keep
        });
        for interface in wanted {
            for port in [Some(ports.ike), ports.nat].into_iter().flatten() {
                let local = SocketAddr::new(interface.addr, port);
                if self.endpoints.contains_key(&local) {
                    continue;
                }
                match bind(local, self.is_nat(local).then_some(ports.klips_in_kernel)) {
                    Ok(socket) => {
                        self.open(interface, local, socket);
                        let shown = shown(interface, local, &ports);
                        changes.news.push(format!("adding interface {shown}"));
                    }
                    Err(e) => changes.failures.push(bind_failure(interface, local, &e)),
                }
            }
        }
        changes
    }

    fn is_nat(&self, local: SocketAddr) -> bool {
        self.ports.nat == Some(local.port())
    }

    fn open(&mut self, interface: &Interface, local: SocketAddr, socket: UdpSocket) {
        let encap = self.is_nat(local).then_some(self.ports.klips_in_kernel);
        let second = first::beside(&socket, local, encap).map(Arc::new);
        let socket = Arc::new(socket);
        let Received { datagrams, others } = &self.received;
        let read = |socket: Arc<UdpSocket>, to: &mpsc::Sender<Datagram>| {
            let marked = encap.is_some();
            let device = interface.phys.clone();
            let to = (to.clone(), others.clone());
            tokio::spawn(read_all(socket, (local, marked), device, to)).abort_handle()
        };
        let mut readers = vec![read(Arc::clone(&socket), datagrams)];
        readers.extend(second.map(|second| read(second, others)));
        let endpoint = Endpoint {
            interface: interface.clone(),
            socket,
            readers,
        };
        self.endpoints.insert(local, endpoint);
    }

    /// The interfaces that have a socket.
    pub fn interfaces(&self) -> Vec<Interface> {
        let ike = self
            .endpoints
            .iter()
            .filter(|(local, _)| local.port() == self.ports.ike);
        ike.map(|(_, endpoint)| endpoint.interface.clone())
            .collect()
    }

    /// Sends a datagram, or says why not. IKE sends again by itself, so nothing is queued.
    pub fn send(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        if self.is_nat(local) {
            self.transmit(local, remote, &[&encap::MARKER, bytes].concat())
        } else {
            self.transmit(local, remote, bytes)
        }
    }

    /// Sends a NAT keep-alive, or says why not.
    pub fn keep_alive(&self, local: SocketAddr, remote: SocketAddr) -> Result<(), String> {
        self.transmit(local, remote, &encap::KEEP_ALIVE)
    }

    fn transmit(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        let found = self.endpoints.get(&local).or_else(|| {
            // A connection may name a port of its own (--ikeport), which is not one of ours.
            let usual = SocketAddr::new(local.ip(), self.ports.ike);
            self.endpoints.get(&usual).filter(|_| !self.is_nat(local))
        });
        let Some(endpoint) = found else {
            return Err(format!("no socket on {local} to send to {remote} from"));
        };
        // Straight to the system call: tokio's readiness is not known yet on a socket just opened.
        let socket = SockRef::from(&*endpoint.socket);
        let mut result = socket.send_to(bytes, &remote.into());
        // An error may be about an earlier datagram; then it is gone after one report of it.
        if result
            .as_ref()
            .is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock)
        {
            result = socket.send_to(bytes, &remote.into());
        }
        result.map(|_| ()).map_err(|e| {
            format!(
                "ERROR: sendto on {} to {}:{} failed. Errno {}: {e}",
                endpoint.interface.phys,
                remote.ip(),
                remote.port(),
                e.raw_os_error().unwrap_or(0)
            )
        })
    }
}

/// A nonblocking socket on one address, with error reports.
///
/// Without SO_REUSEADDR: with it, UDP would let another IKE daemon share the port silently.
/// `encap`: for NAT traversal, and whether KLIPS is in the kernel.
pub fn bind(local: SocketAddr, encap: Option<bool>) -> io::Result<UdpSocket> {
    let socket = unbound(local, encap)?;
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}

/// The same before it is bound.
pub(super) fn unbound(local: SocketAddr, encap: Option<bool>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match local {
        SocketAddr::V4(_) => {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
    }
    encap::leave_path_mtu(&socket, local)?;
    if let Some(klips_in_kernel) = encap {
        encap::prepare(&socket, klips_in_kernel)?;
    }
    Ok(socket)
}

fn shown(interface: &Interface, local: SocketAddr, ports: &Ports) -> String {
    let Interface { virt, phys, addr } = interface;
    if local.port() == ports.ike {
        format!("{virt}/{phys} {addr}")
    } else {
        format!("{virt}/{phys} {local}")
    }
}

fn bind_failure(interface: &Interface, local: SocketAddr, error: &io::Error) -> String {
    let port = local.port();
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; another program has it, see: ss -ulpn 'sport = {port}'")
        }
        io::ErrorKind::PermissionDenied => "; pluto must run as root".to_string(),
        _ => String::new(),
    };
    format!(
        "ERROR: bind() for {}/{} {}:{port} failed. Errno {}: {error}{remedy}",
        interface.phys,
        interface.virt,
        local.ip(),
        error.raw_os_error().unwrap_or(0)
    )
}

async fn read_all(
    socket: Arc<UdpSocket>,
    (local, marked): (SocketAddr, bool),
    device: String,
    (datagrams, errors): (mpsc::Sender<Datagram>, mpsc::Sender<Datagram>),
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok(ready) = socket.ready(Interest::READABLE | Interest::ERROR).await else {
            return;
        };
        if ready.is_error() && !read_errors(&socket, &device, &errors) {
            return;
        }
        if ready.is_readable() {
            for _ in 0..BATCH {
                let datagram = match socket.try_recv_from(&mut buffer) {
                    // Nobody can be answered there.
                    Ok((_, remote)) if remote.port() == 0 => continue,
                    Ok((len, remote)) => {
                        let whole = &buffer[..len];
                        let Some(ike) = (if marked {
                            encap::unmark(whole)
                        } else {
                            Some(whole)
                        }) else {
                            continue;
                        };
                        Datagram::Received {
                            local,
                            remote,
                            bytes: ike.to_vec(),
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    // A pending error of an earlier send; the error queue tells more.
                    Err(_) => continue,
                };
                if datagrams.send(datagram).await.is_err() {
                    return;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Passes error reports on, as far as there is room: nothing is decided by them. False when nobody listens any more.
fn read_errors(socket: &UdpSocket, device: &str, datagrams: &mpsc::Sender<Datagram>) -> bool {
    for _ in 0..BATCH {
        let report = socket.try_io(Interest::ERROR, || match errors::take(&socket, device) {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
            Err(e) => Err(e.into()),
        });
        match report {
            Ok(report) => {
                if datagrams.is_closed() {
                    return false;
                }
                let _ = datagrams.try_send(Datagram::Report(report));
            }
            Err(_) => break,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(addr: &str) -> Interface {
        Interface {
            virt: "ipsec0".into(),
            phys: "lo".into(),
            addr: addr.parse().unwrap(),
        }
    }

    fn ports(ike: u16) -> Ports {
        Ports {
            ike,
            nat: None,
            klips_in_kernel: false,
        }
    }

    fn channel() -> (Received, mpsc::Receiver<Datagram>) {
        let (datagrams, received) = mpsc::channel(8);
        let others = datagrams.clone();
        (Received { datagrams, others }, received)
    }

    fn free_port() -> u16 {
        std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    #[tokio::test]
    async fn sockets_follow_the_interfaces() {
        let (to, mut received) = channel();
        let mut sockets = Sockets::new(ports(free_port()), to);
        let changes = sockets.follow(&[interface("127.0.0.1"), interface("127.0.0.2")]);
        assert_eq!(changes.news.len(), 2, "{changes:?}");

        let (a, b) = (sockets.local("127.0.0.1"), sockets.local("127.0.0.2"));
        sockets.send(a, b, b"from one").unwrap();
        let Some(Datagram::Received {
            local,
            remote,
            bytes,
        }) = received.recv().await
        else {
            panic!()
        };
        assert_eq!((local, remote, bytes.as_slice()), (b, a, &b"from one"[..]));

        let changes = sockets.follow(&[interface("127.0.0.1")]);
        assert_eq!(
            changes.news,
            ["shutting down interface ipsec0/lo 127.0.0.2"]
        );
        assert!(
            sockets
                .send(b, a, b"x")
                .unwrap_err()
                .contains(&format!("no socket on {b}"))
        );
        assert_eq!(sockets.interfaces(), [interface("127.0.0.1")]);
    }

    #[tokio::test]
    async fn the_port_for_nat_has_ike_behind_the_marker() {
        let (to, mut received) = channel();
        let nat = free_port();
        let ports = Ports {
            nat: Some(nat),
            ..ports(free_port())
        };
        let mut sockets = Sockets::new(ports, to);
        let changes = sockets.follow(&[interface("127.0.0.1"), interface("127.0.0.2")]);
        assert_eq!(changes.news.len(), 4, "{changes:?}");
        assert_eq!(
            changes.news[1],
            format!("adding interface ipsec0/lo 127.0.0.1:{nat}")
        );
        assert_eq!(sockets.interfaces().len(), 2);
        let [a, b] = [1, 2].map(|n| SocketAddr::from(([127, 0, 0, n], nat)));
        sockets.keep_alive(a, b).unwrap();
        sockets.transmit(a, b, b"\x12\x34\x56\x78 ESP").unwrap();
        sockets.send(a, b, b"IKE").unwrap();
        let Some(Datagram::Received {
            local,
            remote,
            bytes,
        }) = received.recv().await
        else {
            panic!()
        };
        assert_eq!((local, remote, bytes.as_slice()), (b, a, &b"IKE"[..]));
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sockets.send(a, peer.local_addr().unwrap(), b"IKE").unwrap();
        let mut buffer = [1; 16];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 7);
        assert_eq!(&buffer[..7], b"\0\0\0\0IKE");
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_remedy() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (to, _received) = channel();
        let mut sockets = Sockets::new(ports(port), to);
        let failures = sockets.follow(&[interface("127.0.0.1")]).failures;
        let expected = format!("ERROR: bind() for lo/ipsec0 127.0.0.1:{port} failed. Errno 98: ");
        assert!(failures[0].starts_with(&expected), "{failures:?}");
        assert!(
            failures[0].ends_with(&format!("ss -ulpn 'sport = {port}'")),
            "{failures:?}"
        );
        drop(taken);
        assert_eq!(sockets.follow(&[interface("127.0.0.1")]).news.len(), 1);
    }

    #[tokio::test]
    async fn refusals_are_reported_and_do_not_stop_the_socket() {
        let (to, mut received) = channel();
        let mut sockets = Sockets::new(ports(free_port()), to);
        sockets.follow(&[interface("127.0.0.1")]);
        let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let local = sockets.local("127.0.0.1");
        for _ in 0..2 {
            sockets.send(local, closed, b"anyone?").unwrap();
            let Some(Datagram::Report(report)) = received.recv().await else {
                panic!()
            };
            assert!(
                report.contains("Connection refused [errno 111, origin ICMP type 3"),
                "{report}"
            );
        }
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"still here", local).unwrap();
        let Some(Datagram::Received { bytes, .. }) = received.recv().await else {
            panic!()
        };
        assert_eq!(bytes, b"still here");
    }

    impl Sockets {
        fn local(&self, addr: &str) -> SocketAddr {
            SocketAddr::new(addr.parse().unwrap(), self.ports.ike)
        }
    }
}
