//! Which program has a UDP port that pluto wants: /proc/net/udp tells the socket, and the descriptors of all processes whose it is. What may
//! not be read is not known. Pluto itself may not look: it has given up the rights to.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A problem as pluto tells it; of a port that is taken, with the program that has it.
pub fn named(problem: &str) -> String {
    let taken = problem.contains("bind() for ") && problem.contains("Errno 98");
    let local = problem
        .split_whitespace()
        .filter(|_| taken)
        .find_map(|word| {
            // Pluto writes no brackets around IPv6.
            let (ip, port) = word.rsplit_once(':')?;
            Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
        });
    match local.and_then(of) {
        Some(owner) => format!("{problem}; it is {owner}"),
        None => problem.to_string(),
    }
}

/// `charon (pid 123)`: whoever has a socket that keeps `local` from us.
fn of(local: SocketAddr) -> Option<String> {
    let inodes: Vec<u64> = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| taken(&table, local))
        .collect();
    let links: Vec<String> = inodes.iter().map(|n| format!("socket:[{n}]")).collect();
    if links.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .find(|pid| has_one(*pid, &links))
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name: String = name
                .trim()
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            format!("{name} (pid {pid})")
        })
}

fn has_one(pid: u32, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
}

/// The inodes of the sockets in a table whose address is `local` or includes it.
fn taken(table: &str, local: SocketAddr) -> Vec<u64> {
    let ours = |bound: SocketAddr| {
        let ip = bound.ip();
        bound.port() == local.port() && (ip == local.ip() || ip.is_unspecified())
    };
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let bound = address(words.get(1)?)?;
            ours(bound).then_some(words.get(9)?.parse().ok()?)
        })
        .collect()
}

/// `2D0201C0:01F4`: words of 32 bits in the machine's order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len())
        .step_by(8)
        .map(|at| {
            let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect();
    let ip = match words?[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(word)),
        [a, b, c, d] => {
            let octets: [u8; 16] = [a, b, c, d].concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_net_udp() {
        let ip: u32 = u32::from_ne_bytes([192, 0, 2, 45]);
        let line = |ip: u32, inode: u32| {
            format!(
                "  7: {ip:08X}:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0 0\n"
            )
        };
        let table = format!(
            "  sl  local_address rem_address ...\n{}{}{}junk\n",
            line(ip, 11),
            line(0, 22),
            line(ip ^ 1, 33)
        );
        let local: SocketAddr = "192.0.2.45:500".parse().unwrap();
        assert_eq!(taken(&table, local), [11, 22]);
        assert!(taken(&table, "192.0.2.45:4500".parse().unwrap()).is_empty());
        assert_eq!(address("00:1"), None);
        let v6 = "00000000000000000000000001000000:01F4";
        if cfg!(target_endian = "little") {
            assert_eq!(address(v6), Some("[::1]:500".parse().unwrap()));
        }
    }

    #[test]
    fn only_a_port_that_is_taken_gets_a_name() {
        // Of our own process nobody is told: it is never what keeps a port from pluto.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        for problem in [
            format!("ERROR: bind() for lo/ipsec0 {local} failed. Errno 98: Address in use"),
            "IP interfaces eth0 and eth1 share address 192.0.2.1!".to_string(),
            "ERROR: bind() for eth0/ipsec0 2001:db8::1:500 failed. Errno 98".to_string(),
        ] {
            assert_eq!(named(&problem), problem);
        }
    }
}
