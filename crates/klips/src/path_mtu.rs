//! What routers on the way take: path MTUs, learnt from ICMP "fragmentation needed" and "packet too big" about packets of an SA
//! (RFC 1191, RFC 8201, RFC 4301 section 8.2), and forgotten after ten minutes.
//!
//! Not here: what becomes of a packet that is bigger (`outbound`).

use core::sync::atomic::{AtomicU64, Ordering};

use ipsec_types::{SaId, SaProto, Spi};

use crate::home::Home;
use crate::klips::Klips;
use crate::packet::IpHeader;
use crate::packet::ip::protocol;

/// IPv6's least MTU (RFC 8200 section 5).
pub(crate) const LEAST_V6: u32 = 1280;
/// No less is believed of a path of IPv4, so that nobody can make a tunnel useless: what every host takes (RFC 791). A path that does
/// take less has to fragment, and gets packets without DF.
pub(crate) const LEAST_V4: u32 = 576;
/// How long it is believed, in seconds (RFC 1191 section 6.3, RFC 8201 section 4).
const LIFE: u64 = 600;
/// The MTUs of links that there are (RFC 1191 section 7), for routers that do not say theirs.
const PLATEAUS: [u32; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, LEAST_V4];

/// What is known of an SA's path: in the lower half the MTU, 0 for nothing, in the upper the time in seconds when it was learnt.
#[derive(Debug, Default)]
pub(crate) struct PathMtu(AtomicU64);

impl PathMtu {
    /// The MTU in bytes, if one is known at `now`.
    pub(crate) fn get(&self, now: u64) -> Option<u32> {
        current(self.0.load(Ordering::Relaxed), now)
    }

    /// Notes that the path takes `mtu` only. A bigger one than is known is not believed before that is forgotten.
    fn lower(&self, mtu: u32, now: u64) {
        let value = now << 32 | u64::from(mtu);
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                current(old, now)
                    .is_none_or(|known| mtu <= known)
                    .then_some(value)
            });
    }
}

fn current(value: u64, now: u64) -> Option<u32> {
    let age = u64::from((now as u32).wrapping_sub((value >> 32) as u32));
    Some(value as u32).filter(|mtu| *mtu != 0 && age < LIFE)
}

/// The least that is believed of a path between addresses of this family.
pub(crate) fn least(v4: bool) -> u32 {
    if v4 { LEAST_V4 } else { LEAST_V6 }
}

/// See [`Klips::path_mtu`].
pub(crate) fn learn<H: Home>(klips: &Klips<H>, now: u64, quoted: &[u8], told: u32) {
    let Some((header, spi)) = IpHeader::quoted(quoted) else {
        return;
    };
    let in_udp = header.protocol == protocol::UDP;
    let proto = match SaProto::from_number(header.protocol) {
        Some(proto) => proto,
        None if in_udp => SaProto::Esp,
        None => return,
    };
    let Some(sa) = klips.sadb.get(&SaId {
        dst: header.dst,
        spi: Spi(spi),
        proto,
    }) else {
        return;
    };
    if !sa.source.is_unspecified() && sa.source != header.src {
        return;
    }
    let shown = header.selector(quoted);
    let ports = sa.encap.as_ref().map(|encap| (encap.sport, encap.dport));
    if ports != in_udp.then_some((shown.sport, shown.dport)) {
        return;
    }
    let least = least(header.is_v4());
    let told = if told == 0 { plateau(quoted) } else { told };
    sa.path_mtu.lower(told.max(least), now);
}

/// What a router may take that did not let through the IPv4 packet which begins like this.
fn plateau(quoted: &[u8]) -> u32 {
    let total = match quoted {
        [_, _, high, low, ..] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    PLATEAUS
        .into_iter()
        .find(|mtu| *mtu < total)
        .unwrap_or(LEAST_V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_smaller_ones_are_believed_and_for_ten_minutes() {
        let path = PathMtu::default();
        let start = u64::from(u32::MAX) - 5;
        assert_eq!(path.get(start), None);
        path.lower(1400, start);
        path.lower(1300, start + 1);
        path.lower(1450, start + 2);
        // Over the end of 32 bits too.
        assert_eq!(path.get(start + 600), Some(1300));
        assert_eq!(path.get(start + 601), None);
        path.lower(1450, start + 601);
        assert_eq!(path.get(start + 602), Some(1450));
    }

    #[test]
    fn plateaus() {
        for (total, mtu) in [(1500u16, 1492), (1492, 1006), (600, 576), (100, 576)] {
            let [high, low] = total.to_be_bytes();
            assert_eq!(plateau(&[0x45, 0, high, low, 0]), mtu);
        }
    }
}
