//! The table of states with its indexes: each look-up takes the same time however many there are.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ike::crypto::{AuthAlg, Group};
use ike::proposal::EspSuite;
use ike::v1::{IsakmpSa, Nat, Seen, main_mode, quick, vendor};
use ike::wire::{Cookie, NotifyType, Protocol};

use super::admission::After;
use super::authority::{Fingerprint, KnownKey, Proof};
use super::dpd::Liveness;
use super::message_ids::MessageIds;
use super::trial::Trial;
use crate::engine::connection::{ConnId, StateId};
use crate::engine::event::ClientId;
use crate::engine::time::Time;

/// Where an exchange is, by FreeS/WAN's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    MainI1,
    MainR1,
    MainI2,
    MainR2,
    MainI3,
    MainR3,
    MainI4,
    QuickR0,
    QuickI1,
    QuickR1,
    QuickI2,
    QuickR2,
}

impl Name {
    const fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::MainI1 => (4, "STATE_MAIN_I1", "sent MI1, expecting MR1"),
            Self::MainR1 => (5, "STATE_MAIN_R1", "sent MR1, expecting MI2"),
            Self::MainI2 => (6, "STATE_MAIN_I2", "sent MI2, expecting MR2"),
            Self::MainR2 => (7, "STATE_MAIN_R2", "sent MR2, expecting MI3"),
            Self::MainI3 => (8, "STATE_MAIN_I3", "sent MI3, expecting MR3"),
            Self::MainR3 => (9, "STATE_MAIN_R3", "sent MR3, ISAKMP SA established"),
            Self::MainI4 => (10, "STATE_MAIN_I4", "ISAKMP SA established"),
            Self::QuickR0 => (11, "STATE_QUICK_R0", "expecting QI1"),
            Self::QuickI1 => (12, "STATE_QUICK_I1", "sent QI1, expecting QR1"),
            Self::QuickR1 => (
                13,
                "STATE_QUICK_R1",
                "sent QR1, inbound IPsec SA installed, expecting QI2",
            ),
            Self::QuickI2 => (14, "STATE_QUICK_I2", "sent QI2, IPsec SA established"),
            Self::QuickR2 => (15, "STATE_QUICK_R2", "IPsec SA established"),
        }
    }

    /// The number that whack's reply code adds to 100.
    pub(super) const fn number(self) -> u8 {
        self.row().0
    }

    pub(super) const fn text(self) -> &'static str {
        self.row().1
    }

    pub(super) const fn story(self) -> &'static str {
        self.row().2
    }

    pub(super) fn is_phase1(self) -> bool {
        self <= Self::MainI4
    }

    pub(super) fn isakmp_established(self) -> bool {
        matches!(self, Self::MainR3 | Self::MainI4)
    }

    pub(super) fn ipsec_established(self) -> bool {
        matches!(self, Self::QuickI2 | Self::QuickR2)
    }

    pub(super) fn initiator(self) -> bool {
        matches!(
            self,
            Self::MainI1
                | Self::MainI2
                | Self::MainI3
                | Self::MainI4
                | Self::QuickI1
                | Self::QuickI2
        )
    }
}

/// What a state waits for, with what it needs to go on.
#[derive(Debug)]
pub(super) enum Exchange {
    Main(main_mode::Waiting),
    MainJob(main_mode::Computing),
    /// The peer has named itself, and DNS is asked for its key.
    Identifying(Box<main_mode::Identified>),
    Isakmp(Arc<IsakmpSa>),
    Quick(quick::Waiting),
    QuickJob(quick::Computing),
    /// The kernel is at work; then `message` is sent.
    Installing {
        message: Option<Vec<u8>>,
        next: Option<quick::Waiting>,
    },
    Ipsec,
    /// The peer refuses; another attempt follows when the timer fires.
    Refused,
    /// Taken out for the moment.
    Nothing,
}

/// What happens to a state when its timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Retransmit,
    Replace,
    ReplaceIfUsed,
    Expire,
    /// Negotiate anew what was refused.
    Retry,
}

