//! How much the log says about packets that prove nothing. Each line has a cause; each cause may write some lines at once and
//! then a few a minute. Lines beyond that are counted, and the count is told once a minute. Nobody can fill a disk with packets,
//! and a flood of one kind hides nothing of another.
//!
//! The engine sets the cause when it takes an event: until something has proved who sent a datagram, every line
//! counts as a stranger's. So code that logs needs to know nothing of the limit. See [`Engine::log`](super::Engine::log).

use std::time::Duration;

use super::Time;

/// How often the lines that were left out are told.
pub(crate) const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Longest line about a stranger's packet, in characters.
pub(crate) const MAX_LINE: usize = 512;
/// Longest identity in a line, in characters.
const MAX_SHOWN: usize = 64;

/// Whose packet a line is about, where it may be anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// First messages of Main Mode.
    FirstMessage,
    /// Exchanges that strangers have begun, until they have proved who they are.
    Exchange,
    /// Exchanges that we have begun, until the peer has proved who it is.
    Ours,
    /// Messages that belong to nothing, or can't be read.
    Stray,
    /// Messages for an ISAKMP SA that do not prove to be the peer's.
    Unproved,
    /// Reports of the network about what we have sent: ICMP, and errors of sending.
    Network,
    /// Messages of a peer that has proved to have sent them, and that say nothing of use.
    Peer,
    /// Records in DNS that are wrong; anybody has a zone.
    Dns,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::FirstMessage,
        Self::Exchange,
        Self::Ours,
        Self::Stray,
        Self::Unproved,
        Self::Network,
        Self::Peer,
        Self::Dns,
    ];

    /// Lines that may come at once, lines a minute after that, and the name for the count of those left out.
    const fn row(self) -> (u32, u32, &'static str) {
        match self {
            Self::FirstMessage => (50, 10, "first messages"),
            Self::Exchange => (200, 30, "exchanges of peers that have proved nothing"),
            Self::Ours => (100, 10, "answers that prove nothing"),
            Self::Stray => (50, 10, "messages that belong to no exchange"),
            Self::Unproved => (100, 10, "messages that do not prove to be the peer's"),
            Self::Network => (50, 10, "errors that the network reports"),
            Self::Dns => (50, 10, "records in DNS that are wrong"),
            Self::Peer => (100, 30, "messages of peers that say nothing of use"),
        }
    }
}

/// One line in a bucket: a minute in milliseconds, so that lines a minute times milliseconds are whole numbers.
const UNIT: u64 = 60_000;

/// What one cause may still write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When this was last asked, in milliseconds; the bucket is full before.
    since: Option<u64>,
    /// What is left, in lines times [`UNIT`].
    left: u64,
    left_out: u64,
}

impl Bucket {
    /// Whether there is one left of so many at once and so many a minute; then it is taken.
    pub(crate) fn take(&mut self, now: Time, burst: u32, per_minute: u32) -> bool {
        let now = u64::try_from(now.since_zero().as_millis()).unwrap_or(u64::MAX);
        let full = u64::from(burst) * UNIT;
        let more = |since| now.saturating_sub(since).saturating_mul(per_minute.into());
        let left = self
            .since
            .map_or(full, |since| self.left.saturating_add(more(since)));
        let left = left.min(full);
        self.since = Some(now);
        let taken = left.checked_sub(UNIT);
        self.left = taken.unwrap_or(left);
        self.left_out += u64::from(taken.is_none());
        taken.is_some()
    }
}

/// What each cause may still write, and the cause of what is being done.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    now: Time,
    cause: Option<Cause>,
    buckets: [Bucket; Cause::ALL.len()],
}

impl Limiter {
    /// An event is taken. `cause`: who may be behind it; `None` for what no stranger can cause.
    pub(crate) fn begin(&mut self, now: Time, cause: Option<Cause>) {
        self.now = now;
        self.cause = cause;
    }

    /// From here on it is known better who is behind what is done. Answers what was thought before.
    pub(crate) fn blame(&mut self, cause: Option<Cause>) -> Option<Cause> {
        core::mem::replace(&mut self.cause, cause)
    }

    /// When the event came that is being taken.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// The cause of what is being done.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Whether one more line may be written.
    pub(crate) fn may_be_told(&mut self, cause: Cause) -> bool {
        let (burst, per_minute, _) = cause.row();
        self.buckets[cause as usize].take(self.now, burst, per_minute)
    }

    /// How many lines were left out since this was asked last, as lines for the log.
    pub(crate) fn left_out(&mut self) -> Vec<String> {
        let told = Cause::ALL.into_iter().filter_map(|cause| {
            let count = core::mem::take(&mut self.buckets[cause as usize].left_out);
            let text = cause.row().2;
            (count > 0).then(|| format!("{count} more lines about {text} were left out"))
        });
        told.collect()
    }
}

/// What a peer has said, for a line: control characters escaped, and no longer than anybody would read.
pub(crate) fn shown(said: &impl ToString) -> String {
    let said = said.to_string();
    let escaped: Vec<String> = said
        .chars()
        .take(MAX_SHOWN + 1)
        .map(|c| match c.is_control() {
            true => format!("\\{:03o}", u32::from(c)),
            false => c.to_string(),
        })
        .collect();
    let mut text = String::new();
    let mut length = 0;
    for part in escaped {
        length += part.chars().count();
        if length > MAX_SHOWN {
            return text + "...";
        }
        text += &part;
    }
    text
}

/// A line cut where nobody reads on.
pub(crate) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_LINE) {
        text.truncate(end);
        text += "...";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_has_its_lines_at_once_and_then_some_a_minute() {
        let mut limiter = Limiter::default();
        let at = |ms| Time::from_zero(Duration::from_millis(ms));
        let mut told = [0u32; 2];
        for ms in 0..300_000 {
            limiter.begin(at(ms), None);
            told[0] += u32::from(limiter.may_be_told(Cause::Stray));
            if ms % 10_000 == 0 {
                told[1] += u32::from(limiter.may_be_told(Cause::Network));
            }
        }
        let (burst, per_minute, _) = Cause::Stray.row();
        let most = burst + 5 * per_minute;
        assert!((most - 1..=most).contains(&told[0]), "{told:?}");
        // Another cause has lines of its own.
        assert_eq!(told[1], 30);
        let counted = limiter.left_out();
        let count = 300_000 - told[0];
        let text =
            format!("{count} more lines about messages that belong to no exchange were left out");
        assert_eq!(counted, [text]);
        assert!(limiter.left_out().is_empty());
    }

    #[test]
    fn all_causes_together_stay_below_two_thousand_lines_in_ten_minutes() {
        let rows = Cause::ALL.map(Cause::row);
        let most: u32 = rows
            .iter()
            .map(|(burst, minute, _)| burst + 10 * minute)
            .sum();
        assert!(most < 2000, "{most}");
        for (n, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
        }
    }

    #[test]
    fn what_peers_say_is_cut_and_escaped() {
        assert_eq!(shown(&"@west"), "@west");
        assert_eq!(shown(&"a\nb\u{1b}"), "a\\012b\\033");
        assert_eq!(shown(&"x".repeat(1000)), "x".repeat(64) + "...");
        assert_eq!(shown(&"\u{1}".repeat(1000)), "\\001".repeat(16) + "...");
        assert_eq!(cut("é".repeat(600)).chars().count(), MAX_LINE + 3);
    }
}
