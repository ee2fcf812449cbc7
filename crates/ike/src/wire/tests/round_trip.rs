//! What is written reads back as what was meant.

use super::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[test]
fn every_payload() {
    let bytes = sample_message();
    let m = Message::new_checked(&bytes).unwrap();
    assert_eq!(
        (m.payloads().len(), m.end(), m.bytes()),
        (13, bytes.len(), &bytes[..])
    );
    assert_eq!(m.sa().unwrap().0, &sample_sa());
    assert_eq!(m.ke(), Some(&[7; 192][..]));
    assert_eq!(m.nonce(), Some(&[8; 16][..]));
    assert_eq!(
        (m.hash(), m.sig()),
        (Some(&[1; 20][..]), Some(&[2; 128][..]))
    );
    let cert = Cert {
        encoding: CertEncoding::X509_SIGNATURE,
        data: b"certificate",
    };
    assert_eq!(
        m.find(PayloadType::CERT).unwrap().content,
        Content::Cert(cert)
    );
    assert_eq!(
        m.find(PayloadType::CERTREQ).unwrap().content,
        Content::CertReq(Cert { data: b"", ..cert })
    );
    let notify = m.notifications().next().unwrap();
    assert_eq!(
        (notify.kind, notify.spi),
        (NotifyType::RESPONDER_LIFETIME, &[1, 2, 3, 4][..])
    );
    let lives = parse_attributes(notify.data).unwrap();
    assert_eq!(
        lives.iter().map(Attribute::as_u32).collect::<Vec<_>>(),
        [Some(1), Some(100_000)]
    );
    let delete = m.deletes().next().unwrap();
    assert_eq!(
        delete.spis().collect::<Vec<_>>(),
        [[0, 0, 1, 2], [0, 0, 1, 3]]
    );
    assert_eq!(
        m.find(PayloadType::NAT_D).unwrap().content,
        Content::Opaque(&[3; 20])
    );
    assert_eq!(
        m.find(PayloadType(200)).unwrap().content,
        Content::Opaque(b"")
    );
    fuzz(&bytes);
}

#[test]
fn header_fields() {
    for bits in 0..8u8 {
        let flags = Flags {
            encryption: bits & 1 != 0,
            commit: bits & 2 != 0,
            auth_only: bits & 4 != 0,
        };
        let h = Header {
            flags,
            length: 28,
            ..header(ExchangeType::QUICK_MODE, 0xdead_beef)
        };
        assert_eq!(Header::new_checked(&h.to_bytes()), Ok(h));
        assert_eq!(h.to_bytes()[19], bits);
    }
}

#[test]
fn identities() {
    let (v4, v6) = (
        Ipv4Addr::new(10, 1, 2, 0),
        "2001:db8::".parse::<Ipv6Addr>().unwrap(),
    );
    let all = [
        (IdValue::Ipv4(v4), "10.1.2.0"),
        (IdValue::Ipv6(v6), "2001:db8::"),
        (IdValue::Ipv4Subnet(v4, 0), "10.1.2.0/0"),
        (IdValue::Ipv4Subnet(v4, 24), "10.1.2.0/24"),
        (IdValue::Ipv4Subnet(v4, 32), "10.1.2.0/32"),
        (IdValue::Ipv6Subnet(v6, 0), "2001:db8::/0"),
        (IdValue::Ipv6Subnet(v6, 65), "2001:db8::/65"),
        (IdValue::Ipv6Subnet(v6, 128), "2001:db8::/128"),
        (
            IdValue::Ipv4Range(v4, Ipv4Addr::new(10, 1, 3, 7)),
            "10.1.2.0-10.1.3.7",
        ),
        (IdValue::Ipv6Range(v6, v6), "2001:db8::-2001:db8::"),
        (IdValue::Fqdn(b"east.example.com"), "@east.example.com"),
        (IdValue::UserFqdn(b"road@example.com"), "road@example.com"),
        (IdValue::Fqdn(b"e\nvil"), "@e\\nvil"),
        (IdValue::DerAsn1Dn(&[0x30, 0]), "@#3000"),
        (IdValue::DerAsn1Gn(&[0x82]), "@#82"),
        (IdValue::KeyId(&[0xab, 0xcd]), "@#abcd"),
    ];
    for (value, text) in all {
        let id = Id {
            protocol: 6,
            port: 0x1234,
            value,
        };
        let body = id.to_body();
        assert_eq!(body[0], value.id_type().0);
        assert_eq!(
            (Id::parse(&body), value.to_string()),
            (Ok(id), text.to_owned())
        );
    }
    assert_eq!(
        IdValue::subnet(IpAddr::V4(v4), 99),
        IdValue::Ipv4Subnet(v4, 32)
    );
    assert_eq!(IdValue::address(IpAddr::V6(v6)), IdValue::Ipv6(v6));
}

