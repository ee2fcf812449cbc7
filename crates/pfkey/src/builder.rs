//! Writes a message, extension by extension, into the caller's buffer. Whole messages are in [`crate::request`].

use ipsec_types::{SaId, Selector, Spi};

use crate::error::{Error, ErrorKind};
use crate::ext::{Address, DebugFlags, Ident, Key, Lifetime, NatT, Sa};
use crate::header::{HEADER_LEN, Header};
use crate::proposal::{Alg, Comb};
use crate::types::{ExtType, MsgType, SaFlags, SaType};

/// Where octets go; remembers the first failure.
pub(crate) struct Sink<'a> {
    buf: &'a mut [u8],
    len: usize,
    error: Option<Error>,
}

impl Sink<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self
            .buf
            .get_mut(self.len..)
            .and_then(|rest| rest.get_mut(..bytes.len()))
        {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.fail(ErrorKind::NoRoom),
        }
    }

    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.error.get_or_insert(Error { at: self.len, kind });
    }
}

/// A message under construction. Failures are kept until [`Builder::finish`], so that calls chain.
pub struct Builder<'a> {
    sink: Sink<'a>,
    header: Header,
    seen: u32,
}

impl<'a> Builder<'a> {
    /// Starts a message in `buf`; [`crate::MAX_MESSAGE_LEN`] octets hold any.
    pub fn new(buf: &'a mut [u8], msg_type: MsgType, satype: SaType, seq: u32, pid: u32) -> Self {
        let header = Header {
            msg_type: msg_type.number(),
            errno: 0,
            satype: satype.number(),
            len: 0,
            seq,
            pid,
        };
        Self::with_header(buf, header)
    }

    /// Starts a message with a given header, whose length is filled in at the end: an answer to a request's header.
    pub fn with_header(buf: &'a mut [u8], header: Header) -> Self {
        let mut sink = Sink {
            buf,
            len: 0,
            error: None,
        };
        sink.put(&[0; HEADER_LEN]);
        Self {
            sink,
            header,
            seen: 0,
        }
    }

    /// Sets errno.
    pub fn errno(mut self, errno: u8) -> Self {
        self.header.errno = errno;
        self
    }

