//! Two hosts with a klipsd each, keyed by hand over PF_KEY.
#![allow(dead_code, reason = "each test file uses another part")]

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Selector, Spi};
use pfkey::client::Client;
use pfkey::request::{self, SaParams};
use pfkey::{SaFlags, SaType};
use testing::{Background, Host, Segment, Testbed};

/// A 3DES key, for both directions.
pub const TDES: [u8; 24] = *b"0aK4Zp8Qc7Wm3Tx9Ld5Rf2Nb";
/// An AES key.
pub const AES: [u8; 16] = *b"sixteen byte key";
/// HMAC keys; MD5 takes the first 16 octets.
pub const MAC: [u8; 20] = *b"twenty byte hmac key";

/// A host with a klipsd.
pub struct Gateway {
    pub host: Host,
    pub rundir: PathBuf,
    options: &'static str,
    klipsd: Option<Background>,
}

impl Gateway {
    /// A host on `segment`, its klipsd started and ipsec0 up on eth1 with `outer`; `inner` is its subnet's address.
    pub fn new(
        testbed: &Testbed,
        segment: &Segment<'_>,
        name: &str,
        outer: &str,
        inner: &str,
    ) -> Self {
        let host = testbed.host(name);
        host.attach(segment, "eth1", outer);
        Self::on(testbed, host, inner)
    }

    /// The same on a host that has its eth1 already.
    pub fn on(testbed: &Testbed, host: Host, inner: &str) -> Self {
        Self::with(testbed, host, inner, "--loglevel debug")
    }

    /// The same, its klipsd started with `options`.
    pub fn with(testbed: &Testbed, host: Host, inner: &str, options: &'static str) -> Self {
        if !inner.is_empty() {
            host.run(&format!("ip addr add {inner} dev lo nodad")).ok();
        }
        let rundir = testbed.scratch(host.name());
        let mut gateway = Self {
            host,
            rundir,
            options,
            klipsd: None,
        };
        gateway.start();
        gateway.ctl("attach ipsec0 eth1");
        gateway.host.run("ip link set ipsec0 up").ok();
        gateway
    }

    /// The command line of this gateway's klipsd.
    pub fn command(&self, options: &str) -> String {
        format!(
            "{} --rundir {} {options}",
            env!("CARGO_BIN_EXE_klipsd"),
            self.rundir.display()
        )
    }

    /// Starts klipsd in the foreground of a background command, and waits for its sockets.
    pub fn start(&mut self) {
        let log = self.rundir.with_extension("log");
        let pid_file = self.rundir.join("klipsd.pid");
        let before = std::fs::read_to_string(&pid_file).unwrap_or_default();
        let command = self.command(&format!("--nofork {}", self.options));
        self.klipsd = Some(
            self.host
                .spawn(&format!("exec {command} >>{} 2>&1", log.display())),
        );
        for _ in 0..200 {
            // A crashed one's socket may still take connections for a moment.
            if std::fs::read_to_string(&pid_file).unwrap_or_default() != before && self.answers() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("klipsd does not start:\n{}", self.log());
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.rundir.join("klips.ctl")) else {
            return false;
        };
        let mut answer = String::new();
        stream.write_all(b"get ipsec_version\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("ok\n")
    }

    /// Kills klipsd as a crash would, and waits until it is no more.
    pub fn crash(&mut self) {
        self.host.run(&format!("kill -9 {}", self.pid())).ok();
        if let Some(klipsd) = self.klipsd.take() {
            klipsd.finish();
        }
    }

    /// klipsd's process id, as the host sees it.
    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.rundir.join("klipsd.pid"))
            .expect("a pid file")
            .trim()
            .to_owned()
    }

    /// What klipsd has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.rundir.with_extension("log")).unwrap_or_default()
    }

    /// Writes a line to klips.ctl; the whole answer.
    pub fn ask(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.rundir.join("klips.ctl")).expect("klips.ctl");
        writeln!(stream, "{line}").expect("a line can be written");
        let mut answer = String::new();
        if let Err(error) = stream.read_to_string(&mut answer) {
            panic!("{line}: {error}\n{}", self.log());
        }
        answer
    }

    /// Like [`Self::ask`], for a line that must be done; the text after `ok`.
    #[track_caller]
    pub fn ctl(&self, line: &str) -> String {
        let answer = self.ask(line);
        let text = answer.strip_prefix("ok\n");
        text.unwrap_or_else(|| panic!("{line}: {answer}\n{}", self.log()))
            .to_owned()
    }

    /// A PF_KEY socket.
    pub fn pfkey(&self) -> Client {
        Client::connect_to(&self.rundir.join("pfkey.sock")).expect("pfkey.sock")
    }

    /// Adds SAs, innermost first, as one group.
    pub fn add(&self, sas: &[SaParams<'_>]) {
        let mut client = self.pfkey();
        for sa in sas {
            client
                .call(|buf, ids| request::add(buf, ids, sa))
                .expect("ADD");
        }
        for pair in sas.windows(2) {
            client
                .call(|buf, ids| request::group(buf, ids, &pair[0].said, Some(&pair[1].said)))
                .expect("GRPSA");
        }
    }

    /// Sends packets of `flow` through `said`, and has them routed to ipsec0.
    pub fn eroute(&self, flow: &Selector, said: SaId) {
        self.pfkey()
            .call(|buf, ids| request::add_flow(buf, ids, flow, said, SaFlags::NONE))
            .expect("ADDFLOW");
    }

    /// Registers for ESP, on a socket of its own.
    pub fn register(&self) -> Client {
        let mut client = self.pfkey();
        client
            .call(|buf, ids| request::register(buf, ids, SaType::Esp))
            .expect("REGISTER");
        client
    }
}

