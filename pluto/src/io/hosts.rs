//! Names of hosts, looked up by the system's resolver, so that /etc/hosts and whatever nsswitch.conf(5) names count. It blocks, for half a
//! minute where no server answers: it has threads of its own, a few, that end when there is nothing left to ask.

use std::{
    collections::VecDeque,
    net::{IpAddr, ToSocketAddrs},
    thread,
};

use tokio::sync::mpsc;

use super::driver::Input;
use crate::engine::HostLookupId;

/// Look-ups at the same time; what is beyond waits its turn.
const MAX_THREADS: usize = 32;
/// The resolver of the C library needs little.
const STACK: usize = 256 * 1024;

/// Questions under way, and those that wait.
#[derive(Debug)]
pub struct Hosts {
    waiting: VecDeque<(HostLookupId, String)>,
    running: usize,
    inputs: mpsc::Sender<Input>,
}

impl Hosts {
    /// Answers will go to `inputs`.
    pub fn new(inputs: mpsc::Sender<Input>) -> Hosts {
        Hosts {
            waiting: VecDeque::new(),
            running: 0,
            inputs,
        }
    }

    /// Asks; the answer is an [`Input::HostFound`], always.
    pub fn start(&mut self, id: HostLookupId, name: String) {
        self.waiting.push_back((id, name));
        self.go_on();
    }

    /// An answer has come.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.go_on();
    }

    fn go_on(&mut self) {
        while self.running < MAX_THREADS
            && let Some((id, name)) = self.waiting.pop_front()
        {
            self.running += 1;
            let inputs = self.inputs.clone();
            let spawned = thread::Builder::new()
                .name("hosts".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    let result = look_up(&name);
                    let _ = inputs.blocking_send(Input::HostFound(id, result));
                });
            if let Err(e) = spawned {
                let inputs = self.inputs.clone();
                let failed = Err(format!("no thread for the look-up: {e}"));
                tokio::spawn(async move { inputs.send(Input::HostFound(id, failed)).await });
            }
        }
    }
}

/// The addresses of a host, each once, in the resolver's order.
fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|e| why(&e))?;
    let mut all = Vec::new();
    for addr in found.map(|addr| addr.ip()) {
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    Ok(all)
}

/// The C library's words, without those that the standard library puts before them.
fn why(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.strip_prefix("failed to lookup address information: ");
    words.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_names_are_answered_more_than_there_are_threads() {
        let (inputs, mut arriving) = mpsc::channel(8);
        let mut hosts = Hosts::new(inputs);
        let all = 2 * MAX_THREADS as u64 + 1;
        for n in 0..all {
            hosts.start(HostLookupId(n), "localhost".to_owned());
        }
        let mut seen = Vec::new();
        while seen.len() < all as usize {
            let Some(Input::HostFound(id, result)) = arriving.recv().await else {
                panic!("an answer")
            };
            assert!(result.unwrap().iter().all(IpAddr::is_loopback));
            hosts.finished();
            seen.push(id.0);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..all).collect::<Vec<_>>());
        assert_eq!((hosts.running, hosts.waiting.len()), (0, 0));
    }
}
