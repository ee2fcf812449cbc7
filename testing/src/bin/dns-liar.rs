//! A name server that lies, for the testbed: what real servers refuse to serve.
//!
//! `dns-liar LISTEN UPSTREAM [--forge NAME] [--deny NAME]` answers for 192.0.9.N's names by N (the table below), forges an unsigned TXT
//! record for one name, denies another by an unsigned zone's SOA, and passes everything else to UPSTREAM and back.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const ZONE: &str = ".9.0.192.in-addr.arpa";
const GOOD: &str = "X-IPsec-Server(10)=192.1.2.23";
const NS: u16 = 2;
const TXT: u16 = 16;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const DS: u16 = 43;

struct Liar {
    upstream: SocketAddr,
    forge: Option<String>,
    deny: Option<String>,
}

/// What becomes of a question.
enum Lie {
    Answer(Vec<u8>),
    After(Duration, Vec<u8>),
    Silence,
    PassOn,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().unwrap_or_else(|| panic!("{what} is missing"));
    let listen: SocketAddr = next("LISTEN").parse().expect("an address and a port");
    let upstream = next("UPSTREAM").parse().expect("an address and a port");
    let mut options: HashMap<String, String> = HashMap::new();
    while let Some(option) = args.next() {
        let value = args
            .next()
            .unwrap_or_else(|| panic!("{option} needs a name"));
        options.insert(option, value.trim_end_matches('.').to_lowercase());
    }
    let liar = Arc::new(Liar {
        upstream,
        forge: options.remove("--forge"),
        deny: options.remove("--deny"),
    });
    let udp = Arc::new(UdpSocket::bind(listen).expect("UDP port"));
    let tcp = TcpListener::bind(listen).expect("TCP port");
    let by_tcp = Arc::clone(&liar);
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let liar = Arc::clone(&by_tcp);
            std::thread::spawn(move || liar.stream(stream));
        }
    });
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = udp.recv_from(&mut buffer) {
        let question = buffer[..length].to_vec();
        let (liar, udp) = (Arc::clone(&liar), Arc::clone(&udp));
        std::thread::spawn(move || {
            if let Some(answer) = liar.reply(&question, false) {
                udp.send_to(&answer, from).ok();
            }
        });
    }
}

impl Liar {
    fn stream(&self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).ok()?;
            let answer = self.reply(&question, true)?;
            stream
                .write_all(&(answer.len() as u16).to_be_bytes())
                .ok()?;
            stream.write_all(&answer).ok()?;
        }
    }

    fn reply(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        match self.lie(question, tcp)? {
            Lie::Answer(answer) => Some(answer),
            Lie::After(time, answer) => {
                std::thread::sleep(time);
                Some(answer)
            }
            Lie::Silence => None,
            Lie::PassOn => self.pass_on(question, tcp),
        }
    }

    fn lie(&self, question: &[u8], tcp: bool) -> Option<Lie> {
        let (name, kind) = read_question(question)?;
        if self.forge.as_deref() == Some(&name) && kind == TXT {
            let answer = Message::to(question)?.txt(GOOD);
            return Some(Lie::Answer(answer.done()));
        }
        if self.deny.as_deref() == Some(&name) {
            let answer = Message::to(question)?.soa("unsigned.example");
            return Some(Lie::Answer(answer.done()));
        }
        // What its parent says of the zone is not the liar's to say.
        if [&ZONE[1..], "liar.example"].contains(&name.as_str()) && kind != DS {
            let message = Message::to(question)?;
            let answer = match kind {
                NS => message.record(&[0xc0, 12], NS, &encode("ns.liar.example")),
                _ => message.soa(&name),
            };
            return Some(Lie::Answer(answer.done()));
        }
        if name == "ns.liar.example" {
            let message = Message::to(question)?;
            let answer = match kind {
                1 => message.record(&[0xc0, 12], 1, &[192, 1, 2, 55]),
                _ => message.soa("liar.example"),
            };
            return Some(Lie::Answer(answer.done()));
        }
        match name.strip_suffix(ZONE) {
            Some(host) => of_the_zone(question, host, kind, tcp),
            None => Some(Lie::PassOn),
        }
    }

    fn pass_on(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let limit = Some(Duration::from_secs(5));
        if tcp {
            let mut up = TcpStream::connect(self.upstream).ok()?;
            up.set_read_timeout(limit).ok()?;
            up.write_all(&(question.len() as u16).to_be_bytes()).ok()?;
            up.write_all(question).ok()?;
            let mut length = [0; 2];
            up.read_exact(&mut length).ok()?;
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            up.read_exact(&mut answer).ok()?;
            return Some(answer);
        }
        let up = UdpSocket::bind("0.0.0.0:0").ok()?;
        up.set_read_timeout(limit).ok()?;
        up.send_to(question, self.upstream).ok()?;
        let mut answer = vec![0; 65536];
        let length = up.recv(&mut answer).ok()?;
        answer.truncate(length);
        Some(answer)
    }
}

