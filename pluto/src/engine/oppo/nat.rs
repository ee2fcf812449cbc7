//! A NAT in front of this host, with which opportunism can make no tunnels for it: what gateways have said of it, for people.

use core::net::IpAddr;
use core::time::Duration;

use crate::engine::{About, Engine, Time};

/// It is logged once in this time.
const SAID: Duration = Duration::from_secs(900);
/// What was last said longer ago is out of date.
const OLD: Duration = Duration::from_secs(3600);

/// That a gateway sees us at another address or port than we have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    by: IpAddr,
    at: Time,
    logged: Time,
}

impl Engine {
    /// A gateway sees a NAT in front of us. Gives what is said of the destinations behind it.
    pub(crate) fn oppo_behind_nat(&mut self, now: Time, by: IpAddr) -> String {
        let last = self.oppo.nat.map(|seen| seen.logged);
        let logged = last.filter(|last| now - *last < SAID);
        if logged.is_none() {
            let text = format!(
                "opportunism: gateway {by} sees this host behind a NAT: no tunnels are made for the host itself (ipsec_opportunism(8))"
            );
            self.log(About::default(), text);
        }
        let logged = logged.unwrap_or(now);
        self.oppo.nat = Some(Seen {
            by,
            at: now,
            logged,
        });
        format!("this host is behind a NAT, as gateway {by} sees it: no tunnel is possible")
    }

    /// The line of `whack --status` about it.
    pub(crate) fn oppo_nat_status(&self, now: Time) -> Option<String> {
        let seen = self.oppo.nat.filter(|seen| now - seen.at < OLD)?;
        Some(format!(
            "opportunism: this host is behind a NAT, as gateway {} saw {} s ago: no tunnels are made for the host itself",
            seen.by,
            (now - seen.at).as_secs()
        ))
    }
}
