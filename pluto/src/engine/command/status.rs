//! `whack --status`: interfaces, identity, debugging, connections, states, shunts.

use ipsec_types::SaId;
use whack::Rc;

use crate::engine::event::ClientId;
use crate::engine::time::Time;
use crate::engine::{Connection, Engine};

const SPACER: &str = " ";

impl Engine {
    pub(super) fn whack_status(&mut self, now: Time, client: ClientId) {
        let mut lines: Vec<String> = self
            .interfaces
            .iter()
            .map(|i| format!("interface {}/{} {}", i.virt, i.phys, i.addr))
            .collect();
        let problems = self.problems.iter();
        lines.extend(problems.map(|problem| format!("problem: {problem}")));
        lines.extend(self.nat_status());
        lines.extend(crate::engine::keylog::warning(&self.config));
        lines.push(self.my_id_status());
        lines.extend(self.oppo_nat_status(now));
        lines.extend(self.oppo_figures_status());
        lines.push(self.debug_status());
        lines.push(SPACER.to_owned());
        lines.extend(self.connections_status(now));
        lines.push(SPACER.to_owned());
        lines.extend(self.ike_status(now));
        lines.push(SPACER.to_owned());
        lines.extend(self.shunts_status(now));
        for line in lines {
            self.reply(client, Rc::Comment, line);
        }
    }

    fn debug_status(&self) -> String {
        let classes: Vec<&str> = self.config.debug.iter().map(|class| class.name()).collect();
        let classes = if classes.is_empty() {
            "none".to_owned()
        } else {
            classes.join("+")
        };
        format!("debug {classes}")
    }

    fn connections_status(&self, now: Time) -> Vec<String> {
        let mut conns: Vec<&Connection> = self.conns.iter().collect();
        conns.sort_by(|a, b| {
            (&a.name, a.instance_serial, a.id()).cmp(&(&b.name, b.instance_serial, b.id()))
        });
        let lines = |conn: &Connection| {
            let mut lines = conn.status();
            let found = self.found_status(now, conn.id()).into_iter();
            let name = format!("\"{}\"{}", conn.name, conn.instance_tag());
            lines.extend(found.map(|line| format!("{name}:   {line}")));
            lines.extend(self.newest_algorithms(conn));
            lines
        };
        conns.into_iter().flat_map(lines).collect()
    }

    fn shunts_status(&self, now: Time) -> Vec<String> {
        let mut lines: Vec<String> = self
            .shunts
            .bare()
            .map(|(flow, bare)| {
                let said = SaId::magic(bare.kind);
                let age = (now - bare.since).as_secs();
                let left = bare.until.map_or_else(String::new, |until| {
                    format!(", for {} s more", now.until(until).as_secs())
                });
                format!(
                    "{}:{} -{}-> {}:{} => {said} 0    {} (since {age} s{left})",
                    flow.src, flow.sport, flow.proto, flow.dst, flow.dport, bare.why
                )
            })
            .chain(self.attempts_status())
            .collect();
        lines.sort_unstable();
        lines
    }
}
