//! Rekeying both SAs, again and again, on a lossy wire, loses nothing of its own.

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

/// An SA lives for 30 s and is replaced 8 s (IPsec) or 28 s (ISAKMP) after its start: time enough for a lost
/// IKE packet's retransmission before the old SA ends.
const LIFETIMES: &str = "\
\tkeylife=30s
\tikelifetime=50s
\trekeymargin=22s
\trekeyfuzz=0%
\tkeyingtries=0
";

#[test]
fn two_thousand_pings_over_ten_rekeys_under_loss() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &format!("{NET_TO_NET}{LIFETIMES}"))
        .start();
    net.up("net-to-net");
    net.public.lose(2.0);

    let answered = net.pings(2000, "0.05", "ff");
    let lost_on_the_wire = net.public.lost_esp();
    net.public.lose(0.0);

    assert_eq!(
        2000 - answered,
        lost_on_the_wire,
        "pings lost, and those whose ESP packet the wire lost\n{}",
        net.west.log()
    );
    assert!(
        lost_on_the_wire > 20,
        "the wire lost only {lost_on_the_wire} packets of 4,000"
    );
    let (ipsec, isakmp) = established(&net.west);
    assert!(ipsec > 10, "{ipsec} IPsec SAs\n{}", net.west.log());
    assert!(isakmp > 3, "{isakmp} ISAKMP SAs\n{}", net.west.log());
}

/// How many IPsec and ISAKMP SAs a gateway has made, by its log.
fn established(host: &Host) -> (usize, usize) {
    let log = host.run("cat /run/pluto/pluto.log").ok();
    let count = |text| log.lines().filter(|line| line.contains(text)).count();
    (
        count("IPsec SA established"),
        count("ISAKMP SA established"),
    )
}
