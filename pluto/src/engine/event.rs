//! What goes into the engine and what comes out of it. The driver (`io`) turns
//! sockets, netlink, the clock and child processes into [`Event`]s and carries out
//! [`Action`]s in the order given. Nothing here does anything.

use core::any::Any;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use ipsec_dns::{Answer, LookupError, Query};
use ipsec_keys::Secrets;
use ipsec_types::Subnet;

use super::keylog::KeyLine;

/// A whack client on the control socket, numbered by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A computation that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// An updown command that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdownId(pub u64);

/// A question to DNS that was handed out, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// A question to the system's resolver that was handed out, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostLookupId(pub u64);

/// Where packets go for which nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The physical device.
    pub device: String,
    /// Our address there.
    pub address: IpAddr,
    /// The router; none on a link from point to point.
    pub next_hop: Option<IpAddr>,
}

/// The default routes of this host; routes through ipsecN are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultRoutes {
    /// Of IPv4.
    pub v4: Option<DefaultRoute>,
    /// Of IPv6.
    pub v6: Option<DefaultRoute>,
}

impl DefaultRoutes {
    /// That of a family.
    pub fn of(&self, ipv6: bool) -> Option<&DefaultRoute> {
        if ipv6 {
            self.v6.as_ref()
        } else {
            self.v4.as_ref()
        }
    }
}

/// One address of one physical device that an ipsecN device is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The virtual device, `ipsec0`.
    pub virt: String,
    /// The physical device, `eth0`.
    pub phys: String,
    /// An address of the physical device. The driver has port 500 bound on it.
    pub addr: IpAddr,
}

/// How an updown command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdownStatus {
    /// It exited by itself with this status; 0 is success.
    Exited(i32),
    /// A signal of this number ended it.
    Signalled(i32),
    /// It could not be started, and why.
    NotStarted(String),
}

/// Whom a computation is for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// What we have begun, and what goes on under an ISAKMP SA.
    Ours,
    /// An exchange that has come from the address of a known peer.
    Known,
    /// An exchange of anybody. The engine hands out a few of these at a time.
    Stranger,
}

/// Something long that a worker thread computes for the engine: a Diffie-Hellman
/// exponentiation, an RSA signature. Pure; owns all it needs.
pub struct Job {
    /// What it is, for the log.
    pub what: &'static str,
    /// Which others it goes before.
    pub urgency: Urgency,
    run: Box<dyn FnOnce() -> JobResult + Send>,
}

impl Job {
    /// A job named `what` that computes `run`.
    pub fn new<T, F>(what: &'static str, run: F) -> Self
    where
        T: Any + Send,
        F: FnOnce() -> T + Send + 'static,
    {
        Self {
            what,
            urgency: Urgency::Ours,
            run: Box::new(move || JobResult(Box::new(run()))),
        }
    }

    /// The same, as urgent as this.
    #[must_use]
    pub fn urgent(self, urgency: Urgency) -> Self {
        Self { urgency, ..self }
    }

    /// Computes. The driver calls this on a worker thread, a simulation in place.
    pub fn run(self) -> JobResult {
        (self.run)()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({})", self.what)
    }
}

/// What a [`Job`] computed. Only whoever made the job knows the type inside.
pub struct JobResult(Box<dyn Any + Send>);

impl JobResult {
    /// The value, if it is a `T`.
    pub fn into<T: Any>(self) -> Option<Box<T>> {
        self.0.downcast().ok()
    }
}

impl fmt::Debug for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobResult(..)")
    }
}

