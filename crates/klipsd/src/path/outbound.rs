//! The thread of one TUN queue: what the host's stack routed to ipsecN.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::emit::{BATCH, Emitter};
use crate::home::Pending;
use crate::host::Host;
use crate::sys::stop::Stop;
use crate::tun::{Segments, TunQueue, VnetHeader};

/// Largest frame on a TUN queue.
const FRAME: usize = 65_535 + crate::tun::vnet::LEN;
/// Frames read before what they became is sent, so that a full queue cannot hold packets back for long.
const READS: usize = 16;

/// Frames as they were read; the pages of a buffer are first taken when a frame reaches them.
struct Frames {
    /// [`READS`] of [`FRAME`] octets, one behind the other in one allocation.
    buffers: Vec<u8>,
    lengths: Vec<usize>,
}

/// Carries packets until told to stop or the device is gone.
pub fn run(host: &Arc<Host>, queue: &TunQueue, mut emitter: Emitter, stop: &Stop) {
    let mut frames = Frames {
        buffers: vec![0; READS * FRAME],
        lengths: Vec::with_capacity(READS),
    };
    let mut pending = Pending::default();
    while stop.wait(&[queue.as_fd()]) {
        let read = frames.read(queue);
        emitter.emit(host, &mut pending, &mut frames.segments());
        host.settle(&mut pending, None);
        if let Err(error) = read {
            tracing::info!("TUN queue ended: {error}");
            return;
        }
    }
}

impl Frames {
    /// Reads what is there, as far as one batch can take it.
    fn read(&mut self, queue: &TunQueue) -> std::io::Result<()> {
        self.lengths.clear();
        let mut packets = 0;
        for buffer in self.buffers.chunks_exact_mut(FRAME) {
            let Some(length) = queue.read(buffer)? else {
                break;
            };
            self.lengths.push(length);
            packets += segments(buffer.get(..length)).map_or(0, |segments| segments.remaining());
            if packets >= BATCH {
                break;
            }
        }
        Ok(())
    }

    fn segments(&self) -> Vec<Segments<'_>> {
        let frames = self.buffers.chunks_exact(FRAME).zip(&self.lengths);
        frames
            .filter_map(|(buffer, length)| segments(buffer.get(..*length)))
            .collect()
    }
}

fn segments(frame: Option<&[u8]>) -> Option<Segments<'_>> {
    let (header, packet) = frame.and_then(VnetHeader::parse)?;
    Segments::new(&header, packet)
        .inspect_err(|error| tracing::debug!("frame from TUN not usable: {error}"))
        .ok()
}
