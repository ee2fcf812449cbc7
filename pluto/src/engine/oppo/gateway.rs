//! Which of the gateways that DNS names for a destination is negotiated with: the next one of which address and key can be had.
//!
//! Not here: what the records say (`delegation`), and the negotiation (`initiate`).

use core::time::Duration;

use ipsec_dns::{Answer, Gateway, Query};

use super::Pair;
use super::delegation::Candidate;
use super::failure::{self, life_of};
use super::lookup::{Asker, Found, believed};
use super::strangers::MAX_SILENT;
use crate::engine::ike::authority::speaker::Says;
use crate::engine::{Engine, Time};

impl Engine {
    pub(super) fn next_gateway(&mut self, now: Time, pair: Pair) {
        loop {
            let Some(attempt) = self.oppo.attempts.get_mut(&pair) else {
                return;
            };
            attempt.chosen = None;
            attempt.conn = None;
            self.line_up(pair);
            let Some(attempt) = self.oppo.attempts.get_mut(&pair) else {
                return;
            };
            let candidate = match attempt.silent >= MAX_SILENT {
                true => None,
                false => attempt.waiting.pop_front(),
            };
            let Some(candidate) = candidate else {
                let (why, life) = attempt.why.clone();
                return self.attempt_failed_for(now, pair, &why, life);
            };
            attempt.chosen = Some(candidate);
            match self.complete(now, pair) {
                Ok(()) => return,
                Err((why, life)) => {
                    if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                        attempt.why = (why, life);
                    }
                }
            }
        }
    }

    /// Finds out what is not yet known of the chosen gateway, then negotiates.
    fn complete(&mut self, now: Time, pair: Pair) -> Result<(), (String, Duration)> {
        let Some(attempt) = self.oppo.attempts.get(&pair) else {
            return Ok(());
        };
        let (Some(candidate), Some(conn)) =
            (attempt.chosen.clone(), self.conns.get(attempt.template))
        else {
            return Ok(());
        };
        let here = conn.this.host;
        let Some(place) = candidate.place else {
            if let Gateway::Name(name) = candidate.gateway {
                self.ask_for(
                    now,
                    pair,
                    Query::Addresses(name),
                    Asker::GatewayAddress(pair),
                );
            }
            return Ok(());
        };
        let never = |why: String| Err((why, failure::after_records()));
        if here.is_some_and(|here| here.is_ipv6() != place.is_ipv6()) {
            return never(format!("gateway {place} is of another address family"));
        }
        if place.is_unspecified() || place.is_loopback() || place.is_multicast() {
            return never(format!("gateway {place} can't be reached from here"));
        }
        if self.own_addresses().any(|own| own == place) {
            return never(format!("gateway {place} is this host itself"));
        }
        if self.oppo.failed.contains(now, place) {
            let why = format!("gateway {place} did not answer lately");
            return Err((why, failure::after_negotiation() / 5));
        }
        match candidate.keys(now, self.wants_dnssec(pair)) {
            Err(why) => return never(why.to_string()),
            Ok(Says::Ask(query)) => self.ask_for(now, pair, query, Asker::GatewayKey(pair)),
            Ok(Says::Speaks(_)) => self.negotiate(now, pair),
        }
        Ok(())
    }

    /// DNS has told the key of a gateway.
    pub(super) fn gateway_key_answered(&mut self, now: Time, pair: Pair, found: &Found) {
        let dnssec = self.wants_dnssec(pair);
        self.chosen_answered(now, pair, found, |candidate, answer| {
            believed(answer, dnssec)?;
            candidate.learn_keys(&Ok(answer.clone()));
            Ok(())
        });
    }

    /// DNS has told where a gateway is.
    pub(super) fn gateway_address_answered(&mut self, now: Time, pair: Pair, found: &Found) {
        let dnssec = self.wants_dnssec(pair);
        let v6 = pair.0.is_ipv6();
        self.chosen_answered(now, pair, found, |candidate, answer| {
            believed(answer, dnssec)?;
            let place = answer.addresses.iter().find(|addr| addr.is_ipv6() == v6);
            let none = || format!("{} has no address of our family", candidate.gateway);
            candidate.place = Some(*place.ok_or_else(none)?);
            Ok(())
        });
    }

    fn chosen_answered(
        &mut self,
        now: Time,
        pair: Pair,
        found: &Found,
        learn: impl FnOnce(&mut Candidate, &Answer) -> Result<(), String>,
    ) {
        self.answered_for(pair);
        let shunt = self.shunt_for(pair);
        let Some(attempt) = self.oppo.attempts.get_mut(&pair) else {
            return;
        };
        let Some(candidate) = &mut attempt.chosen else {
            return;
        };
        let problem = match found {
            Err(error) => Some((error.to_string(), life_of(error, shunt))),
            Ok(answer) => {
                let learned = learn(candidate, answer).err();
                learned.map(|why| (why, failure::after_records()))
            }
        };
        let problem = problem.or_else(|| self.complete(now, pair).err());
        if let Some(problem) = problem {
            if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
                attempt.why = problem;
            }
            self.next_gateway(now, pair);
        }
    }
}
