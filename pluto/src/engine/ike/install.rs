//! What Quick Mode has agreed on is handed to the kernel, and what the kernel says of it.

use core::time::Duration;

use ike::crypto::EspCipher;
use ike::v1::quick::{self, Agreed};
use ike::wire::{NotifyType, Protocol};
use ipsec_types::Spi;
use whack::Rc;

use super::limits::Agreement;
use super::refusal::pause_after;
use super::table::{Due, Exchange, Name, State, Suite};
use super::timer::FIRST_DELAY;
use crate::engine::connection::{ConnId, StateId};
use crate::engine::kernel::{IpcompSa, Key, Keys, ProtocolSa, UdpEncap};
use crate::engine::{Engine, InstallError, Installed, SaParams, Time};

/// How long an SA stays that a limit has had replaced, in which the peer goes over to its successor.
const WORN_LIFE: Duration = Duration::from_secs(30);
/// Packets that may come out of order.
const REPLAY_WINDOW: u8 = 64;
/// PF_KEY's number for deflate.
const DEFLATE: u8 = 2;

impl Engine {
    pub(super) fn install_agreed(
        &mut self,
        now: Time,
        id: StateId,
        agreed: &Agreed,
        what: Installed,
    ) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.tunnel = agreed.tunnel;
        state.life_seconds = agreed.life_seconds;
        state.suite = Some(Suite {
            esp: agreed.esp.as_ref().map(|esp| esp.suite),
            ah: agreed.ah.as_ref().map(|ah| ah.auth),
            pfs: agreed.pfs,
        });
        state.peer_oa = agreed.peer_oa;
        // Where no NAT is in front of it, its own address is the one that we see: KLIPS takes packets from there only.
        let seen = (!state.nat.peer).then(|| state.remote.ip());
        let udp = state.nat.used().map(|_| UdpEncap {
            local: state.local,
            remote: state.remote,
            original: seen.or(agreed.peer_oa),
        });
        let (conn, initiator) = (state.conn, state.name.initiator());
        let (local, remote) = (state.local, state.remote);
        let mut sas = Vec::new();
        sas.extend(
            agreed
                .esp
                .as_ref()
                .map(|esp| (Protocol::ESP, esp.spi_in, esp.spi_out)),
        );
        sas.extend(
            agreed
                .ah
                .as_ref()
                .map(|ah| (Protocol::AH, ah.spi_in, ah.spi_out)),
        );
        let comp = agreed
            .ipcomp
            .map(|comp| (Protocol::IPCOMP, comp.cpi_in.into(), comp.cpi_out.into()));
        sas.extend(comp);
        self.ike.states.set_sas(id, sas);
        let offered = self.conns.get(conn).map(|conn| conn.lifetimes.ipsec);
        let shorter = |offered: Duration| offered.as_secs() > agreed.life_seconds.into();
        if initiator && offered.is_some_and(shorter) {
            self.tell_life(id, agreed.life_seconds);
        }
        let params = SaParams {
            udp,
            ..sa_params(id, conn, agreed, initiator)
        };
        self.log_esp_keys(local.ip(), remote.ip(), &params);
        let begun = match what {
            Installed::Inbound => self.install_inbound_ipsec_sa(now, params),
            _ => self.install_ipsec_sa(now, params),
        };
        if begun.is_err() {
            self.install_failed(now, id);
        }
    }

    /// The kernel has answered.
    pub(crate) fn ike_sa_installed(
        &mut self,
        now: Time,
        id: StateId,
        what: Installed,
        result: Result<(), InstallError>,
    ) {
        if result.is_err() {
            self.install_failed(now, id);
            return;
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let Exchange::Installing { message, next } =
            core::mem::replace(&mut state.exchange, Exchange::Nothing)
        else {
            return;
        };
        if let (Installed::Inbound, Some(next)) = (what, next) {
            state.exchange = Exchange::Quick(next);
            self.advance(now, id, Name::QuickR1, message);
            self.schedule(now, id, Due::Retransmit, FIRST_DELAY);
            return;
        }
        state.exchange = Exchange::Ipsec;
        let (conn, name) = (
            state.conn,
            if what == Installed::Both {
                Name::QuickI2
            } else {
                Name::QuickR2
            },
        );
        let before = self
            .conns
            .live_mut(conn)
            .and_then(|live| live.newest_ipsec.replace(id))
            .filter(|old| *old != id);
        let inherited = before.and_then(|old| Some(self.ike.states.get(old)?.trial.inherit()));
        if let (Some(state), Some(trial)) = (self.ike.states.get_mut(id), inherited) {
            state.trial = trial;
        }
        if let Some(old) = before
            && self.ike.states.get(old).is_some_and(|old| old.worn)
        {
            self.schedule(now, old, Due::Expire, WORN_LIFE);
        }
        self.advance(now, id, name, message);
        self.schedule_replacement(now, id);
        self.watch_peer(now, id);
        self.want_keep_alives(now, id);
        self.release_state_client(id);
        self.oppo_up(now, conn, id);
    }

    /// What was agreed on is not in the kernel: the peer is told, or it would wait for our next message until it gives up, or send to
    /// SAs that are not there. Of what RFC 2408 has, NO_PROPOSAL_CHOSEN comes nearest. For the initiator it is an attempt that failed.
    fn install_failed(&mut self, now: Time, id: StateId) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (name, conn, under, tries) = (state.name, state.conn, state.under, state.tries);
        let offered = state.offered.clone();
        let text = format!("{}: the IPsec SA could not be installed", name.text());
        self.loglog(about, Rc::InternalErr, text);
        if let Some((under, _)) = under {
            self.notify_protected(under, &offered, NotifyType::NO_PROPOSAL_CHOSEN);
        }
        // Opportunism has other gateways, and shunts to go by.
        if name.initiator() && !self.is_opportunistic_instance(conn) {
            self.send_delete(id);
            self.ike.states.drop_sas(id);
            self.attempt_failed(now, id, Some(pause_after(tries)));
            return;
        }
        // Before our answer the peer knows of no SA that could be deleted.
        self.delete_state(now, id, name != Name::QuickR0);
        self.negotiation_failed(now, conn);
    }

    /// The kernel says that SAs of a state have reached a lifetime, or are lost.
    pub(crate) fn ike_sa_expired(&mut self, now: Time, id: StateId, hard: bool) {
        let Some(state) = self
            .ike
            .states
            .get(id)
            .filter(|state| state.name.ipsec_established())
        else {
            return;
        };
        let (conn, worn) = (state.conn, state.worn);
        if worn && !hard {
            // Each of its SAs has limits of its own.
            return;
        }
        let initiator = state.name.initiator();
        let newest = self.conns.get(conn).is_some_and(|conn| {
            let wanted = if hard { conn.live.wanted.up } else { true };
            // One that is replaced if used has been used.
            let rekeyed = !conn.policy.dont_rekey || (!hard && initiator);
            conn.live.newest_ipsec == Some(id) && wanted && rekeyed
        });
        self.log(
            self.about(id),
            if hard {
                "IPsec SA expired (KLIPS says so)"
            } else {
                "IPsec SA is about to expire (KLIPS says so)"
            },
        );
        if newest && !self.is_under_way(id, hard) {
            self.replace(now, id, 1);
        }
        if hard {
            self.delete_state(now, id, true);
        } else if let Some(state) = self.ike.states.get_mut(id) {
            state.worn = true;
        }
    }

    /// Whether what may take the place of these SAs is being negotiated, by the peer too unless only our own attempts count.
    pub(super) fn is_under_way(&self, id: StateId, ours_only: bool) -> bool {
        let Some(state) = self.ike.states.get(id) else {
            return false;
        };
        let quick = |other: &StateId| {
            let other = self.ike.states.get(*other);
            other.is_some_and(|other| {
                let open = !other.name.is_phase1() && !other.name.ipsec_established();
                open && (other.tries > 0 || !ours_only)
            })
        };
        let waits = |phase1: &State| phase1.pending.iter().any(|quick| quick.conn == state.conn);
        let (conn, peer) = (state.conn, state.remote.ip());
        self.ike.states.of_conn(conn).iter().any(quick)
            || self.ike.states.phase1_with(peer).any(waits)
    }
}