/// The blocks of one policy group, as its file in `ipsec.d/policies` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFile {
    /// The group, and the file.
    pub name: String,
    /// What the file lists; nothing if there is no file.
    pub blocks: Vec<Subnet>,
    /// Lines that are no blocks, each with its place.
    pub problems: Vec<String>,
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Event {
    /// An IKE datagram came in on one of our addresses.
    Datagram {
        /// Where it arrived: our address and port.
        local: SocketAddr,
        /// Who sent it.
        remote: SocketAddr,
        /// The UDP payload, without the non-ESP marker.
        bytes: Vec<u8>,
    },
    /// The network, or somebody in its name, says that something sent has not arrived, or it could not be sent: a line for
    /// the log. Nothing is decided by it.
    NetworkError(String),
    /// Time has passed [`Engine::next_timeout`](super::Engine::next_timeout).
    Tick,
    /// A whack client sent its request.
    Whack {
        /// Who asks.
        client: ClientId,
        /// What it asks.
        request: Box<whack::Request>,
    },
    /// A whack client went away; nothing more can be said to it.
    WhackGone(ClientId),
    /// The kernel sent one whole PF_KEY message: an answer, an ACQUIRE, an EXPIRE.
    PfKey(Vec<u8>),
    /// The PF_KEY socket is open (`true`), or was lost (`false`). The engine registers when it opens.
    KernelUp(bool),
    /// A job is done.
    JobDone {
        /// Which.
        id: JobId,
        /// What it computed.
        result: JobResult,
    },
    /// The interfaces as they are now, all of them; the answer to [`Action::Listen`], and sent
    /// again whenever they change.
    Interfaces(Vec<Interface>),
    /// All addresses of this host, whatever devices they are on; sent before [`Event::Interfaces`], and whenever they change.
    LocalAddresses(Vec<IpAddr>),
    /// A virtual device has come up, so that the system has lost the routes to it.
    DeviceUp(String),
    /// Routes have appeared, so that peers may be in reach again that were not.
    Routes,
    /// Something about an interface or its socket is wrong: port 500 taken, a device down. Comes before the
    /// [`Event::Interfaces`] that it explains.
    InterfaceProblem(String),
    /// All that is wrong with interfaces and their sockets now; sent whenever that changes.
    Problems(Vec<String>),
    /// An updown command ended.
    UpdownDone {
        /// Which.
        id: UpdownId,
        /// What it wrote to standard output and standard error, by line.
        output: Vec<String>,
        /// How it ended.
        status: UpdownStatus,
    },
    /// The secrets file was read; the answer to [`Action::ReadSecrets`].
    Secrets {
        /// What could be read of it.
        secrets: Box<Secrets>,
        /// What could not, each with its file and line.
        problems: Vec<String>,
    },
    /// The files of policy groups were read; the answer to [`Action::ReadGroups`].
    Groups(Vec<GroupFile>),
    /// DNS has answered, or will not.
    LookupDone {
        /// Which question.
        id: LookupId,
        /// The answer, with what DNSSEC says of it.
        result: Result<Answer, LookupError>,
        /// A name server has said something since the question was asked, about this or another one.
        heard: bool,
    },
    /// The name servers that questions go to, as they are now.
    NameServers(Vec<IpAddr>),
    /// The system's resolver has answered [`Action::FindHost`]: the addresses of a host, in its order, or why there are none.
    HostFound {
        /// Which question.
        id: HostLookupId,
        /// The addresses.
        result: Result<Vec<IpAddr>, String>,
    },
    /// The default routes as they are now; sent at the start and whenever they change.
    DefaultRoutes(DefaultRoutes),
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only with `--debug-…`.
    Debug,
    /// What pluto always writes.
    Info,
    /// Something that a person should act on.
    Warning,
}

/// Something that the driver must do, in the order given.
#[derive(Debug)]
pub enum Action {
    /// Send an IKE datagram; from the port for NAT traversal, behind the non-ESP marker (RFC 3948 section 2.2).
    Send {
        /// Our address and port to send from.
        local: SocketAddr,
        /// To whom.
        remote: SocketAddr,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// Send a NAT keep-alive: one octet 0xFF (RFC 3948 section 2.3).
    KeepAlive {
        /// Our address and port to send from.
        local: SocketAddr,
        /// To whom.
        remote: SocketAddr,
    },
    /// Send one PF_KEY message to the kernel.
    PfKey(Vec<u8>),
    /// Compute on a worker thread, and answer with [`Event::JobDone`].
    StartJob {
        /// Which.
        id: JobId,
        /// What.
        job: Job,
    },
    /// Run `sh -c command` with `env` added to the environment, and answer with
    /// [`Event::UpdownDone`]. The engine keeps them in order itself.
    RunUpdown {
        /// Which.
        id: UpdownId,
        /// A shell command: `ipsec _updown`, or the one of the connection.
        command: String,
        /// The `PLUTO_*` variables.
        env: Vec<(String, String)>,
    },
    /// Say a line to a whack client: `NNN text`.
    Reply {
        /// To whom.
        client: ClientId,
        /// whack's three-digit code.
        code: u16,
        /// The line, without the code.
        text: String,
    },
    /// Tell a whack client to exit, and close.
    Finish {
        /// Who.
        client: ClientId,
        /// Its exit status.
        status: u8,
    },
    /// Write to the log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        text: String,
    },
    /// Write a line to the key log that the engine was configured with.
    LogKey(KeyLine),
    /// Start (or stop) listening on port 500 of all our addresses. When starting, find the interfaces
    /// (again), bind, and answer with [`Event::Interfaces`].
    Listen(bool),
    /// Read the secrets file (again), and answer with [`Event::Secrets`].
    ReadSecrets,
    /// The same, while everything else goes on.
    RefreshSecrets,
    /// Ask the system's resolver, which reads /etc/hosts and DNS, for the addresses of a host, and answer with [`Event::HostFound`].
    FindHost {
        /// Which question.
        id: HostLookupId,
        /// The name.
        name: String,
    },
    /// Read the files of these policy groups (again), and answer with [`Event::Groups`].
    ReadGroups(Vec<String>),
    /// Ask DNS, and answer with [`Event::LookupDone`].
    Lookup {
        /// Which.
        id: LookupId,
        /// What.
        query: Query,
    },
    /// Nobody waits for this answer any longer; an answer that comes all the same is ignored.
    CancelLookup(LookupId),
    /// All is taken down: leave, with this exit status.
    Exit(u8),
}
