//! `mssclamp=`: TCP through a tunnel agrees on segments that fit it.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(segments_fit_the_tunnel);

/// The segment size that sunrise sees a connection of sunset agree on. When the tunnel is gone the rules go too.
fn agreed_with(line: &str) -> u32 {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    // West alone clamps, for both directions.
    net.configure("", NET_TO_NET);
    let conf = net.west.read("/etc/ipsec.conf");
    net.west.conf(&format!("{conf}{line}"));
    net.start();
    net.up("net-to-net");
    let _server = net
        .sunrise
        .spawn("timeout 20 python3 -c 'import socket; s=socket.create_server((\"192.0.2.1\", 5001)); c,_=s.accept(); c.recv(1)'");
    let client = "import socket,time
for _ in range(50):
    try:
        s=socket.create_connection((\"192.0.2.1\", 5001), 2); break
    except OSError: time.sleep(0.1)
print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))";
    let said = net
        .sunset
        .run(&format!("python3 -c '{client}'"))
        .ok()
        .stdout;
    net.west.run("ipsec auto --down net-to-net").ok();
    // `down' is answered before `_updown' has ended.
    net.west.wait_for(
        "! iptables -t mangle -S | grep TCPMSS",
        Duration::from_secs(10),
    );
    said.trim().parse().expect("a number")
}

fn segments_fit_the_tunnel() {
    // Time stamps take 12 octets of each segment.
    assert_eq!(agreed_with("\tmssclamp=1200\n"), 1200 - 12);
    assert_eq!(agreed_with("\tmssclamp=yes\n"), 1360 - 12);
    assert!(agreed_with("") > 1360);
}
