//! Assigned numbers of ISAKMP and the IPsec DOI that name things in messages, with the names people read in logs.
//! Attribute types and values of transforms are in `oakley` and `ipsec_doi`.

/// Defines a number that keeps every value the wire can hold, with constants and printed names for the assigned ones.
macro_rules! wire_number {
    ($(#[$meta:meta])* $name:ident($int:ty) { $($(#[$vmeta:meta])* $konst:ident = $value:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$vmeta])* pub const $konst: Self = Self($value);)*

            /// The assigned name, or `None` for a number this implementation does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({})", stringify!($name), self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use wire_number;

wire_number! {
    /// Payload type, the "next payload" octet (RFC 2408 section 3.1; 20 and up: RFC 3947).
    PayloadType(u8) {
        /// End of the payload chain.
        NONE = 0, "ISAKMP_NEXT_NONE";
        /// Security association.
        SA = 1, "ISAKMP_NEXT_SA";
        /// Proposal, inside a security association only.
        PROPOSAL = 2, "ISAKMP_NEXT_P";
        /// Transform, inside a proposal only.
        TRANSFORM = 3, "ISAKMP_NEXT_T";
        /// Key exchange.
        KE = 4, "ISAKMP_NEXT_KE";
        /// Identification.
        ID = 5, "ISAKMP_NEXT_ID";
        /// Certificate.
        CERT = 6, "ISAKMP_NEXT_CERT";
        /// Certificate request.
        CERTREQ = 7, "ISAKMP_NEXT_CR";
        /// Hash.
        HASH = 8, "ISAKMP_NEXT_HASH";
        /// Signature.
        SIG = 9, "ISAKMP_NEXT_SIG";
        /// Nonce.
        NONCE = 10, "ISAKMP_NEXT_NONCE";
        /// Notification.
        NOTIFY = 11, "ISAKMP_NEXT_N";
        /// Delete.
        DELETE = 12, "ISAKMP_NEXT_D";
        /// Vendor ID.
        VID = 13, "ISAKMP_NEXT_VID";
        /// Mode configuration attributes (XAUTH, Mode Config); carried opaque.
        MODECFG = 14, "ISAKMP_NEXT_MODECFG";
        /// NAT discovery (RFC 3947); read by `v1`.
        NAT_D = 20, "ISAKMP_NEXT_NAT-D";
        /// NAT original address (RFC 3947); read by `v1`.
        NAT_OA = 21, "ISAKMP_NEXT_NAT-OA";
        /// NAT discovery as the drafts before RFC 3947 numbered it.
        NAT_D_DRAFTS = 130, "ISAKMP_NEXT_NAT-D_DRAFTS";
        /// A piece of a message (MS-IKEE), see [`Fragment`](super::Fragment).
        FRAGMENT = 132, "ISAKMP_NEXT_IKE_FRAGMENTATION";
        /// NAT original address as the drafts before RFC 3947 numbered it.
        NAT_OA_DRAFTS = 131, "ISAKMP_NEXT_NAT-OA_DRAFTS";
    }
}

wire_number! {
    /// Exchange type (RFC 2408 section 3.1, RFC 2409 appendix A).
    ExchangeType(u8) {
        /// No exchange.
        NONE = 0, "ISAKMP_XCHG_NONE";
        /// Base.
        BASE = 1, "ISAKMP_XCHG_BASE";
        /// Identity protection: IKE's Main Mode.
        MAIN_MODE = 2, "ISAKMP_XCHG_IDPROT";
        /// Authentication only.
        AUTH_ONLY = 3, "ISAKMP_XCHG_AO";
        /// Aggressive Mode.
        AGGRESSIVE = 4, "ISAKMP_XCHG_AGGR";
        /// Informational.
        INFORMATIONAL = 5, "ISAKMP_XCHG_INFO";
        /// Transaction (Mode Config, XAUTH).
        MODE_CFG = 6, "ISAKMP_XCHG_MODE_CFG";
        /// Quick Mode.
        QUICK_MODE = 32, "ISAKMP_XCHG_QUICK";
        /// New Group Mode.
        NEW_GROUP = 33, "ISAKMP_XCHG_NGRP";
    }
}

wire_number! {
    /// Protocol id in proposals, notifications and deletes (RFC 2407 section 4.4.1).
    Protocol(u8) {
        /// No protocol; some senders put it in notifications.
        NONE = 0, "PROTO_NONE";
        /// ISAKMP itself (phase 1).
        ISAKMP = 1, "PROTO_ISAKMP";
        /// AH.
        AH = 2, "PROTO_IPSEC_AH";
        /// ESP.
        ESP = 3, "PROTO_IPSEC_ESP";
        /// IPCOMP.
        IPCOMP = 4, "PROTO_IPCOMP";
    }
}

wire_number! {
    /// Domain of interpretation.
    Doi(u32) {
        /// Generic ISAKMP.
        ISAKMP = 0, "ISAKMP_DOI_ISAKMP";
        /// IPsec (RFC 2407).
        IPSEC = 1, "ISAKMP_DOI_IPSEC";
    }
}

wire_number! {
    /// Identification type (RFC 2407 section 4.6.2.1).
    IdType(u8) {
        /// One IPv4 address.
        IPV4_ADDR = 1, "ID_IPV4_ADDR";
        /// A fully qualified domain name, without the `@` it is written with in ipsec.conf.
        FQDN = 2, "ID_FQDN";
        /// user@domain.
        USER_FQDN = 3, "ID_USER_FQDN";
        /// An IPv4 address and mask.
        IPV4_ADDR_SUBNET = 4, "ID_IPV4_ADDR_SUBNET";
        /// One IPv6 address.
        IPV6_ADDR = 5, "ID_IPV6_ADDR";
        /// An IPv6 address and mask.
        IPV6_ADDR_SUBNET = 6, "ID_IPV6_ADDR_SUBNET";
        /// First and last IPv4 address.
        IPV4_ADDR_RANGE = 7, "ID_IPV4_ADDR_RANGE";
        /// First and last IPv6 address.
        IPV6_ADDR_RANGE = 8, "ID_IPV6_ADDR_RANGE";
        /// An X.501 distinguished name in DER.
        DER_ASN1_DN = 9, "ID_DER_ASN1_DN";
        /// An X.509 general name in DER.
        DER_ASN1_GN = 10, "ID_DER_ASN1_GN";
        /// An opaque octet string.
        KEY_ID = 11, "ID_KEY_ID";
    }
}

wire_number! {
    /// Certificate encoding (RFC 2408 section 3.9).
    CertEncoding(u8) {
        /// No encoding.
        NONE = 0, "CERT_NONE";
        /// PKCS #7 wrapped X.509.
        PKCS7 = 1, "CERT_PKCS7_WRAPPED_X509";
        /// PGP.
        PGP = 2, "CERT_PGP";
        /// DNS signed key.
        DNS_SIGNED_KEY = 3, "CERT_DNS_SIGNED_KEY";
        /// X.509, for signatures.
        X509_SIGNATURE = 4, "CERT_X509_SIGNATURE";
        /// X.509, for key exchange.
        X509_KEY_EXCHANGE = 5, "CERT_X509_KEY_EXCHANGE";
        /// Kerberos tokens.
        KERBEROS = 6, "CERT_KERBEROS_TOKENS";
        /// Certificate revocation list.
        CRL = 7, "CERT_CRL";
        /// Authority revocation list.
        ARL = 8, "CERT_ARL";
        /// SPKI.
        SPKI = 9, "CERT_SPKI";
        /// X.509 attribute.
        X509_ATTRIBUTE = 10, "CERT_X509_ATTRIBUTE";
    }
}

wire_number! {
    /// Notification type: errors 1 to 16383, status 16384 and up (RFC 2408 section 3.14.1, RFC 2407 section 4.6.3).
    NotifyType(u16) {
        /// The payload type is not understood.
        INVALID_PAYLOAD_TYPE = 1, "INVALID_PAYLOAD_TYPE";
        /// The DOI is not supported.
        DOI_NOT_SUPPORTED = 2, "DOI_NOT_SUPPORTED";
        /// The situation is not supported.
        SITUATION_NOT_SUPPORTED = 3, "SITUATION_NOT_SUPPORTED";
        /// A cookie is wrong.
        INVALID_COOKIE = 4, "INVALID_COOKIE";
        /// The major version is not supported.
        INVALID_MAJOR_VERSION = 5, "INVALID_MAJOR_VERSION";
        /// The minor version is not supported.
        INVALID_MINOR_VERSION = 6, "INVALID_MINOR_VERSION";
        /// The exchange type is not supported.
        INVALID_EXCHANGE_TYPE = 7, "INVALID_EXCHANGE_TYPE";
        /// The flags are wrong.
        INVALID_FLAGS = 8, "INVALID_FLAGS";
        /// The message id is wrong.
        INVALID_MESSAGE_ID = 9, "INVALID_MESSAGE_ID";
        /// The protocol id is wrong.
        INVALID_PROTOCOL_ID = 10, "INVALID_PROTOCOL_ID";
        /// The SPI is wrong.
        INVALID_SPI = 11, "INVALID_SPI";
        /// The transform id is wrong.
        INVALID_TRANSFORM_ID = 12, "INVALID_TRANSFORM_ID";
        /// The attributes are not supported.
        ATTRIBUTES_NOT_SUPPORTED = 13, "ATTRIBUTES_NOT_SUPPORTED";
        /// No proposal is acceptable.
        NO_PROPOSAL_CHOSEN = 14, "NO_PROPOSAL_CHOSEN";
        /// The proposal syntax is bad.
        BAD_PROPOSAL_SYNTAX = 15, "BAD_PROPOSAL_SYNTAX";
        /// A payload is malformed.
        PAYLOAD_MALFORMED = 16, "PAYLOAD_MALFORMED";
        /// The key information is wrong.
        INVALID_KEY_INFORMATION = 17, "INVALID_KEY_INFORMATION";
        /// The ID is not acceptable.
        INVALID_ID_INFORMATION = 18, "INVALID_ID_INFORMATION";
        /// The certificate encoding is not understood.
        INVALID_CERT_ENCODING = 19, "INVALID_CERT_ENCODING";
        /// The certificate is bad.
        INVALID_CERTIFICATE = 20, "INVALID_CERTIFICATE";
        /// The certificate type is not supported.
        CERT_TYPE_UNSUPPORTED = 21, "CERT_TYPE_UNSUPPORTED";
        /// The certificate authority is not acceptable.
        INVALID_CERT_AUTHORITY = 22, "INVALID_CERT_AUTHORITY";
        /// The hash does not match.
        INVALID_HASH_INFORMATION = 23, "INVALID_HASH_INFORMATION";
        /// Authentication failed.
        AUTHENTICATION_FAILED = 24, "AUTHENTICATION_FAILED";
        /// The signature does not match.
        INVALID_SIGNATURE = 25, "INVALID_SIGNATURE";
        /// The address in the notification is wrong.
        ADDRESS_NOTIFICATION = 26, "ADDRESS_NOTIFICATION";
        /// Tells the peer of a shorter SA lifetime.
        NOTIFY_SA_LIFETIME = 27, "NOTIFY_SA_LIFETIME";
        /// A certificate is unavailable.
        CERTIFICATE_UNAVAILABLE = 28, "CERTIFICATE_UNAVAILABLE";
        /// The exchange type is known but unsupported.
        UNSUPPORTED_EXCHANGE_TYPE = 29, "UNSUPPORTED_EXCHANGE_TYPE";
        /// Lengths of message and payloads disagree.
        UNEQUAL_PAYLOAD_LENGTHS = 30, "UNEQUAL_PAYLOAD_LENGTHS";
        /// Status: the SA is set up (phase 1 commit bit).
        CONNECTED = 16384, "CONNECTED";
        /// Status: the lifetime the responder picked (RFC 2407 section 4.6.3.1).
        RESPONDER_LIFETIME = 24576, "IPSEC_RESPONDER_LIFETIME";
        /// Status: the responder's choice about replay detection (RFC 2407 section 4.6.3.2).
        REPLAY_STATUS = 24577, "IPSEC_REPLAY_STATUS";
        /// Status: first SA with this peer since a restart (RFC 2407 section 4.6.3.3).
        INITIAL_CONTACT = 24578, "IPSEC_INITIAL_CONTACT";
        /// Status: are you there (RFC 3706).
        R_U_THERE = 36136, "R_U_THERE";
        /// Status: yes, I am (RFC 3706).
        R_U_THERE_ACK = 36137, "R_U_THERE_ACK";
    }
}

impl NotifyType {
    /// Whether this is an error type (1 to 16383) rather than a status type.
    pub const fn is_error(self) -> bool {
        self.0 != 0 && self.0 < 16384
    }
}
