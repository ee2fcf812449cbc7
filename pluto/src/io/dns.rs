//! Questions to DNS: the engine's go out, their answers come back as inputs. The resolver has a thread of its own, since
//! signatures take time to check.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, time::Duration};

use ipsec_dns::{
    LookupError, Query,
    resolver::{Config, Resolver},
};
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc,
    task::AbortHandle,
};

use super::driver::Input;
use crate::engine::{LookupId, room::take};

/// How often it is looked whether resolv.conf names others.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often answers that are out of date are thrown away, in such looks.
const TIDY: u32 = 6;

/// The resolver and the questions under way.
pub struct Dns {
    resolver: Result<Resolver, String>,
    /// There once something is asked.
    runtime: Option<Runtime>,
    running: HashMap<LookupId, AbortHandle>,
    inputs: mpsc::Sender<Input>,
}

impl Dns {
    /// Validates from this trust anchor, or the root's keys. Without a usable one every question fails, and says why.
    pub fn new(anchor: Option<PathBuf>, inputs: mpsc::Sender<Input>) -> Dns {
        let config = Config {
            anchor,
            ..Config::default()
        };
        Dns {
            resolver: Resolver::new(config).map_err(|error| error.to_string()),
            runtime: None,
            running: HashMap::new(),
            inputs,
        }
    }

    /// Why nothing can be asked.
    pub fn fault(&self) -> Option<&str> {
        self.resolver.as_ref().err().map(String::as_str)
    }

    /// Tells the driver the name servers, now and whenever they change.
    pub fn watch(&self) {
        let Ok(resolver) = self.resolver.clone() else {
            return;
        };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let mut known: Option<Vec<IpAddr>> = None;
            for look in 1u32.. {
                let servers = resolver.name_servers();
                if known.as_ref() != Some(&servers) {
                    known = Some(servers.clone());
                    if inputs.send(Input::NameServers(servers)).await.is_err() {
                        return;
                    }
                }
                if look.is_multiple_of(TIDY) {
                    resolver.tidy();
                    ipsec_daemon::memory::give_back();
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
    }

    /// Asks; the answer is an [`Input::LookupDone`].
    pub fn start(&mut self, id: LookupId, query: Query) {
        let (resolver, runtime) = match (self.resolver.clone(), self.runtime()) {
            (Ok(resolver), Ok(runtime)) => (resolver, runtime),
            (Err(why), _) | (_, Err(why)) => {
                let name = query.name();
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    let failed = Err(LookupError::NoServer { name, why });
                    let _ = inputs.send(Input::LookupDone(id, failed, false)).await;
                });
                return;
            }
        };
        let inputs = self.inputs.clone();
        let task = runtime.spawn(async move {
            let before = resolver.heard();
            let result = resolver.lookup(query).await;
            let late = matches!(result, Err(LookupError::Timeout { .. }));
            let heard = !late && resolver.heard() != before;
            let _ = inputs.send(Input::LookupDone(id, result, heard)).await;
        });
        self.running.insert(id, task.abort_handle());
    }

    /// Nobody waits for this answer.
    pub fn cancel(&mut self, id: LookupId) {
        if let Some(task) = take(&mut self.running, &id) {
            task.abort();
        }
    }

    /// The answer has come.
    pub fn finished(&mut self, id: LookupId) {
        take(&mut self.running, &id);
    }

    fn runtime(&mut self) -> Result<runtime::Handle, String> {
        if let Some(runtime) = &self.runtime {
            return Ok(runtime.handle().clone());
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("dns")
            .enable_all()
            .build()
            .map_err(|error| format!("no thread for DNS: {error}"))?;
        let handle = runtime.handle().clone();
        self.runtime = Some(runtime);
        Ok(handle)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        // Within the driver's own runtime another can't be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
