//! Frames and requests: round trips, limits, errors that name the field, and mutations that must
//! neither panic nor slip through the limits.

use std::{io::Cursor, os::unix::net::UnixListener, thread};

use whack::{
    Client, ClientError, Connection, DebugClass, End, FrameError, Host, Lifetimes, ListClass, Live,
    MAX_FRAME, Policy, PubkeyAlg, Rc, Reply, Request, RereadClass, frame,
};

fn connection() -> Connection {
    let mut left = End::new(Host::Addr([192, 0, 2, 1].into()));
    left.id = Some("@east.example".into());
    left.client = Some("10.0.1.0/24".parse().unwrap());
    left.nexthop = Some([192, 0, 2, 254].into());
    left.updown = Some("ipsec _updown".into());
    left.protoport = "17/1701".parse().unwrap();
    let mut right = End::new(Host::Any);
    right.protoport = "17/%any".parse().unwrap();
    Connection {
        name: "net-to-net".into(),
        left,
        right,
        policy: Policy {
            rsasig: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            ..Policy::default()
        },
        lifetimes: Lifetimes::default(),
        fragmentation: Default::default(),
        dpd: Default::default(),
        ike: None,
        esp: Some("3des-md5".into()),
        pfsgroup: Some("modp2048".into()),
        ipv6: false,
        tunnel_ipv6: false,
    }
}

fn every_request() -> Vec<Request> {
    let name = || "net-to-net".to_string();
    vec![
        Request::Connection(Box::new(connection())),
        Request::Replace(Box::new(connection())),
        Request::Delete { name: name() },
        Request::Route { name: name() },
        Request::Unroute { name: name() },
        Request::Initiate {
            name: name(),
            asynchronous: true,
        },
        Request::Terminate { name: name() },
        Request::DeleteState { number: 3 },
        Request::Crash {
            peer: "2001:db8::1".parse().unwrap(),
        },
        Request::Listen,
        Request::Unlisten,
        Request::PublicKey {
            id: "@east.example".into(),
            add: true,
            alg: PubkeyAlg::Rsa,
            key: Some("0sAQOKe8==".into()),
        },
        Request::MyId { id: "@me".into() },
        Request::Reread {
            class: RereadClass::Secrets,
        },
        Request::List {
            class: ListClass::PublicKeys,
            utc: false,
        },
        Request::Debug {
            name: Some(name()),
            classes: DebugClass::ALL.to_vec(),
        },
        Request::OpportunisticInitiate {
            here: [10, 0, 1, 1].into(),
            there: [10, 0, 2, 1].into(),
        },
        Request::Status,
        Request::Shutdown,
    ]
}

#[test]
fn every_request_survives_a_round_trip() {
    for request in every_request() {
        let mut bytes = Cursor::new(frame::encode(&request).unwrap());
        let content = frame::read(&mut bytes).unwrap().unwrap();
        assert_eq!(frame::decode_request(&content).unwrap(), request);
        assert!(frame::read(&mut bytes).unwrap().is_none());
    }
}

#[test]
fn lengths_out_of_bounds_are_refused_before_anything_is_kept() {
    for len in [0, MAX_FRAME as u32 + 1, u32::MAX] {
        let refused = frame::read(&mut Cursor::new(len.to_be_bytes().to_vec()));
        assert!(
            matches!(refused, Err(FrameError::Length(l)) if l == len as usize),
            "{len}"
        );
    }
    let long = Request::Delete {
        name: "x".repeat(MAX_FRAME),
    };
    assert!(matches!(frame::encode(&long), Err(FrameError::Length(_))));
    let cut = frame::encode(&Request::Listen).unwrap();
    for end in 1..cut.len() {
        assert!(matches!(
            frame::read(&mut Cursor::new(&cut[..end])),
            Err(FrameError::Io(_))
        ));
    }
}

/// Names and the default route travel as such; what is no name of a host does not get past the limits.
#[test]
fn b3_addresses_that_pluto_finds() {
    let mut conn = connection();
    conn.left.nexthop = None;
    conn.left.live_nexthop = Some(Live::DefaultRoute);
    conn.right.host = Host::Live(Live::Name("gw.example.com".into()));
    conn.right.keys = vec!["0sAQNRU3mG".into()];
    let request = Request::Connection(Box::new(conn.clone()));
    let bytes = frame::encode(&request).unwrap();
    assert_eq!(frame::decode_request(&bytes[4..]).unwrap(), request);
    for name in [
        "",
        "a b",
        "192.0.2.256",
        "-a.example",
        "a;b",
        "%any",
        &"a".repeat(64),
    ] {
        conn.right.host = Host::Live(Live::Name(name.into()));
        let error = Request::Connection(Box::new(conn.clone())).validate();
        assert_eq!(error.unwrap_err().field, "Connection.right.host", "{name}");
    }
    conn.right.host = Host::Live(Live::DefaultRoute);
    conn.left.nexthop = Some([192, 0, 2, 254].into());
    let error = Request::Connection(Box::new(conn.clone())).validate();
    assert_eq!(error.unwrap_err().field, "Connection.left.live_nexthop");
    conn.left.nexthop = None;
    conn.right.keys = vec!["k".into(); 9];
    let error = Request::Connection(Box::new(conn)).validate();
    assert_eq!(error.unwrap_err().field, "Connection.right.keys");
}

