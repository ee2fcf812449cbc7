//! Puts packets through the core's outbound side, a batch at a time, and does what the verdicts say.
//!
//! A batch goes in three steps. Under the read lock of the tables it gets its sequence numbers and its turns to send ([`lanes`]);
//! it is sealed, beside what other threads seal; then, without the lock, it is sent when its turn comes. Nobody waits for a turn
//! who holds the tables: a writer that waits for them would stop those whose turn is before.
//!
//! [`lanes`]: super::lanes

use std::sync::Arc;

use klips::packet::{HEADROOM, Packet, TAILROOM, transmit};
use klips::{Context, DeviceId, Klips, Numbers, Outbound};

use super::lanes::{LaneId, Turn};
use crate::home::{Pending, UserHome};
use crate::host::Host;
use crate::raw::answer::Answers;
use crate::raw::outgoing::{self, Buffer, Outgoing};
use crate::tun::{Segments, TunQueue, VnetHeader};

/// Packets that are numbered, sealed and sent together.
pub const BATCH: usize = 64;

/// What sending on one device by one thread needs.
pub struct Emitter {
    device: DeviceId,
    outgoing: Outgoing,
    work: Buffer,
    spare: Buffer,
    stack: TunQueue,
    trapped: Vec<Vec<u8>>,
    answers: Arc<Answers>,
}

/// The part of a batch that comes from one TUN read.
struct Share<'a> {
    job: usize,
    count: usize,
    plan: klips::Plan<'a, UserHome>,
    lane: Option<LaneId>,
    numbers: Numbers<'a, UserHome>,
}

impl Emitter {
    /// For `device`, sending by `outgoing`. ICMP errors go out by `answers`, or to `stack` as packets received on the device.
    #[must_use]
    pub fn new(
        device: DeviceId,
        outgoing: Outgoing,
        stack: TunQueue,
        answers: Arc<Answers>,
    ) -> Self {
        Self {
            device,
            outgoing,
            work: outgoing::buffer(),
            spare: outgoing::buffer(),
            stack,
            trapped: Vec::new(),
            answers,
        }
    }