    /// Adds an extension whose body `emit` writes, and pads it.
    fn ext(mut self, ext: ExtType, emit: impl FnOnce(&mut Sink<'a>)) -> Self {
        if self.seen & ext.bit() != 0 {
            self.sink.fail(ErrorKind::Duplicate(ext));
        }
        self.seen |= ext.bit();
        let start = self.sink.len;
        self.sink.put(&[0; 2]);
        self.sink.put(&ext.number().to_ne_bytes());
        emit(&mut self.sink);
        let ragged = (self.sink.len - start) % 8;
        if ragged != 0 {
            self.sink.put(&[0; 8][ragged..]);
        }
        let words = (self.sink.len - start) / 8;
        match (
            u16::try_from(words),
            self.sink.buf.get_mut(start..start + 2),
        ) {
            (Ok(words), Some(field)) => field.copy_from_slice(&words.to_ne_bytes()),
            _ => self.sink.fail(ErrorKind::NoRoom),
        }
        self
    }

    /// Adds SA.
    pub fn sa(self, sa: &Sa) -> Self {
        self.ext(ExtType::Sa, |out| sa.emit(out))
    }

    /// Adds a lifetime as `ext`, one of the three.
    pub fn lifetime(self, ext: ExtType, lifetime: &Lifetime) -> Self {
        debug_assert!(matches!(
            ext,
            ExtType::LifetimeCurrent | ExtType::LifetimeHard | ExtType::LifetimeSoft
        ));
        self.ext(ext, |out| lifetime.emit(out))
    }

    /// Adds hard and soft limits, each if it limits anything.
    pub fn limits(mut self, hard: &Lifetime, soft: &Lifetime) -> Self {
        if !hard.is_none() {
            self = self.lifetime(ExtType::LifetimeHard, hard);
        }
        if !soft.is_none() {
            self = self.lifetime(ExtType::LifetimeSoft, soft);
        }
        self
    }

    /// Adds an address as `ext`, one of the address extensions.
    pub fn address(self, ext: ExtType, address: Address) -> Self {
        self.ext(ext, |out| address.emit(out))
    }

    /// Adds source and destination.
    pub fn addresses(self, src: core::net::IpAddr, dst: core::net::IpAddr) -> Self {
        self.address(ExtType::AddressSrc, Address::new(src))
            .address(ExtType::AddressDst, Address::new(dst))
    }

    /// Adds the authentication key.
    pub fn key_auth(self, key: &Key<'_>) -> Self {
        self.ext(ExtType::KeyAuth, |out| key.emit(out))
    }

    /// Adds the encryption key.
    pub fn key_encrypt(self, key: &Key<'_>) -> Self {
        self.ext(ExtType::KeyEncrypt, |out| key.emit(out))
    }

    /// Adds the source identity.
    pub fn ident_src(self, ident: &Ident<'_>) -> Self {
        self.ext(ExtType::IdentitySrc, |out| ident.emit(out))
    }

    /// Adds the destination identity.
    pub fn ident_dst(self, ident: &Ident<'_>) -> Self {
        self.ext(ExtType::IdentityDst, |out| ident.emit(out))
    }

    /// Adds the second SA of a group: SA type, SA and destination.
    pub fn second(self, said: &SaId) -> Self {
        self.ext(ExtType::SaType2, |out| {
            out.put(&[SaType::from(said.proto).number(), 0, 0, 0])
        })
        .ext(ExtType::Sa2, |out| {
            Sa::of_spi(said.spi, SaFlags::NONE).emit(out)
        })
        .address(ExtType::AddressDst2, Address::new(said.dst))
    }

    /// Adds a flow: four addresses, with ports, and the protocol if it is not any.
    pub fn flow(self, flow: &Selector) -> Self {
        let mask_port = |port: u16| if port == 0 { 0 } else { u16::MAX };
        let built = self
            .address(
                ExtType::AddressSrcFlow,
                Address::with_port(flow.src.addr(), flow.sport),
            )
            .address(
                ExtType::AddressDstFlow,
                Address::with_port(flow.dst.addr(), flow.dport),
            )
            .address(
                ExtType::AddressSrcMask,
                Address::with_port(flow.src.mask(), mask_port(flow.sport)),
            )
            .address(
                ExtType::AddressDstMask,
                Address::with_port(flow.dst.mask(), mask_port(flow.dport)),
            );
        if flow.proto == 0 {
            built
        } else {
            built.protocol(flow.proto)
        }
    }

    /// Adds a transport protocol.
    pub fn protocol(self, proto: u8) -> Self {
        self.ext(ExtType::Protocol, |out| out.put(&[proto, 0, 0, 0]))
    }

    /// Adds a proposal.
    pub fn proposal(self, replay: u8, combs: &[Comb]) -> Self {
        self.ext(ExtType::Proposal, |out| {
            out.put(&[replay, 0, 0, 0]);
            combs.iter().for_each(|comb| comb.emit(out));
        })
    }

    /// Adds a list of algorithms as `ext`, [`ExtType::SupportedAuth`] or [`ExtType::SupportedEncrypt`].
    pub fn supported(self, ext: ExtType, algs: impl IntoIterator<Item = Alg>) -> Self {
        debug_assert!(matches!(
            ext,
            ExtType::SupportedAuth | ExtType::SupportedEncrypt
        ));
        self.ext(ext, |out| {
            out.put(&[0; 4]);
            algs.into_iter().for_each(|alg| alg.emit(out));
        })
    }

    /// Adds the range that GETSPI may choose from.
    pub fn spi_range(self, min: Spi, max: Spi) -> Self {
        self.ext(ExtType::SpiRange, |out| {
            out.put(&min.to_be_bytes());
            out.put(&max.to_be_bytes());
            out.put(&[0; 4]);
        })
    }

    /// Adds debugging flags.
    pub fn debug_flags(self, flags: &DebugFlags) -> Self {
        self.ext(ExtType::Debug, |out| flags.emit(out))
    }

    /// Adds UDP encapsulation.
    pub fn nat_t(self, nat_t: &NatT) -> Self {
        let port = |port: u16| {
            let [high, low] = port.to_be_bytes();
            move |out: &mut Sink<'a>| out.put(&[high, low, 0, 0])
        };
        let built = self
            .ext(ExtType::NatTType, |out| out.put(&[nat_t.kind, 0, 0, 0]))
            .ext(ExtType::NatTSport, port(nat_t.sport))
            .ext(ExtType::NatTDport, port(nat_t.dport));
        match nat_t.oa {
            Some(oa) => built.address(ExtType::NatTOa, Address::new(oa)),
            None => built,
        }
    }

    /// Copies one extension of another message as it is, if it is there: answers repeat most of the request.
    pub fn copy(self, from: &crate::Message<'_>, ext: ExtType) -> Self {
        match from.ext_body(ext) {
            Some(body) => self.ext(ext, |out| out.put(body)),
            None => self,
        }
    }

    /// Fills in the length and hands out the octets.
    ///
    /// # Errors
    /// The first failure: [`ErrorKind::NoRoom`], [`ErrorKind::Duplicate`], or what a value cannot say on the wire.
    pub fn finish(mut self) -> Result<&'a [u8], Error> {
        if let Some(error) = self.sink.error {
            return Err(error);
        }
        let words =
            u16::try_from(self.sink.len / 8).map_err(|_| Error::header(ErrorKind::NoRoom))?;
        self.header.len = words;
        let message = self
            .sink
            .buf
            .get_mut(..self.sink.len)
            .ok_or(Error::header(ErrorKind::NoRoom))?;
        if message.len() > crate::MAX_MESSAGE_LEN {
            return Err(Error::header(ErrorKind::TooLong));
        }
        if let Some(header) = message.first_chunk_mut() {
            *header = self.header.emit();
        }
        Ok(message)
    }
}
