//! The real daemon, in network namespaces of its own: start, whack, interfaces, shutdown, and what
//! it says when something is in the way.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use whack::{Client, Request};

const PLUTO: &str = env!("CARGO_BIN_EXE_pluto");
/// Only a daemon that hangs makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pluto in a network namespace of its own, with `lo` up, logging to a pipe that the test reads.
struct Daemon {
    dir: tempfile::TempDir,
    child: Child,
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Daemon {
    fn start(setup: &str, options: &str) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        Daemon::start_in(dir, setup, options)
    }

    fn start_in(dir: tempfile::TempDir, setup: &str, options: &str) -> Daemon {
        let secrets = dir.path().join("ipsec.secrets");
        fs::write(&secrets, ": PSK \"swordfish\"\n").unwrap();
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
        let script = format!(
            "ip link set lo up; {setup}\nexec {PLUTO} --nofork --stderrlog --rundir {dir}/run \
             --secretsfile {dir}/ipsec.secrets {options}",
            dir = dir.path().display()
        );
        let mut child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .all(|line| lines.send(line).is_ok())
        });
        Daemon {
            dir,
            child,
            log,
            seen: Vec::new(),
        }
    }

    fn rundir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Waits for a log line that holds `part`.
    fn logged(&mut self, part: &str) -> String {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(e) => panic!("no {part:?} in the log ({e}):\n{}", self.seen.join("\n")),
            }
        }
    }

    fn whack(&self, request: Request) -> (Vec<String>, u8) {
        let mut lines = Vec::new();
        let replies = Client::connect(self.rundir())
            .unwrap()
            .send(&request)
            .unwrap();
        let status = replies.finish(|line| lines.push(line.to_string())).unwrap();
        (lines, status)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn exit_status(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn shut_down(mut self) {
        let (_, status) = self.whack(Request::Shutdown);
        assert_eq!(status, 0);
        assert_eq!(self.exit_status(), Some(0));
        let left: Vec<_> = fs::read_dir(self.rundir())
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holds(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

#[test]
fn status_listen_and_shutdown() {
    let mut pluto = Daemon::start("ip addr add 192.0.2.1/24 dev lo", "--noklips");
    pluto.logged("Starting Pluto (FreeS/WAN Version ");
    let socket = fs::metadata(pluto.rundir().join("pluto.ctl")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let (lines, status) = pluto.whack(Request::Status);
    assert_eq!(status, 0, "{lines:?}");
    assert!(!holds(&lines, "interface "), "{lines:?}");

    let (lines, status) = pluto.whack(Request::Listen);
    assert_eq!(status, 0, "{lines:?}");
    assert!(
        holds(&lines, "002 adding interface virtual192.0.2.1/lo 192.0.2.1"),
        "{lines:?}"
    );
    assert!(holds(&lines, "002 loading secrets from "), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("swordfish")));

    let (lines, _) = pluto.whack(Request::Status);
    assert!(
        holds(&lines, "interface virtual192.0.2.1/lo 192.0.2.1"),
        "{lines:?}"
    );
    pluto.signal(Signal::SIGHUP);
    pluto.logged("Pluto ignores SIGHUP");
    pluto.shut_down();
}

#[test]
fn a_connection_comes_and_goes() {
    let pluto = Daemon::start("ip addr add 192.0.2.1/24 dev lo", "--noklips");
    wait_for(&pluto.rundir().join("pluto.ctl"));
    let mut left = whack::End::new(whack::Host::Addr([192, 0, 2, 1].into()));
    left.client = Some("10.0.1.0/24".parse().unwrap());
    let right = whack::End::new(whack::Host::Addr([192, 0, 2, 2].into()));
    let connection = whack::Connection {
        policy: whack::Policy {
            psk: true,
            encrypt: true,
            tunnel: true,
            ..Default::default()
        },
        ..whack::Connection::new("net-to-host", left, right)
    };
    let add = Request::Connection(Box::new(connection));
    let (lines, status) = pluto.whack(add.clone());
    assert_eq!(status, 0, "{lines:?}");
    let (lines, status) = pluto.whack(add);
    assert_eq!(status, 20, "{lines:?}");
    let (lines, _) = pluto.whack(Request::Status);
    assert!(holds(&lines, "net-to-host"), "{lines:?}");
    let delete = Request::Delete {
        name: "net-to-host".into(),
    };
    assert_eq!(pluto.whack(delete.clone()).1, 0);
    assert_eq!(pluto.whack(delete).1, 21);
    pluto.shut_down();
}

#[test]
fn interfaces_are_followed() {
    // The test changes the namespace from within, through the shell that started pluto.
    let setup = "ip link add veth0 type veth peer name veth1; ip link set veth1 up; \
                 (while read line; do eval \"$line\"; done) &";
    let setup = setup.replace(") &", ") <&3 & ");
    let mut pluto = Daemon::start(&format!("exec 3<&0; {setup}"), "--noklips");
    wait_for(&pluto.rundir().join("pluto.ctl"));
    pluto.whack(Request::Listen);
    pluto.logged("adding interface virtual127.0.0.1/lo 127.0.0.1");
    let mut shell = pluto.child.stdin.take().unwrap();
    writeln!(
        shell,
        "ip addr add 192.0.2.9/24 dev veth0; ip link set veth0 up"
    )
    .unwrap();
    pluto.logged("adding interface virtual192.0.2.9/veth0 192.0.2.9");
    writeln!(shell, "ip addr del 192.0.2.9/24 dev veth0").unwrap();
    pluto.logged("shutting down interface virtual192.0.2.9/veth0 192.0.2.9");
    drop(shell);
    pluto.shut_down();
}

#[test]
fn a_taken_port_is_told_to_whoever_listens() {
    // A second pluto in the same namespace, with another run directory, takes the port first.
    let first = "PLUTO --noklips --rundir DIR/first --stderrlog 2>/dev/null; \
                 until [ -S DIR/first/pluto.ctl ]; do :; done";
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display().to_string();
    let setup = first.replace("PLUTO", PLUTO).replace("DIR", &here);
    let hold = format!("{setup}; (while [ ! -e {here}/listening ]; do sleep 0.05; done); ");
    let helper = {
        let rundir = dir.path().join("first");
        let mark = dir.path().join("listening");
        thread::spawn(move || {
            wait_for(&rundir.join("pluto.ctl"));
            let replies = Client::connect(&rundir)
                .unwrap()
                .send(&Request::Listen)
                .unwrap();
            replies.finish(|_| ()).unwrap();
            fs::write(mark, "").unwrap();
        })
    };
    let pluto = Daemon::start_in(dir, &hold, "--noklips");
    helper.join().unwrap();
    wait_for(&pluto.rundir().join("pluto.ctl"));
    let (lines, status) = pluto.whack(Request::Listen);
    assert!(
        holds(
            &lines,
            "003 ERROR: bind() for lo/virtual127.0.0.1 127.0.0.1:500 failed. Errno 98"
        ),
        "{lines:?}"
    );
    assert!(holds(&lines, "ss -ulpn 'sport = 500'"), "{lines:?}");
    assert!(holds(&lines, "003 no public interfaces found"), "{lines:?}");
    assert_eq!(status, 3);
    let first = Client::connect(pluto.dir.path().join("first")).unwrap();
    first
        .send(&Request::Shutdown)
        .unwrap()
        .finish(|_| ())
        .unwrap();
    pluto.shut_down();
}

#[test]
fn the_caller_returns_when_the_daemon_is_ready_or_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let run = || start_in(dir.path()).output().unwrap();
    // A lock file that a crash left behind stops nobody.
    fs::write(dir.path().join("p.pid"), "1\n").unwrap();
    fs::write(dir.path().join("p.ctl"), "").unwrap();
    let first = run();
    assert!(first.status.success(), "{first:?}");
    let pid = fs::read_to_string(dir.path().join("p.pid")).unwrap();

    let second = run();
    assert_eq!(second.status.code(), Some(10));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let expected = format!("already exists: pluto is running (pid {})", pid.trim());
    assert!(said.contains(&expected), "{said}");

    // SIGTERM ends it in order.
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    gone(&dir.path().join("p.pid"));
    assert!(!dir.path().join("p.ctl").exists());
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        log.contains("Z Starting Pluto (FreeS/WAN Version "),
        "{log}"
    );
    assert!(log.contains("shutting down"), "{log}");
}

/// The command that starts a pluto in the background, with all its files in `dir`.
fn start_in(dir: &Path) -> Command {
    let mut command = Command::new(PLUTO);
    command
        .args(["--noklips", "--ctlbase"])
        .arg(dir.join("p"))
        .arg("--logfile")
        .arg(dir.join("log"));
    command
}

fn gone(file: &Path) {
    let until = Instant::now() + Duration::from_secs(30);
    while file.exists() {
        assert!(Instant::now() < until, "{} is still there", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// As soon as the caller returns, or sooner.
#[test]
fn it_ends_in_order_however_early_it_is_told_to() {
    for round in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let started = start_in(dir.path()).status();
        assert!(started.unwrap().success());
        let pid = fs::read_to_string(dir.path().join("p.pid")).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
        gone(&dir.path().join("p.pid"));
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(log.contains("shutting down"), "{round}: {log}");
    }
}

#[test]
fn what_is_in_the_way_is_said_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(PLUTO)
            .args(args)
            .env("IPSEC_RUNDIR", dir.path())
            .output()
            .unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    if !Path::new("/proc/net/ipsec_version").exists() {
        let (status, said) = run(&[]);
        assert_eq!(status, Some(1));
        assert!(
            said.starts_with("pluto: KLIPS is not running: ") && said.contains("ipsec setup start"),
            "{said}"
        );
    }
    let (status, said) = run(&["--noklips", "--rundir", "/proc/no/such"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("cannot make directory \"/proc/no/such\"") && said.contains("IPSEC_RUNDIR"),
        "{said}"
    );
    let (status, said) = run(&["--noklips", "--logfile", "/proc/no/log"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("cannot log to /proc/no/log"), "{said}");
    let (status, said) = run(&["--ikeport", "99999"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("--ikeport"), "{said}");
    assert_eq!(run(&["--version"]).0, Some(0));
    assert_eq!(run(&["--help"]).0, Some(0));
}

#[test]
fn rubbish_on_the_sockets_harms_nobody() {
    let mut pluto = Daemon::start("", "--noklips");
    wait_for(&pluto.rundir().join("pluto.ctl"));
    let mut answer = Vec::new();
    let mut stream = UnixStream::connect(pluto.rundir().join("pluto.ctl")).unwrap();
    stream.write_all(&[0xff; 64]).unwrap();
    let _ = stream.read_to_end(&mut answer);
    assert!(String::from_utf8_lossy(&answer).contains("ignoring message from whack"));
    for length in [0, 1, 3, 4, 7] {
        let mut stream = UnixStream::connect(pluto.rundir().join("pluto.ctl")).unwrap();
        stream
            .write_all(&[0, 0, 0, 9, b'"', b'S', b't'][..length])
            .unwrap();
    }
    assert_eq!(pluto.whack(Request::Listen).1, 0);
    // From inside its namespace, since 127.0.0.1 outside is another.
    let pid = pluto.child.id().to_string();
    let rubbish = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                   for n in list(range(0, 40)) + [1400, 65000]:\n    s.sendto(bytes(n), ('127.0.0.1', 500))";
    let sent = Command::new("nsenter")
        .args([
            "--user",
            "--net",
            "--preserve-credentials",
            "--target",
            &pid,
        ])
        .args(["python3", "-c", rubbish])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(pluto.whack(Request::Status).1, 0);
    pluto.signal(Signal::SIGINT);
    assert_eq!(pluto.exit_status(), Some(0));
}

fn wait_for(path: &Path) {
    while !path.exists() {
        thread::sleep(Duration::from_millis(10));
    }
}
