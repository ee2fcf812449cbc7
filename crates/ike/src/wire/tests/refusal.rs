//! What is wrong is named, with its place and the notification that answers it.

use super::foreign::AES_AND_RSA;
use super::*;

/// Alters a good message and expects a refusal.
fn refused(alter: impl FnOnce(&mut Vec<u8>), offset: usize, kind: ErrorKind, notify: NotifyType) {
    let mut bytes = hex(AES_AND_RSA);
    alter(&mut bytes);
    let error = Message::new_checked(&bytes).unwrap_err();
    assert_eq!((error.offset, &error.kind), (offset, &kind), "{error}");
    assert_eq!(error.notify(), notify, "{error}");
}

#[test]
fn headers() {
    use NotifyType as N;
    refused(
        |b| b.truncate(27),
        0,
        ErrorKind::Truncated {
            found: 27,
            needed: 28,
        },
        N::PAYLOAD_MALFORMED,
    );
    refused(
        |b| b[17] = 0x20,
        17,
        ErrorKind::MajorVersion(2),
        N::INVALID_MAJOR_VERSION,
    );
    refused(
        |b| b[17] = 0x11,
        17,
        ErrorKind::MinorVersion(1),
        N::INVALID_MINOR_VERSION,
    );
    refused(
        |b| b[19] = 0x80,
        19,
        ErrorKind::Flags(0x80),
        N::INVALID_FLAGS,
    );
    refused(
        |b| b[19] = 1,
        19,
        ErrorKind::EncryptionFlag { found: true },
        N::INVALID_FLAGS,
    );
    refused(
        |b| b[..8].fill(0),
        0,
        ErrorKind::ZeroCookie,
        N::INVALID_COOKIE,
    );
    let longer = ErrorKind::MessageLength {
        field: 144,
        received: 145,
    };
    refused(|b| b.push(0), 24, longer, N::UNEQUAL_PAYLOAD_LENGTHS);
    let shorter = ErrorKind::MessageLength {
        field: 144,
        received: 143,
    };
    refused(|b| b.truncate(143), 24, shorter, N::UNEQUAL_PAYLOAD_LENGTHS);
    let found = PayloadType::TRANSFORM;
    let kind = ErrorKind::UnexpectedPayload {
        found,
        expected: "a payload that may stand alone",
    };
    refused(|b| b[16] = 3, 16, kind.clone(), N::INVALID_PAYLOAD_TYPE);
    refused(|b| b[28] = 3, 28, kind, N::INVALID_PAYLOAD_TYPE);
}

#[test]
fn payloads_and_proposals() {
    use NotifyType as N;
    refused(
        |b| b[29] = 9,
        29,
        ErrorKind::Reserved(9),
        N::PAYLOAD_MALFORMED,
    );
    let too_long = ErrorKind::PayloadLength {
        field: 0x160,
        min: 4,
        max: 116,
    };
    refused(|b| b[30] = 1, 30, too_long, N::PAYLOAD_MALFORMED);
    let too_short = ErrorKind::PayloadLength {
        field: 3,
        min: 4,
        max: 116,
    };
    refused(|b| b[31] = 3, 30, too_short, N::PAYLOAD_MALFORMED);
    refused(|b| b[35] = 2, 32, ErrorKind::Doi(2), N::DOI_NOT_SUPPORTED);
    refused(
        |b| b[39] = 3,
        36,
        ErrorKind::Situation(3),
        N::SITUATION_NOT_SUPPORTED,
    );
    refused(
        |b| b[47] = 3,
        47,
        ErrorKind::TransformCount { field: 3, found: 2 },
        N::BAD_PROPOSAL_SYNTAX,
    );
    refused(
        |b| b[46] = 17,
        46,
        ErrorKind::SpiSize {
            found: 17,
            expected: "0 to 16",
        },
        N::INVALID_SPI,
    );
    refused(
        |b| b[45] = 3,
        46,
        ErrorKind::SpiSize {
            found: 0,
            expected: "4",
        },
        N::INVALID_SPI,
    );
    // The second transform begins at octet 88; its number must exceed the first's.
    let order = ErrorKind::Order {
        what: "transform",
        previous: 1,
        found: 1,
    };
    refused(|b| b[92] = 1, 92, order, N::BAD_PROPOSAL_SYNTAX);
    let kind = ErrorKind::UnexpectedPayload {
        found: PayloadType::KE,
        expected: "a transform or nothing",
    };
    refused(|b| b[88] = 4, 88, kind, N::INVALID_PAYLOAD_TYPE);
    let attribute = ErrorKind::PayloadLength {
        field: 5,
        min: 0,
        max: 4,
    };
    refused(|b| b[119] = 5, 118, attribute, N::PAYLOAD_MALFORMED);
    let mut bytes = hex(AES_AND_RSA);
    bytes[92] = 0;
    let text = Message::new_checked(&bytes).unwrap_err().to_string();
    assert_eq!(
        text,
        "payload ISAKMP_NEXT_T at octet 92: transform number 0 follows 1, must not be less"
    );
}

