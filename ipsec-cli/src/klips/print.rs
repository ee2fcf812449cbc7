//! PF_KEY messages as text, for `ipsec pf_key` and `--debug`. Keys are never shown, only their lengths.

use std::fmt::Write;

use pfkey::{ExtType, Lifetime, Message, MsgType, Sa};

/// The message: a line for the header, then a line for each extension.
pub fn message(message: &Message<'_>) -> String {
    let header = message.header();
    let mut out = header_line(header);
    for ext in ExtType::ALL.iter().filter(|ext| message.has(**ext)) {
        let _ = writeln!(out, " {}: {}", ext.name(), extension(message, *ext));
    }
    out
}

/// The header alone, which a message that is wrong otherwise may still have.
pub fn header_line(header: &pfkey::Header) -> String {
    let kind = MsgType::from_number(header.msg_type).map_or("unknown", MsgType::name);
    let satype = pfkey::SaType::from_number(header.satype).map_or("unknown", pfkey::SaType::name);
    format!(
        "\npfkey v2 msg. type={}({kind}) seq={} len={} pid={} errno={} satype={}({satype})\n",
        header.msg_type, header.seq, header.len, header.pid, header.errno, header.satype
    )
}

fn extension(m: &Message<'_>, ext: ExtType) -> String {
    let text = match ext {
        ExtType::Sa => m.sa().map(|sa| sa_text(&sa)),
        ExtType::Sa2 => m.sa2().map(|sa| sa_text(&sa)),
        ExtType::LifetimeCurrent => m.lifetime_current().map(lifetime),
        ExtType::LifetimeHard => m.lifetime_hard().map(lifetime),
        ExtType::LifetimeSoft => m.lifetime_soft().map(lifetime),
        ExtType::KeyAuth => m.key_auth().map(|key| format!("{} bits", key.bits)),
        ExtType::KeyEncrypt => m.key_encrypt().map(|key| format!("{} bits", key.bits)),
        ExtType::IdentitySrc => m
            .ident_src()
            .map(|i| format!("{} {:?}", i.kind.name(), i.text)),
        ExtType::IdentityDst => m
            .ident_dst()
            .map(|i| format!("{} {:?}", i.kind.name(), i.text)),
        ExtType::Proposal => m.proposal().map(|p| proposal(&p)),
        ExtType::SupportedAuth => Some(algorithms(m.supported_auth())),
        ExtType::SupportedEncrypt => Some(algorithms(m.supported_encrypt())),
        ExtType::SpiRange => m.spi_range().map(|(min, max)| format!("{min} to {max}")),
        ExtType::SaType2 => m.said2().map(|said| said.proto.to_string()),
        ExtType::Debug => m.debug_flags().map(|flags| {
            let words = pfkey::DebugFlags::NAMES.iter().zip(flags.0);
            words
                .map(|(name, word)| format!("{name}={word:08x}"))
                .collect::<Vec<_>>()
                .join(" ")
        }),
        ExtType::Protocol => m.protocol().map(|p| p.to_string()),
        ExtType::NatTType => m
            .nat_t()
            .map(|n| format!("type {} ports {} {}", n.kind, n.sport, n.dport)),
        ExtType::NatTSport | ExtType::NatTDport | ExtType::Sensitivity | ExtType::KmPrivate => None,
        _ => m.address(ext).map(|a| match (a.port, a.proto) {
            (0, 0) => a.addr.to_string(),
            (port, proto) => format!("{} port {port} proto {proto}", a.addr),
        }),
    };
    text.unwrap_or_else(|| "present".into())
}

fn sa_text(sa: &Sa) -> String {
    format!(
        "spi={} replay={} state={} auth={} encrypt={} flags={:#x} ref={}",
        sa.spi,
        sa.replay,
        sa.state.name(),
        sa.auth.0,
        sa.encrypt.0,
        sa.flags.0,
        sa.sa_ref
    )
}

fn lifetime(l: Lifetime) -> String {
    format!(
        "allocations={} bytes={} addtime={} usetime={} packets={}",
        l.allocations, l.bytes, l.addtime, l.usetime, l.packets
    )
}

fn proposal(proposal: &pfkey::proposal::Proposal<'_>) -> String {
    let mut out = format!("replay={}", proposal.replay());
    for comb in proposal.combs() {
        let ((amin, amax), (emin, emax)) = (comb.auth_bits, comb.encrypt_bits);
        let _ = write!(
            out,
            " [auth={} {amin}-{amax} bits encrypt={} {emin}-{emax} bits]",
            comb.auth, comb.encrypt
        );
    }
    out
}

fn algorithms(list: impl Iterator<Item = pfkey::Alg>) -> String {
    list.map(|a| {
        format!(
            "[id={} ivlen={} {}-{} bits]",
            a.id, a.ivlen, a.min_bits, a.max_bits
        )
    })
    .collect::<Vec<_>>()
    .join(" ")
}

#[cfg(test)]
mod tests {
    use ipsec_types::{AuthAlg, EncAlg};
    use pfkey::request::{Ids, SaParams, add};

    #[test]
    fn an_add_is_told_without_its_keys() {
        let said = "esp0x1234@192.0.2.1".parse().unwrap();
        let params = SaParams {
            auth: AuthAlg::MD5_HMAC,
            encrypt: EncAlg::TRIPLE_DES_CBC,
            auth_key: &[0xab; 16],
            enc_key: &[0xcd; 24],
            ..SaParams::new(said, "192.0.2.2".parse().unwrap())
        };
        let mut buf = [0; pfkey::MAX_MESSAGE_LEN];
        let bytes = add(&mut buf, Ids { seq: 7, pid: 8 }, &params).unwrap();
        let text = super::message(&pfkey::Message::request(bytes).unwrap());
        for part in [
            "type=3(add) seq=7",
            "satype=3(esp)",
            " sa: spi=0x1234 replay=0 state=mature auth=2 encrypt=3",
            " address_src: 192.0.2.2\n",
            " key_encrypt: 192 bits\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("ab") && !text.contains("cdcd"), "{text}");
    }
}
