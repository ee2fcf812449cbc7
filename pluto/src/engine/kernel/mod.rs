//! The conversation with KLIPS over PF_KEY: requests with sequence numbers, what to do when each is answered, and
//! what the kernel says by itself. Which eroute to set when is decided in `route`.

mod install;
mod receive;
mod request;
mod sa;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashMap;

use ike::proposal::Supported;
use ipsec_types::{SaId, SaProto, Spi};
use pfkey::SaType;
use pfkey::request::Ids;
use rand::Rng;
use whack::{DebugClass, Rc};

use super::Engine;
use super::connection::StateId;
use super::event::Action;
use super::log::About;
use super::room::take;
use super::route::{Flow, LaneKey, Op};
use super::time::Time;
use super::timers::Timer;

pub(crate) use install::{Half, Path, Record};
pub(crate) use request::Request;
pub use sa::{
    InstallError, Installed, IpcompSa, Key, Keys, Limits, ProtocolSa, SaParams, UdpEncap,
};

/// How long the kernel may take over one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// SPIs below are for manual keying.
const FIRST_SPI: u32 = 0x1000;
/// CPIs from 256 to 61439 are for negotiation (RFC 3173 section 3.3).
const CPIS: core::ops::RangeInclusive<u16> = 256..=61439;
/// What pluto can negotiate.
const REGISTERED: [SaType; 4] = [SaType::Ah, SaType::Esp, SaType::Comp, SaType::IpIp];

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    Lane(LaneKey),
    Registration(SaType),
    /// Whether something has come through the inbound SA of a state.
    Traffic(StateId),
    /// How much the SA of a state in one direction has carried.
    Use(StateId, Half),
    /// How many packets have met a shunt.
    Shunt(Flow),
}

#[derive(Debug)]
struct Pending {
    what: String,
    asker: Asker,
}

/// What the kernel can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// IPCOMP.
    pub(crate) ipcomp: bool,
    /// Ciphers and authenticators.
    pub(crate) supported: Supported,
}

/// What the engine knows about the kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    up: bool,
    /// What it can do; true once it has answered the registrations.
    abilities: Abilities,
    seq: u32,
    pending: HashMap<u32, Pending>,
    sas: HashMap<StateId, Record>,
    by_said: HashMap<SaId, StateId>,
    /// SPIs and CPIs that we chose and nothing has been installed for yet are not here: they are not repeated
    /// soon, since they are given in sequence.
    spis_in: HashMap<Spi, StateId>,
    last_spi: u32,
    last_cpi: u16,
    last_tunnel: u32,
}

impl Kernel {
    /// The SAs of a state.
    pub(crate) fn record(&self, state: StateId) -> Option<&Record> {
        self.sas.get(&state)
    }

    /// Remembers the SAs of a state before they are installed.
    fn remember(&mut self, params: SaParams, path: Path) {
        let mut tunnel = || {
            self.last_tunnel = self.last_tunnel.wrapping_add(1).max(FIRST_SPI + 1);
            Spi(self.last_tunnel)
        };
        let (tun_in, tun_out) = (tunnel(), tunnel());
        let record = Record {
            tun_in,
            tun_out,
            params,
            path,
        };
        let state = record.params.state;
        for said in record
            .saids(Half::In)
            .into_iter()
            .chain(record.saids(Half::Out))
        {
            self.by_said.insert(said, state);
        }
        self.spis_in
            .extend(record.saids(Half::In).iter().map(|said| (said.spi, state)));
        self.sas.insert(state, record);
    }

    /// Forgets the SAs of a state once they are deleted.
    pub(crate) fn forget(&mut self, state: StateId) {
        let Some(record) = self.sas.remove(&state) else {
            return;
        };
        for said in record.saids(Half::In) {
            self.spis_in.remove(&said.spi);
        }
        for said in record
            .saids(Half::In)
            .into_iter()
            .chain(record.saids(Half::Out))
        {
            // The peer may have chosen one SPI twice.
            if self.by_said.get(&said) == Some(&state) {
                self.by_said.remove(&said);
            }
        }
    }
}

