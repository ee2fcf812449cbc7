//! Quick Mode, carried on step by step.

use core::cell::RefCell;
use std::sync::Arc;

use ike::proposal::Spis;
use ike::v1::quick::{self, Offer, Step, Waiting};
use ike::v1::{Client, Error, Seen};
use ike::wire::Protocol;
use ipsec_types::Subnet;
use whack::Rc;

use super::authority::Unfit;
use super::policy::ipsec_policy;
use super::refusal::pause_after;
use super::table::{Due, Exchange, Name, Pending, State};
use super::timer::FIRST_DELAY;
use crate::engine::connection::{Clients, ConnId, Kind, StateId};
use crate::engine::limiter::shown;
use crate::engine::oppo::{Confirmed, Vetted};
use crate::engine::{Connection, Engine, Id, Installed, Time};

impl Engine {
    /// Starts Quick Mode over the ISAKMP SA of `under`.
    pub(super) fn quick_initiate(&mut self, now: Time, under: StateId, quick: Pending) {
        let conn = self.conns.get(quick.conn);
        let fits = conn.map_or(Ok(()), |conn| self.state_serves(under, conn));
        let base = self.ike.states.get(under).map(|state| state.conn);
        if let Err(Some(why)) = &fits
            && base != Some(quick.conn)
        {
            // It was expected to serve, and does not: an ISAKMP SA of its own is needed.
            let text = self.does_not_serve(under, quick.conn, why);
            self.log(self.about(under), text);
            self.initiate(now, quick);
            return;
        }
        if let Err(Some(why)) = fits {
            let text = self.does_not_serve(under, quick.conn, &why);
            self.quick_not_begun(now, &quick, text);
        } else if let Some(quick) = self.may_begin(now, under, quick) {
            self.quick_begin(now, under, &quick);
        }
    }

    /// The same; nothing is left to be asked.
    pub(crate) fn quick_begin(&mut self, now: Time, under: StateId, quick: &Pending) {
        if let Err(text) = self.try_quick_initiate(now, under, quick) {
            self.quick_not_begun(now, quick, text);
        }
    }

    fn quick_not_begun(&mut self, now: Time, quick: &Pending, text: String) {
        let about = crate::engine::About::conn(quick.conn).watched_by(quick.client);
        self.loglog(about, Rc::LogSerious, text);
        self.negotiation_failed(now, quick.conn);
        if let Some(client) = quick.client {
            self.release_client(client);
        }
    }

    fn try_quick_initiate(
        &mut self,
        now: Time,
        under: StateId,
        quick: &Pending,
    ) -> Result<(), String> {
        let phase1 = self.ike.states.get(under).ok_or("ISAKMP SA is gone")?;
        let sa = Arc::clone(phase1.isakmp().ok_or("ISAKMP SA is not established")?);
        let (local, remote, nat) = (phase1.local, phase1.remote, phase1.nat);
        let conn = self
            .conns
            .get(quick.conn)
            .filter(|conn| conn.kind != Kind::GoingAway);
        let conn = conn.ok_or("the connection went away")?;
        let policy = ipsec_policy(conn, sa.agreed().group, self.kernel_abilities(), &nat)?;
        let clients = wire_clients(conn, nat.used().is_some());
        let shown = conn.policy;
        let spis = self.new_spis()?;
        let message_id = self.new_message_id(under);
        let message_id = message_id.ok_or("the ISAKMP SA has used all its message ids")?;
        let id = self.ike.states.next_id();
        let mut state = State::new(id, quick.conn, Name::QuickI1, local, remote, now);
        state.client = quick.client;
        state.tries = quick.tries;
        state.nat = nat;
        state.under = Some((under, message_id));
        state.offered = vec![(Protocol::ESP, spis.esp), (Protocol::AH, spis.ah)];
        self.ike.states.insert(state);
        self.state_added(quick.conn);
        let about = self.about(id);
        match quick.replaces {
            None => {
                self.log(
                    about,
                    format!("initiating Quick Mode {shown} {{using isakmp{under}}}"),
                );
                self.whack_log(about, Rc::NewState(12), "STATE_QUICK_I1: initiate");
            }
            Some(old) => {
                self.log(
                    about,
                    format!(
                        "initiating Quick Mode {shown} to replace {old} {{using isakmp{under}}}"
                    ),
                );
                self.whack_log(
                    about,
                    Rc::NewState(12),
                    format!("STATE_QUICK_I1: initiate to replace {old}"),
                );
            }
        }
        let request = quick::Initiate {
            message_id,
            policy,
            spis,
            clients,
            hosts: (local.ip(), remote.ip()),
        };
        let step = quick::initiate(&sa, request, &mut *self.rng);
        self.quick_step(now, id, step);
        Ok(())
    }

