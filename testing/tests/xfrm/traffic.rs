//! Packets of all sizes from host to host: pings, and bytes in a TCP stream that come back as they went.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use testing::Host;

/// Payloads of pings in bytes: the smallest there are, some around a block, what just fits and what no longer fits an
/// Ethernet frame with ESP around it, what comes in two fragments and in seven.
const SIZES: &str = "0 1 13 56 1300 1400 1410 1473 3000 9000";
/// Bytes of a stream.
const BULK: usize = 300_000;

/// How long a stream may stand still.
fn patience() -> Duration {
    testing::kernel::patience(Duration::from_secs(20))
}

/// One ping of each size. Where it is too big for the path and must not be fragmented, the request may be lost and then the
/// answer, until the errors about them have come back.
pub fn pings(from: &Host, to: IpAddr) -> Result<(), String> {
    let (path, tries) = if to.is_ipv4() {
        ("-M dont", "1")
    } else {
        ("", "1 2 3")
    };
    let script = format!(
        "each() {{ for try in {tries}; do ping -n -q -c 1 -W 1 {path} -s $1 {to} >/run/ping 2>&1 && return; done; \
         echo size $1; exit 1; }}; for size in {SIZES}; do each $size; done"
    );
    let done = from.run(&script);
    if done.status == 0 {
        Ok(())
    } else {
        Err(format!(
            "ping from {} to {to}: {}{}",
            from.name(),
            done.stdout,
            done.stderr
        ))
    }
}

/// Half random, so that it does not compress, half not.
fn bulk() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let text = b"the quick brown fox jumps over the lazy dog; ";
    (0..BULK)
        .map(|n| {
            if n / 10_000 % 2 == 0 {
                random()
            } else {
                text[n % text.len()]
            }
        })
        .collect()
}

/// A stream from `client` to `server` at `at` that sends back what it gets.
pub fn stream(client: &Host, server: &Host, at: IpAddr) -> Result<(), String> {
    let failed = |what: &str, error: io::Error| {
        format!("stream from {} to {at}: {what}: {error}", client.name())
    };
    let listener = server
        .in_network(|| TcpListener::bind((at, 0)))
        .map_err(|e| failed("listen", e))?;
    let port = listener
        .local_addr()
        .map_err(|e| failed("listen", e))?
        .port();
    std::thread::scope(|scope| {
        let served = scope.spawn(move || serve(&listener));
        let sent = client
            .in_network(|| TcpStream::connect_timeout(&SocketAddr::new(at, port), patience()))
            .and_then(|stream| there_and_back(&stream));
        if sent.is_err() {
            // Else the server would wait for ever.
            let _ = server.in_network(|| TcpStream::connect((at, port)));
        }
        let served = served.join().expect("the server's thread");
        sent.map_err(|e| failed("client", e))
            .and(served.map_err(|e| failed("server", e)))
    })
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(patience()))?;
    stream.set_write_timeout(Some(patience()))
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    patient(&stream)?;
    let mut back = stream.try_clone()?;
    io::copy(&mut stream, &mut back)?;
    Ok(())
}

fn there_and_back(stream: &TcpStream) -> io::Result<()> {
    patient(stream)?;
    let sent = bulk();
    let mut got = Vec::with_capacity(BULK);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut to = stream;
            to.write_all(&sent)?;
            stream.shutdown(std::net::Shutdown::Write)
        });
        let mut from = stream;
        from.read_to_end(&mut got)?;
        writer.join().expect("the writer's thread")
    })?;
    if got == sent {
        Ok(())
    } else {
        let at = got.iter().zip(&sent).position(|(a, b)| a != b);
        Err(io::Error::other(format!(
            "{} of {BULK} bytes came back, the first wrong one at {at:?}",
            got.len()
        )))
    }
}
