//! A host behind a NAT whose name has a key in DNS. No gateway of a stranger can give it a tunnel: it hears that at once, and says so.

use std::time::Duration;

use testing::{Host, Router, Testbed};

use super::{SETUP, full, published, start, trace};
use testing::internet::RESOLVER;

testing::on_both_data_paths!(h10_behind_nat_the_verdict_is_there_at_once);

fn h10_behind_nat_the_verdict_is_there_at_once() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    let router = Router::new(
        &testbed,
        "home",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    let home = testbed.host("laptop");
    home.attach(&router.inside, "eth1", "10.0.0.9/24")
        .gateway("10.0.0.254");
    net.introduce(&home, RESOLVER);
    home.run("ipsec newhostkey --output /etc/ipsec.secrets --bits 2048")
        .ok();
    for (kind, option) in [("KEY", "--key"), ("TXT", "--txt @laptop.example")] {
        let said = home.run(&format!("ipsec showhostkey {option}")).ok().stdout;
        let record = said
            .split_once(&format!("\tIN\t{kind}\t"))
            .expect("a record")
            .1;
        net.publish(&format!("laptop.example. IN {kind} {}\n", record.trim()));
    }
    net.commit();
    start(&net.east, &full(&net.east));
    home.run("mkdir -p /etc/ipsec.d/policies").ok();
    home.conf(&format!("{SETUP}\tmyid=@laptop.example\n"));
    let policy = |group: &str| {
        home.run("rm -f /etc/ipsec.d/policies/*").ok();
        home.write(&format!("/etc/ipsec.d/policies/{group}"), "0.0.0.0/0\n");
    };
    policy("private-or-clear");
    home.run("ipsec setup start").ok();
    let ping = |home: &Host| {
        home.run_for("ping -n -c 1 -W 6 192.0.2.1", Duration::from_secs(30))
            .status
    };
    // Somebody with a key: it is reached, in the clear, with its first packet.
    assert_eq!(
        ping(&home),
        0,
        "{}\n{}",
        home.run("ipsec auto --status"),
        trace(&net)
    );
    let behind = "this host is behind a NAT, as gateway 192.1.2.23 s";
    let status = home.run("ipsec auto --status").ok();
    status
        .clone()
        .says(&format!("opportunism: {behind}aw"))
        .says("192.0.2.1/32:0 => %pass 0    this host is behind a NAT");
    assert!(
        home.log()
            .contains("gateway 192.1.2.23 sees this host behind a NAT")
    );
    let verify = home.run("ipsec verify --nocolour").exits(1);
    let line = verify
        .lines()
        .find(|line| line.starts_with("Looking for a NAT in front of this host"));
    assert!(
        line.is_some_and(|line| line.ends_with("[FAILED]")),
        "{verify}"
    );
    // A policy that does not let pass drops, and says why.
    policy("private");
    home.run("ipsec auto --rereadgroups").ok();
    let capture = net.public.capture("icmp and host 192.0.2.1");
    assert_ne!(ping(&home), 0);
    let clear = capture.stop().packets("icmp[icmptype] == 8");
    assert_eq!(clear, Vec::<String>::new());
    home.run("ipsec auto --status")
        .ok()
        .says("192.0.2.1/32:0 => %drop 0    this host is behind a NAT");
}
