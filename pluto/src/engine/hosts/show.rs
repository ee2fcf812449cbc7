//! Words about addresses that are found: what a connection waits for, what has changed, and when it is looked up again.

use whack::Live;

use super::find::{key, names_in};
use crate::engine::connection::{ConnId, Found, FoundEnd};
use crate::engine::timers::Timer;
use crate::engine::{Engine, Time};

impl Engine {
    /// What a connection waits for, a line each.
    pub(crate) fn why_it_waits(&self, now: Time, id: ConnId) -> Vec<String> {
        let Some(followed) = self.hosts.followed.get(&id) else {
            return Vec::new();
        };
        let line = |live: &Live| match live {
            Live::DefaultRoute => "waiting for a default route".to_owned(),
            Live::Name(name) => {
                format!("waiting for the address of {name}{}", self.story(now, name))
            }
        };
        followed.missing.iter().map(line).collect()
    }

    /// Why a name has no address, and when it is looked up again.
    fn story(&self, now: Time, name: &str) -> String {
        let name = key(name);
        let Some(known) = self.hosts.names.get(&name) else {
            return String::new();
        };
        let why = known.why.as_ref().map_or_else(
            || match known.addresses().is_empty() {
                true => String::new(),
                false => " of the other end's family".to_owned(),
            },
            |why| format!(" ({why})"),
        );
        let next = if known.is_asked() {
            "; it is being looked up".to_owned()
        } else {
            let deadline = self.timers.deadline(&Timer::HostName(name));
            deadline.map_or_else(String::new, |deadline| {
                let seconds = now.until(deadline).as_secs();
                format!("; it is looked up again in {seconds} s")
            })
        };
        why + &next
    }

    /// The lines of `whack --status` about the addresses of a connection that are found.
    pub(crate) fn found_status(&self, now: Time, id: ConnId) -> Vec<String> {
        let Some(followed) = self.hosts.followed.get(&id) else {
            return Vec::new();
        };
        let mut lines = self.why_it_waits(now, id);
        for name in names_in(&followed.request) {
            let Some(known) = self.hosts.names.get(&name) else {
                continue;
            };
            let all: Vec<String> = known.addresses().iter().map(ToString::to_string).collect();
            if !all.is_empty() {
                let story = self.story(now, &name);
                lines.push(format!("{name} is {}{story}", all.join(", ")));
            }
        }
        let absent = followed.found.complete
            && self.hosts.routes_now.of(followed.found.ipv6).is_none()
            && [&followed.request.left, &followed.request.right]
                .iter()
                .any(|end| end.host.live() == Some(&Live::DefaultRoute));
        if absent {
            lines.push("there is no default route now: its last address stands".to_owned());
        }
        lines
    }

    /// What the log says of a connection that gets its addresses, or others.
    pub(super) fn what_has_changed(&self, id: ConnId, old: &Found, new: &Found) -> String {
        let Some(followed) = self.hosts.followed.get(&id) else {
            return String::new();
        };
        let mut parts = Vec::new();
        let ends = [
            (&followed.request.left, old.left, new.left),
            (&followed.request.right, old.right, new.right),
        ];
        for (end, old, new) in ends {
            let (FoundEnd { host, nexthop }, now) = (old, new);
            let both = [
                (end.host.live(), host, now.host),
                (end.live_nexthop.as_ref(), nexthop, now.nexthop),
            ];
            for (live, old, new) in both {
                let (Some(live), Some(new)) = (live, new) else {
                    continue;
                };
                match old {
                    Some(old) if old == new => {}
                    Some(old) => parts.push(format!("{live} is {new} now, and was {old}")),
                    None => parts.push(format!("{live} is {new}")),
                }
            }
        }
        parts.join("; ")
    }
}