impl Engine {
    /// A new SPI for ESP or AH: random at first, then in sequence, never one in use. At least 0x1000, since
    /// smaller ones are for manual keying.
    pub(crate) fn new_spi(&mut self) -> Spi {
        loop {
            let next = self.kernel.last_spi.wrapping_add(1);
            self.kernel.last_spi = if next > FIRST_SPI {
                next
            } else {
                self.rng.next_u32()
            };
            let spi = Spi(self.kernel.last_spi);
            if spi.0 > FIRST_SPI && !self.kernel.spis_in.contains_key(&spi) {
                return spi;
            }
        }
    }

    /// A new CPI for IPCOMP, 256 to 61439; `None` if all are in use.
    pub(crate) fn new_cpi(&mut self) -> Option<u16> {
        let (first, last) = (*CPIS.start(), *CPIS.end());
        if !CPIS.contains(&self.kernel.last_cpi) {
            let span = u32::from(last - first) + 1;
            let offset = u16::try_from(self.rng.next_u32() % span).unwrap_or(0);
            self.kernel.last_cpi = first + offset;
        }
        for _ in CPIS {
            let cpi = if self.kernel.last_cpi == last {
                first
            } else {
                self.kernel.last_cpi + 1
            };
            self.kernel.last_cpi = cpi;
            if !self.kernel.spis_in.contains_key(&Spi(cpi.into())) {
                return Some(cpi);
            }
        }
        None
    }

    /// Whether the kernel can do IPCOMP; known once it has answered the registration.
    pub(crate) fn can_do_ipcomp(&self) -> bool {
        self.kernel_abilities().ipcomp
    }

    /// What the kernel can do; without one, everything.
    pub(crate) fn kernel_abilities(&self) -> Abilities {
        let mut abilities = self.kernel.abilities;
        abilities.ipcomp |= self.config.no_klips;
        abilities
    }

    /// The kernel has answered a registration for ESP: it names its ciphers and authenticators.
    fn kernel_supports(&mut self, supported: Supported) {
        self.kernel.abilities.supported = supported;
        self.debug(About::default(), DebugClass::Klips, || {
            format!("KLIPS can do {supported}")
        });
    }

    /// Whether there is a kernel to talk to.
    pub(crate) fn kernel_is_up(&self) -> bool {
        self.kernel.up
    }

    /// Installs the inbound half, by the responder of a Quick Mode before it sends its answer.
    /// When the kernel has answered, calls `ike_sa_installed(now, state, Installed::Inbound, result)`.
    /// Whatever the result, end with [`Engine::delete_ipsec_sa`] when the state goes.
    ///
    /// # Errors
    /// [`InstallError`] at once, logged, if it cannot be routed at all; nothing is done and nothing called.
    pub(crate) fn install_inbound_ipsec_sa(
        &mut self,
        now: Time,
        params: SaParams,
    ) -> Result<(), InstallError> {
        self.begin_install(now, params, Installed::Inbound)
    }

    /// Installs the outbound half and the eroute, by the responder once the exchange is complete.
    /// Then calls `ike_sa_installed(now, state, Installed::Outbound, result)`.
    pub(crate) fn install_outbound_ipsec_sa(&mut self, now: Time, state: StateId) {
        let lane = self.lane_of_state(state);
        self.enqueue(now, lane, Op::Install(state, Installed::Outbound));
    }

    /// Installs both halves and the eroute, by the initiator.
    /// Then calls `ike_sa_installed(now, state, Installed::Both, result)`.
    ///
    /// # Errors
    /// As [`Engine::install_inbound_ipsec_sa`].
    pub(crate) fn install_ipsec_sa(
        &mut self,
        now: Time,
        params: SaParams,
    ) -> Result<(), InstallError> {
        self.begin_install(now, params, Installed::Both)
    }

