//! Connections get the addresses that were found for them, and others when those change. What was routed stays closed meanwhile: the
//! route and a shunt stand until the new ones take their place.

use core::net::IpAddr;

use whack::Rc;

use super::Followed;
use crate::engine::connection::{ConnId, Connection, Found, Kind, is_live};
use crate::engine::ike::authority::{KnownKey, Origin};
use crate::engine::log::About;
use crate::engine::route::Op;
use crate::engine::{Engine, Id, Time};

/// Old addresses of one peer whose packets stay closed; a peer that moves every day is not to fill the tables.
const MAX_CLOSED: usize = 8;

impl Engine {
    /// The addresses that a description has now.
    pub(crate) fn addresses_of(&self, request: &whack::Connection) -> Found {
        self.hosts.find(request, None).0
    }

    /// A connection was added with the addresses `found`: it is followed, if there is anything to follow.
    pub(crate) fn follow(&mut self, id: ConnId, request: &whack::Connection, found: Found) {
        if !is_live(request) {
            return;
        }
        let missing = self.hosts.find(request, Some(&found)).1;
        let followed = Followed {
            request: Box::new(request.clone()),
            found,
            missing,
            routed: false,
        };
        self.hosts.followed.insert(id, followed);
        self.use_names(id, request);
        if found.complete {
            self.learn_keys(None, id);
        }
    }

    /// A connection is no more.
    pub(crate) fn unfollow(&mut self, id: ConnId) {
        if let Some(followed) = self.hosts.followed.remove(&id) {
            self.drop_user(id, &followed.request);
        }
    }

