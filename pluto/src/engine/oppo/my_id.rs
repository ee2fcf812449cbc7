//! What `%myid` stands for where nobody has said it: the address, if DNS names this host with our key in the reverse map of one of
//! its addresses; else the host's name, if DNS has our key under that; else the address again, which is asked about later once more.
//!
//! The address is that of each connection's own end, so that a host with several has one identity for each.

use core::net::IpAddr;
use core::time::Duration;

use ipsec_dns::{Gateway, LookupError, Name, Query};
use ipsec_keys::{Id as KnownId, PublicKey};

use super::Pair;
use super::delegation::delegates;
use super::lookup::{Asker, Found};
use crate::engine::connection::ConnId;
use crate::engine::timers::Timer;
use crate::engine::{About, Engine, Id, Time};

/// Addresses of ours that are asked about.
const MAX_ADDRESSES: usize = 8;
/// Until DNS is asked again, where it had nothing, and where it did not answer.
const NOTHING: Duration = Duration::from_secs(900);
const NO_ANSWER: Duration = Duration::from_secs(15);

/// How far guessing has come.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    /// A connection has `%myid`, and whack has not said what it is.
    wanted: bool,
    /// Questions that are open.
    open: Vec<Asker>,
    /// DNS has our key under the host's name.
    named: bool,
    /// DNS did not answer.
    unanswered: bool,
    /// DNS has our key in the reverse map of this address.
    address: Option<IpAddr>,
    /// What came of it last.
    found: Id,
    /// Destinations that wait until it is known who we are.
    waiting: Vec<Pair>,
}

impl Engine {
    /// A connection was added.
    pub(crate) fn my_id_for(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let by_it = [&conn.this, &conn.that].map(|end| end.id == Id::MyId);
        if by_it.contains(&true) && !conn.policy.never_negotiate() && !self.oppo.my_id.wanted {
            self.oppo.my_id.wanted = self.my_id.is_none();
            self.guess_my_id(now);
        }
    }

    /// whack has said what `%myid` is.
    pub(crate) fn my_id_said(&mut self, now: Time) {
        self.stop_guessing();
        self.my_id_settled(now);
        self.oppo.my_id = Guess::default();
    }

    /// Asks DNS who we are; to be called when our keys or addresses have changed.
    pub(crate) fn guess_my_id(&mut self, now: Time) {
        if !self.oppo.my_id.wanted {
            return;
        }
        self.stop_guessing();
        let mut addresses: Vec<IpAddr> = self.own_addresses().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        let mut questions: Vec<(Query, Asker)> = addresses
            .into_iter()
            .filter(|addr| self.key_of(&KnownId::Address(*addr)).is_some())
            .map(|addr| (Query::Delegation(addr), Asker::MyAddress(addr)))
            .collect();
        if let Some(name) = self.host_name() {
            let query = Query::Keys(Gateway::Name(name));
            questions.push((query, Asker::MyName));
        }
        let guess = &mut self.oppo.my_id;
        (guess.named, guess.unanswered, guess.address) = (false, false, None);
        guess.open = questions.iter().map(|(_, asker)| asker.clone()).collect();
        if questions.is_empty() {
            return self.my_id_concluded(now);
        }
        for (query, asker) in questions {
            self.look_up(now, query, asker);
        }
    }

    /// Nothing is asked any more, nor will be by itself.
    fn stop_guessing(&mut self) {
        self.timers.cancel(&Timer::MyId);
        let open = core::mem::take(&mut self.oppo.my_id.open);
        self.forget_lookups(&open);
    }

    /// The host's name as DNS knows it, if there is a key for it.
    fn host_name(&self) -> Option<Name> {
        let text = self.config.host_name.as_deref()?;
        self.key_of(&KnownId::Fqdn(text.to_owned()))?;
        let name = Name::parse(text).ok()?;
        let known = name.parent().is_some() && !text.ends_with(".localdomain");
        known.then_some(name)
    }

