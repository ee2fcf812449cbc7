//! What peers say of SPIs and cookies that they don't know (RFC 2408 section 3.14.1: INVALID-SPI, INVALID-COOKIE). Under an
//! ISAKMP SA the peer itself has said it, and what it names is of no more use. In the clear anybody can say it, so it makes us
//! ask the peer whether it is there, some seconds sooner than we would have, and no more.
//!
//! Not here: our saying so of cookies, which is `receive`'s; KLIPS says nothing of SPIs that it doesn't know.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ike::v1::info::{Deletion, Notification};
use ike::wire::{Cookie, NotifyType, Protocol};
use whack::Rc;

use super::table::{Exchange, Name, State};
use crate::engine::connection::StateId;
use crate::engine::{About, Engine, Time};

/// How often an exchange is begun anew upon such a word.
const MAX_ANEW: u32 = 2;
/// A peer is asked because of such hints once in this time at most.
const PROBES_APART: Duration = Duration::from_secs(10);
/// A peer does not forget an ISAKMP SA sooner.
const FRESH: Duration = Duration::from_secs(5);

impl Engine {
    /// The peer has said under the ISAKMP SA `id` that it doesn't know something. Answers whether that is something of ours.
    pub(super) fn unknown_to_peer(&mut self, now: Time, id: StateId, said: &Notification) -> bool {
        let kind = said.kind;
        if kind == NotifyType::INVALID_SPI {
            let peer = self.ike.states.get(id).map(|state| state.remote.ip());
            let Some((other, spi)) = peer.and_then(|peer| self.outbound_of(peer, said)) else {
                return false;
            };
            if !self.same_peer(id, other) {
                return false;
            }
            let text = format!("peer answers {kind}: it does not know SA {spi:#010x}");
            self.loglog(self.about(other), Rc::LogSerious, text);
            self.ipsec_deleted_by_peer(now, other, spi);
            return true;
        }
        let cookies = <[u8; 16]>::try_from(&said.spi[..]);
        let (NotifyType::INVALID_COOKIE, Ok(octets)) = (kind, cookies) else {
            return false;
        };
        let half = |at: usize| {
            let mut cookie = [0; 8];
            cookie.copy_from_slice(&octets[at..at + 8]);
            Cookie(cookie)
        };
        let (initiator, responder) = (half(0), half(8));
        let named = self.ike.states.by_cookies((initiator, responder));
        if named.is_none_or(|named| named == id || !self.same_peer(id, named)) {
            return false;
        }
        let text = format!("peer answers {kind}: it does not know an ISAKMP SA of ours");
        self.loglog(self.about(id), Rc::LogSerious, text);
        let deletion = Deletion::Isakmp(initiator, responder);
        self.honour_delete(now, id, deletion).is_ok()
    }

    /// The IPsec SA with this peer whose outbound SPI is named: as the notification's SPI, or as its data.
    fn outbound_of(&self, peer: IpAddr, said: &Notification) -> Option<(StateId, u32)> {
        let octets = [&said.spi, &said.data];
        let spi = octets
            .into_iter()
            .find_map(|octets| <[u8; 4]>::try_from(&octets[..]).ok())?;
        let spi = u32::from_be_bytes(spi);
        let protocols = match said.protocol {
            Protocol::ESP | Protocol::AH => vec![said.protocol],
            _ => vec![Protocol::ESP, Protocol::AH],
        };
        let state = protocols
            .into_iter()
            .find_map(|protocol| self.ike.states.by_spi_out(peer, protocol, spi))?;
        let established = self.ike.states.get(state)?.name.ipsec_established();
        established.then_some((state, spi))
    }

    /// Somebody says in the clear that an SA of ours is unknown; `known` is the ISAKMP SA whose cookies it shows. Answers whether
    /// there is such an SA.
    pub(super) fn unknown_in_clear(
        &mut self,
        now: Time,
        about: About,
        known: Option<StateId>,
        remote: SocketAddr,
        said: &Notification,
    ) -> bool {
        let kind = said.kind;
        if kind == NotifyType::INVALID_COOKIE
            && let Some(id) = known
            && self.begin_anew(now, about, id)
        {
            return true;
        }
        let established = |id: &StateId| {
            let state = self.ike.states.get(*id);
            state.is_some_and(|state| state.name.isakmp_established())
        };
        let under = match kind {
            NotifyType::INVALID_COOKIE => known.filter(established),
            NotifyType::INVALID_SPI => self.outbound_of(remote.ip(), said).and_then(|(id, _)| {
                let conn = self.ike.states.get(id)?.conn;
                self.phase1_for(conn, true)
            }),
            _ => None,
        };
        let Some(under) = under else { return false };
        let asked = self.probe(now, under);
        if kind == NotifyType::INVALID_COOKIE {
            self.doubt(now, under);
        }
        self.loglog(
            about,
            Rc::LogSerious,
            format!(
                "peer seems to answer {kind}. It is in the clear and may be forged{}",
                if asked {
                    ": asking the peer whether it is there"
                } else {
                    ""
                }
            ),
        );
        true
    }

