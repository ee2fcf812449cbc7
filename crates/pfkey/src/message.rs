//! A message, checked as a whole and then read without fail.

use ipsec_types::{ProtoPort, Selector, Subnet};

use crate::error::{Error, ErrorKind};
use crate::ext::{self, Address, DebugFlags, Ident, Key, Lifetime, Sa};
use crate::fields::Fields;
use crate::header::{Direction, HEADER_LEN, Header};
use crate::proposal;
use crate::sets;
use crate::types::{ExtType, MsgType, SaFlags, SaState, SaType};

/// A checked message over the caller's octets.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub(crate) header: Header,
    pub(crate) msg_type: MsgType,
    pub(crate) bytes: &'a [u8],
    /// Where each extension's body is, by type; empty for none.
    pub(crate) spans: [(u16, u16); 31],
}

/// Shows type, numbers and errno, never keys.
impl core::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message")
            .field("type", &self.msg_type)
            .field("satype", &self.header.satype)
            .field("errno", &self.header.errno)
            .field("seq", &self.header.seq)
            .field("pid", &self.header.pid)
            .field("said", &self.said())
            .finish_non_exhaustive()
    }
}

impl<'a> Message<'a> {
    /// Checks a message to KLIPS.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn request(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new_checked(bytes, Direction::ToKlips)
    }

    /// Checks a message from KLIPS.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn reply(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::new_checked(bytes, Direction::FromKlips)
    }

    /// Checks a message that goes in `direction`. Answers with errno set may lack extensions.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn new_checked(bytes: &'a [u8], direction: Direction) -> Result<Self, Error> {
        let header = Header::parse(bytes)?;
        if bytes.len() > crate::MAX_MESSAGE_LEN {
            return Err(Error::header(ErrorKind::TooLong));
        }
        let said = usize::from(header.len) * 8;
        if said != bytes.len() {
            return Err(Error::header(ErrorKind::MessageLength {
                header: said,
                actual: bytes.len(),
            }));
        }
        let msg_type = MsgType::from_number(header.msg_type)
            .ok_or(Error::header(ErrorKind::MsgType(header.msg_type)))?;
        check_header(&header, msg_type, direction).map_err(Error::header)?;
        let mut message = Self {
            header,
            msg_type,
            bytes,
            spans: [(0, 0); 31],
        };
        message.index(direction)?;
        if header.errno == 0 {
            message.check_required(direction).map_err(Error::header)?;
        }
        message.check_together(direction)?;
        Ok(message)
    }

    /// Finds the extensions and checks each by itself.
    fn index(&mut self, direction: Direction) -> Result<(), Error> {
        let permitted = sets::permitted(self.msg_type, direction);
        let mut at = HEADER_LEN;
        while at < self.bytes.len() {
            let fail = |kind| Error { at, kind };
            let rest = self.bytes.get(at..).unwrap_or_default();
            let &[l0, l1, t0, t1] = rest.first_chunk().ok_or(fail(ErrorKind::ExtOverrun))?;
            let len = usize::from(u16::from_ne_bytes([l0, l1])) * 8;
            let number = u16::from_ne_bytes([t0, t1]);
            let ext = ExtType::from_number(number).ok_or(fail(ErrorKind::ExtType(number)))?;
            let body = rest.get(4..len).ok_or(fail(ErrorKind::ExtOverrun))?;
            if permitted & ext.bit() == 0 {
                return Err(fail(ErrorKind::NotPermitted(self.msg_type, ext)));
            }
            let span = self
                .spans
                .get_mut(usize::from(number))
                .ok_or(fail(ErrorKind::ExtType(number)))?;
            if span.1 != 0 {
                return Err(fail(ErrorKind::Duplicate(ext)));
            }
            check_ext(ext, body).map_err(fail)?;
            // MAX_MESSAGE_LEN keeps both within 16 bits.
            *span = ((at + 4) as u16, (at + len) as u16);
            at += len;
        }
        Ok(())
    }

    fn seen(&self) -> u32 {
        ExtType::ALL
            .iter()
            .filter(|ext| self.has(**ext))
            .fold(0, |set, ext| set | ext.bit())
    }

    fn check_required(&self, direction: Direction) -> Result<(), ErrorKind> {
        let seen = self.seen();
        let mut required = sets::required(self.msg_type, direction);
        if self.msg_type == MsgType::DelFlow
            && !self
                .sa()
                .is_some_and(|sa| sa.flags.contains(SaFlags::CLEARFLOW))
        {
            required |= sets::FLOW;
        }
        if seen & sets::FLOW != 0 {
            required |= sets::FLOW;
        }
        let missing = required & !seen;
        match ExtType::ALL.iter().find(|ext| missing & ext.bit() != 0) {
            Some(ext) => Err(ErrorKind::Missing(self.msg_type, *ext)),
            None => Ok(()),
        }
    }

    /// What several extensions must agree on.
    fn check_together(&self, direction: Direction) -> Result<(), Error> {
        let at = |ext: ExtType| self.span(ext).map_or(0, |(from, _)| from - 4);
        let err = |ext, kind| Error { at: at(ext), kind };
        if let (Some(src), Some(dst)) = (self.src(), self.dst()) {
            // An eroute names the SA's destination; its source may be the any-address of either family.
            if src.addr.is_ipv4() != dst.addr.is_ipv4() && !src.addr.is_unspecified() {
                return Err(err(ExtType::AddressDst, ErrorKind::MixedFamilies));
            }
        }
        if self.has(ExtType::AddressSrcFlow) && self.has(ExtType::AddressDstFlow) {
            let flow = self
                .build_selector()
                .map_err(|kind| err(ExtType::AddressSrcFlow, kind))?;
            if !flow.is_sane() {
                let mixed = flow.src.addr().is_ipv4() != flow.dst.addr().is_ipv4();
                let kind = if mixed {
                    ErrorKind::MixedFamilies
                } else {
                    ErrorKind::PortWithoutProtocol
                };
                return Err(err(ExtType::AddressSrcFlow, kind));
            }
        }
        if direction == Direction::ToKlips
            && matches!(self.msg_type, MsgType::Add | MsgType::Update)
        {
            self.check_new_sa().map_err(|(ext, kind)| err(ext, kind))?;
        }
        Ok(())
    }

    /// ADD and UPDATE: state, SPI, algorithms by SA type, keys by algorithm.
    fn check_new_sa(&self) -> Result<(), (ExtType, ErrorKind)> {
        let Some(sa) = self.sa() else { return Ok(()) };
        if sa.state != SaState::Mature {
            return Err((ExtType::Sa, ErrorKind::NotMature));
        }
        if sa.spi.is_reserved() {
            return Err((ExtType::Sa, ErrorKind::ReservedSpi(sa.spi.0)));
        }
        let (auth, enc) = (sa.auth.0 != 0, sa.encrypt.0 != 0);
        let fits = match self.satype() {
            SaType::Ah => auth && !enc,
            SaType::Esp if auth => enc && !sa.encrypt.is_aead(),
            // Whoever alters packets learns what is in them (RFC 8221 section 4). What is no cipher at all KLIPS says by itself.
            SaType::Esp
                if enc
                    && !sa.encrypt.is_aead()
                    && !sa.encrypt.needs_auth()
                    && !sa.encrypt.key_bits().is_empty()
                    && !sa.flags.contains(SaFlags::AH_OUTSIDE) =>
            {
                return Err((ExtType::Sa, ErrorKind::Unauthenticated));
            }
            SaType::Esp => enc && !sa.encrypt.needs_auth(),
            SaType::Comp => enc && !auth,
            SaType::IpIp | SaType::Int | SaType::Unspec => !auth && !enc,
        };
        if !fits {
            return Err((ExtType::Sa, ErrorKind::Algorithms));
        }
        let bits = self.key_auth().map_or(0, |key| key.bits);
        if sa.auth.key_bits().is_some_and(|want| want != bits) {
            return Err((ExtType::KeyAuth, ErrorKind::KeyBits(bits)));
        }
        let bits = self.key_encrypt().map_or(0, |key| key.bits);
        let known = if self.satype() == SaType::Esp {
            sa.encrypt.key_bits()
        } else {
            &[0]
        };
        if !known.is_empty() && !known.contains(&bits) {
            return Err((ExtType::KeyEncrypt, ErrorKind::KeyBits(bits)));
        }
        Ok(())
    }

    pub(crate) fn span(&self, ext: ExtType) -> Option<(usize, usize)> {
        let (from, to) = self.spans.get(usize::from(ext.number()))?;
        (*to != 0).then_some((usize::from(*from), usize::from(*to)))
    }

    pub(crate) fn body(&self, ext: ExtType) -> Option<Fields<'a>> {
        let (from, to) = self.span(ext)?;
        self.bytes.get(from..to).map(|body| Fields::new(ext, body))
    }

    pub(crate) fn build_selector(&self) -> Result<Selector, ErrorKind> {
        let get = |ext| {
            self.address(ext)
                .ok_or(ErrorKind::Missing(self.msg_type, ext))
        };
        let (src, dst) = (get(ExtType::AddressSrcFlow)?, get(ExtType::AddressDstFlow)?);
        let net = |flow: &Address, mask: Address| {
            Subnet::from_mask(flow.addr, mask.addr).map_err(|e| match e {
                ipsec_types::SubnetError::MixedFamilies => ErrorKind::MixedFamilies,
                _ => ErrorKind::Mask,
            })
        };
        let selector = Selector {
            src: net(&src, get(ExtType::AddressSrcMask)?)?,
            dst: net(&dst, get(ExtType::AddressDstMask)?)?,
            proto: self.protocol().unwrap_or(0),
            sport: src.port,
            dport: dst.port,
        };
        if (src.port != 0 || dst.port != 0) && !ProtoPort::has_ports(selector.proto) {
            return Err(ErrorKind::PortWithoutProtocol);
        }
        Ok(selector)
    }
}

