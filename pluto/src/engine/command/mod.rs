//! What whack asks. Each request is carried out here or handed to the part that can; replies go to the
//! client that asked, and it is let go when nothing that it waits for is left.

mod clients;
mod keys;
mod status;

use whack::{Rc, Request};

use super::Engine;
use super::connection::{ConnId, Kind, Routing, StateId};
use super::event::{Action, ClientId};
use super::log::{About, DebugSet};
use super::time::Time;

pub(crate) use clients::Clients;

impl Engine {
    /// Carries out a request.
    pub(super) fn whack(&mut self, now: Time, client: ClientId, request: &Request) {
        self.clients.arrive(client);
        match request.validate() {
            Ok(()) => self.obey(now, client, request),
            Err(invalid) => {
                self.loglog(
                    About::client(client),
                    Rc::BadWhackMessage,
                    format!("bad request from whack: {invalid}"),
                );
            }
        }
        self.release_client(client);
    }

    /// A client has gone; nothing more is said to it.
    pub(super) fn whack_gone(&mut self, client: ClientId) {
        self.clients.leave(client);
        self.forget_waiting(client);
        self.forget_waiter(client);
        self.ike_whack_gone(client);
    }

    fn obey(&mut self, now: Time, client: ClientId, request: &Request) {
        let about = About::client(client);
        match request {
            Request::Connection(description) => {
                self.add_connection(now, client, description);
            }
            Request::Replace(description) => self.replace_connection(now, client, description),
            Request::Delete { name } => {
                if let Some(id) = self.named(client, name) {
                    self.delete_connection(now, id, Some(client));
                }
            }
            Request::Route { name } => self.whack_route(now, client, name),
            Request::Unroute { name } => self.whack_unroute(now, client, name),
            Request::Initiate { name, asynchronous } => {
                self.whack_initiate(now, client, name, *asynchronous)
            }
            Request::Terminate { name } => self.whack_terminate(now, client, name),
            Request::DeleteState { number } => {
                if !self.ike_delete_state(now, StateId(*number)) {
                    self.loglog(
                        about,
                        Rc::UnknownName,
                        format!("no state #{number} to delete"),
                    );
                }
            }
            Request::Crash { peer } => self.ike_crash(now, *peer),
            Request::Listen => self.whack_listen(now, client),
            Request::Unlisten => {
                self.log(About::default(), "no longer listening for IKE messages");
                self.listening = false;
                self.act(Action::Listen(false));
            }
            Request::PublicKey { id, add, key, .. } => {
                self.whack_key(now, client, id, *add, key.as_deref())
            }
            Request::MyId { id } => self.whack_my_id(now, client, id),
            Request::Reread { class } => {
                self.whack_reread(client);
                if *class == whack::RereadClass::All {
                    self.read_groups(Some(client));
                }
            }
            Request::List { .. } => self.list_public_keys(client),
            Request::Debug { name, classes } => {
                self.whack_debug(client, name.as_deref(), classes.iter().copied().collect());
            }
            Request::OpportunisticInitiate { here, there } => {
                if self.listening {
                    self.oppo_whack(now, client, (*here, *there));
                } else {
                    self.whack_log(
                        about,
                        Rc::Deaf,
                        "need --listen before opportunistic initiation",
                    );
                }
            }
            Request::Status => self.whack_status(now, client),
            Request::Shutdown => self.shut_down(now, client),
        }
    }

    /// The configured connection of a name; says so if there is none.
    fn named(&mut self, client: ClientId, name: &str) -> Option<ConnId> {
        let found = self.conns.configured(name).map(super::Connection::id);
        if found.is_none() {
            self.whack_log(
                About::client(client),
                Rc::UnknownName,
                format!("no connection named \"{name}\""),
            );
        }
        found
    }

