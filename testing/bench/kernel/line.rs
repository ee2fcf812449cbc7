//! Four hosts in a row, two of them gateways, and the ways to protect what passes between those.

use std::net::IpAddr;

use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Selector, Spi};
use pfkey::client::{Client, Control};
use pfkey::request::{self, SaParams};
use pfkey::{SaFlags, SaType};
use testing::{Host, Testbed};

const WEST: &str = "192.1.2.45";
const EAST: &str = "192.1.2.23";
const WEST_NET: &str = "192.0.1.0/24";
const EAST_NET: &str = "192.0.2.0/24";
/// Packets that the anti-replay window spans, on both sides of the comparison.
const WINDOW: u8 = 64;
/// The receiver's buffers, as of `tcp_rmem`, at most so many octets that what is on its way stays in the processor's own cache. With the
/// kernel's six megabytes it is chance whether a connection's window grows beyond that, and this chance is a tenth of the rate.
const RECEIVE_BUFFER: &str = "4096 131072 600000";

/// An ESP transform in the words of both.
pub struct Cipher {
    /// As in `esp=`.
    pub name: &'static str,
    /// Its algorithms and keys as `ip xfrm state` takes them.
    xfrm: &'static str,
    enc: (EncAlg, &'static [u8]),
    auth: (AuthAlg, &'static [u8]),
}

/// What is measured.
pub const CIPHERS: &[Cipher] = &[
    Cipher {
        name: "aes128-sha1",
        xfrm: "enc 'cbc(aes)' 0x000102030405060708090a0b0c0d0e0f \
               auth-trunc 'hmac(sha1)' 0x6b6579206f662074776e7479206f637465747321 96",
        enc: (
            EncAlg::AES_CBC,
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        ),
        auth: (AuthAlg::SHA1_HMAC, b"key of twnty octets!"),
    },
    Cipher {
        name: "3des-sha1",
        xfrm: "enc 'cbc(des3_ede)' 0x6162636465666768696a6b6c6d6e6f707172737475767778 \
               auth-trunc 'hmac(sha1)' 0x6b6579206f662074776e7479206f637465747321 96",
        enc: (EncAlg::TRIPLE_DES_CBC, b"abcdefghijklmnopqrstuvwx"),
        auth: (AuthAlg::SHA1_HMAC, b"key of twnty octets!"),
    },
    Cipher {
        name: "aes128-gcm16",
        xfrm: "aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f73616c74 128",
        enc: (
            EncAlg::AES_GCM_16,
            b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0fsalt",
        ),
        auth: (AuthAlg::NONE, b""),
    },
    Cipher {
        name: "chacha20poly1305",
        xfrm: "aead 'rfc7539esp(chacha20,poly1305)' \
               0x6162636465666768696a6b6c6d6e6f707172737475767778797a30313233343573616c74 128",
        enc: (
            EncAlg::CHACHA20_POLY1305,
            b"abcdefghijklmnopqrstuvwxyz012345salt",
        ),
        auth: (AuthAlg::NONE, b""),
    },
    // Next to no cipher: what is left is the way.
    Cipher {
        name: "null-md5",
        xfrm: "enc 'ecb(cipher_null)' '' auth-trunc 'hmac(md5)' 0x7369787465656e206f63746574732121 96",
        enc: (EncAlg::NULL, b""),
        auth: (AuthAlg::MD5_HMAC, b"sixteen octets!!"),
    },
];

/// sunset 192.0.1.1 - west === east - sunrise 192.0.2.1, by cables without bridges.
pub struct Line {
    /// The sender.
    pub sunset: Host,
    /// Its gateway.
    pub west: Host,
    east: Host,
    /// The receiver.
    pub sunrise: Host,
}

impl Line {
    /// The hosts, not yet routed to each other.
    pub fn new(testbed: &Testbed) -> Line {
        let [sunset, west, east, sunrise] =
            ["sunset", "west", "east", "sunrise"].map(|name| testbed.host(name));
        testbed.link(
            "eth0",
            [(&sunset, "192.0.1.1/24"), (&west, "192.0.1.254/24")],
        );
        testbed.link("eth1", [(&west, "192.1.2.45/24"), (&east, "192.1.2.23/24")]);
        testbed.link(
            "eth0",
            [(&east, "192.0.2.254/24"), (&sunrise, "192.0.2.1/24")],
        );
        sunset.gateway("192.0.1.254");
        sunrise.gateway("192.0.2.254");
        let buffer = format!("echo {RECEIVE_BUFFER} >/proc/sys/net/ipv4/tcp_rmem");
        sunrise.run(&buffer).ok();
        sunrise.run("iperf3 -s -D >/dev/null").ok();
        Line {
            sunset,
            west,
            east,
            sunrise,
        }
    }

    /// Those in the middle.
    pub fn gateways(&self) -> [&Host; 2] {
        [&self.west, &self.east]
    }

    /// The nets behind them.
    pub fn nets() -> [ipsec_types::Subnet; 2] {
        [WEST_NET, EAST_NET].map(net)
    }

    /// Without IPsec.
    pub fn forward(&self) {
        for (gateway, net, via) in [(&self.west, EAST_NET, EAST), (&self.east, WEST_NET, WEST)] {
            gateway
                .run(&format!("ip route replace {net} via {via}"))
                .ok();
        }
    }

    /// Tunnel mode by the kernel's own ESP.
    pub fn xfrm(&self, cipher: &Cipher) {
        self.forward();
        let ends = [
            (WEST, EAST, WEST_NET, EAST_NET, "0x101"),
            (EAST, WEST, EAST_NET, WEST_NET, "0x102"),
        ];
        for gateway in [&self.west, &self.east] {
            let mut script = "ip xfrm state flush && ip xfrm policy flush".to_owned();
            for (src, dst, from, to, spi) in ends {
                let state = format!(
                    "src {src} dst {dst} proto esp spi {spi} mode tunnel replay-window {WINDOW} {}",
                    cipher.xfrm
                );
                let template = format!("tmpl src {src} dst {dst} proto esp mode tunnel");
                let out = std::ptr::eq(gateway, &self.west) == (src == WEST);
                script += &format!(" && ip xfrm state add {state}");
                for dir in if out {
                    ["out"].as_slice()
                } else {
                    &["in", "fwd"]
                } {
                    script +=
                        &format!(" && ip xfrm policy add src {from} dst {to} dir {dir} {template}");
                }
            }
            gateway.run(&script).ok();
        }
    }

    /// The same by klips.ko, keyed over PF_KEY.
    pub fn klips(&self, cipher: &Cipher) {
        let (west, east) = ([WEST, WEST_NET], [EAST, EAST_NET]);
        for (gateway, [here, here_net], [there, there_net]) in
            [(&self.west, west, east), (&self.east, east, west)]
        {
            gateway.in_network(|| {
                Control::Kernel.clear().expect("tncfg --clear");
                Control::Kernel
                    .attach("ipsec0", "eth1", None)
                    .expect("tncfg --attach");
                let mut client = Client::connect().expect("PF_KEY");
                client.call(request::clear_flows).expect("DELFLOW");
                client
                    .call(|buf, ids| request::flush(buf, ids, SaType::Unspec))
                    .expect("FLUSH");
                for (src, dst, from, to, spi) in [
                    (WEST, EAST, WEST_NET, EAST_NET, 0x1001),
                    (EAST, WEST, EAST_NET, WEST_NET, 0x1002),
                ] {
                    add(
                        &mut client,
                        cipher,
                        [src, dst],
                        Selector::nets(net(from), net(to)),
                        spi,
                        dst == here,
                    );
                    if src == here {
                        let flow = Selector::nets(net(here_net), net(there_net));
                        let tunnel = SaId::new(SaProto::IpIp, Spi(spi), address(there));
                        client
                            .call(|buf, ids| {
                                request::add_flow(buf, ids, &flow, tunnel, SaFlags::NONE)
                            })
                            .expect("ADDFLOW");
                    }
                }
            });
            let script = format!(
                "ip addr replace {here}/24 dev ipsec0 && ip link set ipsec0 up && ip route del {here} dev ipsec0 2>/dev/null; \
                 ip route replace {there_net} dev ipsec0 && ip route del 192.1.2.0/24 dev ipsec0"
            );
            gateway.run(&script).ok();
        }
    }
}

/// One direction's ESP and tunnel SA, grouped.
fn add(
    client: &mut Client,
    cipher: &Cipher,
    [src, dst]: [&str; 2],
    flow: Selector,
    spi: u32,
    inbound: bool,
) {
    let [esp, tunnel] = [SaProto::Esp, SaProto::IpIp].map(|proto| SaParams {
        ..SaParams::new(SaId::new(proto, Spi(spi), address(dst)), address(src))
    });
    let tunnel = SaParams {
        inflow: inbound.then_some(flow),
        ..tunnel
    };
    let esp = SaParams {
        replay: WINDOW,
        encrypt: cipher.enc.0,
        enc_key: cipher.enc.1,
        auth: cipher.auth.0,
        auth_key: cipher.auth.1,
        ..esp
    };
    for sa in [&tunnel, &esp] {
        client
            .call(|buf, ids| request::add(buf, ids, sa))
            .expect("ADD");
    }
    client
        .call(|buf, ids| request::group(buf, ids, &tunnel.said, Some(&esp.said)))
        .expect("GRPSA");
}

fn net(text: &str) -> ipsec_types::Subnet {
    text.parse().expect("a net")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
