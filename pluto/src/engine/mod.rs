//! Pluto's engine: events in, actions out. It owns no socket, no clock, no file and no thread,
//! so that any number of engines can be run against each other in simulated time.
//!
//! The IKE part provides, for the rest to call: `ike_datagram(now, local, remote, &bytes)`,
//! `ike_initiate(now, conn, client: Option<ClientId>)`, `ike_timer(now, IkeTimer)`, `ike_job_done(now, JobId, JobResult)`,
//! `ike_terminate(now, conn)` (delete all states of a connection, telling the peer), `ike_delete_state(now, StateId) -> bool`,
//! `ike_crash(now, peer)`, `ike_status(now) -> Vec<String>`, `ike_whack_gone(client)`,
//! `ike_sa_installed(now, StateId, Installed, Result<(), InstallError>)`, `ike_sa_expired(now, StateId, hard: bool)`,
//! `ike_shutdown(now)` (delete everything, telling the peers).
//!
//! The parts: `connection` (what is configured), `route` (who owns which route and eroute, and updown),
//! `kernel` (PF_KEY), `command` (what whack asks), `ike` (the exchanges), `log` (words to people), `keylog` (keys for Wireshark, where asked for).

pub mod command;
pub mod connection;
pub mod event;
mod hosts;
pub mod ike;
mod interfaces;
pub mod kernel;
pub mod keylog;
pub(crate) mod limiter;
pub mod log;
pub mod oppo;
mod pursue;
pub(crate) mod room;
pub mod route;
#[cfg(test)]
mod tests;
pub mod time;
pub mod timers;

use core::net::IpAddr;
use std::collections::{BTreeSet, HashMap};

use ipsec_keys::Secrets;
use rand::CryptoRng;
use whack::Rc;

pub use connection::{Clients, ConnId, Connection, Connections, Id, KnownId, StateId};
pub use event::{
    Action, ClientId, DefaultRoute, DefaultRoutes, Event, GroupFile, HostLookupId, Interface, Job,
    JobId, JobResult, LogLevel, LookupId, UpdownId, UpdownStatus, Urgency,
};
pub use kernel::{InstallError, Installed, SaParams};
pub use log::About;
pub use time::Time;
pub use timers::{Timer, Timers};

use command::Clients as WhackClients;
use connection::Addresses;
use ike::authority::KnownKey;
use kernel::Kernel;
use limiter::{Cause, Limiter};
use log::DebugSet;
use route::{Lanes, Shunts, Updowns};

/// What the daemon is started with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// A peer identity is in one place at a time: a new ISAKMP SA frees what it had elsewhere (`uniqueids=`).
    pub unique_ids: bool,
    /// What to log beyond the usual.
    pub debug: DebugSet,
    /// Negotiate only, and tell no kernel (`--noklips`).
    pub no_klips: bool,
    /// The file that keys are logged to, where they are (`keylogfile=`).
    pub key_log: Option<String>,
    /// The host's name, by which `%myid` may be known.
    pub host_name: Option<String>,
    /// Computations for strangers that may run at a time; one if 0.
    pub stranger_jobs: usize,
    /// Our process id, by which answers on PF_KEY are told from those to others.
    pub pid: u32,
    /// NAT traversal.
    pub nat: NatConfig,
    /// Addresses that peers may have behind NAT (`virtual_private=`).
    pub virtual_private: whack::Nets,
}

/// NAT traversal as configured.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// Listen on the port for it, and offer it (`nat_traversal=`).
    pub traversal: bool,
    /// The UDP port.
    pub port: u16,
    /// How often keep-alives are sent (`keep_alive=`); never if zero.
    pub keep_alive: core::time::Duration,
    /// Send them even where the NAT is in front of the peer.
    pub force_keep_alive: bool,
    /// Go over to the port. All forms of NAT traversal that are built do, so without it none is offered.
    pub port_floating: bool,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            traversal: false,
            port: connection::NAT_PORT,
            keep_alive: core::time::Duration::from_secs(20),
            force_keep_alive: false,
            port_floating: true,
        }
    }
}

/// Public keys of peers, by identity ([`Id::normal`]).
pub(crate) type PublicKeys = HashMap<Id, Vec<KnownKey>>;

/// The engine.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) rng: Box<dyn CryptoRng + Send>,
    pub(crate) conns: Connections,
    pub(crate) timers: Timers,
    pub(crate) secrets: Secrets,
    pub(crate) public_keys: PublicKeys,
    /// What `%myid` stands for; the address of a connection's own end if none.
    pub(crate) my_id: Id,
    pub(crate) ike: ike::Ike,
    pub(crate) listening: bool,
    interfaces: Vec<Interface>,
    addresses: Addresses,
    /// All addresses of this host.
    local: BTreeSet<IpAddr>,
    kernel: Kernel,
    updowns: Updowns,
    lanes: Lanes,
    shunts: Shunts,
    clients: WhackClients,
    waiting_for_interfaces: Vec<ClientId>,
    waiting_for_secrets: Vec<ClientId>,
    pub(crate) limiter: Limiter,
    oppo: oppo::Oppo,
    hosts: hosts::Hosts,
    problems: Vec<String>,
    actions: Vec<Action>,
    jobs: u64,
    shutting_down: bool,
    exited: bool,
}

