//! The numbers of PF_KEY: message types, extension types, SA types, states, flags and identity types, as RFC 2367
//! and KLIPS' `pfkeyv2.h` give them.

use ipsec_types::SaProto;

macro_rules! numbers {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$vmeta:meta])* $variant:ident = $n:literal $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr($repr)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $n,)*
        }

        impl $name {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The one with this number.
            pub const fn from_number(n: $repr) -> Option<Self> {
                match n {
                    $($n => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> $repr {
                self as $repr
            }

            /// The name without its `SADB_` prefix, lower case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

numbers! {
    /// What a message asks or tells, `sadb_msg_type`.
    MsgType: u8 {
        /// Reserve an SPI, answered with a larval SA.
        GetSpi = 1 "getspi",
        /// Complete a larval SA.
        Update = 2 "update",
        /// Add a complete SA.
        Add = 3 "add",
        /// Delete an SA.
        Delete = 4 "delete",
        /// Ask for an SA.
        Get = 5 "get",
        /// KLIPS wants an SA for a trapped packet.
        Acquire = 6 "acquire",
        /// A key daemon wants ACQUIRE and EXPIRE of one SA type.
        Register = 7 "register",
        /// An SA reached a lifetime.
        Expire = 8 "expire",
        /// Delete all SAs of a type.
        Flush = 9 "flush",
        /// Tell all SAs of a type.
        Dump = 10 "dump",
        /// Hear everything.
        Promisc = 11 "x_promisc",
        /// Reserved by RFC 2367.
        PChange = 12 "x_pchange",
        /// Group two SAs, or dissolve a group.
        GrpSa = 13 "x_grpsa",
        /// Add or replace an eroute, or set an SA's inbound policy.
        AddFlow = 14 "x_addflow",
        /// Delete one eroute or all.
        DelFlow = 15 "x_delflow",
        /// Set debugging.
        Debug = 16 "x_debug",
        /// A peer behind a NAT has moved.
        NatTNewMapping = 17 "x_nat_t_new_mapping",
    }
}

numbers! {
    /// Kinds of extension, `sadb_ext_type`.
    ExtType: u16 {
        /// SPI, state, algorithms.
        Sa = 1 "sa",
        /// What an SA has used.
        LifetimeCurrent = 2 "lifetime_current",
        /// Where an SA dies.
        LifetimeHard = 3 "lifetime_hard",
        /// Where an SA should be renewed.
        LifetimeSoft = 4 "lifetime_soft",
        /// Source address.
        AddressSrc = 5 "address_src",
        /// Destination address.
        AddressDst = 6 "address_dst",
        /// Proxy address.
        AddressProxy = 7 "address_proxy",
        /// Authentication key.
        KeyAuth = 8 "key_auth",
        /// Encryption key.
        KeyEncrypt = 9 "key_encrypt",
        /// Source identity.
        IdentitySrc = 10 "identity_src",
        /// Destination identity.
        IdentityDst = 11 "identity_dst",
        /// Sensitivity label; refused as KLIPS does.
        Sensitivity = 12 "sensitivity",
        /// What would do for an ACQUIRE.
        Proposal = 13 "proposal",
        /// Authentication algorithms there are.
        SupportedAuth = 14 "supported_auth",
        /// Encryption algorithms there are.
        SupportedEncrypt = 15 "supported_encrypt",
        /// Where GETSPI may choose.
        SpiRange = 16 "spirange",
        /// Key manager's private data; refused as KLIPS does.
        KmPrivate = 17 "x_kmprivate",
        /// SA type of the second SA of a group.
        SaType2 = 18 "x_satype2",
        /// The second SA of a group.
        Sa2 = 19 "x_sa2",
        /// Destination address of the second SA.
        AddressDst2 = 20 "x_address_dst2",
        /// Source net and port of a flow.
        AddressSrcFlow = 21 "x_address_src_flow",
        /// Destination net and port of a flow.
        AddressDstFlow = 22 "x_address_dst_flow",
        /// Source mask of a flow.
        AddressSrcMask = 23 "x_address_src_mask",
        /// Destination mask of a flow.
        AddressDstMask = 24 "x_address_dst_mask",
        /// Debugging flags.
        Debug = 25 "x_debug",
        /// Transport protocol of a flow.
        Protocol = 26 "x_protocol",
        /// UDP encapsulation of an SA.
        NatTType = 27 "x_nat_t_type",
        /// Its source port.
        NatTSport = 28 "x_nat_t_sport",
        /// Its destination port.
        NatTDport = 29 "x_nat_t_dport",
        /// Original address of the peer behind a NAT.
        NatTOa = 30 "x_nat_t_oa",
    }
}

numbers! {
    /// Kinds of SA, `sadb_msg_satype`.
    SaType: u8 {
        /// All kinds, or none in particular.
        Unspec = 0 "unspec",
        /// AH.
        Ah = 2 "ah",
        /// ESP.
        Esp = 3 "esp",
        /// IP in IP.
        IpIp = 9 "ipip",
        /// IPCOMP.
        Comp = 10 "ipcomp",
        /// Shunts.
        Int = 11 "int",
    }
}

numbers! {
    /// Where an SA stands in its life, `sadb_sa_state`.
    SaState: u8 {
        /// Reserved by GETSPI.
        Larval = 0 "larval",
        /// In use.
        Mature = 1 "mature",
        /// Past a soft lifetime.
        Dying = 2 "dying",
        /// Past a hard lifetime.
        Dead = 3 "dead",
    }
}

numbers! {
    /// Kinds of identity, `sadb_ident_type`.
    IdentType: u16 {
        /// None said.
        Reserved = 0 "reserved",
        /// An address prefix.
        Prefix = 1 "prefix",
        /// A host name.
        Fqdn = 2 "fqdn",
        /// A mail address.
        UserFqdn = 3 "userfqdn",
        /// A connection's name.
        Connection = 4 "x_connection",
    }
}

impl SaType {
    /// The protocol of SAs of this kind; `None` for [`SaType::Unspec`].
    pub const fn proto(self) -> Option<SaProto> {
        match self {
            Self::Unspec => None,
            Self::Ah => Some(SaProto::Ah),
            Self::Esp => Some(SaProto::Esp),
            Self::IpIp => Some(SaProto::IpIp),
            Self::Comp => Some(SaProto::Comp),
            Self::Int => Some(SaProto::Int),
        }
    }
}

impl From<SaProto> for SaType {
    fn from(proto: SaProto) -> Self {
        match proto {
            SaProto::Ah => Self::Ah,
            SaProto::Esp => Self::Esp,
            SaProto::IpIp => Self::IpIp,
            SaProto::Comp => Self::Comp,
            SaProto::Int => Self::Int,
        }
    }
}

impl ExtType {
    /// This extension's bit in a set.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u16
    }
}

/// `sadb_sa_flags`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SaFlags(pub u32);

impl SaFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Perfect forward secrecy.
    pub const PFS: Self = Self(1);
    /// ADDFLOW: put the eroute in the place of one that exists.
    pub const REPLACEFLOW: Self = Self(2);
    /// DELFLOW: all eroutes.
    pub const CLEARFLOW: Self = Self(4);
    /// ADDFLOW: no eroute, but the inbound policy of the SA.
    pub const INFLOW: Self = Self(8);
    /// Sequence numbers of 64 bits (RFC 4303 section 2.2.1): `SADB_X_SAFLAGS_ESN`, the bit that the BSDs use.
    pub const ESN: Self = Self(0x400);
    /// ADD of an ESP SA without an authenticator: the AH SA around it in its group authenticates it (`auth=ah`). No packet uses
    /// it without that AH. Openswan and the BSDs use no such bit.
    pub const AH_OUTSIDE: Self = Self(0x800);
    /// ADDFLOW: what comes back may also come in the clear, because the policy lets packets go in the clear where there is no
    /// tunnel. Without it, packets whose way back is this eroute must come through an SA (RFC 4301 section 5.2). An eroute to
    /// `%pass` needs no such bit.
    pub const CLEAR_TOO: Self = Self(0x1000);

    const KNOWN: u32 = 15 | Self::ESN.0 | Self::AH_OUTSIDE.0 | Self::CLEAR_TOO.0;

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no unknown flag is set.
    pub const fn is_known(self) -> bool {
        self.0 & !Self::KNOWN == 0
    }
}

impl core::ops::BitOr for SaFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
