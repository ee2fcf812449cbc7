//! The table `inet klips` of nf_tables: which packets that arrive in the clear klipsd is asked about.
//!
//! Those whose source is within the destination of an eroute that does not let in: one set for each prefix length in use, so that a packet costs a look into
//! each of these, however many eroutes there are; and ICMP errors, which count by what they quote. What becomes of them is not
//! decided here, so that the sets may lag behind the eroutes for a moment, or hold more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use ipsec_types::{Selector, Subnet};
use nix::sys::socket::SockProtocol;

use super::netlink::{ACK, Attributes, CREATE, Messages, Netlink, octets};

/// The table's name.
const NAME: &str = "klips";
/// `NFNL_SUBSYS_NFTABLES`, and messages of it.
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENTS: u16 = SUBSYSTEM << 8 | 14;
const BEGIN: u16 = 16;
const END: u16 = 17;
/// `NLM_F_APPEND`.
const APPEND: u16 = 0x800;
/// `NFPROTO_INET`: IPv4 and IPv6.
const INET: u8 = 1;
/// `struct nfgenmsg` of the table's messages, and of a batch's begin and end.
const GENERAL: [u8; 4] = [INET, 0, 0, 0];
const BATCH: [u8; 4] = [0, 0, 0, SUBSYSTEM as u8];
/// The chains: name, and hook (`NF_INET_LOCAL_IN`, `NF_INET_FORWARD`).
const CHAINS: [(&str, u32); 2] = [("input", 1), ("forward", 2)];
/// Before filters of firewalls, and behind their translation of addresses.
const PRIORITY: i32 = -1;
/// What a rule looks at (`NFT_META_*`).
const IIFNAME: u32 = 6;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// Comparisons (`NFT_CMP_*`).
const EQUAL: u32 = 0;
const LESS: u32 = 2;
/// Elements in one message at most.
const CHUNK: usize = 512;
/// Where klipsd does not listen: pass (`NFT_QUEUE_FLAG_BYPASS`).
const BYPASS: u16 = 1;

/// A change of the eroutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is one with this selector now that does not let in.
    Closed(Selector),
    /// There is none any more, or it lets in.
    Opened(Selector),
}

/// One set: family and prefix length.
type Shape = (bool, u8);

/// The table, and what is in it.
#[derive(Debug)]
pub struct Table {
    netlink: Netlink,
    queue: Ask,
    eroutes: HashSet<Selector>,
    /// How many eroutes there are to each net.
    nets: HashMap<Subnet, usize>,
    shapes: BTreeSet<Shape>,
    present: HashSet<Subnet>,
}

fn begin(messages: &mut Messages) {
    messages.put(BEGIN, 0, &BATCH, |_| {});
}

fn end(messages: &mut Messages) {
    messages.put(END, 0, &BATCH, |_| {});
}

fn shape(net: &Subnet) -> Shape {
    (net.addr().is_ipv6(), net.prefix())
}

fn set_name((v6, prefix): Shape) -> String {
    format!("far{}_{prefix}", if v6 { 6 } else { 4 })
}

/// The expressions of a rule.
struct Rule<'a, 'b>(&'a mut Attributes<'b>);

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(1, |a| {
            a.text(1, name);
            a.nest(2, data);
        });
        self
    }

    /// Register 1 gets something about the packet.
    fn meta(&mut self, key: u32) -> &mut Self {
        self.expression("meta", |a| {
            a.number(1, 1);
            a.number(2, key);
        })
    }

    /// Register 1 gets octets of a header.
    fn payload(&mut self, base: u32, offset: u32, len: u32) -> &mut Self {
        self.expression("payload", |a| {
            a.number(1, 1);
            a.number(2, base);
            a.number(3, offset);
            a.number(4, len);
        })
    }

    fn compare(&mut self, operator: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |a| {
            a.number(1, 1);
            a.number(2, operator);
            a.nest(3, |a| a.put(1, value));
        })
    }

    fn mask(&mut self, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |a| {
            a.number(1, 1);
            a.number(2, 1);
            a.number(3, mask.len() as u32);
            a.nest(4, |a| a.put(1, mask));
            a.nest(5, |a| a.put(1, &vec![0; mask.len()]));
        })
    }

    fn within(&mut self, set: &str) -> &mut Self {
        self.expression("lookup", |a| {
            a.text(1, set);
            a.number(2, 1);
        })
    }

    fn accept(&mut self) {
        self.expression("immediate", |a| {
            a.number(1, 0);
            a.nest(2, |a| a.nest(2, |a| a.number(1, 1)));
        });
    }

    fn ask(&mut self, queue: Ask, flags: u16) {
        let number = queue.number;
        if queue.native {
            self.expression("queue", |a| {
                a.put(1, &number.to_be_bytes());
                a.put(2, &1u16.to_be_bytes());
                a.put(3, &flags.to_be_bytes());
            });
            return;
        }
        // `struct xt_NFQ_info_v3`: number, how many, flags.
        let mut info = [0; 8];
        for (place, value) in info.chunks_exact_mut(2).zip([number, 1, flags]) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        self.expression("target", |a| {
            a.text(1, "NFQUEUE");
            a.number(2, 3);
            a.put(3, &info);
        });
    }
}