    /// Removes the SAs of a state, and its eroute if it owns one: what is left is a trap, the failure
    /// shunt or nothing, as the policy says. Nobody is told when it is done; a later installation waits its turn.
    pub(crate) fn delete_ipsec_sa(&mut self, now: Time, state: StateId) {
        if self.kernel.record(state).is_some() {
            let lane = self.lane_of_state(state);
            self.enqueue(now, lane, Op::DeleteSas(state));
        }
    }

    /// The peer of a state's SAs in UDP is elsewhere now: what goes out goes there. Sequence numbers go on, which SAs that were
    /// added anew would not.
    pub(crate) fn remap_ipsec_sa(&mut self, now: Time, state: StateId, to: SocketAddr) {
        let Some(record) = self.kernel.sas.get_mut(&state) else {
            return;
        };
        let Some(udp) = &mut record.params.udp else {
            return;
        };
        udp.remote = to;
        let lane = self.lane_of_state(state);
        self.enqueue(now, lane, Op::Remap(state));
    }

    fn begin_install(
        &mut self,
        now: Time,
        params: SaParams,
        what: Installed,
    ) -> Result<(), InstallError> {
        let (id, state) = (params.conn, params.state);
        let about = About::conn(id).state(state);
        self.free_route_to_client(now, id);
        let path = match self.path_of(id) {
            Ok(path) => match params.udp {
                // The connection may name another address than the peer is seen at.
                Some(udp) => Path {
                    remote: udp.remote.ip(),
                    ..path
                },
                None => path,
            },
            Err(error) => {
                self.loglog(about, Rc::Route, error.to_string());
                return Err(error);
            }
        };
        if self.kernel.last_tunnel == 0 {
            // A daemon before us may have left its tunnels behind.
            self.kernel.last_tunnel = FIRST_SPI + (self.rng.next_u32() & 0xffff);
        }
        self.kernel.remember(params, path);
        let lane = Some(path.flow.dst);
        self.enqueue(now, lane, Op::Install(state, what));
        Ok(())
    }

    /// Asks how many packets have come through the inbound SA of a state; the answer goes to `dpd_traffic`. False: there is
    /// nobody to ask.
    pub(crate) fn ask_traffic(&mut self, now: Time, state: StateId) -> bool {
        if self.config.no_klips || !self.kernel.up {
            return false;
        }
        let record = self.kernel.record(state);
        let outermost = record.and_then(|record| {
            let said = record.saids(Half::In).last().copied();
            said.map(|said| Request::GetSa(said, record.path.remote))
        });
        outermost.is_some_and(|request| {
            self.send_request(now, Asker::Traffic(state), &request)
                .is_ok()
        })
    }

    /// Asks how many packets the SA of a state in one direction has carried; the answer goes to `use_told`, and to `counted`.
    pub(crate) fn ask_use(&mut self, now: Time, state: StateId, half: Half) {
        if self.config.no_klips || !self.kernel.up {
            return;
        }
        let request = self.kernel.record(state).and_then(|record| {
            let said = record.saids(half).last().copied()?;
            let src = match half {
                Half::In => record.path.remote,
                Half::Out => record.path.local,
            };
            Some(Request::GetSa(said, src))
        });
        if let Some(request) = request {
            // A kernel that can't be asked will not tell; the timer asks again.
            let _ = self.send_request(now, Asker::Use(state, half), &request);
        }
    }

    /// Asks how many packets have met a shunt; the answer goes to `shunt_use_told`. False: there is nobody to ask.
    pub(crate) fn ask_shunt_use(&mut self, now: Time, flow: Flow) -> bool {
        let there = self.kernel.up && !self.config.no_klips;
        there
            && self
                .send_request(now, Asker::Shunt(flow), &Request::GetFlow(flow))
                .is_ok()
    }

    fn lane_of_state(&self, state: StateId) -> LaneKey {
        self.kernel.record(state).map(|record| record.path.flow.dst)
    }