impl Engine {
    /// An engine that knows nothing yet. `rng` must be seeded from the system's; a simulation gives its own.
    pub fn new(config: Config, mut rng: Box<dyn CryptoRng + Send>) -> Self {
        let ike = ike::Ike::new(&mut *rng);
        let mut conns = Connections::default();
        conns.set_virtual_private(config.virtual_private.clone());
        Self {
            config,
            rng,
            conns,
            timers: Timers::default(),
            secrets: Secrets::default(),
            public_keys: PublicKeys::default(),
            my_id: Id::None,
            ike,
            listening: false,
            interfaces: Vec::new(),
            addresses: Addresses::default(),
            local: BTreeSet::new(),
            kernel: Kernel::default(),
            updowns: Updowns::default(),
            lanes: Lanes::default(),
            shunts: Shunts::default(),
            clients: WhackClients::default(),
            waiting_for_interfaces: Vec::new(),
            waiting_for_secrets: Vec::new(),
            limiter: Limiter::default(),
            oppo: oppo::Oppo::default(),
            hosts: hosts::Hosts::default(),
            problems: Vec::new(),
            actions: Vec::new(),
            jobs: 0,
            shutting_down: false,
            exited: false,
        }
    }

    /// Takes one event, and tells what must be done about it, in this order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.limiter.begin(now, self.cause_of(&event));
        match event {
            Event::Datagram {
                local,
                remote,
                bytes,
            } => self.ike_datagram(now, local, remote, &bytes),
            Event::NetworkError(text) => self.loglog(About::default(), Rc::LogSerious, text),
            Event::Tick => {}
            Event::Whack { client, request } => self.whack(now, client, &request),
            Event::WhackGone(client) => self.whack_gone(client),
            Event::PfKey(message) => self.kernel_message(now, &message),
            Event::KernelUp(up) => self.kernel_up(now, up),
            Event::JobDone { id, result } => self.ike_job_done(now, id, result),
            Event::InterfaceProblem(problem) => self.interface_problem(&problem),
            Event::Problems(problems) => self.problems = problems,
            Event::Interfaces(interfaces) => {
                self.interfaces_changed(now, interfaces);
                self.guess_my_id(now);
                self.ask_missing_names();
            }
            Event::LocalAddresses(addresses) => self.local_addresses(now, addresses),
            Event::DeviceUp(device) => self.device_up(now, &device),
            Event::Routes => self.pursue_all(now),
            Event::UpdownDone { id, output, status } => self.updown_done(now, id, &output, &status),
            Event::Secrets { secrets, problems } => {
                self.secrets_read(*secrets, &problems);
                self.forget_own_answers();
                self.guess_my_id(now);
            }
            Event::Groups(files) => self.groups_read(now, files),
            Event::LookupDone { id, result, heard } => {
                if heard {
                    self.resolver_says(now);
                }
                self.lookup_done(now, id, result);
            }
            Event::NameServers(servers) => {
                self.name_servers(now, servers);
                self.guess_my_id(now);
                self.ask_missing_names();
            }
            Event::HostFound { id, result } => self.host_found(now, id, result),
            Event::DefaultRoutes(routes) => self.default_routes(now, routes),
        }
        self.limiter.begin(now, None);
        self.run_timers(now);
        if self.shutting_down && self.lanes.idle() && !self.exited {
            self.exited = true;
            self.act(Action::Exit(0));
        }
        core::mem::take(&mut self.actions)
    }

    /// Who may be behind an event, as far as is known before it is looked at.
    fn cause_of(&self, event: &Event) -> Option<Cause> {
        match event {
            Event::Datagram { .. } => Some(Cause::Stray),
            Event::NetworkError(_) => Some(Cause::Network),
            Event::JobDone { id, .. } => self.cause_of_job(*id),
            _ => None,
        }
    }

    /// When the driver must send [`Event::Tick`], unless something else happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    /// The connections.
    pub fn connections(&self) -> &Connections {
        &self.conns
    }

    fn run_timers(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Ike(timer) => self.ike_timer(now, timer),
                Timer::LinesLeftOut => self.tell_lines_left_out(),
                Timer::ShuntScan => self.scan_shunts(now),
                Timer::KernelSilent(seq) => self.kernel_silent(now, seq),
                Timer::Lookup(id) => self.lookup_silent(now, id),
                Timer::Attempt(pair) => self.attempt_timer(now, pair),
                Timer::Resolver => self.resolver_timer(now),
                Timer::MyId => self.guess_my_id(now),
                Timer::Pursue(conn) => self.pursue(now, conn),
                Timer::HostName(name) => self.ask_name(&name),
                Timer::HostWaiters => self.serve_waiters(now),
                Timer::Use(state) => self.use_timer(now, state),
            }
        }
    }

    /// Asks the driver for something.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Send {
                local,
                remote,
                bytes,
            } if bytes.len() > ike::fragment::WHOLE => self.send_long(local, remote, bytes),
            other => self.actions.push(other),
        }
    }

    /// Hands a computation out; its result comes to `ike_job_done`.
    pub(crate) fn start_job(&mut self, job: Job) -> JobId {
        self.jobs += 1;
        let id = JobId(self.jobs);
        self.act(Action::StartJob { id, job });
        id
    }

    /// The identity of an end with `%myid` resolved, in the form of `ipsec-keys`; `None` if it has none.
    pub(crate) fn resolve_id(&self, id: &Id) -> Option<KnownId> {
        match id {
            Id::MyId => self.my_id.known().cloned(),
            other => other.known().cloned(),
        }
    }
}
