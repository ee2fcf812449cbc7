//! How much CPU time the test kernel has used, which it can't know itself: to the machine it is a process, and only the machine knows
//! when others ran in its place. Inside, [`cpu_time`] asks; outside, [`run`] answers.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// Names the directory of the answers, inside as outside.
const ANSWERS: &str = "BENCH_ANSWERS";
/// How a question begins, on standard output; its number follows.
const QUESTION: &str = "cpu time?";
/// Where the directory is mounted inside.
const MOUNTED: &str = "/run/answers";
/// The whole measurement, in seconds, at most.
const LIMIT: &str = "3000";

/// Whether this is the test kernel.
pub fn inside() -> bool {
    std::env::var_os(ANSWERS).is_some()
}

/// Runs this program again in a test kernel with klips.ko, passes on what it prints, and answers its questions.
pub fn run() -> ExitCode {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let built = Command::new(scripts.join("module"))
        .arg("uml")
        .stderr(Stdio::inherit())
        .output();
    let built = built.expect("testing/kernels/module can be run");
    if !built.status.success() {
        return ExitCode::FAILURE;
    }
    let answers = tempfile::tempdir().expect("a scratch directory");
    let mut child = Command::new(scripts.join("run"))
        .args([
            "-m",
            String::from_utf8_lossy(&built.stdout).trim(),
            "-M",
            "1G",
            "-t",
            LIMIT,
        ])
        .arg(std::env::current_exe().expect("a running program has a name"))
        .args(std::env::args().skip(1))
        .env(ANSWERS, answers.path())
        // The hosts need none of the programs.
        .env("TESTBED_STAGE", "/usr")
        .stdout(Stdio::piped())
        .spawn()
        .expect("testing/kernels/run can be run");
    let said = BufReader::new(child.stdout.take().expect("stdout is piped"));
    for line in said.lines().map_while(Result::ok) {
        match line.trim_end().strip_prefix(QUESTION) {
            Some(number) => answer(&child, answers.path(), number),
            None => println!("{line}"),
        }
    }
    match child.wait() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn answer(child: &Child, to: &Path, number: &str) {
    let used = kernel(child.id()).and_then(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        Some(stat.split_whitespace().next()?.to_owned())
    });
    // It appears whole, because it is asked for until it is there.
    let new = to.join("new");
    fs::write(&new, used.unwrap_or_default())
        .and_then(|()| fs::rename(&new, to.join(number)))
        .expect("the scratch directory is ours");
}

/// The kernel's process, among the descendants of `pid`; its own children are what runs in it.
fn kernel(pid: u32) -> Option<u32> {
    if fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim() == "linux" {
        return Some(pid);
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .find_map(kernel)
}

/// The clock, inside.
pub struct Clock {
    asked: u32,
    answers: PathBuf,
}

impl Clock {
    /// Finds the way out.
    pub fn new() -> Self {
        let answers = std::env::var(ANSWERS).expect("asked for inside only");
        fs::create_dir(MOUNTED).expect("/run is the kernel's own");
        let done = Command::new("mount")
            .args(["-t", "hostfs", "answers", MOUNTED, "-o", &answers])
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "{answers} can't be reached"
        );
        Self {
            asked: 0,
            answers: MOUNTED.into(),
        }
    }

    /// What the kernel has used until now.
    pub fn cpu_time(&mut self) -> Duration {
        self.asked += 1;
        println!("{QUESTION}{}", self.asked);
        let file = self.answers.join(self.asked.to_string());
        loop {
            if let Ok(text) = fs::read_to_string(&file) {
                return Duration::from_nanos(text.parse().expect("the kernel's process was found"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What `f` used.
    pub fn time<R>(&mut self, f: impl FnOnce() -> R) -> (R, Duration) {
        let before = self.cpu_time();
        let done = f();
        (done, self.cpu_time() - before)
    }
}
