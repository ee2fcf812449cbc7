//! What the kernel sends: answers, ACQUIRE, EXPIRE. Everything is checked by `pfkey` first; a message that makes no
//! sense is logged and dropped.

use core::net::SocketAddr;

use ike::proposal::Supported;
use ipsec_types::{Port, ProtoPort, Subnet};
use pfkey::{Direction, ExtType, Message, MsgType, SaType, errno};
use whack::{DebugClass, Rc};

use super::{Asker, InstallError};
use crate::engine::Engine;
use crate::engine::connection::Clients;
use crate::engine::log::About;
use crate::engine::time::Time;
use crate::engine::timers::Timer;

impl Engine {
    /// The kernel sent a message.
    pub(crate) fn kernel_message(&mut self, now: Time, bytes: &[u8]) {
        let message = match Message::new_checked(bytes, Direction::FromKlips) {
            Ok(message) => message,
            Err(error) => {
                self.loglog(
                    About::default(),
                    Rc::LogSerious,
                    format!("ignoring a message from KLIPS: {error}"),
                );
                return;
            }
        };
        let spontaneous = message.errno() == 0;
        match message.msg_type() {
            MsgType::Acquire if spontaneous => self.acquire(now, &message),
            MsgType::Expire if spontaneous => self.expire(now, &message),
            MsgType::NatTNewMapping if spontaneous && message.pid() != self.config.pid => {
                self.new_mapping(now, &message);
            }
            _ => self.kernel_answer(now, &message),
        }
    }

    fn kernel_answer(&mut self, now: Time, message: &Message<'_>) {
        // Answers to other programs come here too.
        if message.pid() != self.config.pid {
            return;
        }
        let seq = message.seq();
        let Some(pending) = self.kernel.pending.get(&seq) else {
            self.debug(About::default(), DebugClass::Klips, || {
                format!("an answer to request {seq}, which is not pending")
            });
            return;
        };
        let registered = matches!(pending.asker, Asker::Registration(SaType::Esp));
        let result = match message.errno() {
            0 if matches!(
                pending.asker,
                Asker::Traffic(_) | Asker::Use(..) | Asker::Shunt(_)
            ) =>
            {
                return self.traffic_answered(now, seq, message);
            }
            0 => Ok(()),
            number => {
                let error = InstallError::Kernel {
                    what: pending.what.clone(),
                    error: errno_text(number),
                };
                self.debug(About::default(), DebugClass::Klips, || error.to_string());
                Err(error)
            }
        };
        // Without lists it has said nothing (RFC 2367 section 3.1.7 wants them).
        if registered && message.supported_encrypt().next().is_some() {
            let numbers = |alg: pfkey::Alg| alg.id;
            self.kernel_supports(Supported::only(
                message.supported_encrypt().map(numbers),
                message.supported_auth().map(numbers),
            ));
        }
        self.answered(now, seq, result);
    }

    fn traffic_answered(&mut self, now: Time, seq: u32, message: &Message<'_>) {
        let pending = self.kernel.pending.remove(&seq);
        self.timers.cancel(&Timer::KernelSilent(seq));
        let packets = message.lifetime_current().map(|current| current.packets);
        match pending.map(|pending| pending.asker) {
            Some(Asker::Traffic(state)) => self.dpd_traffic(now, state, packets),
            Some(Asker::Use(state, half)) => {
                self.use_told(now, state, half, packets.unwrap_or_default());
            }
            Some(Asker::Shunt(flow)) => self.shunt_use_told(now, flow, packets),
            _ => {}
        }
    }

    fn acquire(&mut self, now: Time, message: &Message<'_>) {
        let (Some(src), Some(dst)) = (message.src(), message.dst()) else {
            return;
        };
        let proto = message.protocol().unwrap_or(src.proto);
        let port = |port| {
            if ProtoPort::has_ports(proto) {
                Port(port)
            } else {
                Port::ANY
            }
        };
        let packet = Clients {
            ours: Subnet::host(src.addr),
            our_protoport: ProtoPort {
                proto,
                port: port(src.port),
            },
            theirs: Subnet::host(dst.addr),
            their_protoport: ProtoPort {
                proto,
                port: port(dst.port),
            },
        };
        self.on_demand(now, &packet, message.selector());
    }

    /// An authentic packet of a peer came in UDP from where it was not before.
    fn new_mapping(&mut self, now: Time, message: &Message<'_>) {
        let (Some(sa), Some(to), Some(nat_t)) = (message.sa(), message.dst(), message.nat_t())
        else {
            return;
        };
        if let Some(state) = self.kernel.spis_in.get(&sa.spi).copied() {
            self.ike_new_mapping(now, state, SocketAddr::new(to.addr, nat_t.dport));
        }
    }

    fn expire(&mut self, now: Time, message: &Message<'_>) {
        let hard = message.has(ExtType::LifetimeHard);
        let state = message
            .said()
            .and_then(|said| self.kernel.by_said.get(&said).copied());
        if let Some(state) = state {
            self.ike_sa_expired(now, state, hard);
        }
    }
}

fn errno_text(number: u8) -> String {
    let text = match number {
        errno::ENOENT => "no such SA or eroute",
        errno::ESRCH => "no such process",
        errno::ENOMEM => "out of memory",
        errno::EEXIST => "it exists already",
        errno::EINVAL => "the request is malformed",
        errno::ENOSPC => "its table is full",
        errno::EMSGSIZE => "the request has the wrong length",
        errno::EPROTONOSUPPORT => "it has no such algorithm",
        errno::EOPNOTSUPP => "it has no such request",
        errno::ENOBUFS => "it has no buffers",
        errno::ENOKEY => "the SA group has neither ESP nor AH",
        _ => return format!("errno {number}"),
    };
    format!("{text} (errno {number})")
}