fn check_header(header: &Header, msg_type: MsgType, direction: Direction) -> Result<(), ErrorKind> {
    // A failed negotiation is told to KLIPS as an ACQUIRE with errno (RFC 2367 section 3.1.6).
    if direction == Direction::ToKlips && header.errno != 0 && msg_type != MsgType::Acquire {
        return Err(ErrorKind::ErrnoInRequest(header.errno));
    }
    let bad = ErrorKind::SaType(header.satype);
    if msg_type == MsgType::Promisc {
        return if header.satype <= 1 { Ok(()) } else { Err(bad) };
    }
    let satype = SaType::from_number(header.satype).ok_or(bad)?;
    let needs_satype = match msg_type {
        MsgType::GetSpi
        | MsgType::Update
        | MsgType::Add
        | MsgType::Delete
        | MsgType::Get
        | MsgType::GrpSa
        | MsgType::AddFlow
        | MsgType::Acquire
        | MsgType::Register
        | MsgType::Expire
        | MsgType::NatTNewMapping => true,
        MsgType::Flush
        | MsgType::Dump
        | MsgType::Promisc
        | MsgType::PChange
        | MsgType::DelFlow
        | MsgType::Debug => false,
    };
    if needs_satype && satype == SaType::Unspec && header.errno == 0 {
        Err(bad)
    } else {
        Ok(())
    }
}

