//! Phase 2 negotiation: what a connection allows for its IPsec SAs, turned into an offer, and an offer or answer held
//! against it. Reading single transforms is in `ipsec_transform`.

mod answer;

use super::algorithms::{AhAlgorithms, EspAlgorithms, EspSuite};
use super::attributes::{LIFE_MAXIMUM, Lifetimes};
use super::ipsec_transform::{Common, Kind, Understood};
use super::refusal::{NoProposal, Refusal, Refused};
use super::supported::Supported;
use crate::crypto::{AuthAlg, Group, Standing};
use crate::wire::{Encapsulation, Proposal, Protocol, SA_LIFE_DURATION_DEFAULT, Sa};

/// What a connection allows in phase 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecPolicy {
    /// ESP wanted (whack's `--encrypt`).
    pub encrypt: bool,
    /// AH wanted (whack's `--authenticate`, `auth=ah`); together with `encrypt`, ESP goes without its own authenticator.
    pub authenticate: bool,
    /// IPCOMP offered as well (`compress=yes`), and the same without it; a peer's offer of it is always acceptable.
    pub compress: bool,
    /// ESP algorithms (`esp=`).
    pub esp: EspAlgorithms,
    /// AH algorithms (`phase2alg=` where `phase2=ah`).
    pub ah: AhAlgorithms,
    /// What KLIPS can do.
    pub supported: Supported,
    /// Sequence numbers of 64 bits (`esn=`).
    pub esn: Esn,
    /// Tunnel or transport (`type=`); with a NAT between, the one in UDP, by the number that the peer knows (RFC 3947).
    pub encapsulation: Encapsulation,
    /// Group offered for perfect forward secrecy; if set, a peer must offer one too (`pfs=yes`).
    pub pfs_group: Option<Group>,
    /// Lifetime offered in seconds (`keylife=`).
    pub life_seconds: u32,
}

/// Whether sequence numbers have 64 bits (RFC 4303 section 2.2.1), of which packets carry the lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Esn {
    /// Never: every peer can do that.
    #[default]
    No,
    /// Always.
    Yes,
    /// Preferred, and 32 bits offered and accepted too.
    Either,
}

impl Esn {
    /// The values to offer, preferred first.
    const fn offered(self) -> &'static [bool] {
        match self {
            Self::No => &[false],
            Self::Yes => &[true],
            Self::Either => &[true, false],
        }
    }
}

/// SPIs for our inbound side, as PF_KEY's GETSPI gave them; those of protocols not in play are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spis {
    /// AH.
    pub ah: u32,
    /// ESP.
    pub esp: u32,
    /// IPCOMP's CPI.
    pub ipcomp: u16,
}

/// AH as agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AhChoice {
    /// Authenticator.
    pub auth: AuthAlg,
    /// The peer's inbound SPI.
    pub spi: u32,
    /// Sequence numbers of 64 bits.
    pub esn: bool,
}

/// ESP as agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspChoice {
    /// Cipher and authenticator.
    pub suite: EspSuite,
    /// The peer's inbound SPI.
    pub spi: u32,
    /// Sequence numbers of 64 bits.
    pub esn: bool,
}

/// IPCOMP as agreed on: deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpcompChoice {
    /// The peer's inbound CPI: 256 to 61439.
    pub cpi: u16,
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecChoice {
    /// AH, applied last on the way out.
    pub ah: Option<AhChoice>,
    /// ESP.
    pub esp: Option<EspChoice>,
    /// IPCOMP, applied first on the way out.
    pub ipcomp: Option<IpcompChoice>,
    /// Tunnel or transport, as the policy numbers it.
    pub encapsulation: Encapsulation,
    /// Group for perfect forward secrecy: Quick Mode carries KE payloads of it.
    pub group: Option<Group>,
    /// Lifetimes as offered, the shortest of all protocols; see [`life_seconds`](Self::life_seconds).
    pub lifetimes: Lifetimes,
    /// The peer's proposals, each with the one transform chosen.
    chosen: Vec<Proposal>,
}

impl IpsecChoice {
    /// Seconds that the IPsec SA may live: as offered, 8 hours if nothing was (RFC 2407 section 4.5), at most a day.
    pub fn life_seconds(&self) -> u32 {
        self.lifetimes
            .seconds
            .unwrap_or(SA_LIFE_DURATION_DEFAULT)
            .min(LIFE_MAXIMUM)
    }

