//! The driver's two halves: inputs become events of the engine, and its actions are carried out.

use std::{collections::VecDeque, net::IpAddr, path::Path, time::Duration};

use pfkey::client::Client;
use rand::rngs::StdRng;
use tokio::{
    signal::unix::SignalKind,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use whack::{Rc, Request};

use super::{
    super::{
        client::Clients,
        dns::Dns,
        groups,
        hosts::Hosts,
        jobs::{self, Jobs},
        kernel::{self, Kernel},
        keylog::KeyLog,
        klips, log,
        net::{
            interfaces::{self, RawInterface},
            routes,
            sockets::Sockets,
        },
        options::Options,
        updown::{self, Updown},
    },
    Datagram, Input, Loaded,
};
use crate::engine::{Action, ClientId, Config, Engine, Event, Interface, LogLevel, Time, UpdownId};

/// The driver as a client of the engine: who asks for a shutdown when a signal does.
const SELF: ClientId = ClientId(0);
/// Secrets are waited for this long before other things go on.
const SECRETS_PATIENCE: Duration = Duration::from_secs(2);
/// Names become known in bursts; the secrets are read again after one.
const REFRESH_PAUSE: Duration = Duration::from_millis(500);
/// Until sockets that could not be opened are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// After a signal to end, the engine gets this long to delete its SAs.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// The engine and all that its actions need.
pub struct Driver {
    options: Options,
    engine: Engine,
    /// The engine's time zero.
    zero: Instant,
    inputs: mpsc::Sender<Input>,
    /// Events that came up while carrying actions out.
    events: VecDeque<Event>,
    /// Clients that wait for their answer.
    pub clients: Clients,
    /// Whose request is being handled; it sees what the driver has to say meanwhile.
    asking: Option<ClientId>,
    sockets: Sockets,
    dns: Dns,
    jobs: Jobs,
    hosts: Hosts,
    listening: bool,
    /// All addresses of this host, as the engine knows them.
    local: Vec<IpAddr>,
    /// A socket could not be opened, and it is tried again.
    trying: bool,
    /// The secrets are about to be read again.
    refreshing: bool,
    /// What they say may have changed since.
    refresh_again: bool,
    /// What is wrong with the interfaces, as the engine knows it.
    problems: Vec<String>,
    /// What is found to be wrong while they are looked at.
    found_problems: Vec<String>,
    kernel: Option<Kernel>,
    kernel_generation: u64,
    key_log: Option<KeyLog>,
    updown: Updown,
    shutting_down: bool,
    /// The exit status, once it is time.
    pub exit: Option<u8>,
}

impl Driver {
    /// A driver with a new engine.
    pub fn new(
        options: Options,
        inputs: mpsc::Sender<Input>,
        sockets: Sockets,
        key_log: Option<KeyLog>,
        updown: Updown,
    ) -> Driver {
        let rng: StdRng = rand::make_rng();
        let config = Config {
            pid: std::process::id(),
            stranger_jobs: jobs::for_strangers(),
            host_name: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok()),
            ..options.engine.clone()
        };
        let dns = Dns::new(options.dnssec_rootkey_file.clone(), inputs.clone());
        if let Some(fault) = dns.fault() {
            log::line(
                LogLevel::Warning,
                &format!("ERROR: no look-ups in DNS: {fault}"),
            );
        }
        dns.watch();
        Driver {
            engine: Engine::new(config, Box::new(rng)),
            options,
            dns,
            jobs: Jobs::new(inputs.clone()),
            hosts: Hosts::new(inputs.clone()),
            trying: false,
            refreshing: false,
            refresh_again: false,
            problems: Vec::new(),
            found_problems: Vec::new(),
            zero: Instant::now(),
            inputs,
            events: VecDeque::new(),
            clients: Clients::default(),
            asking: None,
            sockets,
            listening: false,
            local: Vec::new(),
            kernel: None,
            kernel_generation: 0,
            key_log,
            updown,
            shutting_down: false,
            exit: None,
        }
    }

    /// When the engine wants the time told.
    pub fn wake(&self) -> Option<Instant> {
        let since_zero = self.engine.next_timeout()?.since_zero();
        // Beyond what the clock can tell is never.
        self.zero.checked_add(since_zero)
    }

    /// The time the engine asked for has come.
    pub async fn tick(&mut self) {
        self.handle(Event::Tick).await;
    }

    /// Something that an IKE socket delivered.
    pub async fn datagram(&mut self, datagram: Datagram) {
        match datagram {
            Datagram::Received {
                local,
                remote,
                bytes,
            } if self.listening => {
                self.handle(Event::Datagram {
                    local,
                    remote,
                    bytes,
                })
                .await;
            }
            Datagram::Received { .. } => {}
            Datagram::Report(text) => self.handle(Event::NetworkError(text)).await,
        }
    }

    /// Something that another task delivered.
    pub async fn input(&mut self, input: Input) {
        match input {
            Input::Whack {
                client,
                request,
                outbox,
                conversation,
            } => {
                self.clients.add(client, outbox, conversation);
                self.asking = Some(client);
                self.handle(Event::Whack { client, request }).await;
                self.asking = None;
            }
            Input::WhackGone(client) => {
                if self.clients.gone(client) {
                    self.handle(Event::WhackGone(client)).await;
                }
            }
            Input::PfKey(message) => self.handle(Event::PfKey(message)).await,
            Input::KernelLost { generation, why } => self.kernel_lost(generation, &why).await,
            Input::KernelFound(socket) => self.kernel_found(socket).await,
            Input::JobDone(id, Some(result)) => self.handle(Event::JobDone { id, result }).await,
            Input::JobDone(id, None) => {
                log::line(
                    LogLevel::Warning,
                    &format!("ERROR: computation {id:?} failed inside"),
                );
            }
            Input::UpdownDone(id, outcome) => {
                let updown::Outcome { output, status } = outcome;
                self.handle(Event::UpdownDone { id, output, status }).await;
            }
            Input::Secrets(loaded) => {
                self.secrets_loaded(*loaded);
                self.handle_queued().await;
            }
            Input::SecretsRefreshed(loaded) => {
                self.refreshing = false;
                if let Some(loaded) = loaded {
                    self.secrets_loaded(*loaded);
                    self.handle_queued().await;
                }
                if std::mem::take(&mut self.refresh_again) {
                    self.refresh_secrets();
                }
            }
            Input::LookupDone(id, result, heard) => {
                self.dns.finished(id);
                self.handle(Event::LookupDone { id, result, heard }).await;
            }
            Input::HostFound(id, result) => {
                self.hosts.finished();
                self.handle(Event::HostFound { id, result }).await;
            }
            Input::NameServers(servers) => self.handle(Event::NameServers(servers)).await,
            Input::DeviceUp(device) => self.handle(Event::DeviceUp(device)).await,
            Input::RoutesAppeared => self.handle(Event::Routes).await,
            Input::InterfacesChanged => {
                self.routes_changed().await;
                self.interfaces_changed().await;
            }
            Input::TryAgain => {
                self.trying = false;
                self.interfaces_changed().await;
            }
            Input::Signal(kind) => self.signal(kind).await,
            Input::GiveUp => {
                log::line(
                    LogLevel::Warning,
                    "shutdown takes too long; leaving as it is",
                );
                self.exit = Some(1);
            }
            Input::Complaint(text) => log::line(LogLevel::Warning, &text),
        }
    }

    async fn handle(&mut self, event: Event) {
        self.events.push_back(event);
        self.handle_queued().await;
    }

    async fn handle_queued(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let now = Time::from_zero(self.zero.elapsed());
            for action in self.engine.handle(now, event) {
                self.carry_out(action).await;
            }
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send {
                local,
                remote,
                bytes,
            } => {
                let sent = self.sockets.send(local, remote, &bytes);
                self.events.extend(sent.err().map(Event::NetworkError));
            }
            Action::KeepAlive { local, remote } => {
                let sent = self.sockets.keep_alive(local, remote);
                self.events.extend(sent.err().map(Event::NetworkError));
            }
            Action::PfKey(message) => self.send_to_kernel(message),
            Action::StartJob { id, job } => self.jobs.start(id, job),
            Action::RunUpdown { id, command, env } => self.run_updown(id, command, env),
            Action::Reply { client, code, text } => {
                if !self.clients.reply(client, code, text) {
                    self.events.push_back(Event::WhackGone(client));
                }
            }
            Action::Finish { client, status } => self.clients.finish(client, status),
            Action::Log { level, text } => log::line(level, &text),
            Action::LogKey(line) => {
                if let Some(Err(e)) = self.key_log.as_mut().map(|log| log.write(&line)) {
                    log::line(LogLevel::Warning, &format!("ERROR: key log: {e}"));
                }
            }
            Action::Listen(listening) => {
                // The sockets stay when no longer listening, so that states can be deleted in order.
                self.listening = listening;
                if listening {
                    self.find_interfaces().await;
                    self.tell_problems(true);
                    self.tell_interfaces();
                }
            }
            Action::ReadSecrets => self.read_secrets().await,
            Action::RefreshSecrets => self.refresh_secrets(),
            Action::FindHost { id, name } => self.hosts.start(id, name),
            Action::ReadGroups(names) => {
                let files = groups::read(&self.options.policies, names);
                self.events.push_back(Event::Groups(files));
            }
            Action::Lookup { id, query } => self.dns.start(id, query),
            Action::CancelLookup(id) => self.dns.cancel(id),
            Action::Exit(status) => self.exit = Some(status),
        }
    }

    /// A line of the driver's own for whoever is asking.
    fn tell(&mut self, text: &str) {
        if let Some(client) = self.asking {
            self.clients
                .reply(client, Rc::Log.code(), log::printable(text));
        }
    }

    /// The same, and for the log.
    fn say(&mut self, text: &str) {
        log::line(LogLevel::Info, text);
        self.tell(text);
    }

    fn interface_problem(&mut self, text: String) {
        self.found_problems.push(text);
    }

    /// Tells the engine what is wrong with the interfaces: to whoever asks all of it, by itself what is new.
    fn tell_problems(&mut self, asked: bool) {
        let found = std::mem::take(&mut self.found_problems);
        for text in found.iter().filter(|t| asked || !self.problems.contains(t)) {
            let problem = Event::InterfaceProblem(text.clone());
            self.events.push_back(problem);
        }
        if found != self.problems {
            self.events.push_back(Event::Problems(found.clone()));
            self.problems = found;
        }
    }

    async fn signal(&mut self, kind: SignalKind) {
        if kind == SignalKind::hangup() {
            let text = "Pluto ignores SIGHUP -- perhaps you want \"whack --listen\"";
            return log::line(LogLevel::Info, text);
        }
        if std::mem::replace(&mut self.shutting_down, true) {
            self.exit = Some(1);
            return;
        }
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            sleep(SHUTDOWN_PATIENCE).await;
            let _ = inputs.send(Input::GiveUp).await;
        });
        let request = Box::new(Request::Shutdown);
        self.handle(Event::Whack {
            client: SELF,
            request,
        })
        .await;
    }

    fn run_updown(&self, id: UpdownId, command: String, env: Vec<(String, String)>) {
        let (inputs, updown) = (self.inputs.clone(), self.updown.clone());
        tokio::spawn(async move {
            let outcome = updown.run(id.0, command, env).await;
            let _ = inputs.send(Input::UpdownDone(id, outcome)).await;
        });
    }
}

