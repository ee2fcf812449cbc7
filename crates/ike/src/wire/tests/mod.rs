//! Messages of foreign implementations, round trips of every payload, refusals with their place, and mutations.

pub(crate) mod foreign;
mod mutation;
mod refusal;
mod round_trip;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

fn header(exchange: ExchangeType, message_id: u32) -> Header {
    Header::new(
        Cookie([1, 2, 3, 4, 5, 6, 7, 8]),
        Cookie([9; 8]),
        exchange,
        message_id,
    )
}

/// An SA payload with two alternatives, the first a bundle, and attributes in both forms.
fn sample_sa() -> Sa {
    let transform = |number, id| Transform {
        number,
        id,
        attributes: vec![
            Attribute::basic(IpsecAttribute::LIFE_TYPE.0, LifeType::SECONDS.0),
            Attribute::number(IpsecAttribute::LIFE_DURATION.0, 86400),
            Attribute::number(IpsecAttribute::ENCAPSULATION_MODE.0, 1),
        ],
    };
    let proposal = |number, protocol, spi: &[u8]| Proposal {
        number,
        protocol,
        spi: spi.to_vec(),
        transforms: vec![transform(1, 3), transform(2, 12)],
    };
    Sa {
        proposals: vec![
            proposal(1, Protocol::AH, &[0, 0, 0x10, 1]),
            proposal(1, Protocol::ESP, &[0, 0, 0x10, 2]),
            proposal(2, Protocol::ESP, &[0, 0, 0x10, 2]),
            proposal(3, Protocol::IPCOMP, &[0x12, 0x34]),
        ],
    }
}

/// One message with every payload that is interpreted, and two that are not.
fn sample_message() -> Vec<u8> {
    let cert = Cert {
        encoding: CertEncoding::X509_SIGNATURE,
        data: b"certificate",
    };
    let data = emit_attributes(&[Attribute::basic(1, 1), Attribute::number(2, 100_000)]);
    let notify = Notify {
        data: &data,
        ..Notify::new(Protocol::ESP, &[1, 2, 3, 4], NotifyType::RESPONDER_LIFETIME)
    };
    MessageBuilder::new(&header(ExchangeType::MAIN_MODE, 0))
        .sa(&sample_sa())
        .ke(&[7; 192])
        .nonce(&[8; 16])
        .id(&Id {
            protocol: 17,
            port: 500,
            value: IdValue::Fqdn(b"east.example.com"),
        })
        .cert(&cert)
        .certreq(&Cert { data: b"", ..cert })
        .hash(&[1; 20])
        .sig(&[2; 128])
        .notify(&notify)
        .delete(&Delete::new(Protocol::ESP, 4, &[0, 0, 1, 2, 0, 0, 1, 3]).unwrap())
        .vendor_id(b"vendor")
        .payload(PayloadType::NAT_D, &[3; 20])
        .payload(PayloadType(200), b"")
        .finish()
}