    /// The peer of an exchange of ours does not know its cookies, so that it would never answer: begins anew at once. Whoever says so has
    /// seen the cookies, and may be somebody who reads along; so only twice, and after that the exchange goes on to its limit.
    fn begin_anew(&mut self, now: Time, about: About, id: StateId) -> bool {
        let Some(state) = self.ike.states.get(id) else {
            return false;
        };
        let waits = matches!(state.name, Name::MainI2 | Name::MainI3)
            && matches!(state.exchange, Exchange::Main(_));
        if !waits || state.begun_anew >= MAX_ANEW {
            return false;
        }
        let (conn, tries, begun) = (state.conn, state.tries, state.begun_anew + 1);
        let text = "peer seems not to know this exchange any more (INVALID_COOKIE): beginning anew";
        self.loglog(about, Rc::LogSerious, text);
        self.replace(now, id, tries);
        let newest = self.ike.states.of_conn(conn).into_iter().max();
        if let Some(newest) = newest.filter(|newest| *newest > id)
            && let Some(state) = self.ike.states.get_mut(newest)
        {
            state.begun_anew = begun;
        }
        self.delete_state(now, id, false);
        true
    }

    /// The peer may know nothing of an ISAKMP SA any more: what has been begun over it and is not answered is begun anew with Main Mode. An
    /// ISAKMP SA that has just been made is not doubted, so that a peer that refuses in silence is not met by one Main Mode after another.
    pub(super) fn doubt(&mut self, now: Time, under: StateId) {
        let heard = self.last_heard(under);
        let (Some(phase1), Some(heard)) = (self.ike.states.get_mut(under), heard) else {
            return;
        };
        let fresh = |since: Time| now - since < FRESH;
        if phase1.established.is_none_or(fresh) {
            return;
        }
        phase1.doubted = true;
        let peer = phase1.remote.ip();
        let waits = |state: &&State| {
            state.name == Name::QuickI1
                && matches!(state.exchange, Exchange::Quick(_))
                && state.under.is_some_and(|(id, _)| id == under)
                && state.created >= heard
        };
        let waiting = self.ike.states.phase2_with(peer).filter(waits);
        let waiting: Vec<(StateId, u32)> = waiting.map(|s| (s.id, s.tries)).collect();
        for (id, tries) in waiting {
            let text = format!("no answer over ISAKMP SA {under}: negotiating a new one");
            self.log(self.about(id), text);
            self.replace(now, id, tries);
            self.delete_state(now, id, false);
        }
    }