fn parse_one(kind: PayloadType, body: &[u8]) -> Result<(), ErrorKind> {
    let bytes = MessageBuilder::new(&header(ExchangeType::INFORMATIONAL, 1))
        .payload(kind, body)
        .finish();
    Message::new_checked(&bytes).map(drop).map_err(|e| {
        assert_eq!(e.payload, kind);
        e.kind
    })
}

#[test]
fn single_payloads() {
    use PayloadType as P;
    for empty in [P::KE, P::HASH, P::SIG] {
        assert_eq!(parse_one(empty, &[]), Err(ErrorKind::Empty));
    }
    for (len, result) in [
        (7, Err(ErrorKind::NonceLength(7))),
        (8, Ok(())),
        (256, Ok(())),
    ] {
        assert_eq!(parse_one(P::NONCE, &vec![1; len]), result);
    }
    assert_eq!(
        parse_one(P::NONCE, &[1; 257]),
        Err(ErrorKind::NonceLength(257))
    );
    let id = |kind: u8, data: &[u8]| parse_one(P::ID, &[&[kind, 0, 0, 0], data].concat());
    assert_eq!(id(12, &[]), Err(ErrorKind::UnknownId(IdType(12))));
    let id_type = IdType::IPV4_ADDR;
    assert_eq!(
        id(1, &[1, 2, 3]),
        Err(ErrorKind::IdLength {
            id_type,
            found: 3,
            expected: 4
        })
    );
    assert_eq!(
        id(4, &[10, 0, 0, 0, 255, 0, 255, 0]),
        Err(ErrorKind::IdValue(IdType::IPV4_ADDR_SUBNET))
    );
    assert_eq!(
        id(7, &[10, 0, 0, 2, 10, 0, 0, 1]),
        Err(ErrorKind::IdValue(IdType::IPV4_ADDR_RANGE))
    );
    assert!(parse_one(P::NOTIFY, &[0, 0, 0, 1, 3, 5, 0, 1, 1, 2, 3, 4]).is_err());
    let delete = |spi_len: u8, count: u8, spis: &[u8]| {
        parse_one(
            P::DELETE,
            &[&[0, 0, 0, 1, 3, spi_len, 0, count], spis].concat(),
        )
    };
    assert_eq!(delete(4, 1, &[1, 2, 3, 4]), Ok(()));
    assert_eq!(
        delete(4, 2, &[1, 2, 3, 4]),
        Err(ErrorKind::Truncated {
            found: 4,
            needed: 8
        })
    );
    assert_eq!(
        delete(0, 0, &[]),
        Err(ErrorKind::SpiSize {
            found: 0,
            expected: "4"
        })
    );
    assert!(
        Delete::new(Protocol::ESP, 4, &[0; 5]).is_none()
            && Delete::new(Protocol::ESP, 0, &[]).is_none()
    );
}

#[test]
fn limits() {
    let build = |count: usize| {
        let empty = MessageBuilder::new(&header(ExchangeType::MAIN_MODE, 0));
        (0..count).fold(empty, |b, _| b.vendor_id(b"")).finish()
    };
    assert!(Message::new_checked(&build(MAX_PAYLOADS)).is_ok());
    let error = Message::new_checked(&build(MAX_PAYLOADS + 1)).unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::TooMany {
            what: "payloads",
            limit: MAX_PAYLOADS
        }
    );

    let transform = |number| Transform {
        number,
        id: 1,
        attributes: Vec::new(),
    };
    let proposal = |number, count: u8| Proposal {
        number,
        protocol: Protocol::ISAKMP,
        spi: Vec::new(),
        transforms: (1..=count).map(transform).collect(),
    };
    let parse = |proposals| Sa::parse(&Sa { proposals }.to_body()).map_err(|e| e.kind);
    assert!(parse(vec![proposal(1, 255)]).is_ok());
    let many = ErrorKind::TooMany {
        what: "transforms",
        limit: MAX_TRANSFORMS,
    };
    assert_eq!(parse(vec![proposal(1, 255), proposal(2, 1)]), Err(many));
    let many = ErrorKind::TooMany {
        what: "proposals",
        limit: MAX_PROPOSALS,
    };
    assert_eq!(parse((0..33).map(|n| proposal(n, 1)).collect()), Err(many));
    let order = ErrorKind::Order {
        what: "proposal",
        previous: 2,
        found: 1,
    };
    assert_eq!(parse(vec![proposal(2, 1), proposal(1, 1)]), Err(order));
    let attributes = vec![Attribute::basic(1, 1); MAX_ATTRIBUTES + 1];
    assert!(parse_attributes(&emit_attributes(&attributes)).is_err());
    assert!(parse_attributes(&emit_attributes(&attributes[1..])).is_ok());
}
