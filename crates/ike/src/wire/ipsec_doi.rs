//! Phase 2 transform ids and attributes (RFC 2407 sections 4.4 and 4.5). Which of them we implement is in `crypto`'s tables.

use super::numbers::wire_number;

/// The only situation negotiated here (RFC 2407 section 4.2.1).
pub const SIT_IDENTITY_ONLY: u32 = 1;

/// Lifetime in seconds when a peer's proposal names none (RFC 2407 section 4.5).
pub const SA_LIFE_DURATION_DEFAULT: u32 = 28800;

wire_number! {
    /// Attribute type of an AH, ESP or IPCOMP transform.
    IpsecAttribute(u16) {
        /// Unit of the lifetime that follows, see [`LifeType`](super::LifeType).
        LIFE_TYPE = 1, "SA_LIFE_TYPE";
        /// The lifetime.
        LIFE_DURATION = 2, "SA_LIFE_DURATION";
        /// Group for perfect forward secrecy, see [`GroupId`](super::GroupId).
        GROUP_DESCRIPTION = 3, "GROUP_DESCRIPTION";
        /// Tunnel or transport, see [`Encapsulation`].
        ENCAPSULATION_MODE = 4, "ENCAPSULATION_MODE";
        /// Authentication, see [`AuthAlgorithm`].
        AUTH_ALGORITHM = 5, "AUTH_ALGORITHM";
        /// Key length in bits of a cipher with several.
        KEY_LENGTH = 6, "KEY_LENGTH";
        /// Rounds of a cipher with a variable number.
        KEY_ROUNDS = 7, "KEY_ROUNDS";
        /// Dictionary size of a compressor.
        COMPRESS_DICT_SIZE = 8, "COMPRESS_DICT_SIZE";
        /// A vendor's compressor.
        COMPRESS_PRIVATE_ALG = 9, "COMPRESS_PRIVATE_ALG";
        /// Extended sequence numbers (RFC 4304 section 2); the one value is 1.
        EXTENDED_SEQUENCE_NUMBER = 11, "EXTENDED_SEQUENCE_NUMBER";
    }
}

wire_number! {
    /// Encapsulation mode.
    Encapsulation(u16) {
        /// Tunnel.
        TUNNEL = 1, "ENCAPSULATION_MODE_TUNNEL";
        /// Transport.
        TRANSPORT = 2, "ENCAPSULATION_MODE_TRANSPORT";
        /// Tunnel in UDP (RFC 3947).
        UDP_TUNNEL = 3, "ENCAPSULATION_MODE_UDP_TUNNEL";
        /// Transport in UDP (RFC 3947).
        UDP_TRANSPORT = 4, "ENCAPSULATION_MODE_UDP_TRANSPORT";
        /// Tunnel in UDP, as the drafts before RFC 3947 numbered it.
        UDP_TUNNEL_DRAFTS = 61443, "ENCAPSULATION_MODE_UDP_TUNNEL_DRAFTS";
        /// Transport in UDP, as the drafts before RFC 3947 numbered it.
        UDP_TRANSPORT_DRAFTS = 61444, "ENCAPSULATION_MODE_UDP_TRANSPORT_DRAFTS";
    }
}

impl Encapsulation {
    /// Whether it is tunnel mode, in UDP or not; `None` for a number that is no mode.
    pub const fn is_tunnel(self) -> Option<bool> {
        match self {
            Self::TUNNEL | Self::UDP_TUNNEL | Self::UDP_TUNNEL_DRAFTS => Some(true),
            Self::TRANSPORT | Self::UDP_TRANSPORT | Self::UDP_TRANSPORT_DRAFTS => Some(false),
            _ => None,
        }
    }

    /// Whether it is one in UDP.
    pub const fn is_udp(self) -> bool {
        !matches!(self, Self::TUNNEL | Self::TRANSPORT)
    }
}