#[test]
fn attributes_as_numbers() {
    let tlv = |bytes: &[u8]| Attribute {
        kind: 12,
        value: AttributeValue::Variable(bytes.to_vec()),
    };
    assert_eq!(Attribute::number(12, 65535), Attribute::basic(12, 65535));
    assert_eq!(Attribute::number(12, 65536), tlv(&[0, 1, 0, 0]));
    assert_eq!(tlv(&[0, 0, 0, 0, 0, 0x70, 0x80]).as_u32(), Some(28800));
    assert_eq!(tlv(&[0, 0]).as_u32(), Some(0));
    assert_eq!(tlv(&[]).as_u32(), None);
    assert_eq!(tlv(&[1, 0, 0, 0, 0]).as_u32(), None);
    let all = [Attribute::basic(0x7fff, 0), tlv(&[]), tlv(&[1, 2, 3])];
    assert_eq!(parse_attributes(&emit_attributes(&all)).unwrap(), all);
}

#[test]
fn hashes_are_filled_in_and_cover_what_follows() {
    let h = Header {
        flags: Flags::ENCRYPTED,
        ..header(ExchangeType::QUICK_MODE, 7)
    };
    let mut builder = MessageBuilder::new(&h);
    let slot = builder.hash_slot(20);
    let mut builder = builder.sa(&sample_sa()).nonce(&[5; 17]);
    let covered = builder.after(slot).to_vec();
    builder.fill(slot, &[0xaa; 20]);
    for block in [1, 8, 16] {
        let bytes = builder.clone().finish_padded(block);
        assert!((bytes.len() - HEADER_LEN).is_multiple_of(block));
        assert!(
            Message::new_checked(&bytes).is_err(),
            "the encryption flag is set"
        );
        let m = Message::new_decrypted(&bytes).unwrap();
        assert_eq!(m.header().length as usize, bytes.len());
        assert_eq!(m.hash(), Some(&[0xaa; 20][..]));
        assert_eq!(m.after(&m.payloads()[0]), covered, "padding is not covered");
        assert!(bytes.len() - m.end() < block);
    }
}

#[test]
fn expectations() {
    use PayloadType as P;
    let bytes = sample_message();
    let m = Message::new_checked(&bytes).unwrap();
    let counts = [
        (P::SA, 1, 1),
        (P::KE, 1, 1),
        (P::NONCE, 1, 1),
        (P::ID, 0, 2),
        (P::HASH, 1, 1),
        (P::SIG, 0, 1),
    ];
    let tolerated = [P::CERT, P::CERTREQ, P::NAT_D, P(200)];
    let good = Expect {
        first: Some(P::SA),
        counts: &counts,
        tolerated: &tolerated,
    };
    assert_eq!(m.expect(&good), Ok(()));
    let first = Expect {
        first: Some(P::HASH),
        ..good
    };
    assert_eq!(
        m.expect(&first),
        Err(Unexpected::First {
            found: P::SA,
            expected: P::HASH
        })
    );
    let two = Expect {
        counts: &[(P::KE, 2, 3)],
        ..good
    };
    assert_eq!(
        m.expect(&two),
        Err(Unexpected::Count {
            kind: P::KE,
            found: 1,
            min: 2,
            max: 3
        })
    );
    let foreign = m
        .expect(&Expect {
            tolerated: &tolerated[..3],
            ..good
        })
        .unwrap_err();
    assert_eq!(foreign.notify(), NotifyType::INVALID_PAYLOAD_TYPE);
    assert_eq!(
        foreign,
        Unexpected::Foreign {
            kind: P(200),
            offset: bytes.len() - 4
        }
    );
}