#[test]
fn errors_name_the_field() {
    let whole = serde_json::to_value(every_request().remove(0)).unwrap();
    for (pointer, value, expected) in [
        (
            "/Connection/left/client",
            "10.0.1.0/40",
            "Connection.left.client: \"10.0.1.0/40\"",
        ),
        (
            "/Connection/left/nexthop",
            "here",
            "Connection.left.nexthop: invalid IP address",
        ),
        ("/Connection/name", "", "Connection.name: must not be empty"),
        (
            "/Connection/name",
            "a\nb",
            "Connection.name: holds a control character",
        ),
        (
            "/Connection/left/nexthop",
            "::1",
            "Connection.left.nexthop: address family",
        ),
        (
            "/Connection/right/host",
            "Nobody",
            "Connection.right.host: unknown variant `Nobody`",
        ),
        (
            "/Connection/policy/pfs",
            "yes",
            "Connection.policy.pfs: invalid type",
        ),
    ] {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value.into();
        let error = frame::decode_request(changed.to_string().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("bad message, field {expected}")),
            "{error}"
        );
    }
    let mut more = whole.clone();
    more["Connection"]["left"]["surprise"] = 1.into();
    let error = frame::decode_request(more.to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Connection.left") && error.contains("surprise"),
        "{error}"
    );

    let mut long = connection();
    long.left.id = Some("x".repeat(1025));
    let error = Request::Connection(Box::new(long)).validate().unwrap_err();
    assert_eq!(error.field, "Connection.left.id");
    assert!(frame::decode_request(b"\"Status\" \"Status\"").is_err());
}

/// xorshift: the same mutations in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn mutated_requests_are_refused_or_within_limits() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let pool: Vec<Vec<u8>> = every_request()
        .iter()
        .map(|r| serde_json::to_vec(r).unwrap())
        .collect();
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..40_000 {
        let mut bytes = pool[round % pool.len()].clone();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(4) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\"{}[],:0-9\\\0"[dice.roll(11)]),
                _ => {
                    let other = &pool[dice.roll(pool.len())];
                    let from = dice.roll(other.len());
                    bytes.splice(at.., other[from..].iter().copied());
                    if bytes.is_empty() {
                        bytes.push(b'{');
                    }
                }
            }
        }
        match frame::decode_request(&bytes) {
            Ok(request) => {
                accepted += 1;
                request.validate().unwrap();
                let again = serde_json::to_vec(&request).unwrap();
                assert_eq!(frame::decode_request(&again).unwrap(), request);
            }
            Err(_) => refused += 1,
        }
        let _ = frame::decode_reply(&bytes);
        let _ = frame::read(&mut Cursor::new(&bytes));
    }
    assert!(
        refused > 10_000 && accepted > 100,
        "refused {refused}, accepted {accepted}"
    );
}

/// A daemon's side of one conversation, over a real socket.
fn served(answer: Vec<u8>) -> Result<(Vec<String>, u8), ClientError> {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("pluto.ctl")).unwrap();
    let daemon = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let content = frame::read(&mut socket).unwrap().unwrap();
        assert_eq!(frame::decode_request(&content).unwrap(), Request::Status);
        std::io::Write::write_all(&mut socket, &answer).unwrap();
    });
    let mut lines = Vec::new();
    let status = Client::connect(dir.path())?
        .send(&Request::Status)?
        .finish(|reply| lines.push(reply.to_string()));
    daemon.join().unwrap();
    Ok((lines, status?))
}

#[test]
fn the_client_streams_lines_and_ends_with_the_status() {
    let mut answer = frame::encode(&Reply::line(Rc::NewState(4), "\"c\" #1: initiate")).unwrap();
    answer.extend(frame::encode(&Reply::line(Rc::Comment, "")).unwrap());
    answer.extend(frame::encode(&Reply::Exit { status: 104 }).unwrap());
    let (lines, status) = served(answer.clone()).unwrap();
    assert_eq!(lines, ["104 \"c\" #1: initiate", "000 "]);
    assert_eq!(status, 104);

    answer.truncate(answer.len() - 3);
    assert!(matches!(served(answer), Err(ClientError::Cut)));
    assert!(matches!(served(Vec::new()), Err(ClientError::Cut)));
    assert!(matches!(
        served(vec![0xff; 8]),
        Err(ClientError::Frame(FrameError::Length(_)))
    ));
}

#[test]
fn no_pluto_is_said_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let none = Client::connect(dir.path()).unwrap_err().to_string();
    let socket = dir.path().join("pluto.ctl");
    assert!(none.starts_with(&format!(
        "Pluto is not running (no \"{}\")",
        socket.display()
    )));
    drop(UnixListener::bind(&socket).unwrap());
    let dead = Client::connect(dir.path()).unwrap_err().to_string();
    assert!(
        dead.contains("is Pluto running?") && dead.contains("ipsec setup start"),
        "{dead}"
    );
}
