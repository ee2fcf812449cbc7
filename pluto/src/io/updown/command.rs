//! Running one updown command: a shell, the `PLUTO_*` variables, the output by line, a time limit.

use std::{os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use crate::engine::UpdownStatus;

/// A command that takes longer is killed, with all that it started in its process group.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it left in the background may keep the pipe open; its output is not waited for.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(500);
const MAX_LINES: usize = 200;
const MAX_LINE: usize = 250;
const MAX_OUTPUT: usize = MAX_LINES * MAX_LINE;

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output and standard error, by line; long lines folded, too many cut.
    pub output: Vec<String>,
    /// How it ended.
    pub status: UpdownStatus,
}

/// Runs a command to its end.
pub async fn run(command: &str, env: Vec<(String, String)>) -> Outcome {
    run_within(command, env, PATIENCE).await
}

async fn run_within(command: &str, env: Vec<(String, String)>, patience: Duration) -> Outcome {
    let failed = |e: std::io::Error| Outcome {
        output: Vec::new(),
        status: UpdownStatus::NotStarted(e.to_string()),
    };
    let (reader, writer) = match std::io::pipe().and_then(|(r, w)| Ok((r, w.try_clone()?, w))) {
        Ok((reader, one, two)) => (reader, (one, two)),
        Err(e) => return failed(e),
    };
    let reader = match tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()) {
        Ok(reader) => reader,
        Err(e) => return failed(e),
    };
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .envs(env)
        .stdin(Stdio::null())
        .stdout(writer.0)
        .stderr(writer.1)
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    match child {
        Ok(child) => finish(child, reader, patience).await,
        Err(e) => failed(e),
    }
}

async fn finish(mut child: Child, mut pipe: impl AsyncRead + Unpin, patience: Duration) -> Outcome {
    let group = child.id();
    let mut bytes = Vec::new();
    let mut late = false;
    let ended = {
        let mut reading = std::pin::pin!(read_bounded(&mut pipe, &mut bytes));
        let mut read_all = false;
        let mut waiting = std::pin::pin!(timeout(patience, child.wait()));
        let ended = loop {
            tokio::select! {
                ended = &mut waiting => break ended,
                () = &mut reading, if !read_all => read_all = true,
            }
        };
        if !read_all && ended.is_ok() {
            let _ = timeout(OUTPUT_PATIENCE, reading).await;
        }
        ended
    };
    let status = match ended {
        Ok(status) => status,
        Err(_) => {
            late = true;
            if let Some(pid) = group.and_then(|pid| i32::try_from(pid).ok()) {
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
            child.wait().await
        }
    };
    let mut output = lines(&bytes);
    if late {
        output.push(format!("killed after {} seconds", patience.as_secs()));
    }
    let status = match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => UpdownStatus::Exited(code),
            (None, signal) => UpdownStatus::Signalled(signal.unwrap_or(0)),
        },
        Err(e) => UpdownStatus::NotStarted(e.to_string()),
    };
    Outcome { output, status }
}

/// Reads to the end and keeps the beginning, so that a chatty command never blocks on a full pipe.
async fn read_bounded(pipe: &mut (impl AsyncRead + Unpin), kept: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = pipe.read(&mut buffer).await {
        let room = (MAX_OUTPUT + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..len.min(room)]);
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let cut = bytes.len() > MAX_OUTPUT;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_OUTPUT)]).into_owned();
    let mut lines: Vec<String> = text
        .lines()
        .flat_map(|line| {
            let chars: Vec<char> = line.chars().collect();
            let folded: Vec<String> = chars
                .chunks(MAX_LINE)
                .map(|part| part.iter().collect())
                .collect();
            if folded.is_empty() {
                vec![String::new()]
            } else {
                folded
            }
        })
        .collect();
    if cut || lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("... (more output left out)".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(command: &str) -> (Vec<String>, UpdownStatus) {
        let env = vec![("PLUTO_VERB".to_string(), "up-client".to_string())];
        let outcome = run_within(command, env, Duration::from_secs(30)).await;
        (outcome.output, outcome.status)
    }

    #[tokio::test]
    async fn output_environment_and_status_come_back() {
        let (output, status) = outcome("echo \"$PLUTO_VERB\"; echo oops >&2; exit 3").await;
        assert_eq!(output, ["up-client", "oops"]);
        assert_eq!(status, UpdownStatus::Exited(3));
        assert_eq!(outcome("kill -9 $$").await.1, UpdownStatus::Signalled(9));
        assert_eq!(
            outcome("no-such-command-here").await.1,
            UpdownStatus::Exited(127)
        );
    }

    #[tokio::test]
    async fn a_command_in_the_background_is_not_waited_for() {
        let (output, status) = outcome("sleep 1000 & echo $!").await;
        assert_eq!(status, UpdownStatus::Exited(0));
        let pid: i32 = output[0].parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let hang = "sh -c 'echo $$; exec sleep 1000' & wait";
        let outcome = run_within(hang, Vec::new(), Duration::from_secs(1)).await;
        assert_eq!(outcome.status, UpdownStatus::Signalled(9));
        assert_eq!(outcome.output[1], "killed after 1 seconds");
        let child = Pid::from_raw(outcome.output[0].parse().unwrap());
        // It is dead, or about to be reaped by init.
        while std::fs::read_to_string(format!("/proc/{child}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z"))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn chatter_is_bounded() {
        let (output, status) = outcome("yes line | head -n 1000000; echo done").await;
        assert_eq!(status, UpdownStatus::Exited(0));
        assert_eq!(output.len(), MAX_LINES + 1);
        let (output, _) = outcome("head -c 600 /dev/zero | tr '\\0' x").await;
        assert_eq!(
            output.iter().map(String::len).collect::<Vec<_>>(),
            [250, 250, 100]
        );
    }
}