/// How packets get to klipsd: by nf_tables' own expression, or by the target that iptables uses.
#[derive(Clone, Copy, Debug)]
struct Ask {
    number: u16,
    native: bool,
}

fn rule(messages: &mut Messages, chain: &str, make: impl FnOnce(&mut Rule<'_, '_>)) {
    messages.put(NEW_RULE, CREATE | APPEND, &GENERAL, |a| {
        a.text(1, NAME);
        a.text(2, chain);
        a.nest(4, |a| make(&mut Rule(a)));
    });
}

impl Table {
    /// Makes the table anew, with no eroutes in it; `queue` is the number of the queue that klipsd listens at.
    ///
    /// # Errors
    /// The kernel's; ENOENT, EOPNOTSUPP or EPROTONOSUPPORT where it lacks a part of nf_tables.
    pub fn open(queue: u16) -> io::Result<Self> {
        let ask = |native| Ask {
            number: queue,
            native,
        };
        match Self::make(ask(true)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Self::make(ask(false)),
            made => made,
        }
    }

    fn make(queue: Ask) -> io::Result<Self> {
        let table = Self {
            netlink: Netlink::open(SockProtocol::NetlinkNetFilter)?,
            queue,
            eroutes: HashSet::new(),
            nets: HashMap::new(),
            shapes: BTreeSet::new(),
            present: HashSet::new(),
        };
        let mut messages = Messages::default();
        begin(&mut messages);
        let named = |a: &mut Attributes<'_>| a.text(1, NAME);
        // One that a klipsd before us has left behind goes at the same moment.
        messages.put(NEW_TABLE, CREATE, &GENERAL, named);
        messages.put(DELETE_TABLE, 0, &GENERAL, named);
        messages.put(NEW_TABLE, CREATE, &GENERAL, named);
        for (chain, hook) in CHAINS {
            messages.put(NEW_CHAIN, CREATE, &GENERAL, |a| {
                a.text(1, NAME);
                a.text(3, chain);
                a.nest(4, |a| {
                    a.number(1, hook);
                    a.number(2, PRIORITY as u32);
                });
                a.text(7, "filter");
            });
            table.usual_rules(&mut messages, chain);
        }
        // The answer to one more message says that all before it were taken.
        messages.put(NEW_TABLE, CREATE | ACK, &GENERAL, named);
        end(&mut messages);
        table.netlink.ask(&messages)?;
        Ok(table)
    }

    fn usual_rules(&self, messages: &mut Messages, chain: &str) {
        // What came out of an SA appears on ipsecN.
        for device in [&b"ipsec"[..], b"lo\0"] {
            rule(messages, chain, |r| {
                r.meta(IIFNAME).compare(EQUAL, device).accept()
            });
        }
        if chain == "input" {
            for protocol in [50u8, 51, 108] {
                rule(messages, chain, |r| {
                    r.meta(L4PROTO).compare(EQUAL, &[protocol]).accept()
                });
            }
            for port in [500u16, 4500] {
                rule(messages, chain, |r| {
                    r.meta(L4PROTO).compare(EQUAL, &[17]);
                    r.payload(TRANSPORT, 2, 2)
                        .compare(EQUAL, &port.to_be_bytes())
                        .accept();
                });
            }
        }
        for kind in [3u8, 4, 11, 12] {
            rule(messages, chain, |r| {
                r.meta(NFPROTO).compare(EQUAL, &[libc::NFPROTO_IPV4 as u8]);
                r.meta(L4PROTO).compare(EQUAL, &[1]);
                r.payload(TRANSPORT, 0, 1)
                    .compare(EQUAL, &[kind])
                    .ask(self.queue, BYPASS);
            });
        }
        rule(messages, chain, |r| {
            r.meta(NFPROTO).compare(EQUAL, &[libc::NFPROTO_IPV6 as u8]);
            r.meta(L4PROTO).compare(EQUAL, &[58]);
            r.payload(TRANSPORT, 0, 1)
                .compare(LESS, &[128])
                .ask(self.queue, BYPASS);
        });
    }