    /// The SA payload that answers the peer's offer: what was chosen, attributes untouched, with our SPIs.
    pub fn answer(&self, spis: &Spis) -> Sa {
        let with_ours = |p: &Proposal| Proposal {
            spi: spis.octets(p.protocol, p.spi.len()),
            ..p.clone()
        };
        Sa {
            proposals: self.chosen.iter().map(with_ours).collect(),
        }
    }

    /// Whether a protocol is part of it, so that it needs an SPI.
    pub fn has(&self, protocol: Protocol) -> bool {
        self.chosen.iter().any(|p| p.protocol == protocol)
    }
}

impl Spis {
    fn octets(&self, protocol: Protocol, len: usize) -> Vec<u8> {
        match protocol {
            Protocol::AH => self.ah.to_be_bytes().to_vec(),
            Protocol::ESP => self.esp.to_be_bytes().to_vec(),
            Protocol::IPCOMP if len == 4 => u32::from(self.ipcomp).to_be_bytes().to_vec(),
            _ => self.ipcomp.to_be_bytes().to_vec(),
        }
    }
}

/// A proposal's transform that was understood and allowed.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    proposal: &'a Proposal,
    index: usize,
    spi: u32,
    understood: Understood,
}

impl IpsecPolicy {
    /// Transforms offered for one protocol, preferred first.
    fn transforms(&self, protocol: Protocol) -> Vec<Understood> {
        let common = |esn, group| Common {
            encapsulation: self.encapsulation,
            group,
            lifetimes: Lifetimes {
                seconds: Some(self.life_seconds),
                kilobytes: None,
            },
            esn,
        };
        let kinds: Vec<Kind> = match protocol {
            Protocol::AH => self.ah.auths.iter().map(|a| Kind::Ah(*a)).collect(),
            Protocol::ESP if self.authenticate => {
                // AH authenticates, so each cipher counts once.
                let mut ciphers = Vec::new();
                for s in &self.esp.suites {
                    let bare = Kind::Esp(EspSuite {
                        cipher: s.cipher,
                        auth: None,
                    });
                    if !ciphers.contains(&bare) {
                        ciphers.push(bare);
                    }
                }
                ciphers
            }
            Protocol::ESP => self.esp.suites.iter().map(|s| Kind::Esp(*s)).collect(),
            _ => vec![Kind::Ipcomp],
        };
        let mut out = Vec::new();
        for kind in kinds.into_iter().filter(|kind| self.can_do(kind)) {
            // IPCOMP has neither key nor sequence numbers.
            let (group, esns) = match kind {
                Kind::Ipcomp => (None, Esn::No.offered()),
                _ => (self.pfs_group, self.esn.offered()),
            };
            out.extend(esns.iter().map(|&esn| Understood {
                kind,
                common: common(esn, group),
            }));
        }
        out
    }

