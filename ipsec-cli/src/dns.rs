//! DNS as the commands ask it: pluto's own resolver, with the same trust anchor.

use crate::paths::Paths;
use ipsec_dns::resolver::{Config, Resolver};
use std::future::Future;

/// A resolver, and what runs it.
pub struct Dns {
    runtime: tokio::runtime::Runtime,
    resolver: Resolver,
}

impl Dns {
    /// Asks the servers of /etc/resolv.conf; `dnssec-rootkey-file=` of ipsec.conf counts here too.
    pub fn open(paths: &Paths) -> Result<Self, String> {
        let setup = ipsec_conf::Config::load(&paths.conf()).setup().value;
        let anchor = setup.and_then(|setup| setup.dnssec_rootkey_file);
        let config = Config {
            anchor: anchor.map(Into::into),
            ..Config::default()
        };
        let resolver = Resolver::new(config).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot ask DNS: {error}"))?;
        Ok(Self { runtime, resolver })
    }

    /// Runs a question to its end.
    pub fn ask<'a, F: Future>(&'a self, question: impl FnOnce(&'a Resolver) -> F) -> F::Output {
        self.runtime.block_on(question(&self.resolver))
    }
}
