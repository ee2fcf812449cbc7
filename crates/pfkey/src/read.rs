//! What a checked message holds: accessors, none of which fails on a message that [`crate::message`] let through.

use ipsec_types::{Packet, SaId, SaProto, Selector, Spi};

use crate::ext::{self, Address, DebugFlags, Ident, Key, Lifetime, NatT, Sa};
use crate::header::Header;
use crate::message::Message;
use crate::proposal::{self, Alg, Proposal};
use crate::types::{ExtType, MsgType, SaType};

impl<'a> Message<'a> {
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
        );
    }
}
