//! First messages captured from ike-scan 1.9.

use super::*;

/// ike-scan without options: eight transforms, DES among them, groups 2 and 1.
pub(crate) const MAIN_MODE: &str = "
    56ef25a2dbb5f5f900000000000000000110020000000000000001500000013400000001000000010000012801010008
    030000240101000080010005800200028003000180040002800b0001000c000400007080030000240201000080010005
    800200018003000180040002800b0001000c000400007080030000240301000080010001800200028003000180040002
    800b0001000c000400007080030000240401000080010001800200018003000180040002800b0001000c000400007080
    030000240501000080010005800200028003000180040001800b0001000c000400007080030000240601000080010005
    800200018003000180040001800b0001000c000400007080030000240701000080010001800200028003000180040001
    800b0001000c000400007080000000240801000080010001800200018003000180040001800b0001000c000400007080";

/// ike-scan --trans=7/256,2,1,14 --trans=5,1,3,5 --vendor=4048b7d56ebce88525e7de7f00d6c2d3
pub(crate) const AES_AND_RSA: &str = "
    d60f4b3913ca16b600000000000000000110020000000000000000900d00006000000001000000010000005401010002
    03000028010100008001000780020002800300018004000e800e0100800b0001000c0004000070800000002402010000
    80010005800200018003000380040005800b0001000c000400007080000000144048b7d56ebce88525e7de7f00d6c2d3";

/// ike-scan --aggressive --id=user@example.com --dhgroup=5 --trans=5,2,1,5
const AGGRESSIVE: &str = "
    23ae81fcd1dd57d700000000000000000110040000000000000001480400003800000001000000010000002c01010001
    000000240101000080010005800200028003000180040005800b0001000c0004000070800a0000c4b22dbd03f6d1d3ea
    fe0e04e0e1da9dc652d35b84767b435e85a84f79e7a10fe37448e760ea49c8a9406eff912c44bac573dd5eb1462ace64
    d043c70cf27c9ab67957b0bfd9a37cc6fe7ab574936253bc30727a493dc030c41858432968b0500937e37789e5e40b06
    184a89eb5bd5ce28383c0105b0fcd12b386b9c4d3dded5b6ffadce5ceaf55cce578946466b2480c6b565caa73afb9c3a
    3b237bb6c8537a877aed5db724e156b8a29a1dd0c29855151699b1df79d166dcce11d89e1d2e73b6050000184df83270
    8bc7029acce4eb597bae4d1f0ebfea8400000018031101f475736572406578616d706c652e636f6d";

#[test]
fn main_mode() {
    let bytes = hex(AES_AND_RSA);
    let message = Message::new_checked(&bytes).unwrap();
    let h = message.header();
    assert_eq!(h.initiator.to_string(), "d60f4b3913ca16b6");
    assert!(h.responder.is_zero() && h.exchange == ExchangeType::MAIN_MODE && h.message_id == 0);
    assert_eq!(h.length as usize, bytes.len());
    let kinds: Vec<_> = message.payloads().iter().map(|p| p.kind).collect();
    assert_eq!(kinds, [PayloadType::SA, PayloadType::VID]);
    assert!(
        message
            .vendor_ids()
            .eq([&hex("4048b7d56ebce88525e7de7f00d6c2d3")[..]])
    );
    let (sa, body) = message.sa().unwrap();
    let [proposal] = &sa.proposals[..] else {
        panic!("{sa:?}")
    };
    assert_eq!(
        (proposal.number, proposal.protocol, proposal.spi.len()),
        (1, Protocol::ISAKMP, 0)
    );
    let [aes, des3] = &proposal.transforms[..] else {
        panic!("{sa:?}")
    };
    let numbers = |t: &Transform| {
        t.attributes
            .iter()
            .map(|a| (a.kind, a.as_u32().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        numbers(aes),
        [
            (1, 7),
            (2, 2),
            (3, 1),
            (4, 14),
            (14, 256),
            (11, 1),
            (12, 28800)
        ]
    );
    assert_eq!(
        numbers(des3),
        [(1, 5), (2, 1), (3, 3), (4, 5), (11, 1), (12, 28800)]
    );
    assert_eq!(
        sa.to_body(),
        body,
        "written back, the SA is what was captured"
    );
}

#[test]
fn written_back_unchanged() {
    for text in [MAIN_MODE, AES_AND_RSA, AGGRESSIVE] {
        let bytes = hex(text);
        let message = Message::new_checked(&bytes).unwrap();
        let built =
            message
                .payloads()
                .iter()
                .fold(MessageBuilder::new(message.header()), |b, p| {
                    match &p.content {
                        Content::Sa(sa) => b.sa(sa),
                        Content::Id(id) => b.id(id),
                        _ => b.payload(p.kind, p.body()),
                    }
                });
        assert_eq!(built.finish(), bytes);
    }
}

#[test]
fn aggressive_mode() {
    let bytes = hex(AGGRESSIVE);
    let message = Message::new_checked(&bytes).unwrap();
    assert_eq!(message.header().exchange, ExchangeType::AGGRESSIVE);
    assert_eq!(
        (message.ke().unwrap().len(), message.nonce().unwrap().len()),
        (192, 20)
    );
    let (id, body) = message.ids().next().unwrap();
    assert_eq!((id.protocol, id.port), (17, 500));
    assert_eq!(id.value, IdValue::UserFqdn(b"user@example.com"));
    assert_eq!(
        (id.value.to_string(), id.to_body()),
        ("user@example.com".to_owned(), body.to_vec())
    );
}
