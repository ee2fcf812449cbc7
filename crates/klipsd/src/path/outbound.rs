//! The thread of one TUN queue: what the host's stack routed to ipsecN.

use std::sync::Arc;

use super::emit::{Emitter, Tables};
use crate::home::Pending;
use crate::host::Host;
use crate::sys::stop::Stop;
use crate::tun::{Segments, TunQueue, VnetHeader};

use std::os::fd::AsFd;

/// Largest frame on a TUN queue.
const FRAME: usize = 65_535 + crate::tun::vnet::LEN;
/// Frames read before what they became is sent, so that a full queue cannot hold packets back for long.
const READS: usize = 16;

/// Carries packets until told to stop or the device is gone.
pub fn run(host: &Arc<Host>, queue: &TunQueue, mut emitter: Emitter, stop: &Stop) {
    let mut frame = vec![0; FRAME];
    let mut pending = Pending::default();
    while stop.wait(&[queue.as_fd()]) {
        for _ in 0..READS {
            match queue.read(&mut frame) {
                Ok(Some(length)) => carry(host, &mut emitter, frame.get(..length), &mut pending),
                Ok(None) => break,
                Err(error) => {
                    tracing::info!("TUN queue ended: {error}");
                    return;
                }
            }
        }
        emitter.flush();
        host.settle(&mut pending, None);
    }
}

fn carry(host: &Host, emitter: &mut Emitter, frame: Option<&[u8]>, pending: &mut Pending) {
    let Some((header, packet)) = frame.and_then(VnetHeader::parse) else {
        return;
    };
    match Segments::new(&header, packet) {
        Ok(mut segments) => {
            let mut tables = Tables::read(host);
            while emitter.emit(&mut tables, pending, |to| segments.next_into(to)) {}
        }
        Err(error) => tracing::debug!("frame from TUN not usable: {error}"),
    }
}