    /// Whether KLIPS can do it.
    fn can_do(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Ah(auth) => self.supported.has_auth(*auth),
            Kind::Esp(suite) => self.supported.has_esp(suite),
            Kind::Ipcomp => true,
        }
    }

    /// Whether it has anything to offer: KLIPS may lack all that the configuration allows.
    pub fn is_empty(&self) -> bool {
        let none = |protocol| self.transforms(protocol).is_empty();
        self.authenticate && none(Protocol::AH) || self.encrypt && none(Protocol::ESP)
    }

    /// Protocols of each alternative proposal.
    fn alternatives(&self) -> Vec<Vec<Protocol>> {
        let mut plain = Vec::new();
        if self.authenticate {
            plain.push(Protocol::AH);
        }
        if self.encrypt {
            plain.push(Protocol::ESP);
        }
        if self.compress {
            vec![[&plain[..], &[Protocol::IPCOMP]].concat(), plain]
        } else {
            vec![plain]
        }
    }

    /// The SA payload of Quick Mode's first message.
    pub fn to_sa(&self, spis: &Spis) -> Sa {
        let mut proposals = Vec::new();
        for (number, protocols) in (1..).zip(self.alternatives()) {
            for protocol in protocols {
                let all = self.transforms(protocol);
                let transforms = (1..=u8::MAX).zip(&all).map(|(n, t)| t.encode(n)).collect();
                proposals.push(Proposal {
                    number,
                    protocol,
                    spi: spis.octets(protocol, 2),
                    transforms,
                });
            }
        }
        Sa { proposals }
    }

    /// Picks the first acceptable proposal, and in it for each protocol the first acceptable transform, in the peer's
    /// order.
    ///
    /// # Errors
    /// Each transform and proposal with the reason why not.
    pub fn choose(&self, offer: &Sa) -> Result<IpsecChoice, NoProposal> {
        let mut refused = Vec::new();
        for bundle in offer.proposals.chunk_by(|a, b| a.number == b.number) {
            match self.choose_bundle(bundle, &mut refused) {
                Ok(choice) => return Ok(choice),
                Err(why) => {
                    let proposal = bundle.first().map_or(0, |p| p.number);
                    refused.push(Refused {
                        proposal,
                        protocol: Protocol::NONE,
                        transform: None,
                        why,
                    });
                }
            }
        }
        Err(NoProposal { refused })
    }

    fn choose_bundle(
        &self,
        bundle: &[Proposal],
        refused: &mut Vec<Refused>,
    ) -> Result<IpsecChoice, Refusal> {
        let has = |protocol| bundle.iter().any(|p| p.protocol == protocol);
        let ah = has(Protocol::AH);
        if self.encrypt && !has(Protocol::ESP) {
            return Err(Refusal::NeedsEsp);
        }
        if !ah && !has(Protocol::ESP) {
            return Err(Refusal::NeedsAh);
        }
        let mut lists = Vec::new();
        for (i, p) in bundle.iter().enumerate() {
            if bundle.iter().take(i).any(|q| q.protocol == p.protocol) {
                return Err(Refusal::ProtocolTwice(p.protocol));
            }
            let spi = peer_spi(p)?;
            let candidates = self.candidates(p, spi, ah, refused);
            if candidates.is_empty() {
                return Err(Refusal::NothingLeft(p.protocol));
            }
            lists.push(candidates);
        }
        combine(&lists)
            .find_map(|combination| self.agree(&combination).ok())
            .ok_or_else(|| self.why_not(&lists))
    }

    /// Transforms of one protocol that this connection allows; the others go to `refused`.
    fn candidates<'a>(
        &self,
        proposal: &'a Proposal,
        spi: u32,
        with_ah: bool,
        refused: &mut Vec<Refused>,
    ) -> Vec<Candidate<'a>> {
        let mut out = Vec::new();
        for (index, t) in proposal.transforms.iter().enumerate() {
            match Understood::decode(proposal.protocol, t).and_then(|u| self.allows(u, with_ah)) {
                Ok(understood) => out.push(Candidate {
                    proposal,
                    index,
                    spi,
                    understood,
                }),
                Err(why) => {
                    let (number, protocol) = (proposal.number, proposal.protocol);
                    refused.push(Refused {
                        proposal: number,
                        protocol,
                        transform: Some(t.number),
                        why,
                    });
                }
            }
        }
        out
    }

    fn allows(&self, t: Understood, with_ah: bool) -> Result<Understood, Refusal> {
        match t.kind {
            Kind::Esp(suite) if suite.cipher.is_aead() && suite.auth.is_some() => {
                Err(Refusal::AuthTwice(suite.cipher))
            }
            Kind::Esp(suite) if !suite.authenticates() && !with_ah => {
                Err(Refusal::NoAuthentication)
            }
            Kind::Esp(suite) if !self.esp.accepts(&suite) => Err(Refusal::EspSuite(suite)),
            Kind::Ah(auth) if !self.ah.accepts(auth) => Err(Refusal::AhAuth(auth)),
            kind if !self.can_do(&kind) => Err(Refusal::NotInKlips),
            Kind::Ah(_) | Kind::Esp(_) if !self.esn.offered().contains(&t.common.esn) => {
                Err(Refusal::Esn {
                    wanted: self.esn == Esn::Yes,
                })
            }
            _ => Ok(t),
        }
    }

    /// Whether transforms, one a protocol, go together and suit the connection.
    fn agree(&self, parts: &[Candidate<'_>]) -> Result<IpsecChoice, Refusal> {
        let keyed = || parts.iter().filter(|c| c.understood.kind != Kind::Ipcomp);
        let group = keyed().next().and_then(|c| c.understood.common.group);
        let stray = |c: &Candidate<'_>| {
            let own = c.understood.common.group;
            own != group && (c.understood.kind != Kind::Ipcomp || own.is_some())
        };
        if parts.iter().any(stray) {
            return Err(Refusal::Bundle);
        }
        match group {
            None if self.pfs_group.is_some() => return Err(Refusal::PfsMissing),
            Some(g) if g.standing() == Standing::Named && self.pfs_group != Some(g) => {
                return Err(Refusal::PfsGroup(g));
            }
            _ => {}
        }
        // One tunnel makes all a tunnel; whether it is in UDP is said where the keys are.
        let mode = |c: &Candidate<'_>| c.understood.common.encapsulation;
        let outer = keyed().next().map_or(Encapsulation::TRANSPORT, mode);
        let found = parts
            .iter()
            .map(mode)
            .find(|mode| mode.is_tunnel() == Some(true) && outer.is_tunnel() == Some(false))
            .unwrap_or(outer);
        let wanted = self.encapsulation;
        if found.is_tunnel() != wanted.is_tunnel() || outer.is_udp() != wanted.is_udp() {
            return Err(Refusal::Encapsulation { found, wanted });
        }
        Ok(assemble(parts, self.encapsulation, group))
    }

    /// Why no combination was taken, told of the first.
    fn why_not(&self, lists: &[Vec<Candidate<'_>>]) -> Refusal {
        combine(lists)
            .find_map(|combination| self.agree(&combination).err())
            .unwrap_or(Refusal::Bundle)
    }
}