/// KLIPS.
impl Driver {
    /// A PF_KEY socket is open: the engine registers, and the ipsecN devices may be others now.
    pub async fn kernel_found(&mut self, socket: Client) {
        self.kernel_generation += 1;
        match Kernel::start(socket, self.kernel_generation, self.inputs.clone()) {
            Ok(kernel) => {
                if self.kernel_generation > 1 {
                    log::line(LogLevel::Info, "KLIPS is back");
                }
                self.kernel = Some(kernel);
                self.handle(Event::KernelUp(true)).await;
                self.interfaces_changed().await;
            }
            Err(e) => {
                log::line(LogLevel::Warning, &format!("ERROR: PF_KEY socket: {e}"));
                self.reopen_kernel();
            }
        }
    }

    async fn kernel_lost(&mut self, generation: u64, why: &str) {
        if generation != self.kernel_generation || self.kernel.take().is_none() {
            return;
        }
        log::line(
            LogLevel::Warning,
            &format!("ERROR: lost KLIPS ({why}); waiting for it to come back"),
        );
        self.reopen_kernel();
        self.handle(Event::KernelUp(false)).await;
    }

    fn reopen_kernel(&self) {
        tokio::spawn(kernel::reopen(
            self.options.rundir.clone(),
            self.inputs.clone(),
        ));
    }

