//! `ipsec oetest`: a page that tells its visitor whether the connection came encrypted. A small HTTP server, run by hand.
//!
//! Not here: what the tables of KLIPS say (`tables`), and how the page looks (`page`).

mod page;
mod tables;

use crate::dns::Dns;
use crate::options::{self, Usage, Words};
use crate::paths::Paths;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const USAGE: Usage = Usage {
    command: "ipsec oetest",
    text: "Usage: ipsec oetest [--listen address] [--port number]\n",
};

/// The longest head of a request, and how long it may take.
const MAX_HEAD: usize = 8192;
const PATIENCE: Duration = Duration::from_secs(10);
/// Visitors at a time; more are turned away.
const MAX_VISITORS: usize = 64;

/// Runs the subcommand until it is stopped.
pub fn run(args: Vec<String>) -> u8 {
    options::run(&USAGE, args, parse, |place| {
        let listener = TcpListener::bind(place)
            .map_err(|error| format!("cannot listen on {place}: {error}"))?;
        serve(&listener).map(|()| "")
    })
}

fn parse(words: &mut Words) -> Result<SocketAddr, String> {
    let mut address: IpAddr = std::net::Ipv4Addr::UNSPECIFIED.into();
    let mut port = 80;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--listen" => {
                let text = words.value()?;
                address = text
                    .parse()
                    .map_err(|_| format!("\"{text}\" is no IP address"))?;
            }
            "--port" => {
                let text = words.value()?;
                port = text
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| format!("\"{text}\" is no port: 1 to 65535"))?;
            }
            _ => return options::unknown(&word),
        }
    }
    Ok(SocketAddr::new(address, port))
}

fn serve(listener: &TcpListener) -> Result<(), String> {
    let place = listener.local_addr().map_err(|error| error.to_string())?;
    crate::print(&format!("Serving the test page on http://{place}/\n"));
    let visitors = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Out of descriptors, or a visitor gone before being let in: the next may fare better.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if visitors.fetch_add(1, Ordering::SeqCst) >= MAX_VISITORS {
            visitors.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let here = Here(Arc::clone(&visitors));
        let spawned = std::thread::Builder::new().spawn(move || {
            let _here = here;
            // A visitor who breaks off is no concern of ours.
            let _ = visit(stream);
        });
        drop(spawned);
    }
}

/// Counts a visitor out.
struct Here(Arc<AtomicUsize>);

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn visit(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (visitor, here) = (
        stream.peer_addr()?.ip().to_canonical(),
        stream.local_addr()?.ip().to_canonical(),
    );
    let answer = match request(&mut stream) {
        Some((method, path)) => answer(&method, &path, visitor, here),
        None => page::refusal(400, "Bad Request", "this is no HTTP request"),
    };
    stream.write_all(&answer)
}

/// Method and path of the request's first line, once its head is whole.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let end = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && !head.windows(2).any(|w| w == b"\n\n") {
        let length = stream.read(&mut buffer).ok()?;
        if length == 0 || head.len() + length > MAX_HEAD || Instant::now() > end {
            return None;
        }
        head.extend_from_slice(buffer.get(..length)?);
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.lines().next()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    version
        .starts_with("HTTP/1.")
        .then(|| (method.to_owned(), path.to_owned()))
}

fn answer(method: &str, path: &str, visitor: IpAddr, here: IpAddr) -> Vec<u8> {
    if !matches!(method, "GET" | "HEAD") {
        return page::refusal(405, "Method Not Allowed", "this page can only be read");
    }
    if path.split('?').next() != Some("/") {
        return page::refusal(404, "Not Found", "there is one page here, /");
    }
    let name = Dns::open(Paths::get())
        .ok()
        .and_then(|dns| dns.ask(|r| r.name_of(visitor)).ok());
    let state = tables::State::of(visitor, here);
    page::page(method == "HEAD", visitor, name.as_ref(), &state)
}
