//! Reply codes (`RC_*`) and what they do to the exit status of a client.

/// A reply code: three decimal digits before each line that pluto sends to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rc {
    /// 000: a remark; leaves the exit status alone.
    Comment,
    /// 001: whack itself found the problem.
    WhackProblem,
    /// 002: a copy of a log line; leaves the exit status alone.
    Log,
    /// 003: a copy of a log line that tells of trouble.
    LogSerious,
    /// 004: done; exit status 0.
    Success,
    /// 010: no answer yet, sent again.
    Retransmission,
    /// 020: a connection of that name exists.
    DupName,
    /// 021: no connection of that name, or no state of that number.
    UnknownName,
    /// 022: neither end of the connection is this host.
    Orient,
    /// 023: clashes with another connection.
    Clash,
    /// 024: `--listen` must come before `--initiate`.
    Deaf,
    /// 025: cannot route.
    Route,
    /// 026: cannot unroute, the route is in use.
    RtBusy,
    /// 027: malformed `--id`.
    BadId,
    /// 028: no key found through DNS.
    NoKey,
    /// 029: cannot initiate, the address of the peer is not known.
    NoPeerIp,
    /// 030: cannot initiate a connection that is only a shunt. The number is shared with
    /// [`Rc::BadWhackMessage`], as in the reference, whose list runs over by three.
    InitShunt,
    /// 031: cannot initiate, the peer's ID has wildcards. Shared with [`Rc::NoRetransmission`].
    Wildcard,
    /// 032: cannot initiate without a valid PIN. Shared with [`Rc::InternalErr`].
    NoValidPin,
    /// 030: pluto could not understand the request.
    BadWhackMessage,
    /// 031: given up, nothing more will be sent.
    NoRetransmission,
    /// 032: a fault inside pluto.
    InternalErr,
    /// 033: opportunism failed.
    OppoFailure,
    /// 040: pluto asks for a secret.
    EnterSecret,
    /// 100 + state number: a state was reached.
    NewState(u8),
    /// 200 + IKE notification number: the notification that was, or would be, sent.
    Notification(u16),
}

const NEW_STATE: u16 = 100;
const NOTIFICATION: u16 = 200;

impl Rc {
    /// The number as it is printed.
    pub fn code(self) -> u16 {
        match self {
            Rc::Comment => 0,
            Rc::WhackProblem => 1,
            Rc::Log => 2,
            Rc::LogSerious => 3,
            Rc::Success => 4,
            Rc::Retransmission => 10,
            Rc::DupName => 20,
            Rc::UnknownName => 21,
            Rc::Orient => 22,
            Rc::Clash => 23,
            Rc::Deaf => 24,
            Rc::Route => 25,
            Rc::RtBusy => 26,
            Rc::BadId => 27,
            Rc::NoKey => 28,
            Rc::NoPeerIp => 29,
            Rc::InitShunt | Rc::BadWhackMessage => 30,
            Rc::Wildcard | Rc::NoRetransmission => 31,
            Rc::NoValidPin | Rc::InternalErr => 32,
            Rc::OppoFailure => 33,
            Rc::EnterSecret => 40,
            Rc::NewState(state) => NEW_STATE + u16::from(state),
            Rc::Notification(n) => NOTIFICATION.saturating_add(n),
        }
    }
}

/// The exit status that a stream of reply lines adds up to: comments and log lines leave it alone,
/// success clears it, every other code becomes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExitStatus(u8);

impl ExitStatus {
    /// Takes one line's code into account.
    pub fn note(&mut self, code: u16) {
        if code == Rc::Comment.code() || code == Rc::Log.code() || code == Rc::EnterSecret.code() {
            return;
        }
        // An exit status is one byte; a failure must not come out as 0.
        self.0 = match (code == Rc::Success.code(), code as u8) {
            (true, _) => 0,
            (false, 0) => u8::MAX,
            (false, low) => low,
        };
    }

    /// The status so far.
    pub fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(codes: &[u16]) -> u8 {
        let mut status = ExitStatus::default();
        codes.iter().for_each(|&code| status.note(code));
        status.get()
    }

    #[test]
    fn numbers_are_the_reference_ones() {
        assert_eq!(Rc::NewState(4).code(), 104);
        assert_eq!(Rc::Notification(14).code(), 214);
        assert_eq!(Rc::NoPeerIp.code(), 29);
        assert_eq!(Rc::OppoFailure.code(), 33);
        assert_eq!(Rc::Notification(u16::MAX).code(), u16::MAX);
    }

    #[test]
    fn exit_status_follows_the_last_telling_code() {
        assert_eq!(after(&[104, 106, 108, 4, 112, 4]), 0);
        assert_eq!(after(&[104, 10, 10, 31]), 31);
        assert_eq!(after(&[104, 31, 2, 0]), 31);
        assert_eq!(after(&[3]), 3);
        assert_eq!(after(&[214, 40]), 214);
        assert_eq!(after(&[512]), 255);
        assert_eq!(after(&[]), 0);
    }
}
