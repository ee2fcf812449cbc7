//! RSA keys (generation, RFC 2537/3110 blobs, key ids) and `ipsec.secrets`.