    fn new_spis(&mut self) -> Result<Spis, String> {
        let (ah, esp) = (self.new_spi().0, self.new_spi().0);
        let ipcomp = self.new_cpi().ok_or("all CPIs are in use")?;
        Ok(Spis { ah, esp, ipcomp })
    }

    /// QI1, genuine: find the connection for its clients, and answer.
    pub(super) fn quick_offer(&mut self, now: Time, under: StateId, offer: Offer, bytes: &[u8]) {
        self.heard(now, under);
        let offered = offer.spis();
        if let Err(error) = self.try_quick_offer(now, under, offer, bytes) {
            let about = self.about(under);
            self.loglog_useless(about, Rc::LogSerious, error.to_string());
            self.notify_protected(under, &offered, error.notify());
        }
    }

    fn try_quick_offer(
        &mut self,
        now: Time,
        under: StateId,
        offer: Offer,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let refused = |text: String| Error::Refused(text);
        let phase1 = self
            .ike
            .states
            .get(under)
            .ok_or_else(|| refused("ISAKMP SA is gone".to_owned()))?;
        let (local, remote, base) = (phase1.local, phase1.remote, phase1.conn);
        let (nat, proof) = (phase1.nat, phase1.proof.clone());
        let proof = proof.ok_or_else(|| refused("no ISAKMP SA".to_owned()))?;
        // In transport mode it is for the two hosts, by whatever addresses they know themselves (RFC 3947 section 5.2).
        let hosts = nat.used().is_some() && offer.transport();
        let clients = clients_of(offer.clients(), local.ip(), remote.ip(), hosts);
        let clients = clients
            .ok_or_else(|| refused("client IDs are ranges that are no subnets".to_owned()))?;
        let unfit = RefCell::new(None);
        let fits = |conn: &Connection| {
            // Those have their turn below.
            if conn.policy.opportunistic {
                return false;
            }
            let fits = self.serves(&proof, conn);
            if let Err(why) = &fits {
                let mut unfit = unfit.borrow_mut();
                let better = unfit
                    .as_ref()
                    .is_none_or(|(_, so_far): &(_, Unfit)| so_far.is_of_others());
                if better {
                    *unfit = Some((conn.id(), why.clone()));
                }
            }
            conn.oriented() && fits.is_ok()
        };
        let found = self
            .conns
            .for_clients(base, &clients, fits)
            .map(Connection::id);
        if let Some(found) = found {
            return self.answer_offer(now, under, offer, bytes, found, &clients);
        }
        let unfit = unfit.take();
        if let Some((conn, why)) = unfit.as_ref().filter(|(_, why)| !why.is_of_others()) {
            return Err(refused(self.does_not_serve(under, *conn, why)));
        }
        let claimant = self
            .claimant(under)
            .ok_or_else(|| refused("no ISAKMP SA".to_owned()))?;
        self.within_share(claimant.remote.ip(), &clients)
            .map_err(refused)?;
        match self.vet(now, claimant, &clients).map_err(refused)? {
            Vetted::NotOurs => Err(refused(format!(
                "cannot respond to IPsec SA request because no connection is known for {}==={}...{}==={}{}",
                clients.ours,
                local.ip(),
                remote.ip(),
                clients.theirs,
                unfit.map_or_else(String::new, |(conn, why)| {
                    let tag = self
                        .conns
                        .get(conn)
                        .map_or_else(String::new, Connection::tag);
                    format!(" ({tag} {why})")
                })
            ))),
            Vetted::Yes(confirmed) => {
                let conn = self.vetted_instance(now, &confirmed).map_err(refused)?;
                self.answer_opportunistic(now, under, offer, bytes, conn, &clients)
            }
            Vetted::Ask(vetting) => {
                self.ask_about(now, vetting, offer, bytes);
                Ok(())
            }
        }
    }

    /// For the log: an ISAKMP SA may not serve a connection.
    fn does_not_serve(&self, under: StateId, conn: ConnId, why: &Unfit) -> String {
        let tag = self
            .conns
            .get(conn)
            .map_or_else(String::new, Connection::tag);
        format!("ISAKMP SA {under} does not serve {tag}: {tag} {why}")
    }

