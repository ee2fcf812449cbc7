//! What is sent through a line.

use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use testing::Host;

use crate::clock::Clock;
use crate::line::Line;

/// Seconds of each iperf3 run: so many that how TCP begins counts little.
const SECONDS: u32 = 3;
/// UDP packets of each run.
const PACKETS: usize = 60_000;
/// Octets in each.
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Packets given to the kernel at a time: its calls are dear in user-mode Linux, and would count for everybody.
const BATCH: usize = 256;

/// iperf3 from sunset: Mbit for each second of CPU time.
pub fn tcp(clock: &mut Clock, line: &Line) -> f64 {
    stream(clock, &line.sunset, "192.0.1.1")
}

/// The same from the gateway itself.
pub fn tcp_of_gateway(clock: &mut Clock, line: &Line) -> f64 {
    stream(clock, &line.west, "192.0.1.254")
}

fn stream(clock: &mut Clock, from: &Host, source: &str) -> f64 {
    let iperf = |how_long: &str| {
        let run = format!("iperf3 -c 192.0.2.1 -B {source} -f m {how_long}");
        let said = from.run(&run).ok();
        let sum = said.lines().find(|line| line.ends_with("receiver"));
        sum.expect("iperf3 sums up").to_owned()
    };
    let (_, start) = clock.time(|| iperf("-n 1K"));
    let (sum, took) = clock.time(|| iperf(&format!("-t {SECONDS}")));
    megabits(&sum).expect("iperf3 tells how long and at what rate")
        / took.saturating_sub(start).as_secs_f64()
}

/// What iperf3's line of the sum says was received: `0.00-2.01 sec 1.29 GBytes 5513 Mbits/sec receiver'. The unit of the amount
/// goes with its size, that of the rate does not.
fn megabits(sum: &str) -> Option<f64> {
    let words: Vec<&str> = sum.split_whitespace().collect();
    let before = |unit: &str| {
        let at = words.iter().position(|word| *word == unit)?;
        words.get(at.checked_sub(1)?)
    };
    let (_, seconds) = before("sec")?.split_once('-')?;
    let rate: f64 = before("Mbits/sec")?.parse().ok()?;
    Some(rate * seconds.parse::<f64>().ok()?)
}

/// Small packets, thousands that arrived for each second of CPU time.
pub fn udp(clock: &mut Clock, line: &Line) -> f64 {
    // Nobody reads them: the packet is dropped where it would be put into the socket's queue.
    let _sink = line
        .sunrise
        .in_network(|| UdpSocket::bind("192.0.2.1:9").expect("a socket"));
    let socket = line
        .sunset
        .in_network(|| UdpSocket::bind("192.0.1.1:0").expect("a socket"));
    let arrived = || {
        let count = line
            .sunrise
            .run("cat /sys/class/net/eth0/statistics/rx_packets")
            .ok()
            .stdout;
        count.trim().parse::<u64>().expect("a number")
    };
    let before = arrived();
    let to = |_| "192.0.2.1:9".parse().expect("an address");
    let ((), took) = clock.time(|| send(&socket, PACKETS, to));
    let arrived = arrived() - before;
    assert!(
        arrived as usize * 20 >= PACKETS * 19,
        "only {arrived} of {PACKETS} packets arrived"
    );
    arrived as f64 / took.as_secs_f64() / 1000.0
}

/// Sends so many packets.
pub fn send(socket: &UdpSocket, packets: usize, to: impl Fn(usize) -> SocketAddrV4) {
    let addresses: Vec<Option<SockaddrIn>> = (0..packets)
        .map(|n| Some(SockaddrIn::from(to(n))))
        .collect();
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let slices = [[IoSlice::new(&PAYLOAD)]; BATCH];
    for batch in addresses.chunks(BATCH) {
        let mut sent = 0;
        while sent < batch.len() {
            let rest = &batch[sent..];
            let done = sendmmsg(
                socket.as_raw_fd(),
                &mut headers,
                &slices[..rest.len()],
                rest,
                [],
                MsgFlags::empty(),
            );
            sent += done.expect("UDP is taken").count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::megabits;

    #[test]
    fn what_iperf3_sums_up() {
        let quick =
            "[  5]   0.00-2.01   sec  1.29 GBytes  5513 Mbits/sec                  receiver";
        assert_eq!(megabits(quick), Some(5513.0 * 2.01));
        let slow = "[  5]   0.00-10.00  sec   625 MBytes   524.5 Mbits/sec    0             sender";
        assert_eq!(megabits(slow), Some(5245.0));
        for wrong in ["", "sec Mbits/sec", "0.00-2.00 sec 1 MBytes x Mbits/sec"] {
            assert_eq!(megabits(wrong), None, "{wrong}");
        }
    }
}