    /// Asks the peer whether it is there, if it understands that and has not been asked so just now.
    pub(super) fn probe(&mut self, now: Time, under: StateId) -> bool {
        let Some(state) = self.ike.states.get_mut(under) else {
            return false;
        };
        let lately = state.hinted.is_some_and(|then| now - then < PROBES_APART);
        if lately || !state.peer.dpd {
            return false;
        }
        state.hinted = Some(now);
        let peer = state.remote.ip();
        let watched = |id: &StateId| self.is_watched(*id) && self.same_peer(under, *id);
        let tunnels: Vec<StateId> = self.ike.states.phase2_with(peer).map(|s| s.id).collect();
        match tunnels.into_iter().find(watched) {
            // If it stays silent it is dead by the connection's own measure.
            Some(tunnel) => self.ask_peer(now, tunnel, Some(under)),
            None => self.ask_over(under),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Event;
    use crate::engine::tests::pair::Pair;
    use ike::v1::info::notify_in_clear;
    use ike::wire::Notify;

    const NAME: &str = "net-to-net";

    fn established() -> Pair {
        let mut pair = Pair::new();
        assert_eq!(pair.up(NAME), 0);
        pair
    }

    fn states(pair: &Pair) -> (StateId, StateId) {
        let id = pair.west.id(NAME);
        let live = &pair.west.engine.connections().get(id).unwrap().live;
        (live.newest_isakmp.unwrap(), live.newest_ipsec.unwrap())
    }

    fn spi_out(pair: &Pair, id: StateId) -> u32 {
        pair.west.engine.ike.states.get(id).unwrap().sas[0].2
    }

    fn cookies(pair: &Pair, id: StateId) -> (Cookie, Cookie) {
        pair.west.engine.ike.states.get(id).unwrap().cookies
    }

    fn say_in_clear(pair: &mut Pair, cookies: (Cookie, Cookie), notify: &Notify<'_>) {
        let bytes = notify_in_clear(cookies, notify, 77);
        pair.west.give(Event::Datagram {
            local: "192.1.2.45:500".parse().unwrap(),
            remote: "192.1.2.23:500".parse().unwrap(),
            bytes,
        });
    }

    /// East says it over its own ISAKMP SA with west.
    fn say(pair: &mut Pair, notify: &Notify<'_>) {
        let id = pair.east.id(NAME);
        let live = &pair.east.engine.connections().get(id).unwrap().live;
        let under = live.newest_isakmp.unwrap();
        pair.east.engine.send_notify(under, notify);
        pair.east.give(Event::Tick);
        pair.settle();
    }

    #[test]
    fn an_spi_that_the_peer_does_not_know_is_replaced() {
        let mut pair = established();
        let (isakmp, ipsec) = states(&pair);
        let spi = spi_out(&pair, ipsec);
        let other = (spi ^ 1).to_be_bytes();
        say(
            &mut pair,
            &Notify::new(Protocol::ESP, &other, NotifyType::INVALID_SPI),
        );
        pair.sleep(30);
        assert_eq!(states(&pair), (isakmp, ipsec), "{:?}", pair.west.log);
        let spi = spi.to_be_bytes();
        say(
            &mut pair,
            &Notify::new(Protocol::ESP, &spi, NotifyType::INVALID_SPI),
        );
        pair.sleep(30);
        let (same, new) = states(&pair);
        assert!(same == isakmp && new > ipsec, "{:?}", pair.west.log);
        pair.carries("10.0.2.1", "10.0.1.1");
    }

    #[test]
    fn cookies_that_the_peer_does_not_know_are_forgotten() {
        let mut pair = established();
        let (old, _) = states(&pair);
        let (initiator, responder) = cookies(&pair, old);
        let named = [initiator.0, responder.0].concat();
        // Of the SA that it is said under it can't be true.
        let notify = Notify::new(Protocol::ISAKMP, &named, NotifyType::INVALID_COOKIE);
        say(&mut pair, &notify);
        assert_eq!(states(&pair).0, old);
        // A second one, made by east.
        let conn = pair.east.id(NAME);
        let now = pair.east.now;
        pair.east
            .engine
            .begin_main(now, conn, None, 1, None, Vec::new());
        pair.east.give(Event::Tick);
        pair.settle();
        let (new, _) = states(&pair);
        assert!(new > old, "{:?}", pair.west.log);
        say(&mut pair, &notify);
        assert!(pair.west.engine.ike.states.get(old).is_none());
        assert_eq!(states(&pair).0, new);
    }

    #[test]
    fn in_the_clear_it_makes_us_ask_now_and_then() {
        let mut pair = established();
        let before = states(&pair);
        let cookies = cookies(&pair, before.0);
        let spi = spi_out(&pair, before.1);
        let fresh = (Cookie([9; 8]), Cookie([8; 8]));
        let kinds = [
            (cookies, Vec::new(), NotifyType::INVALID_COOKIE),
            (fresh, spi.to_be_bytes().to_vec(), NotifyType::INVALID_SPI),
        ];
        for (cookies, spi, kind) in kinds {
            pair.sleep(20);
            let count = pair.datagrams;
            for _ in 0..50 {
                say_in_clear(&mut pair, cookies, &Notify::new(Protocol::ESP, &spi, kind));
            }
            pair.settle();
            // One question and its answer, whatever is said.
            assert_eq!(pair.datagrams - count, 2, "{kind}: {:?}", pair.west.log);
        }
        pair.sleep(20);
        let count = pair.datagrams;
        let wrong = (spi ^ 1).to_be_bytes();
        say_in_clear(
            &mut pair,
            fresh,
            &Notify::new(Protocol::ESP, &wrong, NotifyType::INVALID_SPI),
        );
        say_in_clear(
            &mut pair,
            fresh,
            &Notify::new(Protocol::ESP, &[], NotifyType::INVALID_COOKIE),
        );
        pair.settle();
        assert_eq!(pair.datagrams, count);
        assert_eq!(states(&pair), before);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}