    /// Whether a connection waits for an address.
    pub(crate) fn waits_for_address(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.waiting)
    }

    /// What is known has changed: looks whether that changes a connection.
    pub(super) fn find_again(&mut self, now: Time, id: ConnId) {
        let Some(followed) = self.hosts.followed.get(&id) else {
            return;
        };
        let (found, missing) = self.hosts.find(&followed.request, Some(&followed.found));
        let old = followed.found;
        if old.complete && !found.complete {
            return;
        }
        if let Some(followed) = self.hosts.followed.get_mut(&id) {
            (followed.found, followed.missing) = (found, missing);
        }
        if found != old && found.complete {
            self.move_connection(now, id, &old, &found);
        }
    }

    /// A connection has other addresses than before, or has them all for the first time.
    fn move_connection(&mut self, now: Time, id: ConnId, old: &Found, found: &Found) {
        let Some(conn) = self
            .conns
            .get(id)
            .filter(|conn| conn.kind != Kind::GoingAway)
        else {
            return;
        };
        let (kind, lane, waiting) = (conn.kind, conn.that.client, conn.waiting);
        let routed = conn.routing().routed();
        if let Some(followed) = self.hosts.followed.get_mut(&id) {
            followed.routed |= routed;
        }
        let text = self.what_has_changed(id, old, found);
        self.log(About::conn(id), text);
        self.learn_keys(Some(old), id);
        if kind == Kind::Group {
            self.move_group(now, id, found);
            return;
        }
        if waiting {
            self.settle(now, id);
            return;
        }
        if kind == Kind::Template {
            let instances: Vec<ConnId> = self.conns.instances(id).collect();
            for instance in instances {
                self.delete_connection(now, instance, None);
            }
        }
        self.ike_terminate(now, id);
        self.enqueue(now, lane, Op::Rehost(id));
    }

    /// A policy group: what stands for its blocks stays until that which has the new address is routed.
    fn move_group(&mut self, now: Time, old: ConnId, found: &Found) {
        let Some(followed) = self.hosts.followed.remove(&old) else {
            return;
        };
        let routed = self.conns.get(old).is_some_and(|conn| conn.policy.grouted);
        self.conns.edit(old, |conn| conn.kind = Kind::GoingAway);
        match self
            .conns
            .add_found(&followed.request, found, &self.addresses)
        {
            Ok((new, oriented)) => {
                self.conns.edit(new, |conn| conn.policy.grouted = routed);
                self.conns.remove(old);
                if let Err(error) = oriented {
                    self.loglog(About::conn(new), Rc::LogSerious, error.to_string());
                }
                self.use_names(new, &followed.request);
                self.drop_user(old, &followed.request);
                self.hosts.followed.insert(new, followed);
                self.apply_groups(now);
            }
            Err(error) => {
                self.conns.edit(old, |conn| conn.kind = Kind::Group);
                self.loglog(About::conn(old), Rc::LogSerious, error.to_string());
                self.hosts.followed.insert(old, followed);
            }
        }
    }

    /// Which of our client and the peer's are the gateway itself, and will be another.
    pub(crate) fn clients_that_move(&self, conn: &Connection) -> [bool; 2] {
        let found = self.hosts.followed.get(&conn.id());
        let new = found.map(|f| [f.found.left.host, f.found.right.host]);
        [&conn.this, &conn.that].map(|end| {
            let stays = new.is_none_or(|new| new.contains(&end.host));
            !end.has_client && end.host.is_some() && !stays
        })
    }

    /// A connection is about to get other addresses: packets to the peer's old one, where that was its own client, were routed to ipsecN and
    /// do not leave in the clear because a name has another address, as whoever answers DNS questions says.
    pub(crate) fn leave_closed(&mut self, now: Time, id: ConnId) {
        let moves = |conn: &Connection| self.clients_that_move(conn)[1];
        if !self.conns.get(id).is_some_and(moves) {
            return;
        }
        let peer = self.conns.get(id).and_then(|conn| conn.that.host);
        if self.conns.leave_closed(id).is_none() {
            return;
        }
        if let Some(peer) = peer {
            let text = format!("packets to {peer} stay closed until --unroute");
            self.log(About::conn(id), text);
        }
        let oldest = self.conns.instances(id).next();
        if self.conns.instances(id).count() > MAX_CLOSED
            && let Some(oldest) = oldest
        {
            self.delete_connection(now, oldest, None);
        }
    }

    /// Nothing of a connection is in the way of its new addresses: it gets them, and what is wanted of it is done.
    pub(crate) fn settle(&mut self, now: Time, id: ConnId) {
        let live = |conn: &&Connection| conn.kind != Kind::GoingAway;
        if self.conns.get(id).filter(live).is_none() {
            return;
        }
        let Some(followed) = self.hosts.followed.get_mut(&id) else {
            return;
        };
        let routed = core::mem::take(&mut followed.routed);
        let found = followed.found;
        match self
            .conns
            .rehost(id, &followed.request, &found, &self.addresses)
        {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.loglog(About::default(), Rc::LogSerious, error.to_string()),
            Err(error) => {
                let text = format!("cannot have these addresses: {error}");
                self.loglog(About::conn(id), Rc::LogSerious, text);
                return;
            }
        }
        self.my_id_for(now, id);
        // It is back where it was: that is its own again.
        if let Some(closed) = self.conns.left_closed(id) {
            self.conns.remove(closed);
        }
        if let Some(live) = self.conns.live_mut(id) {
            live.route_in_doubt = routed;
        }
        let unrouted = |conn: &Connection| !conn.routing().routed();
        if routed && self.conns.get(id).is_some_and(unrouted) {
            self.route_again(now, id);
        }
        self.pursue(now, id);
    }

    /// The keys of ends that are known by their addresses are those of the new addresses.
    fn learn_keys(&mut self, old: Option<&Found>, id: ConnId) {
        let Some(followed) = self.hosts.followed.get(&id) else {
            return;
        };
        let (request, found) = (&followed.request, followed.found);
        let mut gone: Vec<(IpAddr, String)> = Vec::new();
        let mut new: Vec<(IpAddr, String)> = Vec::new();
        let before = old.copied().unwrap_or_default();
        for (end, now, then) in [
            (&request.left, found.left.host, before.left.host),
            (&request.right, found.right.host, before.right.host),
        ] {
            for key in &end.keys {
                gone.extend(then.filter(|_| then != now).map(|addr| (addr, key.clone())));
                new.extend(now.map(|addr| (addr, key.clone())));
            }
        }
        for (addr, text) in gone {
            if let Ok(key) = ipsec_keys::PublicKey::from_text(&text)
                && let Some(keys) = self.public_keys.get_mut(&Id::from(addr))
            {
                keys.retain(|other| other.key != key);
            }
        }
        for (addr, text) in new {
            match ipsec_keys::PublicKey::from_text(&text) {
                Ok(key) => {
                    let origin = Origin::Configured;
                    let known = vec![KnownKey { key, origin }];
                    self.keys_known(About::conn(id), &Id::from(addr), true, known);
                }
                Err(error) => {
                    let text = format!("bad public key of {addr}: {error}");
                    self.loglog(About::conn(id), Rc::LogSerious, text);
                }
            }
        }
    }
}