/// Checks one extension's body.
fn check_ext(ext: ExtType, body: &[u8]) -> Result<(), ErrorKind> {
    let body = Fields::new(ext, body);
    match ext {
        ExtType::Sa | ExtType::Sa2 => Sa::parse(body).map(drop),
        ExtType::LifetimeCurrent | ExtType::LifetimeHard | ExtType::LifetimeSoft => {
            Lifetime::parse(body).map(drop)
        }
        ExtType::AddressSrc
        | ExtType::AddressDst
        | ExtType::AddressProxy
        | ExtType::AddressDst2
        | ExtType::AddressSrcFlow
        | ExtType::AddressDstFlow
        | ExtType::AddressSrcMask
        | ExtType::AddressDstMask
        | ExtType::NatTOa => Address::parse(body).map(drop),
        ExtType::KeyAuth | ExtType::KeyEncrypt => Key::parse(body).map(drop),
        ExtType::IdentitySrc | ExtType::IdentityDst => Ident::parse(body).map(drop),
        ExtType::Sensitivity | ExtType::KmPrivate => Err(ErrorKind::Unsupported(ext)),
        ExtType::Proposal => proposal::check_proposal(body),
        ExtType::SupportedAuth | ExtType::SupportedEncrypt => proposal::check_supported(body),
        ExtType::SpiRange => ext::parse_spi_range(body).map(drop),
        ExtType::SaType2 => ext::parse_satype2(body).map(drop),
        ExtType::Debug => DebugFlags::parse(body).map(drop),
        ExtType::Protocol => ext::parse_protocol(body).map(drop),
        ExtType::NatTType => ext::parse_nat_t_type(body).map(drop),
        ExtType::NatTSport | ExtType::NatTDport => ext::parse_nat_t_port(body).map(drop),
    }
}
