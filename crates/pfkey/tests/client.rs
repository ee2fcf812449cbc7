//! The client against a real SEQPACKET socket and a real control socket.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use common::{flow, val};
use pfkey::client::{Client, ClientError, Control, Table};
use pfkey::*;
use socket2::{Domain, SockAddr, Socket, Type};

/// Serves one connection with `serve`, which gets each request and sends what it likes.
fn listen(
    path: &std::path::Path,
    serve: impl Fn(&Socket, &[u8]) + Send + 'static,
) -> thread::JoinHandle<()> {
    let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    listener.bind(&SockAddr::unix(path).unwrap()).unwrap();
    listener.listen(1).unwrap();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut buf = [0; MAX_MESSAGE_LEN];
        loop {
            match (&socket).read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(n) => serve(&socket, &buf[..n]),
            }
        }
    })
}

#[test]
fn finds_its_answer_among_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pfkey.sock");
    let server = listen(&path, |socket, bytes| {
        let request = Message::request(bytes).unwrap();
        let mut buf = [0; MAX_MESSAGE_LEN];
        let other = Header {
            seq: request.seq() + 7,
            ..*request.header()
        };
        socket
            .send(
                Builder::with_header(&mut buf, other)
                    .errno(1)
                    .finish()
                    .unwrap(),
            )
            .unwrap();
        if request.msg_type() == MsgType::DelFlow {
            socket
                .send(request::error_reply(&mut buf, bytes, errno::ENOENT).unwrap())
                .unwrap();
        } else {
            socket
                .send(request::echo_reply(&mut buf, &request).unwrap())
                .unwrap();
        }
    });
    let mut client = Client::connect_to(&path).unwrap();
    let reply = client
        .call(|buf, ids| {
            request::add_flow(buf, ids, &flow(), val("tun0x1001@192.0.2.1"), SaFlags::NONE)
        })
        .unwrap();
    assert_eq!(reply.message().unwrap().selector(), Some(flow()));
    let refused = client
        .call(|buf, ids| request::del_flow(buf, ids, &flow()))
        .err()
        .unwrap();
    assert_eq!(refused.refused_errno(), Some(errno::ENOENT));
    assert_eq!(
        refused.to_string(),
        "x_delflow: No such file or directory (os error 2)"
    );
    drop(client);
    server.join().unwrap();
}

#[test]
fn dumps_until_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pfkey.sock");
    let server = listen(&path, |socket, bytes| {
        let request = Header::parse(bytes).unwrap();
        for seq in [2, 1, 0] {
            let header = Header {
                satype: SaType::Esp.number(),
                seq,
                ..request
            };
            let mut buf = [0; MAX_MESSAGE_LEN];
            let sa = Sa::of_spi(val("0x100"), SaFlags::NONE);
            let builder = Builder::with_header(&mut buf, header)
                .sa(&sa)
                .addresses(val("::1"), val("::2"));
            socket.send(builder.finish().unwrap()).unwrap();
        }
    });
    let mut client = Client::connect_to(&path).unwrap();
    let mut seen = 0;
    client
        .dump(SaType::Unspec, |message| {
            seen += usize::from(message.said().is_some())
        })
        .unwrap();
    assert_eq!(seen, 3);
    drop(client);
    server.join().unwrap();
}

#[test]
fn says_that_klips_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pfkey.sock");
    assert!(matches!(
        Client::connect_to(&path),
        Err(ClientError::NotRunning { .. })
    ));
    let control = Control::Daemon(dir.path().join("klips.ctl"));
    let error = control.table(Table::Eroute).unwrap_err();
    assert!(error.to_string().contains("ipsec setup start"), "{error}");
}

#[test]
fn control_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("klips.ctl");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        for answer in [
            "ok\n0  a -> b\n1  c -> d\n",
            "error: no such device\n",
            "ok\n1\n",
        ] {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert!(
                [
                    "get ipsec_eroute\n",
                    "attach ipsec9 eth0\n",
                    "sysctl icmp\n"
                ]
                .contains(&line.as_str()),
                "{line}"
            );
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let control = Control::Daemon(path);
    assert_eq!(
        control.table(Table::Eroute).unwrap(),
        "0  a -> b\n1  c -> d\n"
    );
    let error = control.attach("ipsec9", "eth0", None).unwrap_err();
    assert_eq!(error.to_string(), "KLIPS: no such device");
    assert_eq!(control.sysctl("icmp").unwrap(), "1");
    server.join().unwrap();
}
