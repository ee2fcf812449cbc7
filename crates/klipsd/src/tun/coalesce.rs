//! Joins consecutive TCP segments of one flow into one big packet with a virtio-net header, so that
//! the kernel's stack is entered once for many segments. Inverse of `segment`.

use super::checksum;
use super::ipv::Layout;
use super::vnet::{self, VnetHeader};

/// Flows that are joined at the same time within one batch.
const SLOTS: usize = 8;
const MAX_PACKET: usize = 65_535;
const TCP: u8 = 6;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// What one call of a sink gets: a virtio-net header with its packet.
pub type Frame<'a> = &'a [u8];

/// Collects the packets of one batch. Packets of one flow keep their order; `flush` ends the batch.
#[derive(Debug)]
pub struct Coalescer {
    slots: [Slot; SLOTS],
    plain: Vec<u8>,
    next_victim: usize,
}

#[derive(Debug, Default)]
struct Slot {
    /// Virtio-net header and packet; empty when the slot is free.
    frame: Vec<u8>,
    headers: usize,
    ip: usize,
    size: usize,
    segments: usize,
    sequence: u32,
    closed: bool,
}

/// A segment that may be joined with its neighbours.
#[derive(Clone, Copy)]
struct Candidate {
    ip: usize,
    headers: usize,
    total: usize,
    sequence: u32,
    push: bool,
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}

impl Coalescer {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Default::default(),
            plain: Vec::with_capacity(2048),
            next_victim: 0,
        }
    }

    /// Takes one packet; whatever must go out before it, or can't be joined, goes to `sink`.
    pub fn push(&mut self, packet: &[u8], sink: &mut dyn FnMut(Frame<'_>)) {
        let Some(layout) = Layout::new_checked(packet) else {
            return self.pass(packet, sink);
        };
        if layout.protocol != TCP || layout.fragment {
            return self.pass(packet, sink);
        }
        let flow = self
            .slots
            .iter()
            .position(|slot| slot.same_flow(packet, &layout));
        let Some(candidate) = candidate(packet, &layout) else {
            if let Some(slot) = flow {
                self.slots[slot].flush(sink);
            }
            return self.pass(packet, sink);
        };
        match flow {
            Some(slot) if self.slots[slot].joins(packet, &candidate) => {
                self.slots[slot].join(packet, &candidate);
            }
            Some(slot) => {
                self.slots[slot].flush(sink);
                self.slots[slot].start(packet, &candidate);
            }
            None => {
                let slot = self.free_slot();
                self.slots[slot].flush(sink);
                self.slots[slot].start(packet, &candidate);
            }
        }
    }

    /// Sends out everything that is held.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Frame<'_>)) {
        for slot in &mut self.slots {
            slot.flush(sink);
        }
    }

    fn free_slot(&mut self) -> usize {
        if let Some(free) = self.slots.iter().position(|slot| slot.frame.is_empty()) {
            return free;
        }
        self.next_victim = (self.next_victim + 1) % SLOTS;
        self.next_victim
    }

    fn pass(&mut self, packet: &[u8], sink: &mut dyn FnMut(Frame<'_>)) {
        self.plain.clear();
        self.plain.extend_from_slice(&VnetHeader::default().emit());
        self.plain.extend_from_slice(packet);
        sink(&self.plain);
    }
}

impl Slot {
    fn packet(&self) -> &[u8] {
        self.frame.get(vnet::LEN..).unwrap_or(&[])
    }

    fn same_flow(&self, packet: &[u8], layout: &Layout) -> bool {
        let held = self.packet();
        let ports = layout.header..layout.header + 4;
        !held.is_empty()
            && held[0] == packet[0]
            && held.get(if layout.version == 4 { 12..20 } else { 8..40 })
                == Some(layout.addresses(packet))
            && held.get(ports.clone()) == packet.get(ports)
    }

    fn joins(&self, packet: &[u8], new: &Candidate) -> bool {
        let held = self.packet();
        let payload = new.total - new.headers;
        !self.closed
            && new.headers == self.headers
            && new.sequence == self.sequence
            && payload <= self.size
            && held.len() + payload <= MAX_PACKET
            && same_network_header(held, packet, self.segments)
            // Acknowledgement number, then window, then options (timestamps) must be alike.
            && held[self.ip + 8..self.ip + 12] == packet[self.ip + 8..self.ip + 12]
            && held[self.ip + 14..self.ip + 16] == packet[self.ip + 14..self.ip + 16]
            && held[self.ip + 20..self.headers] == packet[self.ip + 20..self.headers]
    }