    /// Sends all packets of `jobs`.
    pub fn emit(&mut self, host: &Host, pending: &mut Pending, jobs: &mut [Segments<'_>]) {
        let mut from = 0;
        while from < jobs.len() {
            from += self.batch(host, pending, &mut jobs[from..]);
            for packet in std::mem::take(&mut self.trapped) {
                self.trap(host, pending, &packet);
            }
        }
    }

    /// Sends one packet that is a packet already.
    pub fn emit_one(&mut self, host: &Host, pending: &mut Pending, packet: &[u8]) {
        if let Ok(whole) = Segments::new(&VnetHeader::default(), packet) {
            self.emit(host, pending, &mut [whole]);
        }
    }

    /// Sends the next [`BATCH`] packets, and answers how many jobs are done with.
    fn batch(&mut self, host: &Host, pending: &mut Pending, jobs: &mut [Segments<'_>]) -> usize {
        let mut done = 0;
        // Dropped last if something panics: see above.
        let turns;
        let tables = host.read();
        let mut shares = self.shares(host, &tables, jobs);
        turns = line_up(host, &mut shares);
        for share in &mut shares {
            let Some(job) = jobs.get_mut(share.job) else {
                continue;
            };
            for _ in 0..share.count {
                if !self.seal(host, &tables, pending, share, job) {
                    done = share.job + 1;
                    break;
                }
            }
            if job.remaining() == 0 {
                done = share.job + 1;
            }
        }
        // The last first, so that all that was not used goes back.
        shares.into_iter().rev().for_each(drop);
        drop(tables);
        self.outgoing.send(None);
        for (lane, turn) in turns {
            turn.take(|| self.outgoing.send(Some(lane)));
        }
        self.outgoing.clear();
        done
    }

    /// Which packets are in the batch, and where they go.
    fn shares<'a>(
        &self,
        host: &Host,
        tables: &'a Klips<UserHome>,
        jobs: &[Segments<'_>],
    ) -> Vec<Share<'a>> {
        let mut room = BATCH;
        let mut shares = Vec::new();
        for (job, segments) in jobs.iter().enumerate() {
            let count = segments.remaining().min(room);
            room -= count;
            let plan = tables.plan(self.device, segments.packet());
            shares.push(Share {
                job,
                count,
                lane: plan.towards().map(|peer| host.lanes.of(peer)),
                plan,
                numbers: Numbers::none(),
            });
            if room == 0 {
                break;
            }
        }
        shares
    }

    /// Transforms the next packet of `job` and queues what comes of it; `false` when there is no packet.
    fn seal(
        &mut self,
        host: &Host,
        tables: &Klips<UserHome>,
        pending: &mut Pending,
        share: &mut Share<'_>,
        job: &mut Segments<'_>,
    ) -> bool {
        let room = self.work.len() - TAILROOM;
        let filled = self.work.get_mut(HEADROOM..room);
        let Some(length) = filled.and_then(|to| job.next_into(to)) else {
            return false;
        };
        let mut work = std::mem::take(&mut self.work);
        if let Some(mut packet) = Packet::new(&mut work, HEADROOM, HEADROOM + length) {
            let mut cx = Context {
                home: &host.home,
                now: host.now(),
                out: pending,
            };
            let numbers = &mut share.numbers;
            let verdict = tables.outbound_numbered(&mut cx, self.device, &mut packet, numbers);
            if verdict == Outbound::Trap {
                self.trapped.push(packet.bytes().to_vec());
            } else {
                let range = self.obey(&verdict, share.lane, packet);
                if let Some(range) = range {
                    self.outgoing.push(share.lane, &mut work, range);
                }
            }
        }
        self.work = work;
        true
    }

    /// Asks for what the core has no eroute for yet. The tables change, so this is done when nothing else is under way.
    fn trap(&mut self, host: &Host, pending: &mut Pending, bytes: &[u8]) {
        let mut work = std::mem::take(&mut self.work);
        let mut turn = None;
        let end = HEADROOM + bytes.len();
        if let Some(to) = work.get_mut(HEADROOM..end) {
            to.copy_from_slice(bytes);
        }
        if let Some(mut packet) = Packet::new(&mut work, HEADROOM, end) {
            let mut cx = Context {
                home: &host.home,
                now: host.now(),
                out: pending,
            };
            let mut tables = host.write();
            // Another thread may have been here, and there is an SA now. Nobody takes its numbers while the tables are ours.
            let peer = tables.plan(self.device, bytes).towards();
            let lane = peer.map(|peer| host.lanes.of(peer));
            let verdict = tables.trap(&mut cx, self.device, &mut packet);
            turn = lane.map(|lane| (lane, host.lanes.line_up(lane, || ())));
            drop(tables);
            if let Some(range) = self.obey(&verdict, lane, packet) {
                self.outgoing.push(lane, &mut work, range);
            }
        }
        self.work = work;
        self.outgoing.send(None);
        if let Some((lane, turn)) = turn {
            turn.take(|| self.outgoing.send(Some(lane)));
        }
        self.outgoing.clear();
    }

    /// Does what the verdict says, but for a packet to be sent whole, of which it answers where it is.
    fn obey(
        &mut self,
        verdict: &Outbound,
        lane: Option<LaneId>,
        mut packet: Packet<'_>,
    ) -> Option<std::ops::Range<usize>> {
        match verdict {
            Outbound::Transmit { mtu, .. } | Outbound::Pass { mtu, .. } => {
                let range = packet.range();
                if range.len() <= *mtu as usize {
                    return Some(range);
                }
                let (outgoing, spare) = (&mut self.outgoing, &mut self.spare);
                let push = |piece: &[u8]| outgoing.push_copy(lane, piece, spare);
                if transmit(&mut packet, *mtu, push) == 0 {
                    tracing::debug!(device = %self.device, mtu, "packet too big and not to be fragmented");
                }
            }
            Outbound::Icmp => {
                if let Err(error) = self.answers.send(packet.bytes_mut()) {
                    tracing::debug!(device = %self.device, "ICMP error not sent: {error}");
                }
            }
            Outbound::Inject => self.to_stack(packet.bytes()),
            Outbound::Drop(reason) => tracing::trace!(device = %self.device, "dropped: {reason}"),
            // There always is room.
            Outbound::Held | Outbound::Trap | Outbound::Room { .. } => {}
        }
        None
    }

    fn to_stack(&self, packet: &[u8]) {
        let mut frame = VnetHeader::default().emit().to_vec();
        frame.extend_from_slice(packet);
        if let Err(error) = self.stack.write(&frame) {
            tracing::debug!(device = %self.device, "ICMP error not delivered: {error}");
        }
    }
}

/// Takes the sequence numbers of all shares and a place in each line that they need.
fn line_up<'h>(host: &'h Host, shares: &mut [Share<'_>]) -> Vec<(LaneId, Turn<'h>)> {
    let mut lanes: Vec<LaneId> = shares.iter().filter_map(|share| share.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let take = |lane| {
        let turn = host.lanes.line_up(lane, || {
            for share in shares.iter_mut().filter(|share| share.lane == Some(lane)) {
                share.numbers = share.plan.reserve(share.count as u32);
            }
        });
        (lane, turn)
    };
    lanes.into_iter().map(take).collect()
}
