//! Chance, repeatable by its seed, and what it does to octets.

/// Marsaglia's xorshift64.
pub struct Random(u64);

/// Octets that length and type fields are most surprised by.
const SURPRISES: [u8; 12] = [0, 1, 2, 4, 5, 8, 0x0f, 0x45, 0x60, 0x7f, 0x80, 0xff];

impl Random {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1 << 63)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to `below` - 1.
    pub fn below(&mut self, below: usize) -> usize {
        (self.next() >> 11) as usize % below.max(1)
    }

    /// Once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn byte(&mut self) -> u8 {
        (self.next() >> 24) as u8
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// Changes `bytes` in one to four places.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.change(bytes);
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        if len == 0 {
            *bytes = self.bytes(40);
            return;
        }
        // Headers are in front, and ESP's trailer at the end.
        let at = match self.below(4) {
            0 => self.below(len),
            1 => len - 1 - self.below(len.min(16)),
            _ => self.below(len.min(64)),
        };
        match self.below(9) {
            0 | 1 => bytes[at] ^= 1 << self.below(8),
            2 | 3 => bytes[at] = SURPRISES[self.below(SURPRISES.len())],
            4 => bytes[at] = self.byte(),
            5 => bytes.truncate(at),
            6 => {
                let most = if self.one_in(8) { 3000 } else { 32 };
                let more = 1 + self.below(most);
                bytes.extend(self.bytes(more));
            }
            7 => {
                let end = at + self.below(len - at);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = at + self.below((len - at).min(24));
                bytes.drain(at..end);
            }
        }
    }
}
