//! A packet has met the trap of an opportunistic template, and KLIPS holds it: who speaks for its destination, with which key?
//! DNS says, at the same time whether we may speak for our client; then a tunnel for these two hosts is negotiated with
//! the gateway that was found, or the next one. While that goes on nothing is asked twice.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use ipsec_dns::Query;
use ipsec_types::{MagicSpi, Subnet};
use whack::{DebugClass, Rc};

use super::Pair;
use super::delegation::{Candidate, candidates, delegates};
use super::failure::{self, flow_between, life_of, shunt_of};
use super::lookup::{Asker, Found, believed};
use super::patience::Patience;
use super::room;
use crate::engine::connection::{
    Clients, ConnId, Connection, IKE_PORT, Kind, Routing, Shunt, StateId,
};
use crate::engine::event::ClientId;
use crate::engine::room::take;
use crate::engine::route::{Flow, Op};
use crate::engine::timers::Timer;
use crate::engine::{About, Engine, Time};

/// How long packets to a name server pass while its key is looked up.
const URGENT: Duration = Duration::from_secs(60);

/// A destination on the way to its tunnel.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) template: ConnId,
    pub(super) flow: Flow,
    /// A packet waits in the kernel, or passes meanwhile.
    pub(super) held: bool,
    /// A verdict stands in the kernel, and is looked up again.
    pub(super) stands: bool,
    pub(super) begun: Time,
    /// We have begun to talk to this destination, as far as a packet shows that.
    pub(super) begins: bool,
    pub(super) serial: u64,
    pub(super) patience: Patience,
    pub(super) clients: Vec<ClientId>,
    /// We may speak for our client.
    pub(super) ours: bool,
    /// Questions that are open.
    pub(super) open: usize,
    pub(super) waiting: VecDeque<Candidate>,
    pub(super) chosen: Option<Candidate>,
    /// The instance that is being negotiated.
    pub(super) conn: Option<ConnId>,
    /// Gateways that have not answered.
    pub(super) silent: u32,
    /// What DNS has said of the destination allows no more than this.
    pub(super) verdict: Option<MagicSpi>,
    /// What is to be said if nothing is left to try, and how long that counts.
    pub(super) why: (String, Duration),
}

/// What a policy that is never negotiated does with packets.
fn refusal_of(conn: &Connection) -> Option<MagicSpi> {
    match (conn.policy.never_negotiate(), conn.policy.shunt) {
        (true, Shunt::Drop) => Some(MagicSpi::Drop),
        (true, Shunt::Reject) => Some(MagicSpi::Reject),
        _ => None,
    }
}

