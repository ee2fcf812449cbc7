//! The test kernel itself: it is a world like the machine's, what is written in it stays there, and failures come out.

use std::path::Path;
use std::process::{Command, Output};

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::in_test_kernel!(
    a_tunnel_of_klipsd,
    a_wire_with_delay,
    esp_of_the_kernel_carries_pings,
);

fn a_tunnel_of_klipsd() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.up("net-to-net");
    assert_eq!(net.pings(10, "0.05", "ff"), 10, "{}", net.west.log());
}

fn a_wire_with_delay() {
    let testbed = Testbed::new();
    let wire = testbed.segment("wire", "192.0.2.254/24");
    let a = testbed.host("a");
    a.attach(&wire, "eth0", "192.0.2.1/24");
    wire.netem("delay 30ms 5ms reorder 25%");
    a.run("ping -n -q -c 5 -i 0.2 192.0.2.254")
        .ok()
        .says(" 0% packet loss");
    wire.netem("loss 100%");
    a.run("ping -n -q -c 1 -W 1 192.0.2.254").fails();
    wire.netem("");
    a.run("ping -n -q -c 1 -W 2 192.0.2.254").ok();
}

/// The kernel's own ESP between the gateways, keyed by hand.
fn esp_of_the_kernel_carries_pings() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let (west, east) = ("192.1.2.45", "192.1.2.23");
    testbed.run("modprobe -a esp4 authenc");
    let mut states = String::new();
    for (src, dst, spi) in [(west, east, "0x101"), (east, west, "0x102")] {
        states += &format!(
            "ip xfrm state add src {src} dst {dst} proto esp spi {spi} mode transport \
             enc 'cbc(aes)' 0x000102030405060708090a0b0c0d0e0f \
             auth 'hmac(sha1)' 0x101112131415161718191a1b1c1d1e1f20212223 || exit 1\n"
        );
    }
    for (gateway, here, there) in [(&net.west, west, east), (&net.east, east, west)] {
        gateway.run(&states).ok();
        for (dir, src, dst) in [("out", here, there), ("in", there, here)] {
            gateway
                .run(&format!(
                    "ip xfrm policy add src {src} dst {dst} dir {dir} \
                     tmpl src {src} dst {dst} proto esp mode transport"
                ))
                .ok();
        }
    }
    let capture = net.public.capture("icmp or esp");
    net.west
        .run(&format!("ping -n -q -c 5 -i 0.1 {east}"))
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    assert_eq!(captured.packets("esp").len(), 10);
    assert_eq!(captured.packets("icmp"), Vec::<String>::new());
}

fn run(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/run");
    Command::new(script)
        .args(arguments)
        .output()
        .expect("testing/kernels/run can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_has_its_words_its_directory_and_its_exit_status() {
    let words = [
        "sh",
        "-c",
        "pwd; printf '%s,' \"$@\"; exit 7",
        "x",
        "a b",
        "it's",
        "$HOME",
    ];
    let done = run(&words);
    let said = text(&done.stdout);
    let here = std::env::current_dir().expect("there is a directory");
    assert!(said.starts_with(&format!("{}\n", here.display())), "{said}");
    assert!(said.contains("a b,it's,$HOME,"), "{said}");
    assert_eq!(done.status.code(), Some(7));
}

#[test]
fn what_is_written_inside_stays_inside() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("written");
    let name = file.display().to_string();
    let done = run(&["sh", "-c", "echo x >\"$0\" && cat \"$0\"", &name]);
    assert_eq!(text(&done.stdout), "x\n", "{}", text(&done.stderr));
    assert!(!file.exists());
}

const POWER_OFF: &str = "exec perl -e 'syscall(169, 0xfee1dead, 672274793, 0x4321fedc)'";

#[test]
fn a_kernel_that_complains_fails_whatever_the_command_says() {
    for (command, complaint) in [
        ("echo 'WARNING: x' >/dev/kmsg", "WARNING: x"),
        (POWER_OFF, "ended before the command"),
    ] {
        let done = run(&["sh", "-c", command]);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(125), "{command}: {said}");
        assert!(said.contains(complaint), "{command}: {said}");
    }
}

#[test]
fn a_kernel_that_does_not_end_is_ended() {
    let done = run(&["-t", "2", "sleep", "1000"]);
    assert_eq!(done.status.code(), Some(124));
    assert!(text(&done.stderr).contains("still running after 2 seconds"));
}
