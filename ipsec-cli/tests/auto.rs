//! `ipsec` itself, `ipsec auto` up to what it would send, and what is said about mistakes.

mod common;

use common::{Place, ok};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

const CONF: &str = "\
version 2.0

config setup
	interfaces=%none

conn %default
	authby=secret

conn net
	left=192.0.2.1
	leftsubnet=10.0.1.0/24
	leftid=@west
	right=192.0.2.2
	rightsubnet=10.0.2.0/24
	keylife=1h
	leftfirewall=yes
	auto=add
";

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn showonly_prints_whack_commands() {
    let place = Place::new();
    place.write("ipsec.conf", CONF);
    let shown = ok(&place.ipsec(&["auto", "--showonly", "--add", "net"]));
    for part in [
        "ipsec whack --name net --encrypt --tunnel --pfs --psk",
        "--host \"192.0.2.1\" --client \"10.0.1.0/24\" --nexthop \"%direct\" --updown \"ipsec _updown iptables\" --id \"@west\"",
        "--to --host \"192.0.2.2\" --client \"10.0.2.0/24\"",
        "--ipseclifetime \"3600\" --rekeymargin \"540\"",
        "--keyingtries \"0\"",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert_eq!(
        ok(&place.ipsec(&["auto", "--showonly", "--up", "net"])),
        "ipsec whack --name net --initiate\n"
    );
    assert_eq!(
        ok(&place.ipsec(&["auto", "--showonly", "--ready"])),
        "ipsec whack --listen\n"
    );
    let replace = ok(&place.ipsec(&["auto", "--showonly", "--replace", "net"]));
    assert!(
        replace.starts_with("ipsec whack --name net --delete"),
        "{replace}"
    );
}

#[test]
fn keys_come_before_the_connection() {
    let place = Place::new();
    let secrets = place.path("k.secrets");
    ok(&place.ipsec(&["newhostkey", "--output", &secrets, "--bits", "1024"]));
    let left = ok(&place.ipsec(&["showhostkey", "--file", &secrets, "--left"]));
    let key = left.lines().last().unwrap();
    place.write("ipsec.conf", &format!("version 2\nconn r\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\trightrsasigkey=%none\n{key}\n"));
    let shown = ok(&place.ipsec(&["auto", "--showonly", "--add", "r"]));
    let first = shown.lines().next().unwrap();
    let value = key.trim().strip_prefix("leftrsasigkey=").unwrap();
    assert_eq!(
        first,
        format!("ipsec whack --keyid \"192.0.2.1\" --pubkeyrsa \"{value}\" \\")
    );
    assert!(
        shown.contains("ipsec whack --name r --encrypt --tunnel --pfs --rsasig"),
        "{shown}"
    );
}

#[test]
fn errors_have_place_and_remedy_and_exit_status_1() {
    let place = Place::new();
    let path = place.write(
        "ipsec.conf",
        &format!("{CONF}\nconn bad\n\tleft=192.0.2.256\n\tlefftid=@x\n\tright=%any\n"),
    );
    let output = place.ipsec(&["auto", "--add", "bad"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains(&format!("{path}:21:2")) && said.contains("did you mean \"leftid\"?"),
        "{said}"
    );
    let output = place.ipsec(&["auto", "--add", "nett"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did you mean \"net\"?"));
}

#[test]
fn two_connections_for_the_same_packets_are_told() {
    let place = Place::new();
    place.write("ipsec.conf", &format!("{CONF}\nconn twin\n\tleft=192.0.2.1\n\tleftsubnet=10.0.1.0/24\n\tright=192.0.2.3\n\trightsubnet=10.0.2.0/24\n"));
    let output = place.ipsec(&["auto", "--showonly", "--add", "twin"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("are for the same packets"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_pluto_it_says_how_to_start_it() {
    let place = Place::new();
    let output = place.ipsec(&["auto", "--status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("ipsec setup start"));
}

#[test]
fn answers_come_through_filtered_and_with_their_status() {
    let place = Place::new();
    std::fs::create_dir(place.path("run")).unwrap();
    let listener = UnixListener::bind(place.path("run/pluto.ctl")).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            socket.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            socket.read_exact(&mut request).unwrap();
            assert!(String::from_utf8_lossy(&request).contains("Initiate"));
            for reply in [
                whack::Reply::Line {
                    code: 104,
                    text: "\"a\" #1: STATE_MAIN_I1: initiate".into(),
                },
                whack::Reply::Line {
                    code: 2,
                    text: "a log line".into(),
                },
                whack::Reply::Line {
                    code: 31,
                    text: "given up".into(),
                },
                whack::Reply::Exit { status: 31 },
            ] {
                whack::frame::write(&mut socket, &reply).unwrap();
            }
            socket.flush().unwrap();
        }
    });
    let output = place.ipsec(&["auto", "--up", "a"]);
    assert_eq!(output.status.code(), Some(31));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "104 \"a\" #1: STATE_MAIN_I1: initiate\n031 given up\n"
    );
    let output = place.ipsec(&["auto", "--verbose", "--up", "a"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("002 a log line\n"));
    server.join().unwrap();
}

#[test]
fn the_front_finds_commands_and_programs() {
    let place = Place::new();
    assert!(ok(&place.ipsec(&["--version"])).starts_with("Linux FreeS/WAN "));
    assert_eq!(
        ok(&place.ipsec(&["--confdir"])).trim_end(),
        place.path("").trim_end_matches('/')
    );
    assert!(ok(&place.ipsec(&["--help"])).contains("\tauto\n"));
    assert!(ok(&place.ipsec(&["--copyright"])).contains("General Public License"));
    let output = place.ipsec(&["nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown IPsec command `nothing'"));
    assert!(stderr(&place.ipsec(&["--nothing"])).contains("unknown option `--nothing'"));

    std::fs::create_dir(place.path("libexec")).unwrap();
    let program = place.write(
        "libexec/mine",
        "#!/bin/sh\necho \"$IPSEC_CONFS $*\"\nexit 7\n",
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.ipsec(&["mine", "a", "b"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{} a b\n", place.path("").trim_end_matches('/'))
    );
    assert!(ok(&place.ipsec(&["--help"])).contains("\tmine\n"));
    assert_eq!(place.ipsec(&["../mine"]).status.code(), Some(1));
}

#[test]
fn setup_that_is_not_running_says_so() {
    let place = Place::new();
    let output = place.ipsec(&["setup", "status"]);
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).as_ref()
        ),
        (Some(3), "IPsec stopped\n")
    );
    assert_eq!(place.ipsec(&["setup"]).status.code(), Some(2));
    assert_eq!(place.ipsec(&["setup", "strat"]).status.code(), Some(2));
}