impl Engine {
    /// A packet for a template; KLIPS holds it in `flow`.
    pub(crate) fn oppo_acquire(
        &mut self,
        now: Time,
        template: ConnId,
        packet: &Clients,
        flow: Flow,
    ) {
        let pair = (packet.ours.addr(), packet.theirs.addr());
        if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
            attempt.held = true;
            return self.line_up(pair);
        }
        let template = self.closed_block_for(template, pair).unwrap_or(template);
        if let Some(shunt) = self.conns.get(template).and_then(refusal_of) {
            let why = "a policy group lets nothing go there";
            self.set_bare(now, flow, shunt, why, Some(failure::after_negotiation()));
            return;
        }
        let Some(conn) = self.conns.get(template) else {
            return;
        };
        self.oppo.counts.destinations += 1;
        let shunt = shunt_of(&conn.policy);
        let begins = room::begins(packet);
        if !self.make_room(now, begins) {
            let why = "too many destinations are being looked up";
            self.set_verdict(now, flow, shunt, why, failure::CROWDED);
            return;
        }
        let domain = matches!(packet.their_protoport.proto, 6 | 17)
            && packet.their_protoport.port.0 == failure::DOMAIN;
        if shunt == MagicSpi::Pass && (domain || self.oppo.is_name_server(pair.1)) {
            // What would tell us whether to hold it may be its very answer.
            let why = "a name server, not held while its key is looked up";
            self.set_bare(now, flow, shunt, why, Some(URGENT));
        }
        self.begin_attempt(now, template, pair, (flow, true, begins), None);
    }

    /// `whack --oppohere --oppothere`.
    pub(crate) fn oppo_whack(&mut self, now: Time, client: ClientId, pair: Pair) {
        let about = About::client(client);
        let (here, there) = pair;
        let cannot =
            |why: &str| format!("Can not opportunistically initiate for {here} to {there}: {why}");
        if here.is_unspecified() || there.is_unspecified() {
            self.loglog(about, Rc::OppoFailure, cannot("impossible IP address"));
            return;
        }
        let clients = failure::clients_between(pair);
        let found = self.conns.for_packet(&clients);
        let found = found.map(|conn| (conn.id(), conn.kind, conn.policy));
        match found {
            Some((id, Kind::Permanent | Kind::Instance, policy)) if !policy.never_negotiate() => {
                self.ike_initiate(now, id, Some(client));
            }
            Some((id, Kind::Template, policy)) if policy.opportunistic => {
                self.hold_client(client);
                if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                    attempt.clients.push(client);
                } else {
                    let flow = flow_between(pair);
                    self.begin_attempt(now, id, pair, (flow, false, true), Some(client));
                }
            }
            _ => self.loglog(
                about,
                Rc::OppoFailure,
                cannot("no routed Template covers this pair"),
            ),
        }
    }

    pub(super) fn begin_attempt(
        &mut self,
        now: Time,
        template: ConnId,
        pair: Pair,
        (flow, held, begins): (Flow, bool, bool),
        client: Option<ClientId>,
    ) {
        let attempt = Attempt {
            template,
            flow,
            held,
            stands: self.has_bare(&flow),
            begun: now,
            begins,
            serial: self.oppo.line.next(),
            patience: Patience::Fresh,
            clients: client.into_iter().collect(),
            ours: false,
            open: 0,
            waiting: VecDeque::new(),
            chosen: None,
            conn: None,
            silent: 0,
            verdict: None,
            why: (String::new(), Duration::ZERO),
        };
        self.oppo.attempts.insert(pair, attempt);
        let (ours, theirs) = pair;
        self.debug(About::conn(template), DebugClass::Oppo, || {
            format!("looking up who speaks for {theirs}, to which {ours} sends")
        });
        let Some(conn) = self.conns.get(template) else {
            return;
        };
        let me = conn.this.id.clone();
        self.line_up(pair);
        self.make_hold(now);
        self.begin_patience(now, pair);
        if !self.waits_for_my_id(&me, pair) {
            self.ask_for_ours(now, pair);
        }
        self.ask_for(now, pair, Query::Delegation(theirs), Asker::Theirs(pair));
    }

    /// Asks DNS whether we may speak for our client.
    pub(super) fn ask_for_ours(&mut self, now: Time, pair: Pair) {
        let attempt = self.oppo.attempts.get(&pair);
        let Some(conn) = attempt.and_then(|attempt| self.conns.get(attempt.template)) else {
            return;
        };
        match self.query_for_ours(conn, pair) {
            Ok(query) => self.ask_ours(now, pair, query),
            Err(why) => self.attempt_failed_for(now, pair, &why, failure::after_negotiation()),
        }
    }

    fn query_for_ours(&self, conn: &Connection, pair: Pair) -> Result<Query, String> {
        let (gateway, _) = self.ourselves(conn)?;
        Ok(match conn.this.host == Some(pair.0) {
            true => Query::Keys(gateway),
            false => Query::Delegation(pair.0),
        })
    }

    /// What DNS said a moment ago of ourselves it need not say again.
    fn ask_ours(&mut self, now: Time, pair: Pair, query: Query) {
        match self.oppo.lookups.recall(now, &query, false) {
            Some(answer) => {
                if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                    attempt.open += 1;
                }
                self.ours_answered(now, pair, &query, &Ok(answer), false);
            }
            None => self.ask_for(now, pair, query, Asker::Ours(pair)),
        }
    }

    /// DNS is late: what it last said of ourselves will do (RFC 8767 section 5).
    pub(super) fn recall_ours(&mut self, now: Time, pair: Pair) {
        let attempt = self
            .oppo
            .attempts
            .get(&pair)
            .filter(|attempt| !attempt.ours);
        let conn = attempt.and_then(|attempt| self.conns.get(attempt.template));
        let Some(Ok(query)) = conn.map(|conn| self.query_for_ours(conn, pair)) else {
            return;
        };
        if let Some(answer) = self.oppo.lookups.recall(now, &query, true) {
            if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                attempt.open += 1;
            }
            self.ours_answered(now, pair, &query, &Ok(answer), false);
        }
    }

    pub(super) fn ask_for(&mut self, now: Time, pair: Pair, query: Query, asker: Asker) {
        if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
            attempt.open += 1;
            self.look_up(now, query, asker);
        }
    }

    pub(super) fn answered_for(&mut self, pair: Pair) {
        if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
            attempt.open = attempt.open.saturating_sub(1);
        }
    }

    /// DNS has told whether we may speak for our client.
    pub(super) fn ours_answered(
        &mut self,
        now: Time,
        pair: Pair,
        query: &Query,
        found: &Found,
        anew: bool,
    ) {
        self.answered_for(pair);
        let Some(attempt) = self.oppo.attempts.get(&pair) else {
            return;
        };
        if attempt.ours {
            return;
        }
        let Some(conn) = self.conns.get(attempt.template) else {
            return self.attempt_failed_for(now, pair, "the policy has gone", Duration::ZERO);
        };
        let checked = match (self.ourselves(conn), found) {
            (Err(why), _) => Err((why, failure::after_negotiation())),
            (_, Err(error)) => {
                let life = life_of(error, shunt_of(&conn.policy));
                Err((format!("for ourselves: {error}"), life))
            }
            (Ok((gateway, key)), Ok(answer)) => match delegates(pair.0, answer, &gateway, &key) {
                Ok(proved) => Ok((proved, gateway)),
                Err(why) => Err((why, failure::after_records())),
            },
        };
        if anew
            && checked.is_ok()
            && let Ok(answer) = found
        {
            self.oppo.lookups.remember(now, query.clone(), answer);
        }
        match checked {
            Err((why, life)) => self.attempt_failed_for(now, pair, &why, life),
            Ok((false, gateway)) => self.ask_ours(now, pair, Query::Keys(gateway)),
            Ok((true, _)) => {
                if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                    attempt.ours = true;
                }
                self.negotiate(now, pair);
            }
        }
    }

    /// DNS has told who speaks for the destination.
    pub(super) fn theirs_answered(&mut self, now: Time, pair: Pair, found: &Found) {
        self.answered_for(pair);
        let dnssec = self.wants_dnssec(pair);
        let problem = match found {
            Err(error) => {
                let shunt = failure::shunt_after(error, self.shunt_for(pair));
                if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                    attempt.verdict = Some(shunt);
                }
                Some((error.to_string(), life_of(error, shunt)))
            }
            Ok(answer) => {
                let believed = believed(answer, dnssec).err();
                believed.map(|why| (why, failure::after_records()))
            }
        };
        if let Some((why, life)) = problem {
            return self.attempt_failed_for(now, pair, &why, life);
        }
        let (Some(attempt), Ok(answer)) = (self.oppo.attempts.get_mut(&pair), found) else {
            return;
        };
        attempt.waiting = candidates(pair.1, answer);
        let why = format!(
            "no record for {} names a gateway that can be reached",
            pair.1
        );
        attempt.why = (why, failure::after_records());
        self.next_gateway(now, pair);
    }

    /// What the policy of an attempt puts in place of a tunnel.
    pub(super) fn shunt_for(&self, pair: Pair) -> MagicSpi {
        let attempt = self.oppo.attempts.get(&pair);
        let conn = attempt.and_then(|attempt| self.conns.get(attempt.template));
        conn.map_or(MagicSpi::Drop, |conn| shunt_of(&conn.policy))
    }

    pub(super) fn wants_dnssec(&self, pair: Pair) -> bool {
        let template = self
            .oppo
            .attempts
            .get(&pair)
            .map(|attempt| attempt.template);
        let conn = template.and_then(|template| self.conns.get(template));
        conn.is_some_and(|conn| conn.policy.dnssec)
    }

    /// All is known: negotiate.
    pub(super) fn negotiate(&mut self, now: Time, pair: Pair) {
        let Some(attempt) = self.oppo.attempts.get(&pair) else {
            return;
        };
        let (true, None, Some(candidate)) = (attempt.ours, attempt.conn, &attempt.chosen) else {
            return;
        };
        let pins = candidate.pins(now, self.wants_dnssec(pair));
        let (Some(place), Some(pins)) = (candidate.place, pins) else {
            return;
        };
        let template = attempt.template;
        let (held, flow) = (attempt.held, attempt.flow);
        let (ours, theirs) = (Subnet::host(pair.0), Subnet::host(pair.1));
        let gateway = SocketAddr::new(place, IKE_PORT);
        let known = self.conns.opportunistic_between(ours, theirs);
        let made = match known.and_then(|id| self.conns.get(id)) {
            Some(conn) if conn.routing() == Routing::Tunnel => {
                let text = format!(
                    "%hold otherwise handled during DNS lookup for Opportunistic Initiation for {} to {}",
                    pair.0, pair.1
                );
                self.log(About::default(), &text);
                return self.attempt_over(pair, Rc::Comment, &text);
            }
            // Its tunnel has gone, or the peer is making one.
            Some(conn)
                if conn.that.host == Some(place) && self.shares_a_pin(conn.id(), &pins.keys) =>
            {
                Some(conn.id())
            }
            known => {
                if let Some(other) = known.map(Connection::id) {
                    self.release_connection(now, other);
                }
                self.conns
                    .oppo_instantiate(template, gateway, None, ours, theirs)
            }
        };
        let Some(conn) = made else {
            let why = format!("no suitable connection for opportunism with {place} as peer");
            return self.attempt_failed_for(now, pair, &why, failure::after_records());
        };
        self.pin(conn, pins);
        if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
            attempt.conn = Some(conn);
        }
        self.line_up(pair);
        if held {
            self.enqueue(now, Some(theirs), Op::Hold(conn, flow));
        }
        self.take_turn(now, conn);
    }

    /// A negotiation has failed for good. True if it was one of ours: then the next gateway is tried, or the failure shunt
    /// stands.
    pub(crate) fn oppo_negotiation_failed(&mut self, now: Time, id: ConnId) -> bool {
        if !self.is_opportunistic_instance(id) {
            return false;
        }
        let found = self.conns.get(id).map(|conn| (conn.that.host, conn.policy));
        if let Some((Some(peer), policy)) = found {
            let life = self.oppo.life_of_failure(now, peer, shunt_of(&policy));
            let why = format!("negotiation with gateway {peer} failed");
            self.instance_failed(now, id, why, life);
        }
        true
    }

    /// The gateway of these instances has not answered a first message, nor has anybody in its name: nobody else tries it for a while,
    /// unless there is an ISAKMP SA with it.
    pub(crate) fn oppo_gateway_silent(&mut self, now: Time, ids: &[ConnId]) {
        for id in ids {
            let Some(conn) = self.conns.get(*id) else {
                continue;
            };
            let (Some(peer), Some(clients), policy) = (conn.that.host, conn.clients(), conn.policy)
            else {
                continue;
            };
            self.count_silent((clients.ours.addr(), clients.theirs.addr()));
            if !self.has_isakmp_sa(peer) {
                self.oppo.gateway_silent(now, peer, shunt_of(&policy));
            }
        }
    }

    /// A gateway has another key than DNS names for this destination, or speaks for it no longer. For others it may be the right one.
    pub(crate) fn oppo_wrong_key(&mut self, now: Time, id: ConnId, error: &str) {
        if self.is_opportunistic_instance(id) {
            let life = failure::after_negotiation();
            self.instance_failed(now, id, error.to_owned(), life);
        }
    }

    pub(super) fn instance_failed(&mut self, now: Time, id: ConnId, why: String, life: Duration) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.routing() == Routing::Tunnel {
            // What is there stays until its end.
            return;
        }
        let (Some(clients), template) = (conn.clients(), conn.template) else {
            return;
        };
        let pair = (clients.ours.addr(), clients.theirs.addr());
        let held = matches!(conn.routing(), Routing::Hold | Routing::UnroutedHold);
        // What is held goes to the next gateway, or becomes a shunt of its own.
        self.conns.set_routing(id, Routing::Unrouted);
        self.conns.edit(id, |conn| conn.that.client = None);
        match self.oppo.attempts.get_mut(&pair) {
            Some(attempt) if attempt.conn == Some(id) => {
                attempt.why = (why, life);
                self.next_gateway(now, pair);
            }
            _ if held => {
                let policy = template
                    .and_then(|id| self.conns.get(id))
                    .map(|conn| conn.policy);
                if let Some(policy) = policy {
                    let flow = flow_between(pair);
                    self.set_verdict(now, flow, shunt_of(&policy), &why, life);
                }
            }
            _ => {}
        }
        self.connection_discard(now, id);
    }

    /// SAs of an opportunistic connection are up.
    pub(crate) fn oppo_up(&mut self, now: Time, id: ConnId, state: StateId) {
        if !self.is_opportunistic_instance(id) {
            return;
        }
        self.watch_use(now, state);
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if let Some(peer) = conn.that.host {
            self.oppo.gateway_met(now, peer);
        }
        let clients = self
            .conns
            .get(id)
            .and_then(crate::engine::Connection::clients);
        if let Some(clients) = clients {
            let pair = (clients.ours.addr(), clients.theirs.addr());
            if let Some(attempt) = self.oppo.attempts.get(&pair) {
                self.oppo.figures.over(now, attempt.begun, true);
            }
            self.attempt_over(pair, Rc::Comment, "the tunnel is up");
        }
    }

    /// The instance of an attempt is deleted.
    pub(super) fn attempt_abandoned(&mut self, _now: Time, id: ConnId) {
        let Some(clients) = self
            .conns
            .get(id)
            .and_then(crate::engine::Connection::clients)
        else {
            return;
        };
        let pair = (clients.ours.addr(), clients.theirs.addr());
        let ours = self
            .oppo
            .attempts
            .get(&pair)
            .is_some_and(|attempt| attempt.conn == Some(id));
        if ours {
            self.attempt_over(pair, Rc::OppoFailure, "the connection went away");
        }
    }

    /// Another policy is for this destination now. The next packet meets it.
    pub(super) fn attempt_outdated(&mut self, now: Time, pair: Pair) {
        if let Some(flow) = self
            .oppo
            .attempts
            .get(&pair)
            .filter(|a| a.held)
            .map(|a| a.flow)
        {
            self.drop_bare_hold(now, flow, "another policy");
        }
        self.attempt_over(pair, Rc::OppoFailure, "the policy has changed");
    }

    /// An attempt ends without anything to be put in place.
    fn attempt_over(&mut self, pair: Pair, rc: Rc, text: &str) {
        let Some(attempt) = take(&mut self.oppo.attempts, &pair) else {
            return;
        };
        self.timers.cancel(&Timer::Attempt(pair));
        self.leave_line((attempt.begins, attempt.serial, pair));
        if attempt.open > 0 {
            self.forget_lookups(&[
                Asker::Ours(pair),
                Asker::Theirs(pair),
                Asker::GatewayKey(pair),
                Asker::GatewayAddress(pair),
            ]);
        }
        for client in attempt.clients {
            self.whack_log(About::client(client), rc, text);
            self.release_client(client);
        }
    }

    /// No tunnel: what the policy says of failures stands for a while.
    pub(super) fn attempt_failed_for(&mut self, now: Time, pair: Pair, why: &str, life: Duration) {
        let Some(attempt) = self.oppo.attempts.get(&pair) else {
            return;
        };
        let (held, flow, verdict) = (attempt.held, attempt.flow, attempt.verdict);
        if !attempt.stands {
            self.oppo.figures.over(now, attempt.begun, false);
        }
        // One of a name server's is not a verdict, and goes by itself.
        let stands = attempt.stands && self.has_bare(&flow);
        let policy = self.conns.get(attempt.template);
        let policy = policy.filter(|conn| conn.kind != Kind::GoingAway);
        let policy = policy.map(|conn| conn.policy);
        let text = format!(
            "Can not opportunistically initiate for {} to {}: {why}",
            pair.0, pair.1
        );
        self.debug(About::default(), DebugClass::Oppo, || text.clone());
        match policy {
            Some(policy) if held || stands => {
                let shunt = verdict.unwrap_or(shunt_of(&policy));
                self.set_verdict(now, flow, shunt, why, life);
            }
            None if held => self.drop_bare_hold(now, flow, "no connection"),
            _ => {}
        }
        self.attempt_over(pair, Rc::OppoFailure, &text);
    }

    /// The destinations that are being looked up, for status.
    pub(crate) fn attempts_status(&self) -> Vec<String> {
        let line = |(pair, attempt): (&Pair, &Attempt)| {
            let doing = match (&attempt.conn, &attempt.chosen) {
                (Some(_), Some(gateway)) => format!("negotiating with {}", gateway.gateway),
                _ => "looking up in DNS".to_owned(),
            };
            format!(
                "{}:0 -0-> {}:0 => %hold 0    {doing}",
                attempt.flow.src,
                Subnet::host(pair.1)
            )
        };
        self.oppo.attempts.iter().map(line).collect()
    }
}
