//! Requests about whole tables: DUMP, FLUSH, and DELFLOW of all eroutes. They are done in pieces, between which packets go on and
//! others change the tables, since a table has no bound and a home closes it to all packets while it is written to.
//!
//! Not here: what is told of one SA (`sa`).

use ipsec_types::SaProto;
use pfkey::{Builder, Header, MAX_MESSAGE_LEN, Message, errno};

use super::{Errno, echo, sa, say};
use crate::home::{Context, Eroutes, Home};
use crate::klips::Klips;
use crate::pfkey_seam::{Audience, Socket};

/// SAs told in one piece: some 10 kilobytes.
const TOLD: usize = 32;
/// Entries taken away in one piece, the SAs of a group aside.
const TAKEN: usize = 64;
/// Places of a table looked at in one piece.
const LOOKED: usize = 1024;

/// A DUMP that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dump {
    header: Header,
    wanted: Option<SaProto>,
    /// The next place to look at.
    at: usize,
    /// The SA to be told next, its place and reference: which is the last one is known when there is no other.
    next: Option<(u32, u32)>,
    /// Counts down to the last one's 0 (RFC 2367 section 3.1.10).
    left: u32,
}

/// DUMP: every SA of the type, one message each, told to the asker. An empty table is ENOENT; EBUSY while another one is under way.
pub(super) fn dump<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    if socket.dump.is_some() {
        return Err(Errno(errno::EBUSY));
    }
    let wanted = message.satype().proto();
    let left = klips.sadb.count(wanted);
    if left == 0 {
        return Err(Errno(errno::ENOENT));
    }
    socket.dump = Some(Dump {
        header: *message.header(),
        wanted,
        at: 0,
        next: None,
        left: left.try_into().unwrap_or(u32::MAX),
    });
    dump_more(klips, cx, socket);
    Ok(())
}

/// See [`Klips::dump_more`].
pub(crate) fn dump_more<H: Home>(klips: &Klips<H>, cx: &mut Context<'_, H>, socket: &mut Socket) {
    let Some(mut dump) = socket.dump else {
        return;
    };
    let end = klips.sadb.bound();
    let (mut told, mut looked) = (0, 0);
    while dump.at < end && told < TOLD && looked < LOOKED {
        let place = dump.at as u32;
        let found = klips
            .sadb
            .at(place)
            .filter(|sa| dump.wanted.is_none_or(|proto| proto == sa.id.proto));
        (dump.at, looked) = (dump.at + 1, looked + 1);
        if let Some(sa) = found
            && let Some(before) = dump.next.replace((place, sa.reference))
        {
            dump.left = dump.left.saturating_sub(1).max(1);
            told += usize::from(tell(klips, cx, &dump, before, dump.left));
        }
    }
    socket.dump = Some(dump);
    if dump.at >= end {
        socket.dump = None;
        let last = dump
            .next
            .is_some_and(|last| tell(klips, cx, &dump, last, 0));
        if !last {
            // It went meanwhile, and with it the message that was to end the dump.
            nothing_more(cx, &dump);
        }
    }
}

/// Tells of the SA that was at a place, if it still is.
fn tell<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    dump: &Dump,
    (place, reference): (u32, u32),
    seq: u32,
) -> bool {
    let Some(sa) = klips.sadb.at(place).filter(|sa| sa.reference == reference) else {
        return false;
    };
    let satype = pfkey::SaType::from(sa.id.proto).number();
    let header = Header {
        satype,
        seq,
        ..dump.header
    };
    sa::tell(cx, sa, header).is_ok()
}

fn nothing_more<H: Home>(cx: &mut Context<'_, H>, dump: &Dump) {
    let header = Header {
        seq: 0,
        errno: errno::ENOENT,
        ..dump.header
    };
    let mut buffer = [0; MAX_MESSAGE_LEN];
    if let Ok(reply) = Builder::with_header(&mut buffer, header).finish() {
        say(cx, Audience::Sender, reply);
    }
}

/// FLUSH: takes all SAs of the type away, and the groups they are in. Those that are added meanwhile may stay.
pub(super) fn flush<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let wanted = message.satype().proto();
    let mut at = socket.sweep.take().unwrap_or(0);
    let (mut taken, mut looked) = (0, 0);
    while at < klips.sadb.bound() {
        if taken >= TAKEN || looked >= LOOKED {
            socket.sweep = Some(at);
            return Ok(());
        }
        let found = klips.sadb.at(at as u32).map(|sa| sa.id);
        if let Some(id) = found.filter(|id| wanted.is_none_or(|proto| proto == id.proto)) {
            taken += klips.sadb.delete_group(&id).unwrap_or(0);
        }
        (at, looked) = (at + 1, looked + 1);
    }
    echo(cx, Audience::All, message)
}

/// DELFLOW with CLEARFLOW: takes all eroutes away, and the packets that they hold. Those that are added meanwhile may stay.
pub(super) fn clear_flows<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let mut at = socket.sweep.take().unwrap_or(0);
    let (mut taken, mut looked) = (0, 0);
    while at < klips.eroutes.bound() {
        if taken >= TAKEN || looked >= LOOKED {
            socket.sweep = Some(at);
            return Ok(());
        }
        if let Some(selector) = klips.eroutes.at(at as u32).map(|eroute| eroute.selector) {
            taken += usize::from(klips.eroutes.remove(&selector).is_some());
            cx.out.eroutes(Eroutes::Opened(&selector));
        }
        (at, looked) = (at + 1, looked + 1);
    }
    if klips.eroutes.is_empty() {
        // The room that many of them took.
        klips.eroutes.clear();
    }
    echo(cx, Audience::All, message)
}