    /// A message while KLIPS is gone is dropped: the engine has been told, and starts anew when it is back.
    fn send_to_kernel(&mut self, message: Vec<u8>) {
        if let Some(kernel) = &self.kernel
            && !kernel.send(message)
        {
            let why = "KLIPS has stopped reading PF_KEY".to_string();
            let generation = self.kernel_generation;
            let inputs = self.inputs.clone();
            tokio::spawn(async move { inputs.send(Input::KernelLost { generation, why }).await });
        }
    }
}

/// Interfaces and secrets.
impl Driver {
    async fn interfaces_changed(&mut self) {
        let klips = self.options.engine.no_klips || self.kernel.is_some();
        // Without KLIPS all stays as it was; its devices are looked at when it is back.
        if self.listening && klips {
            let before = self.sockets.interfaces();
            self.find_interfaces().await;
            self.tell_problems(false);
            if self.sockets.interfaces() != before {
                self.tell_interfaces();
            }
            self.handle_queued().await;
        }
    }

    /// Tells the engine the default routes. What cannot be looked at is taken to be as it was.
    pub async fn routes_changed(&mut self) {
        let found = match interfaces::raw_interfaces().await {
            Ok(addresses) => routes::default_routes(&addresses).await,
            Err(text) => Err(text),
        };
        match found {
            Ok(routes) => self.handle(Event::DefaultRoutes(routes)).await,
            Err(text) => {
                let text = format!("ERROR: cannot list routes: {text}");
                log::line(LogLevel::Warning, &text);
            }
        }
    }

