//! PF_KEY requests (RFC 2367 section 3, and KLIPS' extensions): one function a message type.
//!
//! Not here: the bytes of messages (crate `pfkey`), or what KLIPS says by itself (`notify`).

mod flow;
mod group;
mod sa;
mod tables;

pub(crate) use tables::{Dump, dump_more};

use pfkey::{ExtType, MAX_MESSAGE_LEN, Message, MsgType, SaType, errno};

use crate::home::{Context, Home, NoMemory};
use crate::klips::Klips;
use crate::pfkey_seam::{Audience, Socket};
use crate::transform::{AUTHENTICATIONS, COMPRESSIONS, ENCRYPTIONS};

/// How many larval SAs there may be at a time: a daemon that asks for SPIs and forgets them must not fill memory.
pub const MAX_LARVAL: usize = 4096;

/// A Linux errno, for `sadb_msg_errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub u8);

impl From<NoMemory> for Errno {
    fn from(_: NoMemory) -> Self {
        Self(errno::ENOMEM)
    }
}

impl From<pfkey::Error> for Errno {
    fn from(error: pfkey::Error) -> Self {
        Self(error.errno())
    }
}

/// See [`Klips::pfkey`].
pub(crate) fn handle<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    bytes: &[u8],
) {
    let done = Message::request(bytes)
        .map_err(Errno::from)
        .and_then(|message| dispatch(klips, cx, socket, &message));
    if let Err(Errno(errno)) = done {
        let mut buffer = [0; pfkey::HEADER_LEN];
        if let Some(reply) = pfkey::request::error_reply(&mut buffer, bytes, errno) {
            let _ = cx.out.pfkey(Audience::Sender, reply);
        }
    }
}

fn dispatch<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    match message.msg_type() {
        MsgType::Register => register(cx, socket, message),
        MsgType::GetSpi => sa::get_spi(klips, cx, message),
        MsgType::Add => sa::add(klips, cx, message),
        MsgType::Update => sa::update(klips, cx, message),
        MsgType::Delete => sa::delete(klips, cx, message),
        MsgType::Get if message.satype() == SaType::Int => flow::get(klips, cx, message),
        MsgType::Get => sa::get(klips, cx, message),
        MsgType::Dump => tables::dump(klips, cx, socket, message),
        MsgType::Flush => tables::flush(klips, cx, socket, message),
        MsgType::GrpSa => group::group(klips, cx, message),
        MsgType::AddFlow => flow::add(klips, cx, message),
        MsgType::DelFlow => flow::delete(klips, cx, socket, message),
        MsgType::Debug => debug(klips, cx, message),
        MsgType::Promisc => {
            socket.set_promiscuous(message.promisc_on());
            echo(cx, Audience::Sender, message)
        }
        // A daemon that gives up on an ACQUIRE; what becomes of the hold it says by DELFLOW or ADDFLOW.
        MsgType::Acquire if message.errno() != 0 => Ok(()),
        MsgType::NatTNewMapping => sa::remap(klips, cx, message),
        MsgType::Acquire | MsgType::Expire | MsgType::PChange => Err(Errno(errno::EOPNOTSUPP)),
    }
}

/// Sends `message` to `audience`, and to the sockets that hear everything.
fn say<H: Home>(cx: &mut Context<'_, H>, audience: Audience, message: &[u8]) {
    let _ = cx.out.pfkey(audience, message);
    if audience != Audience::All {
        let _ = cx.out.pfkey(Audience::Promiscuous, message);
    }
}

/// Answers with the request itself, without keys.
fn echo<H: Home>(
    cx: &mut Context<'_, H>,
    audience: Audience,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let reply = pfkey::request::echo_reply(&mut buffer, message)?;
    say(cx, audience, reply);
    Ok(())
}

/// REGISTER: the algorithms there are go to all who registered for the type (RFC 2367 section 3.1.7).
fn register<H: Home>(
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let satype = message.satype();
    let home = cx.home;
    let auth = AUTHENTICATIONS
        .iter()
        .filter(|a| home.has_authentication(a))
        .map(|a| pfkey::Alg {
            id: a.id,
            ivlen: 0,
            min_bits: a.key_bits(),
            max_bits: a.key_bits(),
        });
    let encrypt = ENCRYPTIONS
        .iter()
        .filter(|e| home.has_encryption(e))
        .map(|e| {
            let (min_bits, max_bits) = e.key_bits();
            let (id, ivlen) = (e.id, e.iv as u8);
            pfkey::Alg {
                id,
                ivlen,
                min_bits,
                max_bits,
            }
        });
    let compress = COMPRESSIONS.iter().map(|c| pfkey::Alg {
        id: c.id,
        ivlen: 0,
        min_bits: 0,
        max_bits: 0,
    });
    socket.register(satype.number());
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let reply = pfkey::Builder::with_header(&mut buffer, *message.header());
    let reply = match satype {
        SaType::Ah => reply.supported(ExtType::SupportedAuth, auth),
        SaType::Esp => reply
            .supported(ExtType::SupportedAuth, auth)
            .supported(ExtType::SupportedEncrypt, encrypt),
        SaType::Comp => reply.supported(ExtType::SupportedEncrypt, compress),
        SaType::IpIp | SaType::Int | SaType::Unspec => reply,
    };
    say(cx, Audience::Registered(satype.number()), reply.finish()?);
    Ok(())
}

fn debug<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let flags = message.debug_flags().ok_or(Errno(errno::EINVAL))?;
    klips.sysctl.debug = flags.applied_to(klips.sysctl.debug);
    echo(cx, Audience::All, message)
}