/// An ESP SA to `dst`.
pub fn esp<'a>(
    src: &str,
    dst: &str,
    spi: u32,
    cipher: (EncAlg, &'a [u8]),
    mac: (AuthAlg, &'a [u8]),
) -> SaParams<'a> {
    let mut sa = SaParams::new(said(SaProto::Esp, spi, dst), address(src));
    (sa.encrypt, sa.enc_key) = cipher;
    (sa.auth, sa.auth_key) = mac;
    sa.replay = 64;
    sa
}

/// 3DES with MD5, as FreeS/WAN's default was.
pub fn tdes_md5(src: &str, dst: &str, spi: u32) -> SaParams<'static> {
    esp(
        src,
        dst,
        spi,
        (EncAlg::TRIPLE_DES_CBC, &TDES),
        (AuthAlg::MD5_HMAC, &MAC[..16]),
    )
}

/// AES-128 with SHA-1.
pub fn aes_sha1(src: &str, dst: &str, spi: u32) -> SaParams<'static> {
    esp(
        src,
        dst,
        spi,
        (EncAlg::AES_CBC, &AES),
        (AuthAlg::SHA1_HMAC, &MAC),
    )
}

/// An AH SA with SHA-1.
pub fn ah_sha1(src: &str, dst: &str, spi: u32) -> SaParams<'static> {
    let mut sa = SaParams::new(said(SaProto::Ah, spi, dst), address(src));
    (sa.auth, sa.auth_key) = (AuthAlg::SHA1_HMAC, &MAC);
    sa.replay = 64;
    sa
}

/// An IPCOMP SA with deflate; its SPI is the CPI.
pub fn comp(src: &str, dst: &str, cpi: u32) -> SaParams<'static> {
    let mut sa = SaParams::new(said(SaProto::Comp, cpi, dst), address(src));
    sa.encrypt = EncAlg(2);
    sa
}

/// An IPIP SA: tunnel mode's first; `inflow` is what may come out of it.
pub fn tun(src: &str, dst: &str, spi: u32, inflow: Selector) -> SaParams<'static> {
    let mut sa = SaParams::new(said(SaProto::IpIp, spi, dst), address(src));
    sa.inflow = Some(inflow);
    sa
}

/// An SA id.
pub fn said(proto: SaProto, spi: u32, dst: &str) -> SaId {
    SaId::new(proto, Spi(spi), address(dst))
}

/// An address.
pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// From one net to another.
pub fn nets(src: &str, dst: &str) -> Selector {
    Selector::nets(src.parse().expect("a net"), dst.parse().expect("a net"))
}
