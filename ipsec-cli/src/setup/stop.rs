//! `ipsec setup stop`: pluto, then the devices and KLIPS, then what is left lying about. Clean to run at any time.
//! What a restart keeps closed meanwhile is in `last_resort`.

use super::daemon::Daemon;
use super::{Context, conns, interfaces};
use crate::auto::send;
use pfkey::client::{Client, KERNEL_VERSION, in_kernel};
use whack::Request;

/// Runs it.
pub fn run(context: &Context) -> u8 {
    context.messages.say("Stopping FreeS/WAN IPsec...");
    let info = std::fs::read_to_string(context.paths.info());
    let lives = [Daemon::Klipsd, Daemon::Pluto]
        .iter()
        .any(|d| d.alive(context.paths).is_some());
    if info.is_err() && !lives {
        context
            .messages
            .say("stop ordered, but IPsec does not appear to be running!");
        context.messages.say("doing cleanup anyway...");
    }
    if info.is_ok() {
        conns::stop_manual(context);
    }
    interfaces::forward_back(context, &info.unwrap_or_default());
    if !undo(context) {
        return 1;
    }
    context.messages.log("...FreeS/WAN IPsec stopped");
    0
}

/// Ends everything; gives whether nothing is left.
pub fn undo(context: &Context) -> bool {
    // Pluto tells its peers, deletes its eroutes and goes.
    let shutdown = || {
        let log = |code: u16, text: &str| context.messages.log(&format!("{code:03} {text}"));
        send(&Request::Shutdown, log).is_ok()
    };
    let say = |text: &str| context.messages.say(text);
    let mut clean = report(context, Daemon::Pluto.stop(context.paths, shutdown, say));
    if kernel_present() {
        clean &= report(context, flush());
        clean &= report(context, interfaces::detach_all());
    }
    clean &= report(
        context,
        Daemon::Klipsd.stop(context.paths, || false, |_| {}),
    );
    let _ = std::fs::remove_file(context.paths.info());
    clean
}

/// Whether there is a module to clean: `IPSEC_KLIPS=module` alone does not put it there.
fn kernel_present() -> bool {
    in_kernel() && std::path::Path::new(KERNEL_VERSION).exists()
}

fn flush() -> Result<(), String> {
    let mut client = Client::connect().map_err(|e| e.to_string())?;
    client
        .call(pfkey::request::clear_flows)
        .map_err(|e| e.to_string())?;
    client
        .call(|buf, ids| pfkey::request::flush(buf, ids, pfkey::SaType::Unspec))
        .map_err(|e| e.to_string())?;
    Ok(())
}

fn report(context: &Context, result: Result<(), String>) -> bool {
    if let Err(message) = &result {
        context.messages.say(message);
    }
    result.is_ok()
}