wire_number! {
    /// Authentication algorithm attribute of ESP and AH transforms.
    AuthAlgorithm(u16) {
        /// HMAC-MD5-96.
        HMAC_MD5 = 1, "AUTH_ALGORITHM_HMAC_MD5";
        /// HMAC-SHA1-96.
        HMAC_SHA1 = 2, "AUTH_ALGORITHM_HMAC_SHA1";
        /// DES-MAC.
        DES_MAC = 3, "AUTH_ALGORITHM_DES_MAC";
        /// Keyed MD5.
        KPDK = 4, "AUTH_ALGORITHM_KPDK";
        /// HMAC-SHA2-256-128.
        HMAC_SHA2_256 = 5, "AUTH_ALGORITHM_HMAC_SHA2_256";
        /// HMAC-SHA2-384-192.
        HMAC_SHA2_384 = 6, "AUTH_ALGORITHM_HMAC_SHA2_384";
        /// HMAC-SHA2-512-256.
        HMAC_SHA2_512 = 7, "AUTH_ALGORITHM_HMAC_SHA2_512";
        /// HMAC-RIPEMD-160-96.
        HMAC_RIPEMD = 8, "AUTH_ALGORITHM_HMAC_RIPEMD";
        /// AES-XCBC-MAC-96 (RFC 3566).
        AES_XCBC = 9, "AUTH_ALGORITHM_AES_XCBC_MAC";
        /// AES-CMAC-96 (RFC 4494): in IKEv1 a private number, libreswan's.
        AES_CMAC = 250, "AUTH_ALGORITHM_AES_CMAC_96";
    }
}

wire_number! {
    /// ESP transform id.
    EspTransformId(u8) {
        /// DES with a 64-bit IV; refused.
        DES_IV64 = 1, "ESP_DES_IV64";
        /// DES; refused.
        DES = 2, "ESP_DES";
        /// Triple DES.
        TRIPLE_DES = 3, "ESP_3DES";
        /// RC5.
        RC5 = 4, "ESP_RC5";
        /// IDEA.
        IDEA = 5, "ESP_IDEA";
        /// CAST.
        CAST = 6, "ESP_CAST";
        /// Blowfish.
        BLOWFISH = 7, "ESP_BLOWFISH";
        /// Triple IDEA.
        TRIPLE_IDEA = 8, "ESP_3IDEA";
        /// DES with a 32-bit IV; refused.
        DES_IV32 = 9, "ESP_DES_IV32";
        /// RC4.
        RC4 = 10, "ESP_RC4";
        /// No encryption.
        NULL = 11, "ESP_NULL";
        /// AES-CBC.
        AES = 12, "ESP_AES";
        /// AES in counter mode (RFC 3686).
        AES_CTR = 13, "ESP_AES_CTR";
        /// AES-CCM with an ICV of 8 octets.
        AES_CCM_8 = 14, "ESP_AES_CCM_8";
        /// AES-CCM with an ICV of 12 octets.
        AES_CCM_12 = 15, "ESP_AES_CCM_12";
        /// AES-CCM with an ICV of 16 octets.
        AES_CCM_16 = 16, "ESP_AES_CCM_16";
        /// AES-GCM with an ICV of 8 octets (RFC 4106).
        AES_GCM_8 = 18, "ESP_AES_GCM_8";
        /// AES-GCM with an ICV of 12 octets.
        AES_GCM_12 = 19, "ESP_AES_GCM_12";
        /// AES-GCM with an ICV of 16 octets.
        AES_GCM_16 = 20, "ESP_AES_GCM_16";
        /// SEED.
        SEED_CBC = 21, "ESP_SEED_CBC";
        /// Camellia in CBC mode (RFC 4312).
        CAMELLIA = 22, "ESP_CAMELLIA";
        /// AES-GMAC.
        NULL_AUTH_AES_GMAC = 23, "ESP_NULL_AUTH_AES_GMAC";
        /// ChaCha20-Poly1305: IKEv1 never got a number, so this is IKEv2's (RFC 7634).
        CHACHA20_POLY1305 = 28, "ESP_CHACHA20_POLY1305";
    }
}

wire_number! {
    /// AH transform id.
    AhTransformId(u8) {
        /// MD5.
        MD5 = 2, "AH_MD5";
        /// SHA-1.
        SHA = 3, "AH_SHA";
        /// DES.
        DES = 4, "AH_DES";
        /// SHA-256.
        SHA2_256 = 5, "AH_SHA2_256";
        /// SHA-384.
        SHA2_384 = 6, "AH_SHA2_384";
        /// SHA-512.
        SHA2_512 = 7, "AH_SHA2_512";
        /// RIPEMD-160.
        RIPEMD = 8, "AH_RIPEMD";
        /// AES-XCBC-MAC-96.
        AES_XCBC = 9, "AH_AES_XCBC_MAC";
        /// AES-CMAC-96, a private number as in [`AuthAlgorithm`].
        AES_CMAC = 250, "AH_AES_CMAC_96";
    }
}

wire_number! {
    /// IPCOMP transform id.
    IpcompTransformId(u8) {
        /// A vendor's own.
        OUI = 1, "IPCOMP_OUI";
        /// Deflate (RFC 2394).
        DEFLATE = 2, "IPCOMP_DEFLATE";
        /// LZS.
        LZS = 3, "IPCOMP_LZS";
    }
}
