//! The testbed itself: hosts see each other, keep apart what they should, and go without a trace.

use testing::Testbed;

#[test]
fn hosts_on_a_segment_reach_each_other_and_are_seen() {
    let testbed = Testbed::new();
    let wire = testbed.segment("wire", "192.0.2.254/24");
    let a = testbed.host("a");
    let b = testbed.host("b");
    a.attach(&wire, "eth0", "192.0.2.1/24 2001:db8::1/64");
    b.attach(&wire, "eth0", "192.0.2.2/24 2001:db8::2/64");
    let capture = wire.capture("icmp or icmp6");
    a.run("ping -n -c 2 -i 0.1 -p c0ffee 192.0.2.2")
        .ok()
        .says(" 0% packet loss");
    a.run("ping -n -c 2 -i 0.1 2001:db8::2")
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    let icmp = captured.packets("icmp");
    assert!(icmp.len() >= 4, "{icmp:?}");
    assert!(captured.holds(b"\xc0\xff\xee\xc0\xff\xee"));
}

#[test]
fn hosts_have_their_own_etc_run_and_processes() {
    let testbed = Testbed::new();
    let (a, b) = (testbed.host("a"), testbed.host("b"));
    a.conf("version 2.0\n");
    a.write("/run/pluto/x", "1");
    a.run("sleep 100 </dev/null >/dev/null 2>&1 & echo $! >/run/sleeper")
        .ok();
    assert_eq!(a.read("/etc/ipsec.conf"), "version 2.0\n");
    b.run("test -e /etc/ipsec.conf").fails();
    b.run("test -e /run/pluto").fails();
    a.run("kill -0 $(cat /run/sleeper)").ok();
    a.run("kill -9 $(cat /run/sleeper); sleep 0.2; kill -0 $(cat /run/sleeper)")
        .fails();
    assert_eq!(a.run("hostname").stdout.trim(), "a");
}

#[test]
fn loss_can_be_put_on_a_segment_and_taken_away() {
    let testbed = Testbed::new();
    let wire = testbed.segment("wire", "192.0.2.254/24");
    let a = testbed.host("a");
    a.attach(&wire, "eth0", "192.0.2.1/24");
    wire.lose(100.0);
    a.run("ping -n -c 1 -W 1 192.0.2.254").fails();
    wire.lose(0.0);
    a.run("ping -n -c 1 -W 2 192.0.2.254").ok();
}
