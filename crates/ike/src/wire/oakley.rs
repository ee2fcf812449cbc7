//! Phase 1 attribute types and values (RFC 2409 appendix A). Which of them we implement is in `crypto`'s tables.

use super::numbers::wire_number;

wire_number! {
    /// Attribute type of an ISAKMP transform.
    OakleyAttribute(u16) {
        /// Cipher, see [`OakleyCipher`].
        ENCRYPTION = 1, "OAKLEY_ENCRYPTION_ALGORITHM";
        /// Hash, see [`OakleyHash`].
        HASH = 2, "OAKLEY_HASH_ALGORITHM";
        /// Authentication, see [`AuthMethod`].
        AUTH_METHOD = 3, "OAKLEY_AUTHENTICATION_METHOD";
        /// Numbered group, see [`GroupId`].
        GROUP_DESCRIPTION = 4, "OAKLEY_GROUP_DESCRIPTION";
        /// Kind of a private group.
        GROUP_TYPE = 5, "OAKLEY_GROUP_TYPE";
        /// Prime of a private group.
        GROUP_PRIME = 6, "OAKLEY_GROUP_PRIME";
        /// First generator of a private group.
        GROUP_GENERATOR_ONE = 7, "OAKLEY_GROUP_GENERATOR_ONE";
        /// Second generator of a private group.
        GROUP_GENERATOR_TWO = 8, "OAKLEY_GROUP_GENERATOR_TWO";
        /// Curve parameter A.
        GROUP_CURVE_A = 9, "OAKLEY_GROUP_CURVE_A";
        /// Curve parameter B.
        GROUP_CURVE_B = 10, "OAKLEY_GROUP_CURVE_B";
        /// Unit of the lifetime that follows, see [`LifeType`].
        LIFE_TYPE = 11, "OAKLEY_LIFE_TYPE";
        /// The lifetime.
        LIFE_DURATION = 12, "OAKLEY_LIFE_DURATION";
        /// A negotiated PRF; none is defined.
        PRF = 13, "OAKLEY_PRF";
        /// Key length in bits of a cipher with several.
        KEY_LENGTH = 14, "OAKLEY_KEY_LENGTH";
        /// Field size of a private group.
        FIELD_SIZE = 15, "OAKLEY_FIELD_SIZE";
        /// Order of a private group.
        GROUP_ORDER = 16, "OAKLEY_GROUP_ORDER";
    }
}

wire_number! {
    /// Phase 1 cipher.
    OakleyCipher(u16) {
        /// Single DES; always refused here.
        DES_CBC = 1, "OAKLEY_DES_CBC";
        /// IDEA.
        IDEA_CBC = 2, "OAKLEY_IDEA_CBC";
        /// Blowfish.
        BLOWFISH_CBC = 3, "OAKLEY_BLOWFISH_CBC";
        /// RC5.
        RC5_R16_B64_CBC = 4, "OAKLEY_RC5_R16_B64_CBC";
        /// Triple DES.
        TRIPLE_DES_CBC = 5, "OAKLEY_3DES_CBC";
        /// CAST.
        CAST_CBC = 6, "OAKLEY_CAST_CBC";
        /// AES.
        AES_CBC = 7, "OAKLEY_AES_CBC";
        /// Camellia (RFC 4312).
        CAMELLIA_CBC = 8, "OAKLEY_CAMELLIA_CBC";
    }
}

wire_number! {
    /// Phase 1 hash.
    OakleyHash(u16) {
        /// MD5.
        MD5 = 1, "OAKLEY_MD5";
        /// SHA-1.
        SHA1 = 2, "OAKLEY_SHA";
        /// Tiger.
        TIGER = 3, "OAKLEY_TIGER";
        /// SHA-256.
        SHA2_256 = 4, "OAKLEY_SHA2_256";
        /// SHA-384.
        SHA2_384 = 5, "OAKLEY_SHA2_384";
        /// SHA-512.
        SHA2_512 = 6, "OAKLEY_SHA2_512";
    }
}

wire_number! {
    /// Authentication method.
    AuthMethod(u16) {
        /// Pre-shared key.
        PRESHARED_KEY = 1, "OAKLEY_PRESHARED_KEY";
        /// DSS signatures.
        DSS_SIG = 2, "OAKLEY_DSS_SIG";
        /// RSA signatures.
        RSA_SIG = 3, "OAKLEY_RSA_SIG";
        /// RSA encryption.
        RSA_ENC = 4, "OAKLEY_RSA_ENC";
        /// Revised RSA encryption.
        RSA_ENC_REV = 5, "OAKLEY_RSA_ENC_REV";
    }
}

wire_number! {
    /// Diffie-Hellman group.
    GroupId(u16) {
        /// 768 bits; never accepted.
        MODP768 = 1, "OAKLEY_GROUP_MODP768";
        /// 1024 bits.
        MODP1024 = 2, "OAKLEY_GROUP_MODP1024";
        /// Elliptic curve over GF(2^155).
        GP155 = 3, "OAKLEY_GROUP_GP155";
        /// Elliptic curve over GF(2^185).
        GP185 = 4, "OAKLEY_GROUP_GP185";
        /// 1536 bits.
        MODP1536 = 5, "OAKLEY_GROUP_MODP1536";
        /// 2048 bits.
        MODP2048 = 14, "OAKLEY_GROUP_MODP2048";
        /// 3072 bits.
        MODP3072 = 15, "OAKLEY_GROUP_MODP3072";
        /// 4096 bits.
        MODP4096 = 16, "OAKLEY_GROUP_MODP4096";
        /// 6144 bits.
        MODP6144 = 17, "OAKLEY_GROUP_MODP6144";
        /// 8192 bits.
        MODP8192 = 18, "OAKLEY_GROUP_MODP8192";
        /// P-256.
        ECP256 = 19, "OAKLEY_GROUP_ECP_256";
        /// P-384.
        ECP384 = 20, "OAKLEY_GROUP_ECP_384";
        /// P-521.
        ECP521 = 21, "OAKLEY_GROUP_ECP_521";
        /// 1024 bits with a subgroup of 160 (RFC 5114); never accepted.
        DH22 = 22, "OAKLEY_GROUP_DH22";
        /// 2048 bits with a subgroup of 224 (RFC 5114).
        DH23 = 23, "OAKLEY_GROUP_DH23";
        /// 2048 bits with a subgroup of 256 (RFC 5114).
        DH24 = 24, "OAKLEY_GROUP_DH24";
        /// P-192.
        ECP192 = 25, "OAKLEY_GROUP_ECP_192";
        /// P-224.
        ECP224 = 26, "OAKLEY_GROUP_ECP_224";
        /// Curve25519.
        CURVE25519 = 31, "OAKLEY_GROUP_CURVE25519";
        /// Curve448.
        CURVE448 = 32, "OAKLEY_GROUP_CURVE448";
    }
}

wire_number! {
    /// Unit of a phase 1 or phase 2 lifetime.
    LifeType(u16) {
        /// Seconds.
        SECONDS = 1, "LIFE_SECONDS";
        /// Kilobytes.
        KILOBYTES = 2, "LIFE_KILOBYTES";
    }
}

/// Transform id of every ISAKMP transform (RFC 2407 section 4.4.2.1).
pub const KEY_IKE: u8 = 1;
