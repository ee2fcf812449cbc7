//! `make demo`: two gateways, a subnet behind each, from nothing to pings through ESP, and down again.
//!
//! With `HOLD=1` the hosts stay until Enter or Ctrl-C, and it prints how to get into each.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

/// What the pings carry, which nobody on the wire may read.
const PATTERN: &str = "706c61696e746578742120"; // "plaintext! "

fn main() -> ExitCode {
    let begun = Instant::now();
    println!("sunset 192.0.1.1 --- west 192.1.2.45 ===== 192.1.2.23 east --- 192.0.2.1 sunrise\n");
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Rsa);

    title("RSA keys are made on each gateway, the public halves go into ipsec.conf");
    net.configure("", NET_TO_NET);
    show(&net.west, "ipsec showhostkey --left | cut -c 1-72");
    show(
        &net.west,
        "sed 's/\\(rsasigkey=.\\{24\\}\\).*/\\1.../' /etc/ipsec.conf",
    );

    title("Both are started");
    show(&net.west, "ipsec setup start");
    show(&net.east, "ipsec setup start");

    title("The tunnel comes up");
    let capture = net
        .public
        .capture("not arp and not icmp6 and not ip6 multicast");
    let up = show(&net.west, "ipsec auto --up net-to-net");

    title("sunset pings sunrise");
    let ping = show(
        &net.sunset,
        &format!("ping -n -c 5 -i 0.2 -p {PATTERN} 192.0.2.1"),
    );
    let captured = capture.stop();

    title("What somebody between the gateways saw");
    let packets = captured.packets("");
    for line in &packets {
        println!("{line}");
    }

    title("What the gateway knows");
    show(&net.west, "ipsec look");
    show(&net.west, "ipsec auto --status");

    if std::env::var("HOLD").is_ok_and(|hold| hold == "1") {
        hold(&net);
    }

    title("Down again");
    show(&net.west, "ipsec auto --down net-to-net");
    show(&net.west, "ipsec setup stop");
    show(&net.east, "ipsec setup stop");

    let strangers = captured.packets("not esp and not udp port 500");
    let verdicts = [
        ("the tunnel came up", up),
        ("every ping was answered", ping),
        (
            "only ESP and UDP 500 passed between the gateways",
            strangers.is_empty() && !packets.is_empty(),
        ),
        (
            "what the pings carried was nowhere on the wire",
            !captured.holds(b"plaintext! plaintext! "),
        ),
    ];
    title("In short");
    for (what, good) in verdicts {
        println!("{} {what}", if good { "yes:" } else { "NO: " });
    }
    println!("in {:.1} seconds", begun.elapsed().as_secs_f64());
    match verdicts.iter().all(|(_, good)| *good) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn title(text: &str) {
    println!("\n=== {text}");
}

/// Runs a command in a host the way a person sees it; gives whether it succeeded.
fn show(host: &Host, command: &str) -> bool {
    println!("{}# {command}", host.name());
    let output = host.run(command);
    print!("{}{}", output.stdout, output.stderr);
    if output.status != 0 {
        println!("(exit status {})\n{}", output.status, host.log());
    }
    output.status == 0
}

fn hold(net: &Gateways<'_>) {
    title("Held; each host is entered by");
    for host in [&net.sunset, &net.west, &net.east, &net.sunrise] {
        println!("{}:\n  {} bash", host.name(), host.how_to_enter());
    }
    println!("Enter takes everything down.");
    if std::io::stdin().is_terminal() {
        std::io::stdin().lock().read_line(&mut String::new()).ok();
    } else {
        loop {
            std::thread::park();
        }
    }
}