    /// What a peer chooses within a range (`leftsubnetwithin=`) is its own while it has it: another identity doesn't take it away.
    /// Who has it is asked whether it is still there.
    fn not_held_by_another(
        &mut self,
        now: Time,
        under: StateId,
        clients: &Clients,
    ) -> Result<(), String> {
        let proof = self
            .ike
            .states
            .get(under)
            .and_then(|state| state.proof.as_ref());
        let peer = proof.map(|proof| Id::Known(proof.peer_id.clone()));
        let peer = peer.ok_or("no ISAKMP SA")?;
        let Some(holder) = self.conns.held_by_another(&peer, clients) else {
            return Ok(());
        };
        let text = format!(
            "cannot respond to IPsec SA request: {} has {} already, for another peer than '{}'",
            holder.tag(),
            holder.that.client.unwrap_or(clients.theirs),
            shown(&peer)
        );
        if let Some(isakmp) = holder.live.newest_isakmp {
            self.probe(now, isakmp);
        }
        Err(text)
    }

    /// Answers for an instance, which goes again if there is nothing to agree on.
    fn answer_opportunistic(
        &mut self,
        now: Time,
        under: StateId,
        offer: Offer,
        bytes: &[u8],
        conn: ConnId,
        clients: &Clients,
    ) -> Result<(), Error> {
        self.takes_share(conn);
        let answered = self.answer_offer(now, under, offer, bytes, conn, clients);
        if answered.is_err() {
            self.connection_discard(now, conn);
        }
        answered
    }

    /// DNS has confirmed what a peer claims.
    pub(crate) fn ike_vetted(
        &mut self,
        now: Time,
        confirmed: &Confirmed,
        offer: Offer,
        bytes: &[u8],
    ) {
        let under = confirmed.claimant.under;
        let offered = offer.spis();
        let answered = match self.vetted_instance(now, confirmed) {
            Err(text) => Err(Error::Refused(text)),
            Ok(conn) => {
                let clients = &confirmed.clients;
                self.answer_opportunistic(now, under, offer, bytes, conn, clients)
            }
        };
        if let Err(error) = answered {
            self.loglog(self.about(under), Rc::LogSerious, error.to_string());
            self.notify_protected(under, &offered, error.notify());
        }
    }

    /// DNS has not.
    pub(crate) fn ike_not_vetted(
        &mut self,
        _now: Time,
        under: StateId,
        offer: Option<Offer>,
        text: String,
    ) {
        let offered = offer.map_or_else(Vec::new, |offer| offer.spis());
        let error = Error::Refused(text);
        self.loglog(self.about(under), Rc::OppoFailure, error.to_string());
        self.notify_protected(under, &offered, error.notify());
    }

    /// Answers an offer for a connection, or for an instance of a template.
    fn answer_offer(
        &mut self,
        now: Time,
        under: StateId,
        offer: Offer,
        bytes: &[u8],
        conn_id: ConnId,
        clients: &Clients,
    ) -> Result<(), Error> {
        let refused = |text: String| Error::Refused(text);
        let phase1 = self
            .ike
            .states
            .get(under)
            .ok_or_else(|| refused("ISAKMP SA is gone".to_owned()))?;
        let sa = Arc::clone(
            phase1
                .isakmp()
                .ok_or_else(|| refused("no ISAKMP SA".to_owned()))?,
        );
        let (local, remote, base, nat) = (phase1.local, phase1.remote, phase1.conn, phase1.nat);
        let conn = self
            .conns
            .get(conn_id)
            .ok_or_else(|| refused("no connection".to_owned()))?;
        match self.state_serves(under, conn) {
            Ok(()) => {}
            Err(Some(why)) => return Err(refused(self.does_not_serve(under, conn_id, &why))),
            Err(None) => return Err(refused("no ISAKMP SA".to_owned())),
        }
        let kind = conn.kind;
        if conn.that.client_wildcard {
            self.not_held_by_another(now, under, clients)
                .map_err(refused)?;
        }
        let conn = self
            .conns
            .get(conn_id)
            .ok_or_else(|| refused("no connection".to_owned()))?;
        let policy = ipsec_policy(conn, sa.agreed().group, self.kernel_abilities(), &nat)
            .map_err(refused)?;
        let (message_id, offered) = (offer.message_id(), offer.spis());
        let selected = offer.select(&policy)?;
        let spis = self.new_spis().map_err(refused)?;
        let conn_id = match kind {
            Kind::Template => {
                let peer_id = self.conns.get(base).map(|conn| conn.that.id.clone());
                self.conns
                    .instantiate(conn_id, remote, peer_id.as_ref(), Some(clients.theirs))
                    .ok_or_else(|| refused("no connection".to_owned()))?
            }
            _ => {
                self.conns.choose_client(conn_id, clients.theirs);
                conn_id
            }
        };
        self.conns.choose_ports(conn_id, clients);
        let id = self.ike.states.next_id();
        let mut state = State::new(id, conn_id, Name::QuickR0, local, remote, now);
        state.under = Some((under, message_id));
        state.offered = offered;
        state.nat = nat;
        state.working_on = Some(bytes.to_vec());
        state.seen = Seen::default();
        self.ike.states.insert(state);
        self.state_added(conn_id);
        self.log(self.about(id), "responding to Quick Mode");
        let step = selected.answer(spis, (local.ip(), remote.ip()), &mut *self.rng);
        self.quick_step(now, id, step);
        Ok(())
    }