    fn add_connection(
        &mut self,
        now: Time,
        client: ClientId,
        description: &whack::Connection,
    ) -> Option<ConnId> {
        let about = About::client(client);
        let found = self.addresses_of(description);
        let added = self.conns.add_found(description, &found, &self.addresses);
        let (id, oriented) = match added {
            Ok(added) => added,
            Err(error) => {
                self.loglog(about, error.rc(), error.to_string());
                return None;
            }
        };
        if let Err(error) = oriented {
            self.loglog(about, Rc::LogSerious, error.to_string());
        }
        if description.policy.compress && self.kernel_is_up() && !self.can_do_ipcomp() {
            let text = format!(
                "ignoring --compress in \"{}\" because KLIPS is not configured to do IPCOMP",
                description.name
            );
            self.loglog(about, Rc::Comment, text);
        }
        self.follow(id, description, found);
        self.check_virtual(id);
        self.my_id_for(now, id);
        let topology = self
            .conns
            .get(id)
            .map(super::Connection::topology)
            .unwrap_or_default();
        self.log(
            About::default(),
            format!("added connection description \"{}\"", description.name),
        );
        self.debug(About::conn(id), whack::DebugClass::Control, || topology);
        if description.policy.group && self.listening {
            self.read_groups(Some(client));
        }
        Some(id)
    }

    fn replace_connection(&mut self, now: Time, client: ClientId, description: &whack::Connection) {
        let old = self.conns.configured(&description.name);
        let old = old.map(|conn| (conn.id(), conn.kind, conn.policy.grouted));
        let Some((old, Kind::Group, routed)) = old.filter(|_| description.policy.group) else {
            if let Some((old, ..)) = old {
                self.delete_connection(now, old, Some(client));
            }
            self.add_connection(now, client, description);
            return;
        };
        // Its name is free then, and what stands for its blocks stays until the new one's are routed.
        self.conns.edit(old, |conn| conn.kind = Kind::GoingAway);
        let Some(new) = self.add_connection(now, client, description) else {
            self.conns.edit(old, |conn| conn.kind = Kind::Group);
            return;
        };
        self.conns.edit(new, |conn| conn.policy.grouted = routed);
        self.unfollow(old);
        self.conns.remove(old);
        if !self.listening {
            self.apply_groups(now);
        }
    }

    fn whack_route(&mut self, now: Time, client: ClientId, name: &str) {
        let about = About::client(client);
        if !self.listening {
            self.whack_log(about, Rc::Deaf, "need --listen before --route");
            return;
        }
        let Some(id) = self.named(client, name) else {
            return;
        };
        if let Some(live) = self.conns.live_mut(id) {
            live.wanted.routed = true;
        }
        if self.waits_for_address(id) {
            self.conns
                .edit(id, |conn| conn.policy.grouted = conn.policy.group);
            self.tell_that_it_waits(now, id, client);
        } else if self.conns.get(id).is_some_and(super::Connection::oriented) {
            self.route_connection(now, id, Some(client));
        } else {
            let why = self.conns.get(id).map(|conn| self.why_not_oriented(conn));
            self.whack_log(
                About::conn(id).watched_by(Some(client)),
                Rc::Orient,
                why.unwrap_or_default(),
            );
            self.pursue(now, id);
        }
    }

    fn whack_unroute(&mut self, now: Time, client: ClientId, name: &str) {
        let Some(id) = self.named(client, name) else {
            return;
        };
        if self
            .conns
            .get(id)
            .is_some_and(|conn| conn.routing() == Routing::Tunnel)
        {
            let about = About::conn(id).watched_by(Some(client));
            self.whack_log(about, Rc::RtBusy, "cannot unroute: route busy");
        } else {
            self.unroute_connection(now, id, Some(client));
        }
    }

    fn whack_initiate(&mut self, now: Time, client: ClientId, name: &str, asynchronous: bool) {
        if !self.listening {
            self.whack_log(
                About::client(client),
                Rc::Deaf,
                "need --listen before --initiate",
            );
            return;
        }
        let Some(id) = self.named(client, name) else {
            return;
        };
        // Whoever does not wait for the tunnel does not wait for names: it comes when they are found.
        let looks = !asynchronous && self.looks_names_up(now, client, id);
        if !looks {
            self.initiate_now(now, client, id, asynchronous);
        }
    }