fn sa_params(state: StateId, conn: ConnId, agreed: &Agreed, initiator: bool) -> SaParams {
    let limits = |small_blocks, esn| {
        let agreement = Agreement {
            seconds: agreed.life_seconds,
            kilobytes: agreed.life_kilobytes,
            initiator,
            small_blocks,
            esn,
        };
        agreement.limits()
    };
    let keys = |keys: &quick::Keys| Keys {
        enc: Key::new(keys.cipher.expose().to_vec()),
        auth: Key::new(keys.auth.expose().to_vec()),
    };
    SaParams {
        state,
        conn,
        tunnel: agreed.tunnel,
        udp: None,
        esp: agreed.esp.as_ref().map(|esp| ProtocolSa {
            ealg: esp.suite.cipher.pfkey().0,
            aalg: esp.suite.auth.map_or(0, |auth| auth.pfkey().0),
            esn: esp.esn,
            spi_in: Spi(esp.spi_in),
            spi_out: Spi(esp.spi_out),
            keys_in: keys(&esp.inbound),
            keys_out: keys(&esp.outbound),
            replay_window: REPLAY_WINDOW,
            limits: limits(esp.suite.cipher == EspCipher::TRIPLE_DES, esp.esn),
        }),
        ah: agreed.ah.as_ref().map(|ah| ProtocolSa {
            ealg: 0,
            aalg: ah.auth.pfkey().0,
            esn: ah.esn,
            spi_in: Spi(ah.spi_in),
            spi_out: Spi(ah.spi_out),
            keys_in: keys(&ah.inbound),
            keys_out: keys(&ah.outbound),
            replay_window: REPLAY_WINDOW,
            limits: limits(false, ah.esn),
        }),
        ipcomp: agreed.ipcomp.map(|comp| IpcompSa {
            calg: DEFLATE,
            cpi_in: comp.cpi_in,
            cpi_out: comp.cpi_out,
        }),
    }
}
