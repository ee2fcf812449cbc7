//! `ipsec setup`: starts and stops the whole of IPsec on this host, and says whether it runs.

mod conns;
mod daemon;
mod interfaces;
mod last_resort;
mod notify;
mod options;
mod start;
mod status;
mod stop;
mod watch;

use crate::paths::{Paths, VERSION};
use crate::syslog::Messages;
use crate::{diagnose, print};
use ipsec_conf::{Config, Setup};
use nix::fcntl::{Flock, FlockArg};
use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use conns::{implicit_wanted, used_groups};
pub use interfaces::WAITS;

const ME: &str = "ipsec setup";

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    if args.first().is_some_and(|arg| arg == watch::COMMAND) {
        return watch::run(args.get(1).map(PathBuf::from));
    }
    match options::parse(args) {
        Ok(options::Parsed::Help) => print(options::USAGE),
        Ok(options::Parsed::Version) => print(&format!("{ME} {VERSION}\n")),
        Ok(options::Parsed::Run(options)) => return perform(&options),
        Err(message) => {
            eprint!("{message}");
            return 2;
        }
    }
    0
}

fn perform(options: &options::Options) -> u8 {
    use options::Action::{Restart, Start, Status, Stop};
    if options.action == Status {
        return status::run(Paths::get());
    }
    let context = Context::new(options.config.as_deref());
    if !nix::unistd::geteuid().is_root() {
        context
            .messages
            .say("permission denied (must be superuser)");
        return 1;
    }
    let _alone = match context.lock() {
        Ok(lock) => lock,
        Err(message) => {
            context.messages.say(&message);
            return 1;
        }
    };
    match options.action {
        Stop => stop(&context),
        Start => context.with_setup("start", |context, setup| {
            watched(context, setup, options, "Starting")
        }),
        Restart => context.with_setup("restart", |context, setup| restart(context, setup, options)),
        Status => 0,
    }
}

fn stop(context: &Context) -> u8 {
    let status = stop::run(context);
    if status == 0 {
        last_resort::forget(context);
    }
    status
}

/// Stops and starts, with nothing in the clear between; where that fails, what was routed stays closed.
fn restart(context: &Context, setup: &Setup, options: &options::Options) -> u8 {
    last_resort::close(context);
    let mut status = stop::run(context);
    if status == 0 {
        status = watched(context, setup, options, "Restarting");
    }
    if status == 0 && !context.waits.get() {
        last_resort::open(context);
    } else if matches!(status, 0 | start::NOT_ALL) {
        last_resort::open_what_is_routed(context);
    } else {
        context.messages.say(
            "what was routed to ipsecN stays closed: `ipsec setup stop' lets it pass in the clear",
        );
    }
    status
}

/// Starts, and has pluto and the network watched.
fn watched(context: &Context, setup: &Setup, options: &options::Options, verb: &str) -> u8 {
    let status = start::run(context, setup, verb);
    if matches!(status, 0 | start::NOT_ALL) && (notify::wanted() || setup.pluto) {
        watch::spawn(context, options.config.as_deref());
    }
    status
}

/// What starting and stopping need.
pub struct Context {
    config: Config,
    messages: Messages,
    paths: &'static Paths,
    /// Something that was asked for waits for a device, an address or a name.
    waits: Cell<bool>,
}

impl Context {
    fn new(config: Option<&Path>) -> Self {
        let paths = Paths::get();
        Self {
            config: Config::load(config.unwrap_or(&paths.conf())),
            messages: Messages::new("daemon.error"),
            paths,
            waits: Cell::new(false),
        }
    }

    /// One start or stop at a time. The lock ends with this process, whatever becomes of it.
    fn lock(&self) -> Result<Flock<File>, String> {
        let dir = &self.paths.rundir;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| {
                format!(
                    "cannot make {}: {e}; set IPSEC_RUNDIR to a directory that can be made",
                    dir.display()
                )
            })?;
        let path = self.paths.run("setup.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|e| format!("cannot open {}: {e}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| format!("cannot lock {}: {e}", path.display()))
    }

    /// Does something with what `config setup` says, if that can be understood.
    fn with_setup(mut self, action: &str, then: impl FnOnce(&Context, &Setup) -> u8) -> u8
    where
        Self: Sized,
    {
        let warnings: Vec<_> = self
            .config
            .problems()
            .iter()
            .filter(|p| !p.is_error())
            .cloned()
            .collect();
        diagnose::show(&self.config, &warnings);
        let outcome = self.config.setup();
        let Some(setup) = diagnose::usable(&self.config, outcome) else {
            self.messages.say(&format!(
                "errors in the configuration -- `{action}' aborted"
            ));
            return 1;
        };
        self.messages = Messages::new(&setup.syslog);
        then(&self, &setup)
    }
}

/// `ipsec showdefaults`: what setup found about the default route.
pub fn showdefaults(args: Vec<String>) -> u8 {
    match args.first().map(String::as_str) {
        None => {}
        Some("--help") => {
            print("Usage: ipsec showdefaults\n");
            return 0;
        }
        Some(other) => {
            eprintln!("ipsec showdefaults: unknown option `{other}'");
            return 2;
        }
    }
    let path = Paths::get().info();
    match std::fs::read_to_string(&path) {
        Ok(text) if text.contains("defaultrouteaddr=") => {
            print(&text);
            0
        }
        Ok(_) => {
            eprintln!(
                "ipsec showdefaults: no default route is known (yet): is %defaultroute in interfaces=?"
            );
            1
        }
        Err(_) => {
            eprintln!(
                "ipsec showdefaults: cannot find {} -- has IPsec been started?",
                path.display()
            );
            1
        }
    }
}