    fn start(&mut self, packet: &[u8], new: &Candidate) {
        self.frame.extend_from_slice(&[0; vnet::LEN]);
        self.frame.extend_from_slice(&packet[..new.total]);
        self.headers = new.headers;
        self.ip = new.ip;
        self.size = new.total - new.headers;
        self.segments = 1;
        self.sequence = new.sequence.wrapping_add(self.size as u32);
        self.closed = new.push;
    }

    fn join(&mut self, packet: &[u8], new: &Candidate) {
        let payload = new.total - new.headers;
        self.frame
            .extend_from_slice(&packet[new.headers..new.total]);
        self.segments += 1;
        self.sequence = self.sequence.wrapping_add(payload as u32);
        self.closed = new.push || payload < self.size;
        if new.push {
            self.frame[vnet::LEN + self.ip + 13] |= PSH;
        }
    }

    fn flush(&mut self, sink: &mut dyn FnMut(Frame<'_>)) {
        if self.frame.is_empty() {
            return;
        }
        // The segments' checksums were verified, so the stack need not.
        let mut header = VnetHeader {
            flags: vnet::DATA_VALID,
            ..VnetHeader::default()
        };
        if self.segments > 1 {
            header = self.finish_big();
        }
        self.frame[..vnet::LEN].copy_from_slice(&header.emit());
        sink(&self.frame);
        self.frame.clear();
    }

    fn finish_big(&mut self) -> VnetHeader {
        let ip = self.ip;
        let packet = &mut self.frame[vnet::LEN..];
        let total = packet.len();
        let (addresses, gso_type) = if packet[0] >> 4 == 4 {
            packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            packet[10..12].fill(0);
            let check = checksum::finish(&packet[..ip], 0);
            packet[10..12].copy_from_slice(&check.to_be_bytes());
            (12..20, vnet::GSO_TCPV4)
        } else {
            packet[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            (8..40, vnet::GSO_TCPV6)
        };
        let pseudo = checksum::pseudo(&packet[addresses], TCP, total - ip);
        packet[ip + 16..ip + 18].copy_from_slice(&pseudo.to_be_bytes());
        VnetHeader {
            flags: vnet::NEEDS_CSUM,
            gso_type,
            hdr_len: self.headers as u16,
            gso_size: self.size as u16,
            csum_start: ip as u16,
            csum_offset: 16,
        }
    }
}

/// TOS, TTL, DF (or traffic class, flow label, hop limit) alike, and IPv4 ids counting up.
fn same_network_header(held: &[u8], packet: &[u8], segments: usize) -> bool {
    if held[0] >> 4 == 6 {
        return held[..4] == packet[..4] && held[7] == packet[7];
    }
    let dont_fragment = packet[6] & 0x40 != 0;
    let first = u16::from_be_bytes([held[4], held[5]]);
    let id = u16::from_be_bytes([packet[4], packet[5]]);
    held[1] == packet[1]
        && held[6..9] == packet[6..9]
        && (id == first.wrapping_add(segments as u16) || (dont_fragment && id == first))
}

/// Data segments with nothing but ACK and PSH set, no IP options, and a right checksum.
fn candidate(packet: &[u8], layout: &Layout) -> Option<Candidate> {
    if layout.version == 4 && layout.header != 20 {
        return None;
    }
    let ip = layout.header;
    let tcp = packet.get(ip..layout.total)?;
    let fixed = tcp.first_chunk::<20>()?;
    let length = usize::from(fixed[12] >> 4) * 4;
    if length < 20 || tcp.len() <= length || fixed[12] & 15 != 0 || fixed[13] & !PSH != ACK {
        return None;
    }
    let pseudo = checksum::pseudo(layout.addresses(packet), TCP, tcp.len());
    if checksum::finish(tcp, pseudo) != 0 {
        return None;
    }
    Some(Candidate {
        ip,
        headers: ip + length,
        total: layout.total,
        sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        push: fixed[13] & PSH != 0,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::segment::Segments;
    use super::*;

    /// An IPv4 TCP segment with right checksums.
    pub fn tcp4(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let total = 40 + payload.len();
        let mut packet = vec![0u8; 40];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        packet[6] = 0x40;
        packet[8] = 64;
        packet[9] = 6;
        packet[12..20].copy_from_slice(&[10, 0, 1, 1, 10, 0, 2, 2]);
        packet[20..24].copy_from_slice(&[0x30, 0x39, 0, 80]);
        packet[24..28].copy_from_slice(&sequence.to_be_bytes());
        packet[32] = 0x50;
        packet[33] = flags;
        packet[34..36].copy_from_slice(&[0xff, 0xff]);
        packet.extend_from_slice(payload);
        let check = checksum::finish(&packet[..20], 0);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        let check = checksum::finish(
            &packet[20..],
            checksum::pseudo(&packet[12..20], 6, total - 20),
        );
        packet[36..38].copy_from_slice(&check.to_be_bytes());
        packet
    }

    /// Whether a TCP segment's checksum is right.
    pub fn verify_tcp(packet: &[u8]) -> bool {
        let layout = Layout::new_checked(packet).unwrap();
        let tcp = &packet[layout.header..layout.total];
        let pseudo = checksum::pseudo(layout.addresses(packet), 6, tcp.len());
        checksum::finish(tcp, pseudo) == 0
    }

    fn run(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut coalescer = Coalescer::new();
        for packet in packets {
            coalescer.push(packet, &mut |frame| frames.push(frame.to_vec()));
        }
        coalescer.flush(&mut |frame| frames.push(frame.to_vec()));
        frames
    }

    #[test]
    fn joined_segments_are_cut_back_to_the_same() {
        let packets: Vec<_> = (0..5u32)
            .map(|i| {
                let length = if i == 4 { 300 } else { 1000 };
                tcp4(
                    i * 1000,
                    if i == 4 { 0x18 } else { 0x10 },
                    &vec![i as u8; length],
                )
            })
            .collect();
        let frames = run(&packets);
        assert_eq!(frames.len(), 1);
        let (header, big) = VnetHeader::parse(&frames[0]).unwrap();
        assert_eq!((header.gso_type, header.gso_size), (vnet::GSO_TCPV4, 1000));
        let mut segments = Segments::new(&header, big).unwrap();
        let mut out = vec![0u8; 2000];
        for packet in &packets {
            let length = segments.next_into(&mut out).unwrap();
            assert_eq!(out[24..28], packet[24..28]);
            assert_eq!(out[33..length], {
                // The IPv4 id counts up on the way back; TCP is the same octet for octet.
                packet[33..].to_vec()
            });
        }
        assert_eq!(segments.next_into(&mut out), None);
    }

    #[test]
    fn a_gap_keeps_order_and_is_not_joined() {
        let packets = [
            tcp4(0, 0x10, &[1; 100]),
            tcp4(200, 0x10, &[2; 100]),
            tcp4(100, 0x10, &[3; 100]),
        ];
        let frames = run(&packets);
        let out: Vec<_> = frames
            .iter()
            .map(|frame| frame[vnet::LEN..].to_vec())
            .collect();
        assert_eq!(out, packets);
    }

    #[test]
    fn a_wrong_checksum_passes_unjoined_and_unmarked() {
        let mut bad = tcp4(100, 0x10, &[2; 100]);
        bad[50] ^= 1;
        let packets = [
            tcp4(0, 0x10, &[1; 100]),
            bad.clone(),
            tcp4(200, 0x10, &[3; 100]),
        ];
        let frames = run(&packets);
        assert_eq!(frames.len(), 3);
        let (header, packet) = VnetHeader::parse(&frames[1]).unwrap();
        assert_eq!((header, packet), (VnetHeader::default(), bad.as_slice()));
    }

    #[test]
    fn a_pure_acknowledgement_comes_after_the_data_before_it() {
        let packets = [tcp4(0, 0x10, &[1; 100]), tcp4(100, 0x10, &[])];
        let frames = run(&packets);
        assert_eq!(frames[1][vnet::LEN..], packets[1]);
        assert_eq!(frames.len(), 2);
    }

    #[test]
    fn no_mutated_packet_panics() {
        let mut state = 99u32;
        let mut coalescer = Coalescer::new();
        let mut frames = 0usize;
        for i in 0..50_000u32 {
            let mut packet = tcp4(i * 100, 0x10, &[7; 100]);
            for _ in 0..2 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % 40;
                packet[at] = state as u8;
            }
            packet.truncate((state >> 16) as usize % 141);
            coalescer.push(&packet, &mut |_| frames += 1);
        }
        coalescer.flush(&mut |_| frames += 1);
        assert!(frames > 0);
    }
}
