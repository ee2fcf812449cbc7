//! A message, checked as a whole and then read without fail.

use ipsec_types::{Packet, ProtoPort, SaId, SaProto, Selector, Spi, Subnet};

use crate::error::{Error, ErrorKind};
use crate::ext::{self, Address, DebugFlags, Fields, Ident, Key, Lifetime, NatT, Sa};
use crate::proposal::{self, Alg, Proposal};
use crate::sets;
use crate::types::{ExtType, IdentType, MsgType, SaFlags, SaState, SaType};

/// Octets of the header.
pub const HEADER_LEN: usize = 16;

/// Which way a message goes; what it may carry depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// A request to KLIPS.
    ToKlips,
    /// An answer, or what KLIPS tells by itself.
    FromKlips,
}

/// `sadb_msg`: `version` u8 (2), `type` u8, `errno` u8, `satype` u8, `len` u16 in 64-bit words, 2 reserved octets,
/// `seq` u32, `pid` u32. Only size and version are checked here, so that a broken request can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Message type number.
    pub msg_type: u8,
    /// Error of an answer, 0 for none.
    pub errno: u8,
    /// SA type number.
    pub satype: u8,
    /// Length of the whole message in 64-bit words.
    pub len: u16,
    /// Sequence number, given by the asker.
    pub seq: u32,
    /// Process id of the asker.
    pub pid: u32,
}

impl Header {
    /// Reads the first 16 octets.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`], [`ErrorKind::Version`] or [`ErrorKind::Reserved`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(
            &[
                version,
                msg_type,
                errno,
                satype,
                l0,
                l1,
                r0,
                r1,
                s0,
                s1,
                s2,
                s3,
                p0,
                p1,
                p2,
                p3,
            ],
        ) = bytes.first_chunk::<HEADER_LEN>()
        else {
            return Err(Error::header(ErrorKind::Truncated));
        };
        if version != 2 {
            return Err(Error::header(ErrorKind::Version(version)));
        }
        if (r0, r1) != (0, 0) {
            return Err(Error::header(ErrorKind::Reserved));
        }
        Ok(Self {
            msg_type,
            errno,
            satype,
            len: u16::from_ne_bytes([l0, l1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            pid: u32::from_ne_bytes([p0, p1, p2, p3]),
        })
    }

    /// The octets on the wire.
    pub const fn emit(&self) -> [u8; HEADER_LEN] {
        let [l0, l1] = self.len.to_ne_bytes();
        let [s0, s1, s2, s3] = self.seq.to_ne_bytes();
        let [p0, p1, p2, p3] = self.pid.to_ne_bytes();
        [
            2,
            self.msg_type,
            self.errno,
            self.satype,
            l0,
            l1,
            0,
            0,
            s0,
            s1,
            s2,
            s3,
            p0,
            p1,
            p2,
            p3,
        ]
    }
}