/// What 192.0.9.N gets. Kinds other than TXT have no record, without a lie, except where the name itself leads on.
fn of_the_zone(question: &[u8], host: &str, kind: u16, tcp: bool) -> Option<Lie> {
    let message = Message::to(question)?;
    let within =
        |hosts: std::ops::RangeInclusive<u8>| host.parse().is_ok_and(|n| hosts.contains(&n));
    let nothing = || Message::to(question).map(|m| m.soa(&ZONE[1..]).done());
    let cname = |to: &str| Some(Lie::Answer(Message::to(question)?.cname(to).done()));
    let lie = match host {
        // Whatever the kind.
        "3" => Lie::Silence,
        _ if within(100..=255) => Lie::Silence,
        "4" => Lie::Answer(message.flags(0x8380).done()), // truncated, by TCP too
        "5" => return cname(&format!("6{ZONE}")),
        "6" => return cname(&format!("5{ZONE}")),
        "7" => return cname(&format!("a1.7{ZONE}")),
        "11" => Lie::Answer(vec![0xff; 600]),
        "12" => Lie::Answer(message.flags(0x8182).done()),
        "13" => Lie::Answer(message.flags(0x8185).done()),
        "14" => {
            let mut answer = message.txt(GOOD).done();
            answer[0] ^= 0xff; // of another question
            Lie::Answer(answer)
        }
        "15" => {
            // A name that points to itself.
            let at = message.bytes.len() as u16 | 0xc000;
            Lie::Answer(
                message
                    .record(&at.to_be_bytes(), TXT, &txt_data(GOOD))
                    .done(),
            )
        }
        "18" => {
            // Thousands of records that nobody asked for.
            let mut message = message;
            for n in 0..1000 {
                message = message.authority(
                    &encode(&format!("n{n}.liar.example")),
                    2,
                    &encode("liar.example"),
                );
            }
            big(message.done(), question, tcp)?
        }
        "19" => {
            let text = "X-IPsec-Server(10)=192.1.2.23 !!!not base 64!!!";
            Lie::Answer(message.txt(text).done())
        }
        _ if host.ends_with(".7") => {
            let n: u32 = host
                .trim_start_matches('a')
                .split('.')
                .next()?
                .parse()
                .ok()?;
            return cname(&format!("a{}.7{ZONE}", n + 1));
        }
        _ if kind != TXT => Lie::Answer(nothing()?),
        "1" => Lie::Answer(message.txt(GOOD).done()),
        "2" => Lie::After(Duration::from_secs(30), message.txt(GOOD).done()),
        // Enough of them to be seen in someone's memory.
        _ if within(40..=69) => big(wide(message), question, tcp)?,
        _ if within(70..=99) => big(many(message, 201), question, tcp)?,
        "8" => big(many(message, 201), question, tcp)?,
        "9" => big(wide(message), question, tcp)?,
        "10" => big(many(message, 200), question, tcp)?,
        _ => Lie::Answer(nothing()?),
    };
    Some(lie)
}

