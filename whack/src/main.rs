//! The raw client of pluto: options in, reply lines out. What options mean is in `command`.

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use whack::{Client, ClientError, ExitStatus, Rc, Reply, Request};

mod command;
mod description;
mod options;

use command::{Command, Problem};

const HELP: &str = include_str!("help.txt");

fn main() -> ExitCode {
    match run() {
        Ok(status) => status.into(),
        Err(message) => {
            eprintln!("{message}");
            (Rc::WhackProblem.code() as u8).into()
        }
    }
}

fn run() -> Result<u8, String> {
    let args = env::args_os()
        .skip(1)
        .map(|arg| {
            arg.into_string()
                .map_err(|arg| format!("whack error: {arg:?} is not UTF-8"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let given = options::split(args).map_err(|e| format!("whack error: {e}"))?;
    match command::understand(&given).map_err(diagnostic)? {
        Command::Help => print!("{HELP}"),
        Command::Version => println!("Linux FreeS/WAN {}", env!("CARGO_PKG_VERSION")),
        Command::Send { socket, requests } => return send(&socket, &requests),
    }
    Ok(0)
}

fn diagnostic(problem: Problem) -> String {
    let mut text = "whack error: ".to_string();
    if let Some(label) = problem.label {
        text += &format!("{label} ");
    }
    if let Some(name) = problem.name {
        text += &format!("\"{name}\" ");
    }
    text + &problem.text
}

fn send(socket: &Path, requests: &[Request]) -> Result<u8, String> {
    let adding = requests.iter().any(|r| matches!(r, Request::Connection(_)));
    let mut status = ExitStatus::default();
    for request in requests {
        // Deleting and adding in one command replaces: nothing to delete is then no fault.
        let replacing = adding && matches!(request, Request::Delete { .. });
        let show = |reply: &Reply| {
            if let &Reply::Line { code, .. } = reply
                && !(replacing && code == Rc::UnknownName.code())
            {
                status.note(code);
                print_line(reply);
            }
        };
        let answered = Client::connect_to(socket).and_then(|c| c.send(request)?.finish(show));
        match answered {
            // Pluto may go down faster than it says so.
            Err(ClientError::Cut) if *request == Request::Shutdown => {}
            other => other.map(|_| ()).map_err(|e| format!("whack: {e}"))?,
        }
    }
    Ok(status.get())
}

/// Lines go out as they come. A reader that has gone is no reason to stop half way.
fn print_line(reply: &Reply) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{reply}").and_then(|()| out.flush());
}
