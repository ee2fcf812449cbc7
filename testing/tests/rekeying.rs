//! Rekeying both SAs, again and again, on a lossy wire, loses nothing of its own.

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(ten_rekeys_lose_no_more_pings_than_none);

/// An SA lives for 30 s and is replaced 8 s (IPsec) or 28 s (ISAKMP) after its start: time enough for a lost
/// IKE packet's retransmission before the old SA ends.
const LIFETIMES: &str = "\
\tkeylife=30s
\tikelifetime=50s
\trekeymargin=22s
\trekeyfuzz=0%
\tkeyingtries=0
";

/// What became of 2,000 pings over a wire that loses 2 % of what it carries.
struct Run {
    /// Pings without an answer.
    lost: u32,
    /// ESP packets that the wire lost.
    lost_on_the_wire: u32,
    ipsec_sas: usize,
    isakmp_sas: usize,
    log: String,
}

fn two_thousand_pings(lifetimes: &str) -> Run {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &format!("{NET_TO_NET}{lifetimes}"))
        .start();
    net.up("net-to-net");
    count_esp(&net);
    net.public.lose(2.0);
    let answered = net.pings(2000, "0.05", "ff");
    let lost_on_the_wire = lost_esp(&net);
    net.public.lose(0.0);
    let (ipsec_sas, isakmp_sas) = established(&net.west);
    Run {
        lost: 2000 - answered,
        lost_on_the_wire,
        ipsec_sas,
        isakmp_sas,
        log: net.west.log(),
    }
}

fn ten_rekeys_lose_no_more_pings_than_none() {
    let (with, without) = std::thread::scope(|threads| {
        let without = threads.spawn(|| two_thousand_pings(""));
        let with = two_thousand_pings(LIFETIMES);
        (with, without.join().expect("the run without rekeying"))
    });
    for (run, name) in [(&with, "with"), (&without, "without")] {
        assert_eq!(
            run.lost, run.lost_on_the_wire,
            "{name} rekeying: pings lost, and those whose ESP packet the wire lost\n{}",
            run.log
        );
        assert!(
            run.lost_on_the_wire > 20,
            "{name} rekeying: the wire lost only {} packets of 4,000",
            run.lost_on_the_wire
        );
    }
    assert!(
        with.ipsec_sas > 10,
        "{} IPsec SAs\n{}",
        with.ipsec_sas,
        with.log
    );
    assert!(
        with.isakmp_sas > 3,
        "{} ISAKMP SAs\n{}",
        with.isakmp_sas,
        with.log
    );
    assert_eq!((without.ipsec_sas, without.isakmp_sas), (1, 1));
}

/// Has both gateways count the ESP packets that they send to the wire, and those that the wire brings.
fn count_esp(net: &Gateways<'_>) {
    let table = "table ip wire {
        chain sent { type filter hook postrouting priority 300; ip protocol esp counter; }
        chain got { type filter hook prerouting priority -300; ip protocol esp counter; }
    }";
    for gateway in [&net.west, &net.east] {
        gateway.run(&format!("echo '{table}' | nft -f -")).ok();
    }
}

/// How many of them were sent and did not arrive.
fn lost_esp(net: &Gateways<'_>) -> u32 {
    let count = |chain: &str| -> u32 {
        let one = |gateway: &Host| -> u32 {
            let listed = gateway.run(&format!("nft list chain ip wire {chain}")).ok();
            let word = listed
                .stdout
                .split("packets ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next());
            word.and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("{listed}"))
        };
        one(&net.west) + one(&net.east)
    };
    count("sent") - count("got")
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