    /// An exchange has come one step further.
    pub(super) fn quick_step(&mut self, now: Time, id: StateId, step: Step) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        if let Some(under) = state.under.filter(|_| state.working_on.is_some()) {
            // A message of the peer has been found genuine.
            self.heard(now, under.0);
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        match step {
            Step::Compute { job, then } => {
                state.exchange = Exchange::QuickJob(then);
                self.hand_out(id, job);
            }
            Step::Send { message, next } => {
                state.exchange = Exchange::Quick(next);
                let (local, remote) = (state.local, state.remote);
                state.seen = Seen::started(message.clone());
                self.act(crate::engine::Action::Send {
                    local,
                    remote,
                    bytes: message,
                });
                self.schedule(now, id, Due::Retransmit, FIRST_DELAY);
            }
            Step::Answer {
                message,
                next,
                agreed,
            } => {
                state.exchange = Exchange::Installing {
                    message: Some(message),
                    next: Some(next),
                };
                self.install_agreed(now, id, &agreed, Installed::Inbound);
            }
            Step::Finish { message, agreed } => {
                state.exchange = Exchange::Installing {
                    message: Some(message),
                    next: None,
                };
                self.cancel(id);
                self.install_agreed(now, id, &agreed, Installed::Both);
            }
            Step::Confirmed => {
                state.exchange = Exchange::Installing {
                    message: None,
                    next: None,
                };
                self.cancel(id);
                self.install_outbound_ipsec_sa(now, id);
            }
        }
    }

    /// A message was refused, and the exchange is as it was. Without `state` it is over.
    pub(super) fn quick_refused(
        &mut self,
        now: Time,
        id: StateId,
        state: Option<Waiting>,
        error: &Error,
    ) {
        self.tell_refused(id, error);
        let Some(entry) = self.ike.states.get_mut(id) else {
            return;
        };
        entry.working_on = None;
        let tries = entry.tries;
        let under = entry.under.map(|(under, _)| under);
        let offered = entry.offered.clone();
        // What anybody may have sent neither ends anything nor is worth an answer.
        let proved = error.is_proved();
        let over = entry.name.initiator() && proved;
        match state {
            // Not what we can take: the peer would only say it again.
            Some(_) if over => {
                entry.exchange = Exchange::Refused;
                self.attempt_failed(now, id, Some(pause_after(tries)));
            }
            Some(waiting) => entry.exchange = Exchange::Quick(waiting),
            None => self.delete_state(now, id, false),
        }
        if let Some(under) = under.filter(|_| proved) {
            self.notify_protected(under, &offered, error.notify());
        }
    }
}

/// The client identities to send; none where the SAs are for the gateways themselves, unless through a NAT the peer knows
/// one of them by another address.
fn wire_clients(conn: &Connection, nat: bool) -> Option<(Client, Client)> {
    let clients = conn.clients()?;
    let plain = |end: &crate::engine::connection::End| {
        end.client_is_host() && end.protoport == ipsec_types::ProtoPort::ANY
    };
    if plain(&conn.this) && plain(&conn.that) && !(nat && conn.policy.tunnel) {
        return None;
    }
    Some((
        Client::new(clients.ours, clients.our_protoport),
        Client::new(clients.theirs, clients.their_protoport),
    ))
}

/// The clients that a peer asks for, its own first; the gateways themselves if it names none.
fn clients_of(
    asked: Option<(Client, Client)>,
    local: core::net::IpAddr,
    remote: core::net::IpAddr,
    hosts: bool,
) -> Option<Clients> {
    let any = ipsec_types::ProtoPort::ANY;
    Some(match asked {
        None => Clients {
            ours: Subnet::host(local),
            our_protoport: any,
            theirs: Subnet::host(remote),
            their_protoport: any,
        },
        Some((theirs, ours)) if hosts => Clients {
            ours: Subnet::host(local),
            our_protoport: ours.proto_port,
            theirs: Subnet::host(remote),
            their_protoport: theirs.proto_port,
        },
        Some((theirs, ours)) => Clients {
            ours: ours.subnet()?,
            our_protoport: ours.proto_port,
            theirs: theirs.subnet()?,
            their_protoport: theirs.proto_port,
        },
    })
}