impl Due {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Retransmit => "EVENT_RETRANSMIT",
            Self::Replace => "EVENT_SA_REPLACE",
            Self::ReplaceIfUsed => "EVENT_SA_REPLACE_IF_USED",
            Self::Expire => "EVENT_SA_EXPIRE",
            Self::Retry => "EVENT_RETRY",
        }
    }
}

/// A Quick Mode that waits for its ISAKMP SA.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) conn: ConnId,
    pub(crate) client: Option<ClientId>,
    pub(crate) tries: u32,
    pub(crate) replaces: Option<StateId>,
}

/// A state: one exchange and what came of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) id: StateId,
    pub(super) conn: ConnId,
    pub(super) name: Name,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) exchange: Exchange,
    pub(super) client: Option<ClientId>,
    /// Which attempt at keying, from 1; 0 for a responder, who does not try again.
    pub(super) tries: u32,
    pub(super) due: Option<Due>,
    pub(super) margin: Duration,
    pub(super) retransmits: u32,
    pub(super) resends: u32,
    pub(super) seen: Seen,
    /// A message that is being worked on.
    pub(super) working_on: Option<Vec<u8>>,
    /// Where that came to and from, while nothing has proved that it is the peer's.
    pub(super) came: Option<(SocketAddr, SocketAddr)>,
    /// What Main Mode found out about NAT.
    pub(super) nat: Nat,
    pub(super) created: Time,
    pub(super) established: Option<Time>,
    /// Phase 1: what the peer says that it can do.
    pub(super) peer: vendor::Peer,
    pub(super) liveness: Liveness,
    /// Phase 2: whether the tunnel carries what it should.
    pub(super) trial: Trial,
    /// Phase 1: when the peer was last asked because of something that anybody may have said.
    pub(super) hinted: Option<Time>,
    /// Phase 1, responder: after which answer to its first message the peer has gone on.
    pub(super) after: Option<After>,
    /// Phase 1: the peer may have forgotten this ISAKMP SA: nothing is begun over it until the peer is heard over it again.
    pub(super) doubted: bool,
    /// Phase 1: cookies. Zero for what is not known yet.
    pub(super) cookies: (Cookie, Cookie),
    /// Phase 1: the keys that the peer may have, while it is not known which it has.
    pub(super) peer_keys: Vec<KnownKey>,
    /// Phase 1: the secret that is used, if one is.
    pub(super) secret: Option<Fingerprint>,
    /// Phase 1: on what the ISAKMP SA stands, once it stands.
    pub(super) proof: Option<Arc<Proof>>,
    /// Phase 1: Quick Modes that wait.
    pub(super) pending: Vec<Pending>,
    /// Phase 1: message ids that have been used.
    pub(super) message_ids: MessageIds,
    /// Phase 2: the ISAKMP SA's state and the message id.
    pub(super) under: Option<(StateId, u32)>,
    /// Phase 2: protocols and SPIs of the initiator's offer, by which notifications name the exchange.
    pub(super) offered: Vec<(Protocol, u32)>,
    /// Messages that were refused since ours was sent.
    pub(super) refused: u32,
    /// Phase 1: how often the exchange was begun anew because the peer seems to have forgotten it.
    pub(super) begun_anew: u32,
    /// Phase 1: messages under the ISAKMP SA that came before it stands, with where they came and from where.
    pub(super) early: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// What the peer has said against the exchange, in Main Mode also somebody in its name, or against the SAs that came of it.
    pub(super) complaint: Option<NotifyType>,
    /// Phase 2: what somebody has said in the clear against the exchange.
    pub(super) hearsay: Option<NotifyType>,
    /// Phase 2: the peer has deleted the SAs, and this attempt at keying is to replace them.
    pub(super) successor: Option<u32>,
    /// Phase 2: a limit in KLIPS has asked for a successor.
    pub(super) worn: bool,
    /// Phase 2: what was agreed on, until the keys are handed over, and for status.
    pub(super) sas: Vec<(Protocol, u32, u32)>,
    pub(super) tunnel: bool,
    pub(super) life_seconds: u32,
    /// Phase 2: the peer's address as it knows itself, where it said so.
    pub(super) peer_oa: Option<IpAddr>,
    /// Phase 2: the algorithms agreed on.
    pub(super) suite: Option<Suite>,
}