/// The peer's SPI, checked for what it may not be (RFC 2402 section 2.4, RFC 2406 section 2.1, RFC 3173 section 3.3).
fn peer_spi(p: &Proposal) -> Result<u32, Refusal> {
    let spi = p.spi.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
    match p.protocol {
        Protocol::AH | Protocol::ESP if spi >= 256 => Ok(spi),
        // Well-known CPIs are for manual keying: all SAs with that peer would have one name.
        Protocol::IPCOMP if (256..=61439).contains(&spi) => Ok(spi),
        Protocol::IPCOMP => Err(Refusal::Cpi(spi)),
        Protocol::AH | Protocol::ESP => Err(Refusal::Spi(spi)),
        other => Err(Refusal::Protocol(other)),
    }
}

/// Most combinations of transforms tried in one bundle; sane offers have a handful, a hostile one half a million.
const MAX_COMBINATIONS: usize = 4096;

/// The ways to take one candidate from each list, the first list's order counting most. There are at most three lists
/// (one a protocol) and 255 transforms in all.
fn combine<'a, 'b>(
    lists: &'b [Vec<Candidate<'a>>],
) -> impl Iterator<Item = Vec<Candidate<'a>>> + use<'a, 'b> {
    let total: usize = lists.iter().map(Vec::len).product();
    (0..total.min(MAX_COMBINATIONS)).map(move |mut n| {
        let mut parts: Vec<Candidate<'a>> = lists
            .iter()
            .rev()
            .filter_map(|list| {
                let part = list.get(n % list.len().max(1)).copied();
                n /= list.len().max(1);
                part
            })
            .collect();
        parts.reverse();
        parts
    })
}

fn assemble(
    parts: &[Candidate<'_>],
    encapsulation: Encapsulation,
    group: Option<Group>,
) -> IpsecChoice {
    let mut choice = IpsecChoice {
        ah: None,
        esp: None,
        ipcomp: None,
        encapsulation,
        group,
        lifetimes: Lifetimes::default(),
        chosen: Vec::new(),
    };
    for c in parts {
        match c.understood.kind {
            Kind::Ah(auth) => {
                choice.ah = Some(AhChoice {
                    auth,
                    spi: c.spi,
                    esn: c.understood.common.esn,
                });
            }
            Kind::Esp(suite) => {
                choice.esp = Some(EspChoice {
                    suite,
                    spi: c.spi,
                    esn: c.understood.common.esn,
                });
            }
            Kind::Ipcomp => choice.ipcomp = Some(IpcompChoice { cpi: c.spi as u16 }),
        }
        choice.lifetimes = choice.lifetimes.shorter(c.understood.common.lifetimes);
        let transforms = c
            .proposal
            .transforms
            .get(c.index)
            .cloned()
            .into_iter()
            .collect();
        choice.chosen.push(Proposal {
            transforms,
            ..c.proposal.clone()
        });
    }
    choice
}
