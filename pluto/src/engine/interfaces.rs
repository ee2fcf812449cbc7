//! Listening, and following our interfaces: what appears and goes, and which connections that makes ours.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use whack::Rc;

use super::Engine;
use super::connection::{Addresses, ConnId, Place};
use super::event::{Action, ClientId, Interface};
use super::log::About;
use super::route::Op;
use super::time::Time;

/// A peer that has not heard of us for this long may have given us up: its tunnels are made anew. DPD of the usual implementations waits
/// longer.
const FORGOTTEN: Duration = Duration::from_secs(20);

impl Engine {
    /// Starts to listen; the client waits until the interfaces and the secrets are known.
    pub(super) fn whack_listen(&mut self, now: Time, client: ClientId) {
        self.log(About::default(), "listening for IKE messages");
        self.listening = true;
        for _ in 0..2 {
            self.hold_client(client);
        }
        self.waiting_for_interfaces.push(client);
        self.waiting_for_secrets.push(client);
        self.act(Action::Listen(true));
        self.act(Action::ReadSecrets);
        self.read_groups(Some(client));
        self.wait_for_names(now, client);
    }

    /// Something about an interface or its socket is wrong.
    pub(super) fn interface_problem(&mut self, problem: &str) {
        self.loglog(About::default(), Rc::LogSerious, problem);
        for client in self.waiting_for_interfaces.clone() {
            self.reply(client, Rc::LogSerious, problem.to_owned());
        }
    }

    /// The interfaces are these now.
    pub(super) fn interfaces_changed(&mut self, now: Time, interfaces: Vec<Interface>) {
        let gone: Vec<Interface> = self
            .interfaces
            .iter()
            .filter(|i| !interfaces.contains(i))
            .cloned()
            .collect();
        let new: Vec<Interface> = interfaces
            .iter()
            .filter(|i| !self.interfaces.contains(i))
            .cloned()
            .collect();
        for i in &gone {
            self.log(
                About::default(),
                format!("shutting down interface {}/{} {}", i.virt, i.phys, i.addr),
            );
        }
        for i in &new {
            self.log(
                About::default(),
                format!("adding interface {}/{} {}", i.virt, i.phys, i.addr),
            );
        }
        self.addresses = Addresses::new(&interfaces);
        self.interfaces = interfaces;
        if self.interfaces.is_empty() && self.listening {
            self.interface_problem("no public interfaces found");
        }
        self.reorient(now, &gone, &new);
        self.apply_groups(now);
        for client in core::mem::take(&mut self.waiting_for_interfaces) {
            self.release_client(client);
        }
    }

    /// Only connections with an end at an address that changed are looked at. What has been routed stays so, whatever has gone: route,
    /// eroute and SAs are left alone, and packets wait or are dropped until our end is back.
    fn reorient(&mut self, now: Time, gone: &[Interface], new: &[Interface]) {
        let addrs: BTreeSet<IpAddr> = gone.iter().chain(new).map(|i| i.addr).collect();
        let touched: BTreeSet<ConnId> = self.conns.with_end_at(addrs.into_iter()).collect();
        for id in touched {
            match self.conns.place(id, &self.addresses) {
                Some(Place::Away) => self.end_is_away(now, id),
                Some(Place::At(interface)) => self.end_is_at(now, id, interface),
                // What was routed for the peer's net is our own now.
                Some(Place::TurnedRound) => {
                    let lane = self.conns.get(id).and_then(|conn| conn.that.client);
                    self.release_connection(now, id);
                    self.enqueue(now, lane, Op::Reorient(id));
                }
                None => {
                    self.orient_again(id);
                    self.pursue(now, id);
                }
            }
        }
    }

    /// All addresses of this host, those of devices without ipsecN too.
    pub(super) fn local_addresses(&mut self, now: Time, addresses: Vec<IpAddr>) {
        let before = core::mem::replace(&mut self.local, addresses.into_iter().collect());
        let new: BTreeSet<IpAddr> = self.local.difference(&before).copied().collect();
        if new.is_empty() {
            return;
        }
        // The system takes routes along with the address that they give as source.
        let lost = |conn: &&super::Connection| {
            let source = conn.this.source_ip;
            conn.routing().routed() && source.is_some_and(|source| new.contains(&source))
        };
        let lost = self.conns.iter().filter(lost).map(super::Connection::id);
        self.routes_lost(now, lost.collect());
        let waiting = self.conns.iter().filter(|conn| !conn.oriented());
        for id in waiting.map(super::Connection::id).collect::<Vec<_>>() {
            self.pursue(now, id);
        }
    }

    /// A virtual device is up (again): it was down, and the system has forgotten the routes to it.
    pub(super) fn device_up(&mut self, now: Time, device: &str) {
        let lost = |conn: &&super::Connection| {
            let interface = conn.interface.as_ref();
            conn.routing().routed() && interface.is_some_and(|i| i.virt == device)
        };
        let lost = self.conns.iter().filter(lost).map(super::Connection::id);
        self.routes_lost(now, lost.collect());
    }

    fn routes_lost(&mut self, now: Time, conns: Vec<ConnId>) {
        for id in conns {
            if let Some(live) = self.conns.live_mut(id) {
                live.route_in_doubt = true;
            }
            self.pursue(now, id);
        }
    }

    fn end_is_away(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get(id).filter(|conn| !conn.away) else {
            return;
        };
        if conn.routing().routed() {
            let text = "our end has lost its address; what is routed stays closed until it is back";
            self.log(About::conn(id), text);
        }
        self.conns.edit(id, |conn| conn.away = true);
        if let Some(live) = self.conns.live_mut(id) {
            live.away_since = now;
        }
    }

    /// Our end is where it was, back there, or at another device.
    fn end_is_at(&mut self, now: Time, id: ConnId, interface: Interface) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let moved = conn.interface.as_ref() != Some(&interface);
        let (was_away, since) = (conn.away, conn.live.away_since);
        if !moved && !was_away {
            return;
        }
        self.conns.edit(id, |conn| {
            conn.interface = Some(interface);
            conn.away = false;
        });
        if let Some(live) = self.conns.live_mut(id) {
            live.route_in_doubt = true;
        }
        if was_away && now - since > FORGOTTEN {
            self.ike_renew(now, id);
        }
        self.pursue(now, id);
    }

    /// Our addresses.
    pub(super) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + use<'_> {
        self.interfaces.iter().map(|interface| interface.addr)
    }

    /// Finds out which end of a connection is ours; complains if both could be.
    pub(super) fn orient_again(&mut self, id: ConnId) {
        if let Err(error) = self.conns.orient(id, &self.addresses) {
            self.loglog(About::default(), Rc::LogSerious, error.to_string());
        }
    }

    /// Clients that wait for the interfaces or the secrets and have gone.
    pub(super) fn forget_waiting(&mut self, client: ClientId) {
        self.waiting_for_interfaces
            .retain(|waiting| *waiting != client);
        self.waiting_for_secrets
            .retain(|waiting| *waiting != client);
        self.oppo.groups.forget_waiting(client);
    }
}
