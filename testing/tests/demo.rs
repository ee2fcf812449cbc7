//! `make demo HOLD=1`: the hosts stay, are entered by what it prints, and vanish with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn output(command: &str) -> (bool, String) {
    let done = Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("sh can be run");
    (
        done.status.success(),
        String::from_utf8_lossy(&done.stdout).trim().to_owned(),
    )
}

#[test]
fn held_hosts_are_entered_by_what_is_printed() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("HOLD", "1")
        // As for somebody who is not root.
        .env("TESTBED_USERNS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo can be run");
    let lines = BufReader::new(demo.stdout.take().expect("stdout is piped")).lines();
    let said: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.starts_with("Enter takes"))
        .collect();
    let ways: Vec<&str> = said
        .iter()
        .filter_map(|line| {
            line.trim()
                .strip_suffix(" bash")
                .filter(|way| way.starts_with("nsenter"))
        })
        .collect();
    assert_eq!(ways.len(), 4, "{}", said.join("\n"));

    for (way, name) in ways.iter().zip(["sunset", "west", "east", "sunrise"]) {
        assert_eq!(
            output(&format!("{way} bash -c hostname")),
            (true, name.to_owned()),
            "{way}"
        );
    }
    assert!(
        output(&format!(
            "{} bash -c 'ping -n -q -c 2 -i 0.2 192.0.2.1'",
            ways[0]
        ))
        .0
    );
    let (_, status) = output(&format!("{} bash -c 'ipsec auto --status'", ways[1]));
    assert!(status.contains("IPsec SA established"), "{status}");

    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).expect("the demo is ours");
    demo.wait().expect("a child can be waited for");
    let end = Instant::now() + Duration::from_secs(10);
    for way in ways {
        let pid = way.split(' ').nth(2).expect("nsenter -t PID");
        while Path::new("/proc").join(pid).exists() {
            assert!(Instant::now() < end, "{way} is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
