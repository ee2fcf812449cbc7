//! From what Quick Mode agreed to requests: the SAs of one direction, in their group, with their inbound policy.

use core::net::IpAddr;

use pfkey::NatT;

use ipsec_types::{SaId, SaProto, Selector, Spi};

use super::request::{Request, SaSpec};
use super::sa::{Keys, Limits, ProtocolSa, SaParams};
use crate::engine::route::{Act, Step};

/// Gateways and clients of SAs, kept with them because they outlive changes of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// Our gateway.
    pub(crate) local: IpAddr,
    /// The peer's gateway.
    pub(crate) remote: IpAddr,
    /// What goes out.
    pub(crate) flow: Selector,
    /// Whether what comes in is checked against the flow.
    pub(crate) check_arrivals: bool,
}

/// The SAs of a state, as the engine remembers them.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) params: SaParams,
    pub(crate) path: Path,
    pub(crate) tun_in: Spi,
    pub(crate) tun_out: Spi,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    In,
    Out,
}

impl Record {
    /// The SAs of one direction, in the order in which packets going out pass them.
    pub(crate) fn saids(&self, half: Half) -> Vec<SaId> {
        self.specs(half).into_iter().map(|spec| spec.said).collect()
    }

    /// Where the eroute leads.
    pub(crate) fn eroute_said(&self) -> Option<SaId> {
        self.saids(Half::Out).first().copied()
    }

    /// The outbound ESP SA, if it goes in UDP.
    pub(crate) fn esp_in_udp_out(&self) -> Option<SaId> {
        self.params.udp?;
        let all = self.saids(Half::Out);
        all.into_iter().find(|said| said.proto == SaProto::Esp)
    }

    fn specs(&self, half: Half) -> Vec<SaSpec> {
        let Path { local, remote, .. } = self.path;
        let (src, dst) = if half == Half::In {
            (remote, local)
        } else {
            (local, remote)
        };
        let pick = |inbound: Spi, outbound: Spi| if half == Half::In { inbound } else { outbound };
        let bare = |proto, spi| SaSpec {
            said: SaId::new(proto, spi, dst),
            src,
            ealg: 0,
            aalg: 0,
            esn: false,
            keys: Keys::default(),
            replay: 0,
            nat_t: None,
            limits: Limits::NONE,
        };
        let nat_t = self.params.udp.map(|udp| {
            let (from, to) = if half == Half::In {
                (udp.remote, udp.local)
            } else {
                (udp.local, udp.remote)
            };
            NatT {
                kind: NatT::ESP_IN_UDP,
                sport: from.port(),
                dport: to.port(),
                oa: udp.original,
            }
        });
        let keyed = |proto, sa: &ProtocolSa| SaSpec {
            ealg: sa.ealg,
            aalg: sa.aalg,
            esn: sa.esn,
            keys: if half == Half::In {
                sa.keys_in.clone()
            } else {
                sa.keys_out.clone()
            },
            replay: sa.replay_window,
            limits: sa.limits,
            ..bare(proto, pick(sa.spi_in, sa.spi_out))
        };
        let mut specs = Vec::with_capacity(4);
        if self.params.tunnel {
            specs.push(bare(SaProto::IpIp, pick(self.tun_in, self.tun_out)));
        }
        if let Some(comp) = &self.params.ipcomp {
            let cpi = pick(Spi(comp.cpi_in.into()), Spi(comp.cpi_out.into()));
            specs.push(SaSpec {
                ealg: comp.calg,
                ..bare(SaProto::Comp, cpi)
            });
        }
        specs.extend(self.params.esp.as_ref().map(|esp| SaSpec {
            nat_t,
            ..keyed(SaProto::Esp, esp)
        }));
        specs.extend(self.params.ah.as_ref().map(|ah| keyed(SaProto::Ah, ah)));
        specs
    }

    /// Adds the SAs of one direction.
    pub(crate) fn install(&self, half: Half) -> Vec<Step> {
        let specs = self.specs(half);
        let saids: Vec<SaId> = specs.iter().map(|spec| spec.said).collect();
        let mut steps = Vec::new();
        for spec in specs {
            let undo = Act::Kernel(Request::DelSa(spec.said, spec.src));
            steps.push(Step::must(
                Act::Kernel(Request::AddSa(Box::new(spec))),
                Some(undo),
            ));
        }
        // Of tunnels and of transport mode (RFC 4301 section 5.2); on the innermost SA.
        if half == Half::In
            && self.path.check_arrivals
            && let Some(innermost) = saids.first()
        {
            let policy = Request::Inflow(self.path.flow.reversed(), *innermost);
            steps.push(Step::must(Act::Kernel(policy), None));
        }
        for pair in saids.windows(2) {
            if let [inner, outer] = pair {
                steps.push(Step::must(
                    Act::Kernel(Request::Group(*inner, *outer)),
                    None,
                ));
            }
        }
        steps
    }

    /// Deletes the SAs of one direction: any of a group takes the others with it.
    pub(crate) fn remove(&self, half: Half) -> Vec<Step> {
        let src = if half == Half::In {
            self.path.remote
        } else {
            self.path.local
        };
        let outermost = self.saids(half).last().copied();
        outermost
            .map(|said| Step::attempt(Act::Kernel(Request::DelSa(said, src))))
            .into_iter()
            .collect()
    }
}