/// Algorithms of IPsec SAs, for status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    pub(super) esp: Option<EspSuite>,
    pub(super) ah: Option<AuthAlg>,
    /// Group of Quick Mode's own key exchange.
    pub(super) pfs: Option<Group>,
}

impl State {
    pub(super) fn isakmp(&self) -> Option<&Arc<IsakmpSa>> {
        match &self.exchange {
            Exchange::Isakmp(sa) => Some(sa),
            _ => None,
        }
    }

    /// The SPIs with which the peer sends, that is ours.
    pub(super) fn inbound_spis(&self) -> Vec<(Protocol, u32)> {
        self.sas
            .iter()
            .filter(|(protocol, ..)| *protocol != Protocol::IPCOMP)
            .map(|(protocol, spi_in, _)| (*protocol, *spi_in))
            .collect()
    }
}

/// All states.
#[derive(Debug, Default)]
pub(super) struct States {
    last: u64,
    states: BTreeMap<StateId, State>,
    by_cookies: HashMap<(Cookie, Cookie), StateId>,
    by_message: HashMap<(StateId, u32), StateId>,
    by_conn: HashMap<ConnId, BTreeSet<StateId>>,
    phase1_by_peer: HashMap<IpAddr, BTreeSet<StateId>>,
    phase2_by_peer: HashMap<IpAddr, BTreeSet<StateId>>,
    by_spi_out: HashMap<(IpAddr, Protocol, u32), StateId>,
}

impl States {
    /// The number for the next state.
    pub(super) fn next_id(&mut self) -> StateId {
        self.last += 1;
        StateId(self.last)
    }

    pub(super) fn insert(&mut self, state: State) {
        let id = state.id;
        if state.name.is_phase1() {
            self.by_cookies.insert(state.cookies, id);
            self.phase1_by_peer
                .entry(state.remote.ip())
                .or_default()
                .insert(id);
        } else {
            self.phase2_by_peer
                .entry(state.remote.ip())
                .or_default()
                .insert(id);
        }
        if let Some(under) = state.under {
            self.by_message.insert(under, id);
        }
        self.by_conn.entry(state.conn).or_default().insert(id);
        self.states.insert(id, state);
    }

    pub(super) fn remove(&mut self, id: StateId) -> Option<State> {
        let state = self.states.remove(&id)?;
        if self.by_cookies.get(&state.cookies) == Some(&id) {
            self.by_cookies.remove(&state.cookies);
        }
        if let Some(under) = state.under {
            self.by_message.remove(&under);
        }
        self.forget_spis(state.remote.ip(), &state.sas);
        forget(&mut self.by_conn, &state.conn, id);
        forget(&mut self.phase1_by_peer, &state.remote.ip(), id);
        forget(&mut self.phase2_by_peer, &state.remote.ip(), id);
        Some(state)
    }

    pub(super) fn get(&self, id: StateId) -> Option<&State> {
        self.states.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: StateId) -> Option<&mut State> {
        self.states.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &State> {
        self.states.values()
    }

    pub(super) fn by_cookies(&self, cookies: (Cookie, Cookie)) -> Option<StateId> {
        self.by_cookies.get(&cookies).copied()
    }

    pub(super) fn by_message(&self, under: StateId, message_id: u32) -> Option<StateId> {
        self.by_message.get(&(under, message_id)).copied()
    }

    pub(super) fn of_conn(&self, conn: ConnId) -> Vec<StateId> {
        self.by_conn
            .get(&conn)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// States of phase 1 with a peer, newest first.
    pub(super) fn phase1_with(&self, peer: IpAddr) -> impl Iterator<Item = &State> {
        self.phase1_by_peer
            .get(&peer)
            .into_iter()
            .flatten()
            .rev()
            .filter_map(|id| self.states.get(id))
    }

    /// States of phase 2 with a peer.
    pub(super) fn phase2_with(&self, peer: IpAddr) -> impl Iterator<Item = &State> {
        self.phase2_by_peer
            .get(&peer)
            .into_iter()
            .flatten()
            .filter_map(|id| self.states.get(id))
    }

    pub(super) fn by_spi_out(&self, peer: IpAddr, protocol: Protocol, spi: u32) -> Option<StateId> {
        self.by_spi_out.get(&(peer, protocol, spi)).copied()
    }

    /// The cookies of a state are now known.
    pub(super) fn set_cookies(&mut self, id: StateId, cookies: (Cookie, Cookie)) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        let old = core::mem::replace(&mut state.cookies, cookies);
        if self.by_cookies.get(&old) == Some(&id) {
            self.by_cookies.remove(&old);
        }
        self.by_cookies.insert(cookies, id);
    }

    /// The SAs of a state: protocol, our SPI, the peer's.
    pub(super) fn set_sas(&mut self, id: StateId, sas: Vec<(Protocol, u32, u32)>) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        for (protocol, _, spi_out) in &sas {
            self.by_spi_out
                .insert((state.remote.ip(), *protocol, *spi_out), id);
        }
        state.sas = sas;
    }

