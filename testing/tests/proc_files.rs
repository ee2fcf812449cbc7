//! `/proc/net/ipsec_*` of the module, read bit by bit while the tables change.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;

use ipsec_types::{MagicSpi, SaId, Selector};
use pfkey::client::Client;
use pfkey::request::{self, Ids};
use pfkey::{Error, Header, MAX_MESSAGE_LEN, SaFlags};

testing::on_klips_ko!(eroutes_that_come_and_go_meanwhile);

const COUNT: u32 = 20_000;
const IDS: Ids = Ids { seq: 1, pid: 1 };

fn flow(n: u32) -> Selector {
    let to = Ipv4Addr::from(0x0a00_0000 + n);
    let net = |text: String| text.parse().expect("a net");
    Selector::nets(net("192.0.1.0/24".to_owned()), net(format!("{to}/32")))
}

/// Sends a request, whose answer must be no error.
fn ask(client: &Client, build: impl FnOnce(&mut [u8]) -> Result<&[u8], Error>) {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    client
        .send(build(&mut buffer).expect("a message"))
        .expect("it is taken");
    let mut answer = [0; MAX_MESSAGE_LEN];
    let answer = client.recv(&mut answer).expect("an answer");
    assert_eq!(Header::parse(answer).expect("a header").errno, 0);
}

fn add(client: &Client, n: u32) {
    ask(client, |buf| {
        request::add_flow(
            buf,
            IDS,
            &flow(n),
            SaId::magic(MagicSpi::Drop),
            SaFlags::NONE,
        )
    });
}

fn delete(client: &Client, n: u32) {
    ask(client, |buf| request::del_flow(buf, IDS, &flow(n)));
}

/// Every third eroute goes, from both ends on, and others come, into the places of those that went as well.
fn eroutes_that_come_and_go_meanwhile() {
    let client = Client::connect().expect("PF_KEY");
    (0..COUNT).for_each(|n| add(&client, n));
    let mut file = File::open("/proc/net/ipsec_eroute").expect("the module's file");
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    let (mut front, mut back, mut new) = (0, COUNT / 3 - 1, COUNT);
    loop {
        match file.read(&mut part).expect("it can be read") {
            0 => break,
            n => text.extend_from_slice(&part[..n]),
        }
        if front + 8 < back {
            for _ in 0..4 {
                delete(&client, front * 3);
                delete(&client, back * 3);
                add(&client, new);
                (front, back, new) = (front + 1, back - 1, new + 1);
            }
        }
    }
    assert!(front > 400, "only {front} reads in which something changed");
    let text = String::from_utf8(text).expect("text");
    let mut times: HashMap<&str, u32> = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            (words.len(), words[5]),
            (6, "%drop"),
            "a broken line: {line}"
        );
        *times.entry(words[3]).or_default() += 1;
    }
    let shown = |n: u32| {
        times
            .get(flow(n).dst.to_string().as_str())
            .copied()
            .unwrap_or(0)
    };
    let stay = (0..COUNT).filter(|n| n % 3 != 0);
    let wrong: Vec<u32> = stay.filter(|n| shown(*n) != 1).collect();
    assert_eq!(wrong, [], "of those that stayed, not shown once");
    let twice: Vec<u32> = (0..new).filter(|n| shown(*n) > 1).collect();
    assert_eq!(twice, [], "shown twice");
}