/// What does not fit into UDP says so.
fn big(answer: Vec<u8>, question: &[u8], tcp: bool) -> Option<Lie> {
    if tcp || answer.len() < 1200 {
        return Some(Lie::Answer(answer));
    }
    Some(Lie::Answer(Message::to(question)?.flags(0x8380).done()))
}

/// These and the next want to be remembered for long.
fn many(mut message: Message, count: u32) -> Vec<u8> {
    message.ttl = 3600;
    for n in 0..count {
        message = message.txt(&format!("X-IPsec-Server({n})=192.1.2.23"));
    }
    message.done()
}

/// As many octets of TXT as a message of 64 kB holds.
fn wide(mut message: Message) -> Vec<u8> {
    let text = format!("{GOOD} {}", "A".repeat(4000));
    message.ttl = 3600;
    while message.bytes.len() < 60_000 {
        message = message.txt(&text);
    }
    message.done()
}

struct Message {
    bytes: Vec<u8>,
    answers: u16,
    authorities: u16,
    flags: u16,
    /// How long its records live, in seconds.
    ttl: u32,
}

impl Message {
    /// The head of an answer to the question.
    fn to(question: &[u8]) -> Option<Message> {
        let end = question_end(question)?;
        Some(Message {
            bytes: question[..end].to_vec(),
            answers: 0,
            authorities: 0,
            flags: 0x8580,
            ttl: 5,
        })
    }

    fn flags(mut self, flags: u16) -> Message {
        self.flags = flags;
        self
    }

    fn append(&mut self, name: &[u8], kind: u16, data: &[u8]) {
        self.bytes.extend(name);
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(self.ttl.to_be_bytes());
        self.bytes.extend((data.len() as u16).to_be_bytes());
        self.bytes.extend(data);
    }

    fn record(mut self, name: &[u8], kind: u16, data: &[u8]) -> Message {
        self.answers += 1;
        self.append(name, kind, data);
        self
    }

    fn authority(mut self, name: &[u8], kind: u16, data: &[u8]) -> Message {
        self.authorities += 1;
        self.append(name, kind, data);
        self
    }

    /// Of the name that was asked for, as the next one.
    fn txt(self, text: &str) -> Message {
        self.record(&[0xc0, 12], TXT, &txt_data(text))
    }

    fn cname(self, to: &str) -> Message {
        self.record(&[0xc0, 12], CNAME, &encode(to))
    }

    fn soa(self, zone: &str) -> Message {
        let mut data = encode("ns.liar.example");
        data.extend(encode("liar.example"));
        for value in [1u32, 3600, 600, 86400, 5] {
            data.extend(value.to_be_bytes());
        }
        self.authority(&encode(zone), SOA, &data)
    }

    fn done(mut self) -> Vec<u8> {
        self.bytes[2..4].copy_from_slice(&self.flags.to_be_bytes());
        self.bytes[4..6].copy_from_slice(&1u16.to_be_bytes());
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes[8..10].copy_from_slice(&self.authorities.to_be_bytes());
        self.bytes[10..12].copy_from_slice(&0u16.to_be_bytes());
        self.bytes
    }
}

fn txt_data(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(255)
        .flat_map(|chunk| [&[chunk.len() as u8][..], chunk].concat())
        .collect()
}

fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return (message.len() >= at + 5).then_some(at + 5),
            length => at += length + 1,
        }
    }
}

/// The name, in lower case, and the kind that a message asks for.
fn read_question(message: &[u8]) -> Option<(String, u16)> {
    let end = question_end(message)?;
    let mut labels = Vec::new();
    let mut at = 12;
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..at + 1 + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([message[end - 4], message[end - 3]]);
    Some((labels.join("."), kind))
}