    fn key_of(&self, me: &KnownId) -> Option<PublicKey> {
        let anyone = match me {
            KnownId::Address(addr) if addr.is_ipv6() => KnownId::any6(),
            _ => KnownId::any4(),
        };
        let found = self.secrets.rsa(me, &anyone)?;
        Some(found.secret.public().clone())
    }

    /// DNS has told who speaks for an address of ours, or its key.
    pub(super) fn my_address_answered(&mut self, now: Time, addr: IpAddr, found: &Found) {
        let gateway = Gateway::Address(addr);
        let proved = match (self.key_of(&KnownId::Address(addr)), found) {
            (Some(key), Ok(answer)) => delegates(addr, answer, &gateway, &key).ok(),
            _ => None,
        };
        match proved {
            Some(false) => {
                return self.look_up(now, Query::Keys(gateway), Asker::MyAddress(addr));
            }
            Some(true) => self.oppo.my_id.address = Some(addr),
            None => {}
        }
        self.my_id_answered(now, &Asker::MyAddress(addr), found);
    }

    /// DNS has told the key under the host's name.
    pub(super) fn my_name_answered(&mut self, now: Time, found: &Found) {
        if let (Some(name), Ok(answer)) = (self.config.host_name.clone(), found) {
            let key = self.key_of(&KnownId::Fqdn(name));
            self.oppo.my_id.named = key.is_some_and(|key| answer.keys.contains(&key));
        }
        self.my_id_answered(now, &Asker::MyName, found);
    }

    fn my_id_answered(&mut self, now: Time, asker: &Asker, found: &Found) {
        let guess = &mut self.oppo.my_id;
        guess.open.retain(|open| open != asker);
        guess.unanswered |= found
            .as_ref()
            .is_err_and(|error| !matches!(error, LookupError::NoRecord { .. }));
        if guess.address.is_none() && !guess.open.is_empty() {
            return;
        }
        self.stop_guessing();
        self.my_id_concluded(now);
    }

    /// All that is asked is answered, or what matters is.
    fn my_id_concluded(&mut self, now: Time) {
        let guess = &mut self.oppo.my_id;
        let name = self.config.host_name.clone().filter(|_| guess.named);
        let name = name.map_or(Id::None, |name| Id::from(KnownId::Fqdn(name)));
        let found = guess.address.map_or(name.clone(), Id::from);
        // What DNS last said stands while it says nothing.
        if found.is_none() && guess.unanswered && !guess.found.is_none() {
            self.timers.set(now + NO_ANSWER, Timer::MyId);
            return self.my_id_settled(now);
        }
        let old = core::mem::replace(&mut guess.found, found.clone());
        // An address is that of each connection's own end.
        self.my_id = guess.address.map_or(name, |_| Id::None);
        if found.is_none() {
            let again = if guess.unanswered { NO_ANSWER } else { NOTHING };
            self.timers.set(now + again, Timer::MyId);
        } else if found != old {
            let text = format!("%myid is {found}: DNS has our key there");
            self.log(About::default(), text);
        }
        self.my_id_settled(now);
    }

    /// Whether a destination must wait until it is known who we are.
    pub(super) fn waits_for_my_id(&mut self, id: &Id, pair: Pair) -> bool {
        let guess = &mut self.oppo.my_id;
        let waits = *id == Id::MyId && !guess.open.is_empty() && guess.found.is_none();
        if waits && !guess.waiting.contains(&pair) {
            guess.waiting.push(pair);
        }
        waits
    }

    fn my_id_settled(&mut self, now: Time) {
        for pair in core::mem::take(&mut self.oppo.my_id.waiting) {
            self.ask_for_ours(now, pair);
        }
    }

    /// What `%myid` stands for, for people.
    pub(crate) fn my_id_status(&self) -> String {
        let guessed = &self.oppo.my_id.found;
        let shown = if guessed.is_none() {
            &self.my_id
        } else {
            guessed
        };
        format!("%myid = {shown}")
    }
}