    /// Brings the sets up to date.
    ///
    /// # Errors
    /// The kernel's. What it did not take is tried again with the next changes.
    pub fn follow(&mut self, changes: impl Iterator<Item = Change>) -> io::Result<()> {
        for change in changes {
            match change {
                Change::Closed(eroute) => {
                    if self.eroutes.insert(eroute) {
                        *self.nets.entry(eroute.dst).or_default() += 1;
                    }
                }
                Change::Opened(eroute) => {
                    if self.eroutes.remove(&eroute) {
                        self.forget(&eroute.dst);
                    }
                }
            }
        }
        let gone: Vec<Subnet> = self
            .present
            .iter()
            .filter(|net| !self.nets.contains_key(net))
            .copied()
            .collect();
        let new: Vec<Subnet> = self
            .nets
            .keys()
            .filter(|net| !self.present.contains(net))
            .copied()
            .collect();
        self.elements(DELETE_ELEMENTS, &gone)?;
        self.elements(NEW_ELEMENTS, &new)
    }

    fn forget(&mut self, net: &Subnet) {
        if let Some(count) = self.nets.get_mut(net) {
            *count -= 1;
            if *count == 0 {
                self.nets.remove(net);
            }
        }
    }

    fn elements(&mut self, kind: u16, nets: &[Subnet]) -> io::Result<()> {
        let mut by_shape: HashMap<Shape, Vec<Subnet>> = HashMap::new();
        for net in nets {
            by_shape.entry(shape(net)).or_default().push(*net);
        }
        for (shape, nets) in by_shape {
            for chunk in nets.chunks(CHUNK) {
                let mut messages = Messages::default();
                begin(&mut messages);
                let new_set = !self.shapes.contains(&shape);
                if new_set {
                    self.set(&mut messages, shape);
                }
                messages.put(kind, CREATE | ACK, &GENERAL, |a| {
                    a.text(1, NAME);
                    a.text(2, &set_name(shape));
                    a.nest(3, |a| {
                        for net in chunk {
                            a.nest(1, |a| a.nest(1, |a| a.put(1, &octets(net.addr()))));
                        }
                    });
                });
                end(&mut messages);
                self.netlink.ask(&messages)?;
                self.shapes.insert(shape);
                for net in chunk {
                    if kind == NEW_ELEMENTS {
                        self.present.insert(*net);
                    } else {
                        self.present.remove(net);
                    }
                }
            }
        }
        Ok(())
    }

    /// A set for one prefix length, and the rules that look into it.
    fn set(&self, messages: &mut Messages, shape: Shape) {
        let (v6, prefix) = shape;
        let (proto, at, len, kind) = if v6 {
            (libc::NFPROTO_IPV6, 8, 16, 8)
        } else {
            (libc::NFPROTO_IPV4, 12, 4, 7)
        };
        messages.put(NEW_SET, CREATE, &GENERAL, |a| {
            a.text(1, NAME);
            a.text(2, &set_name(shape));
            a.number(3, 0);
            // What `nft list` shows the elements as.
            a.number(4, kind);
            a.number(5, len);
            a.number(10, 1);
        });
        let ones = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        let mask = if v6 {
            ones.to_be_bytes().to_vec()
        } else {
            u32::MAX
                .checked_shl(32 - u32::from(prefix))
                .unwrap_or(0)
                .to_be_bytes()
                .to_vec()
        };
        for (chain, _) in CHAINS {
            rule(messages, chain, |r| {
                r.meta(NFPROTO).compare(EQUAL, &[proto as u8]);
                r.payload(NETWORK, at, len)
                    .mask(&mask)
                    .within(&set_name(shape))
                    .ask(self.queue, 0);
            });
        }
    }

    /// Takes the table away.
    ///
    /// # Errors
    /// The kernel's.
    pub fn close(&self) -> io::Result<()> {
        remove(&self.netlink)
    }
}

/// Takes the table away, whoever has made it.
///
/// # Errors
/// The kernel's; ENOENT where there is none.
pub fn remove(netlink: &Netlink) -> io::Result<()> {
    let mut messages = Messages::default();
    begin(&mut messages);
    messages.put(DELETE_TABLE, ACK, &GENERAL, |a| a.text(1, NAME));
    end(&mut messages);
    netlink.ask(&messages)
}