    /// Initiates a connection with the addresses that it has, or says why that can't be.
    pub(in crate::engine) fn initiate_now(
        &mut self,
        now: Time,
        client: ClientId,
        id: ConnId,
        asynchronous: bool,
    ) {
        let about = About::conn(id).watched_by(Some(client));
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let negotiable = conn.kind == Kind::Permanent && !conn.policy.never_negotiate();
        if conn.waiting && !conn.policy.never_negotiate() {
            if let Some(live) = self.conns.live_mut(id).filter(|_| negotiable) {
                live.wanted.up = true;
            }
            self.tell_that_it_waits(now, id, client);
            return;
        }
        let problem = if !conn.present() {
            Some((Rc::Orient, self.why_not_oriented(conn)))
        } else if conn.policy.never_negotiate() {
            Some((
                Rc::InitShunt,
                "cannot initiate an authby=never connection".to_owned(),
            ))
        } else if conn.kind != Kind::Permanent && conn.that.host.is_none() {
            let text = format!(
                "cannot initiate connection without knowing peer IP address (kind={})",
                conn.kind
            );
            Some((Rc::NoPeerIp, text))
        } else if conn.kind != Kind::Permanent {
            let text = format!(
                "cannot initiate connection with ID wildcards (kind={})",
                conn.kind
            );
            Some((Rc::Wildcard, text))
        } else {
            None
        };
        if negotiable && let Some(live) = self.conns.live_mut(id) {
            // Also where it is not possible yet.
            live.wanted.up = true;
        }
        if let Some((rc, text)) = problem {
            self.loglog(about, rc, text);
            self.pursue(now, id);
            return;
        }
        self.ike_initiate_asked(now, id, (!asynchronous).then_some(client));
    }

    fn tell_that_it_waits(&mut self, now: Time, id: ConnId, client: ClientId) {
        let about = About::conn(id).watched_by(Some(client));
        for text in self.why_it_waits(now, id) {
            self.whack_log(about, Rc::NoPeerIp, text);
        }
    }

    fn whack_terminate(&mut self, now: Time, client: ClientId, name: &str) {
        if self.named(client, name).is_none() {
            return;
        }
        let all: Vec<ConnId> = self.conns.by_name(name).collect();
        for id in all {
            let negotiated = self.conns.get(id).is_some_and(|conn| {
                matches!(conn.kind, Kind::Permanent | Kind::Instance)
                    && !conn.policy.never_negotiate()
            });
            if negotiated {
                self.log(About::conn(id), "terminating SAs using this connection");
                if let Some(live) = self.conns.live_mut(id) {
                    live.wanted.up = false;
                }
                let lane = self.conns.get(id).and_then(|conn| conn.that.client);
                self.ike_terminate(now, id);
                self.wait_for_lane(now, lane, client);
            }
        }
    }

    fn whack_debug(&mut self, client: ClientId, name: Option<&str>, classes: DebugSet) {
        let Some(name) = name else {
            self.config.debug = classes;
            return;
        };
        if let Some(id) = self.named(client, name)
            && let Some(live) = self.conns.live_mut(id)
        {
            live.debug = classes;
        }
    }

    /// Deletes everything; the daemon exits when the kernel and the updown commands have done their part.
    fn shut_down(&mut self, now: Time, client: ClientId) {
        if self.shutting_down {
            return;
        }
        self.log(About::default(), "shutting down");
        self.shutting_down = true;
        // Each SA is deleted under its ISAKMP SA, whichever connection has that.
        self.ike_shutdown(now);
        let all: Vec<ConnId> = self.conns.iter().map(super::Connection::id).collect();
        for id in all {
            self.delete_connection(now, id, Some(client));
        }
    }
}

impl Engine {
    /// Why neither end of a connection is ours: what is wrong with an address of its, or that there is none.
    fn why_not_oriented(&self, conn: &super::Connection) -> String {
        let hosts = [conn.this.host, conn.that.host];
        let names = |problem: &str, host: core::net::IpAddr| {
            let host = host.to_string();
            problem.split_whitespace().any(|word| {
                word.strip_prefix(&host)
                    .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_hexdigit()))
            })
        };
        let about = |problem: &&String| hosts.iter().flatten().any(|host| names(problem, *host));
        let problems: Vec<&str> = self
            .problems
            .iter()
            .filter(about)
            .map(String::as_str)
            .collect();
        if problems.is_empty() {
            return NOT_ORIENTED.to_owned();
        }
        format!("{NOT_ORIENTED}: {}", problems.join("; "))
    }
}

const NOT_ORIENTED: &str = "we have no ipsecN interface for either end of this connection";