    /// The SAs of a state are no more, and the state stays.
    pub(super) fn drop_sas(&mut self, id: StateId) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        let (peer, sas) = (state.remote.ip(), core::mem::take(&mut state.sas));
        self.forget_spis(peer, &sas);
    }

    fn forget_spis(&mut self, peer: IpAddr, sas: &[(Protocol, u32, u32)]) {
        for (protocol, _, spi_out) in sas {
            self.by_spi_out.remove(&(peer, *protocol, *spi_out));
        }
    }

    /// The peer of a state is reached between these ends now.
    pub(super) fn set_ends(&mut self, id: StateId, (local, remote): (SocketAddr, SocketAddr)) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        let old = state.remote.ip();
        (state.local, state.remote) = (local, remote);
        if old == remote.ip() {
            return;
        }
        let phase1 = state.name.is_phase1();
        for (protocol, _, spi_out) in &state.sas {
            self.by_spi_out.remove(&(old, *protocol, *spi_out));
            self.by_spi_out
                .insert((remote.ip(), *protocol, *spi_out), id);
        }
        let index = if phase1 {
            &mut self.phase1_by_peer
        } else {
            &mut self.phase2_by_peer
        };
        forget(index, &old, id);
        index.entry(remote.ip()).or_default().insert(id);
    }

    /// A state goes over to another connection; answers the old one.
    pub(super) fn set_conn(&mut self, id: StateId, conn: ConnId) -> Option<ConnId> {
        let state = self.states.get_mut(&id)?;
        let old = core::mem::replace(&mut state.conn, conn);
        forget(&mut self.by_conn, &old, id);
        self.by_conn.entry(conn).or_default().insert(id);
        Some(old)
    }
}

fn forget<K: Eq + core::hash::Hash>(
    index: &mut HashMap<K, BTreeSet<StateId>>,
    key: &K,
    id: StateId,
) {
    if let Some(set) = index.get_mut(key) {
        set.remove(&id);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

impl State {
    /// A state that has nothing yet.
    pub(super) fn new(
        id: StateId,
        conn: ConnId,
        name: Name,
        local: SocketAddr,
        remote: SocketAddr,
        now: Time,
    ) -> Self {
        Self {
            id,
            conn,
            name,
            local,
            remote,
            exchange: Exchange::Nothing,
            client: None,
            tries: 0,
            due: None,
            margin: Duration::ZERO,
            retransmits: 0,
            resends: 0,
            seen: Seen::default(),
            working_on: None,
            came: None,
            nat: Nat::default(),
            created: now,
            established: None,
            peer: vendor::Peer::default(),
            liveness: Liveness::new(now),
            trial: Trial::default(),
            hinted: None,
            after: None,
            doubted: false,
            cookies: (Cookie::ZERO, Cookie::ZERO),
            peer_keys: Vec::new(),
            secret: None,
            proof: None,
            pending: Vec::new(),
            message_ids: MessageIds::default(),
            under: None,
            offered: Vec::new(),
            refused: 0,
            begun_anew: 0,
            early: Vec::new(),
            complaint: None,
            hearsay: None,
            successor: None,
            worn: false,
            sas: Vec::new(),
            tunnel: false,
            life_seconds: 0,
            peer_oa: None,
            suite: None,
        }
    }
}