/// A checked message over the caller's octets.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    header: Header,
    msg_type: MsgType,
    bytes: &'a [u8],
    /// Where each extension's body is, by type; empty for none.
    spans: [(u16, u16); 31],
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
            SaType::Esp => enc && (auth || sa.encrypt != ipsec_types::EncAlg::NULL),
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

    fn span(&self, ext: ExtType) -> Option<(usize, usize)> {
        let (from, to) = self.spans.get(usize::from(ext.number()))?;
        (*to != 0).then_some((usize::from(*from), usize::from(*to)))
    }

    fn body(&self, ext: ExtType) -> Option<Fields<'a>> {
        let (from, to) = self.span(ext)?;
        self.bytes.get(from..to).map(|body| Fields::new(ext, body))
    }

    /// The octets of one extension after its length and type.
    pub(crate) fn ext_body(&self, ext: ExtType) -> Option<&'a [u8]> {
        let (from, to) = self.span(ext)?;
        self.bytes.get(from..to)
    }

    /// The octets.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The message type.
    pub const fn msg_type(&self) -> MsgType {
        self.msg_type
    }

    /// The SA type; [`SaType::Unspec`] where the message has none in particular.
    pub fn satype(&self) -> SaType {
        SaType::from_number(self.header.satype).unwrap_or(SaType::Unspec)
    }

    /// Error of an answer, 0 for none.
    pub const fn errno(&self) -> u8 {
        self.header.errno
    }

    /// Sequence number.
    pub const fn seq(&self) -> u32 {
        self.header.seq
    }

    /// Process id of the asker.
    pub const fn pid(&self) -> u32 {
        self.header.pid
    }

    /// Whether an extension is there.
    pub fn has(&self, ext: ExtType) -> bool {
        self.span(ext).is_some()
    }

    /// PROMISC: whether to turn it on (RFC 2367 section 3.1.11 puts that into the SA type).
    pub const fn promisc_on(&self) -> bool {
        self.header.satype == 1
    }

    /// The SA.
    pub fn sa(&self) -> Option<Sa> {
        Sa::parse(self.body(ExtType::Sa)?).ok()
    }

    /// The second SA of a group.
    pub fn sa2(&self) -> Option<Sa> {
        Sa::parse(self.body(ExtType::Sa2)?).ok()
    }

    /// The SA's id, where SA, destination and SA type are all there.
    pub fn said(&self) -> Option<SaId> {
        Some(SaId::new(
            self.satype().proto()?,
            self.sa()?.spi,
            self.dst()?.addr,
        ))
    }

    /// The id of the second SA of a group.
    pub fn said2(&self) -> Option<SaId> {
        Some(SaId::new(
            self.proto2()?,
            self.sa2()?.spi,
            self.address(ExtType::AddressDst2)?.addr,
        ))
    }

    fn proto2(&self) -> Option<SaProto> {
        ext::parse_satype2(self.body(ExtType::SaType2)?)
            .ok()?
            .proto()
    }

    /// What the SA has used.
    pub fn lifetime_current(&self) -> Option<Lifetime> {
        Lifetime::parse(self.body(ExtType::LifetimeCurrent)?).ok()
    }

    /// The SA's hard limits.
    pub fn lifetime_hard(&self) -> Option<Lifetime> {
        Lifetime::parse(self.body(ExtType::LifetimeHard)?).ok()
    }

    /// The SA's soft limits.
    pub fn lifetime_soft(&self) -> Option<Lifetime> {
        Lifetime::parse(self.body(ExtType::LifetimeSoft)?).ok()
    }

    /// Any of the address extensions; `None` too for a type that holds no address.
    pub fn address(&self, ext: ExtType) -> Option<Address> {
        Address::parse(self.body(ext)?).ok()
    }

    /// The source address.
    pub fn src(&self) -> Option<Address> {
        self.address(ExtType::AddressSrc)
    }

    /// The destination address.
    pub fn dst(&self) -> Option<Address> {
        self.address(ExtType::AddressDst)
    }

    /// The proxy address.
    pub fn proxy(&self) -> Option<Address> {
        self.address(ExtType::AddressProxy)
    }

    /// The authentication key.
    pub fn key_auth(&self) -> Option<Key<'a>> {
        Key::parse(self.body(ExtType::KeyAuth)?).ok()
    }

    /// The encryption key.
    pub fn key_encrypt(&self) -> Option<Key<'a>> {
        Key::parse(self.body(ExtType::KeyEncrypt)?).ok()
    }

    /// The source identity.
    pub fn ident_src(&self) -> Option<Ident<'a>> {
        Ident::parse(self.body(ExtType::IdentitySrc)?).ok()
    }

    /// The destination identity.
    pub fn ident_dst(&self) -> Option<Ident<'a>> {
        Ident::parse(self.body(ExtType::IdentityDst)?).ok()
    }

    /// What an ACQUIRE would take.
    pub fn proposal(&self) -> Option<Proposal<'a>> {
        Proposal::new(self.body(ExtType::Proposal)?)
    }

    /// Authentication algorithms there are; empty without the extension.
    pub fn supported_auth(&self) -> impl Iterator<Item = Alg> + 'a {
        proposal::algs(self.body(ExtType::SupportedAuth))
    }

    /// Encryption algorithms there are; empty without the extension.
    pub fn supported_encrypt(&self) -> impl Iterator<Item = Alg> + 'a {
        proposal::algs(self.body(ExtType::SupportedEncrypt))
    }

    /// Lowest and highest SPI that GETSPI may give.
    pub fn spi_range(&self) -> Option<(Spi, Spi)> {
        ext::parse_spi_range(self.body(ExtType::SpiRange)?).ok()
    }

    /// Debugging flags.
    pub fn debug_flags(&self) -> Option<DebugFlags> {
        DebugFlags::parse(self.body(ExtType::Debug)?).ok()
    }

    /// Transport protocol of the flow or of the packet acquired for.
    pub fn protocol(&self) -> Option<u8> {
        ext::parse_protocol(self.body(ExtType::Protocol)?).ok()
    }

    /// The flow: both nets, the protocol, the ports.
    pub fn selector(&self) -> Option<Selector> {
        self.build_selector().ok()
    }

    /// ACQUIRE: the packet that was trapped.
    pub fn acquired(&self) -> Option<Packet> {
        let (src, dst) = (self.src()?, self.dst()?);
        Some(Packet {
            src: src.addr,
            dst: dst.addr,
            proto: src.proto,
            sport: src.port,
            dport: dst.port,
        })
    }

    fn build_selector(&self) -> Result<Selector, ErrorKind> {
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

    /// UDP encapsulation of the SA; absent ports are 0.
    pub fn nat_t(&self) -> Option<NatT> {
        let port = |ext| {
            self.body(ext)
                .and_then(|body| ext::parse_nat_t_port(body).ok())
                .unwrap_or(0)
        };
        Some(NatT {
            kind: ext::parse_nat_t_type(self.body(ExtType::NatTType)?).ok()?,
            sport: port(ExtType::NatTSport),
            dport: port(ExtType::NatTDport),
            oa: self.address(ExtType::NatTOa).map(|a| a.addr),
        })
    }

    /// Calls every accessor; for tests and fuzzing.
    pub(crate) fn visit(&self) {
        let _ = (
            self.sa(),
            self.sa2(),
            self.said(),
            self.said2(),
            self.nat_t(),
            self.selector(),
            self.acquired(),
        );
        let _ = (
            self.lifetime_current(),
            self.lifetime_hard(),
            self.lifetime_soft(),
        );
        let _ = (
            self.src(),
            self.dst(),
            self.proxy(),
            self.key_auth(),
            self.key_encrypt(),
        );
        let _ = (
            self.ident_src(),
            self.ident_dst(),
            self.spi_range(),
            self.debug_flags(),
            self.protocol(),
        );
        let _ = (
            self.supported_auth().count(),
            self.supported_encrypt().count(),
        );
        let _ = self.proposal().map(|p| p.combs().count());
        let _ = (
            self.satype(),
            self.seq(),
            self.pid(),
            self.errno(),
            self.promisc_on(),
            IdentType::ALL,
        );
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