    /// Sends a request for a lane; over at once if there is no kernel.
    pub(crate) fn ask_kernel(
        &mut self,
        now: Time,
        lane: LaneKey,
        request: Request,
    ) -> Option<Result<(), InstallError>> {
        if self.config.no_klips {
            return Some(Ok(()));
        }
        if !self.kernel.up {
            return Some(Err(InstallError::NoKernel));
        }
        match self.send_request(now, Asker::Lane(lane), &request) {
            Ok(()) => None,
            Err(error) => Some(Err(InstallError::Kernel {
                what: request.to_string(),
                error: error.to_string(),
            })),
        }
    }

    fn send_request(
        &mut self,
        now: Time,
        asker: Asker,
        request: &Request,
    ) -> Result<(), pfkey::Error> {
        self.kernel.seq = self.kernel.seq.wrapping_add(1).max(1);
        let seq = self.kernel.seq;
        let bytes = request.encode(Ids {
            seq,
            pid: self.config.pid,
        })?;
        self.debug(About::default(), DebugClass::Klips, || {
            format!("PF_KEY request {seq}: {request}")
        });
        self.kernel.pending.insert(
            seq,
            Pending {
                what: request.to_string(),
                asker,
            },
        );
        self.timers.set(now + PATIENCE, Timer::KernelSilent(seq));
        self.act(Action::PfKey(bytes));
        Ok(())
    }

    /// The PF_KEY socket was opened or lost.
    pub(crate) fn kernel_up(&mut self, now: Time, up: bool) {
        let was_up = core::mem::replace(&mut self.kernel.up, up);
        if up == was_up {
            return;
        }
        if up {
            for satype in REGISTERED {
                let sent =
                    self.send_request(now, Asker::Registration(satype), &Request::Register(satype));
                if let Err(error) = sent {
                    self.loglog(
                        About::default(),
                        Rc::LogSerious,
                        format!("cannot register with KLIPS: {error}"),
                    );
                }
            }
        } else {
            self.loglog(
                About::default(),
                Rc::LogSerious,
                "the connection to KLIPS is lost, and every SA and eroute with it",
            );
            self.kernel_lost(now);
        }
    }

    /// All that the kernel knew is gone: requests fail, SAs have expired, routes are made anew by whoever wants them.
    fn kernel_lost(&mut self, now: Time) {
        let mut pending: Vec<u32> = self.kernel.pending.keys().copied().collect();
        pending.sort_unstable();
        for seq in pending {
            self.answered(now, seq, Err(InstallError::NoKernel));
        }
        self.shunts.clear();
        self.name_servers_unguarded();
        let mut states: Vec<StateId> = self.kernel.sas.keys().copied().collect();
        states.sort_unstable();
        for state in states {
            self.ike_sa_expired(now, state, true);
        }
    }

    /// The kernel did not answer in time.
    pub(crate) fn kernel_silent(&mut self, now: Time, seq: u32) {
        let Some(pending) = self.kernel.pending.get(&seq) else {
            return;
        };
        let what = pending.what.clone();
        self.loglog(
            About::default(),
            Rc::LogSerious,
            format!("no answer from KLIPS to the request to {what}"),
        );
        self.answered(now, seq, Err(InstallError::Silent(what)));
    }

    /// A request is over.
    fn answered(&mut self, now: Time, seq: u32, result: Result<(), InstallError>) {
        let Some(pending) = take(&mut self.kernel.pending, &seq) else {
            return;
        };
        self.timers.cancel(&Timer::KernelSilent(seq));
        match pending.asker {
            Asker::Lane(lane) => self.step_done(now, lane, result),
            Asker::Traffic(state) => self.dpd_traffic(now, state, None),
            Asker::Use(..) => {}
            Asker::Shunt(flow) => self.shunt_use_told(now, flow, None),
            Asker::Registration(satype) => {
                if satype.proto() == Some(SaProto::Comp) {
                    self.kernel.abilities.ipcomp = result.is_ok();
                } else if let Err(error) = result {
                    self.loglog(About::default(), Rc::LogSerious, error.to_string());
                }
            }
        }
    }
}