    /// What KLIPS' devices have is what the physical ones had.
    fn tell_addresses(&mut self, raw: &[RawInterface]) {
        let physical = raw.iter().filter(|i| !interfaces::is_virtual(&i.name));
        let local: Vec<IpAddr> = physical.map(|i| i.addr).collect();
        if local != self.local {
            self.local = local.clone();
            self.events.push_back(Event::LocalAddresses(local));
        }
    }

    fn tell_interfaces(&mut self) {
        let interfaces = self.sockets.interfaces();
        self.events.push_back(Event::Interfaces(interfaces));
    }

    /// Looks at the interfaces, and opens and closes sockets.
    async fn find_interfaces(&mut self) {
        // What cannot be looked at is taken to be as it was.
        if let Some(wanted) = self.wanted_interfaces().await {
            let changes = self.sockets.follow(&wanted);
            // The engine logs these when it hears of them, but does not know who asked.
            changes.news.iter().for_each(|line| self.tell(line));
            if !changes.failures.is_empty() {
                self.try_again_later();
            }
            changes
                .failures
                .into_iter()
                .for_each(|text| self.interface_problem(text));
        }
    }

    /// A port that another program has may be free later; nothing tells.
    fn try_again_later(&mut self) {
        if std::mem::replace(&mut self.trying, true) {
            return;
        }
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            sleep(TRY_AGAIN).await;
            let _ = inputs.send(Input::TryAgain).await;
        });
    }

    async fn wanted_interfaces(&mut self) -> Option<Vec<Interface>> {
        let known = self.sockets.interfaces();
        let raw: Vec<_> = match interfaces::raw_interfaces().await {
            Ok(raw) => {
                self.tell_addresses(&raw);
                raw.into_iter().filter(|i| i.counts(&known)).collect()
            }
            Err(text) => {
                self.interface_problem(format!("ERROR: cannot list interfaces: {text}"));
                return None;
            }
        };
        let attached = match self.options.engine.no_klips {
            true => None,
            false => match klips::attachments(&self.options.rundir).await {
                Ok(attached) => Some(attached),
                Err(e) => {
                    self.interface_problem(format!("ERROR: cannot ask KLIPS for its devices: {e}"));
                    return None;
                }
            },
        };
        let only = &self.options.interfaces;
        let (paired, complaints) = interfaces::pair(&raw, attached.as_deref(), only);
        complaints
            .into_iter()
            .for_each(|text| self.interface_problem(text));
        Some(paired)
    }

    /// Reads the secrets on a worker, since names among them are looked up.
    async fn read_secrets(&mut self) {
        let path = self.options.secrets_file.clone();
        self.say(&format!("loading secrets from \"{}\"", path.display()));
        let mut loading = tokio::task::spawn_blocking(move || load_secrets(&path));
        match timeout(SECRETS_PATIENCE, &mut loading).await {
            Ok(Ok(loaded)) => self.secrets_loaded(*loaded),
            // The engine waits for an answer, and must not get an empty one for a good one.
            Ok(Err(e)) => self.secrets_loaded(Loaded {
                secrets: Box::default(),
                problems: vec![format!("ERROR: reading the secrets failed inside: {e}")],
            }),
            Err(_) => {
                self.say("names in the secrets take time to look up; going on meanwhile");
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    if let Ok(loaded) = loading.await {
                        let _ = inputs.send(Input::Secrets(loaded)).await;
                    }
                });
            }
        }
    }

    /// Reads them without anything waiting: names among them may have other addresses now. Several reasons within a moment are one.
    fn refresh_secrets(&mut self) {
        if std::mem::replace(&mut self.refreshing, true) {
            self.refresh_again = true;
            return;
        }
        let path = self.options.secrets_file.clone();
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            sleep(REFRESH_PAUSE).await;
            let loaded = tokio::task::spawn_blocking(move || load_secrets(&path)).await;
            let _ = inputs.send(Input::SecretsRefreshed(loaded.ok())).await;
        });
    }

    fn secrets_loaded(&mut self, loaded: Loaded) {
        let Loaded { secrets, problems } = loaded;
        self.events.push_back(Event::Secrets { secrets, problems });
    }
}

fn load_secrets(path: &Path) -> Box<Loaded> {
    let (secrets, problems) = ipsec_keys::Secrets::load(path);
    let problems = problems.iter().map(ToString::to_string).collect();
    Box::new(Loaded {
        secrets: Box::new(secrets),
        problems,
    })
}
