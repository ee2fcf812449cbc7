//! Processes in namespaces: a holder that keeps a set of them alive, and commands run inside.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Output, kernel};

/// How a holder's namespaces are made and entered.
pub(crate) struct Holder {
    name: String,
    child: Child,
    pid: u32,
    own_users: bool,
    own_pids: bool,
}

/// The first process of a holder: tells its pid as the outside sees it, does its set-up, says so, and then
/// lives until its standard input closes, reaping what daemons leave behind.
const INIT: &str = r#"
read -r pid rest < /proc/self/stat
echo "$pid"
eval "$1" || exit 1
echo ready
exec 3<&0
cat <&3 >/dev/null &
wait $!
"#;

impl Holder {
    /// A new set of namespaces below nothing (`inside` is None) or within another holder's.
    ///
    /// `flags` are those of unshare(1); `setup` is a shell script run first.
    pub(crate) fn new(name: &str, inside: Option<&Holder>, flags: &[&str], setup: &str) -> Holder {
        let own_pids = flags.contains(&"--pid");
        let own_users = match inside {
            Some(outer) => outer.own_users,
            None => {
                !nix::unistd::geteuid().is_root() || std::env::var_os("TESTBED_USERNS").is_some()
            }
        };
        let mut command = match inside {
            Some(outer) => outer.enter(),
            None => Command::new("setpriv"),
        };
        if inside.is_none() {
            command.args(["--pdeathsig", "KILL", "--"]);
        }
        command
            .arg("unshare")
            .args(["--propagation", "private", "--fork", "--kill-child"]);
        if inside.is_none() && own_users {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(flags).args(["sh", "-c", INIT, "init", setup]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("unshare(1) of util-linux can be run");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = || {
            let mut line = String::new();
            out.read_line(&mut line).ok();
            line.trim().to_owned()
        };
        let pid = line();
        let ready = line();
        assert!(
            ready == "ready",
            "host {name} could not be made (are namespaces allowed here?): {pid} {ready}"
        );
        let pid = pid.parse().expect("the holder tells its pid first");
        Holder {
            name: name.to_owned(),
            child,
            pid,
            own_users,
            own_pids,
        }
    }

    /// The start of a command line that runs what follows inside.
    fn enter(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--",
            "nsenter",
            "-t",
            &self.pid.to_string(),
        ]);
        if self.own_users {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--net", "--mount", "--uts"]);
        if self.own_pids {
            command.arg("--pid");
        }
        command.arg("--");
        command
    }

    /// What a person types to get a shell inside.
    pub(crate) fn how_to_enter(&self) -> String {
        let users = if self.own_users {
            "--user --preserve-credentials "
        } else {
            ""
        };
        let pids = if self.own_pids { "--pid " } else { "" };
        format!(
            "nsenter -t {} {users}--net --mount --uts {pids}--",
            self.pid
        )
    }

    /// A command inside, not yet started, with `env` added.
    pub(crate) fn command(&self, env: &[(String, String)], script: &str) -> Command {
        let mut command = self.enter();
        command.arg("env");
        for (name, value) in env {
            command.arg(format!("{name}={value}"));
        }
        command.args(["sh", "-c", script]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a script to its end, or kills it after `limit`.
    pub(crate) fn run(
        &self,
        env: &[(String, String)],
        script: &str,
        input: &[u8],
        limit: Duration,
    ) -> Output {
        let limited = format!(
            "exec timeout -k 2 {} sh -c {}",
            kernel::patience(limit).as_secs().max(1),
            quote(script)
        );
        let mut command = self.command(env, &limited);
        command.stdin(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("nsenter(1) of util-linux can be run");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input).ok();
        drop(stdin);
        let done = child.wait_with_output().expect("a child can be waited for");
        Output {
            command: format!("{}# {script}", self.name),
            status: done.status.code().unwrap_or(255),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One shell word.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
