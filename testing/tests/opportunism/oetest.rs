//! `ipsec oetest` in a real browser: the page says of a visitor whose gateway encrypts that he arrived encrypted, and of one without
//! a tunnel that he did not. What the browser shows is left in the build's directory, for whoever wants to look.

use std::path::Path;
use std::time::Duration;

use testing::internet::{ANCHOR, Internet};
use testing::{Host, Testbed};

testing::on_both_data_paths!(a_page_that_tells_whether_it_came_encrypted);

/// Opportunistic with everybody, for itself and maybe its subnet.
fn start(host: &Host, subnet: Option<&str>) {
    let also = subnet.map_or(String::new(), |subnet| {
        format!("conn subnet-to-anyone\n\talso=me-to-anyone\n\tleftsubnet={subnet}\n\n")
    });
    host.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n\n{also}\
         conn me-to-anyone\n\tleft=%defaultroute\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tauto=route\n"
    ));
    host.run("ipsec setup start").ok();
}

/// sunrise speaks for itself: east, its neighbour, is a mere router.
fn publish_sunrise(net: &Internet<'_>) {
    let host = &net.east.inside;
    host.run("ipsec newhostkey --output /etc/ipsec.secrets --bits 2048")
        .ok();
    for (options, kind) in [("--key", "KEY"), ("--txt 192.0.2.1", "TXT")] {
        let said = host.run(&format!("ipsec showhostkey {options}")).ok();
        let record = said.stdout.split_once(&format!("\tIN\t{kind}\t"));
        net.replace(
            "1.2.0.192.in-addr.arpa.",
            kind,
            record.expect("a record").1.trim(),
        );
    }
}

/// What a browser on this host makes of the page, as HTML; a picture of it is left behind.
fn visit(host: &Host, picture: &str) -> String {
    let browser = "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                   --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --window-size=900,600";
    let browse = |what: &str| {
        let command = format!(
            "{browser} --user-data-dir=$(mktemp -d /run/browser.XXXXXX) {what} http://192.0.2.1/"
        );
        host.run_for(&command, Duration::from_secs(300)).ok().stdout
    };
    let page = browse("--dump-dom");
    browse("--screenshot=/run/page.png");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oetest-{picture}.png"));
    std::fs::copy(host.file("/run/page.png"), &kept).expect("the picture can be kept");
    println!("{}", kept.display());
    page
}

fn a_page_that_tells_whether_it_came_encrypted() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish_site(&net.west);
    publish_sunrise(&net);
    net.commit();
    start(&net.west.gateway, Some(&net.west.subnet));
    let server = &net.east.inside;
    start(server, None);
    let _page = server.spawn("exec ipsec oetest");
    server.wait_for(
        "grep -q ':0050 .* 0A ' /proc/net/tcp",
        Duration::from_secs(10),
    );

    let capture = net.public.capture("tcp port 80 or esp");
    let page = visit(&net.west.inside, "encrypted");
    let captured = capture.stop();
    let trace = || {
        let status = server.run("ipsec eroute; ipsec spi");
        format!("{page}\n{status}\n{}", server.log())
    };
    assert_eq!(
        captured.packets("tcp port 80"),
        Vec::<String>::new(),
        "{}",
        trace()
    );
    assert!(captured.packets("esp").len() >= 10, "{}", trace());
    for wanted in [
        "You seem to be connecting from: <strong>192.0.1.1</strong> which DNS says is: <strong>sunset.example</strong>",
        "OE enabled: this connection arrived encrypted.",
        "192.0.2.1/32 -&gt; 192.0.1.1/32 =&gt; tun0x",
        "@192.1.2.45</td>",
    ] {
        assert!(page.contains(wanted), "{wanted:?} is not in {}", trace());
    }
    // Nothing from elsewhere, and nothing that runs.
    for unwanted in ["<script", "src=", "href=", "url("] {
        assert!(!page.contains(unwanted), "{unwanted} in {page}");
    }
    // The counts go up with each visit.
    let again = visit(&net.west.inside, "encrypted");
    assert!(count(&again) > count(&page), "{page}\n{again}");

    // A host without a tunnel, whose name in DNS would be markup.
    net.replace(
        "77.2.1.192.in-addr.arpa.",
        "PTR",
        r"\<script\>alert\(1\)\</script\>.example.",
    );
    net.commit();
    let page = visit(&net.plain, "clear");
    for wanted in [
        "You seem to be connecting from: <strong>192.1.2.77</strong> for which DNS has no name.",
        "OE not enabled: this connection arrived in the clear.",
    ] {
        assert!(page.contains(wanted), "{wanted:?} is not in {}", trace());
    }
    assert!(!page.contains("alert"), "{page}");
    assert!(!page.contains("tun0x"), "{page}");
}

/// The packets of the first eroute.
fn count(page: &str) -> u64 {
    let cell = page.split("<td class=\"count\">").nth(1);
    let number = cell.and_then(|rest| rest.split('<').next());
    number.and_then(|n| n.parse().ok()).expect("a packet count")
}
