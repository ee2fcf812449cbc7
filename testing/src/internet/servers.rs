//! The name servers on `nic`: named for all zones, unbound as everyone's resolver, and the liar.

use super::zones::{ZONES, Zone, ds_file, file, key_file};
use super::{Internet, LIAR, RESOLVER};
use crate::Background;
use std::time::Duration;

const DIR: &str = "/run/dns";

/// A day back, in case two kernels' clocks differ, and ten days on.
const VALIDITY: &str = "-s now-86400 -e now+864000";

impl Internet<'_> {
    /// Keys, zones, and the two servers.
    pub(super) fn start_servers(&self) {
        let mut keys = format!("mkdir -p {DIR} && cd {DIR} || exit 1\n");
        for zone in ZONES.iter().filter(|zone| zone.signed) {
            // One key signs all of a zone. `.` names no file, so each key gets a name of its own.
            keys += &format!(
                "{{ k=$(dnssec-keygen -q -K . -a ECDSAP256SHA256 -f KSK {name}) && mv $k.private {f}.private && mv $k.key {key} \
                 && ln -s {f}.private $k.private && ln -s {key} $k.key && echo $k >{f}.name && dnssec-dsfromkey -2 $k >{ds} || echo {name} >>failed; }} &\n",
                name = zone.name,
                f = file(zone.name),
                key = key_file(zone.name),
                ds = ds_file(zone.name),
            );
        }
        keys += "wait; test ! -e failed";
        self.nic.run(&keys).ok();
        self.configure_named();
        self.nic
            .write(&format!("{DIR}/unbound.conf"), &unbound_conf());
        self.nic.write(
            &format!("{DIR}/root.hints"),
            ". 3600000 IN NS ns.example.\nns.example. 3600000 IN A 192.1.2.53\n",
        );
        self.sign();
        self.start_named();
        self.start_resolver();
    }

    fn configure_named(&self) {
        let conf = named_conf(self.zones.borrow().ours());
        self.nic.write(&format!("{DIR}/named.conf"), &conf);
    }

    /// The root's key, as hosts get it.
    pub(super) fn anchor(&self) -> String {
        self.nic.read(&format!("{DIR}/{}", key_file(".")))
    }

    /// Starts named, or starts it again.
    pub fn start_named(&self) {
        self.nic
            .run(&format!("named -c {DIR}/named.conf -L {DIR}/named.log"))
            .ok();
        self.nic.wait_for(
            "dig +time=1 +tries=1 +short @192.1.2.53 . SOA | grep -q .",
            Duration::from_secs(30),
        );
    }

    /// Nobody answers for the zones.
    pub fn stop_named(&self) {
        self.stop("named");
    }

    /// Starts unbound, or starts it again.
    pub fn start_resolver(&self) {
        self.nic.run(&format!("unbound -c {DIR}/unbound.conf")).ok();
        self.nic.wait_for(
            &format!("dig +time=1 +tries=1 @{RESOLVER} . SOA | grep -q 'flags:.* ad'"),
            Duration::from_secs(30),
        );
    }

    /// Nobody answers the hosts.
    pub fn stop_resolver(&self) {
        self.stop("unbound");
    }

    /// The resolver hears and says nothing, or goes on.
    pub fn silence_resolver(&self, silent: bool) {
        let signal = if silent { "STOP" } else { "CONT" };
        let kill = format!("kill -{signal} $(cat {DIR}/unbound.pid)");
        self.nic.run(&kill).ok();
    }

    fn stop(&self, program: &str) {
        let pid = format!("{DIR}/{program}.pid");
        self.nic
            .run(&format!(
                "p=$(cat {pid}) && kill $p && while kill -0 $p 2>/dev/null; do sleep 0.05; done"
            ))
            .ok();
    }

    /// Signs what has changed, and serves it; no cache of the servers knows the old.
    pub fn commit(&self) {
        let serial = self.sign();
        self.configure_named();
        self.nic
            .run(&format!("kill -HUP $(cat {DIR}/named.pid)"))
            .ok();
        for (name, serial) in serial {
            self.nic.wait_for(
                &format!(
                    "dig +time=1 +tries=1 +short @192.1.2.53 {name} SOA | grep -q ' {serial} '"
                ),
                Duration::from_secs(30),
            );
        }
        self.nic
            .run(&format!(
                "unbound-control -c {DIR}/unbound.conf flush_zone . && unbound-control -c {DIR}/unbound.conf flush_infra all"
            ))
            .ok();
    }

    fn sign(&self) -> Vec<(&'static str, u32)> {
        let (serial, changed) = self.zones.borrow_mut().changed();
        let mut script = format!("cd {DIR} || exit 1; rm -f failed\n");
        for (zone, text) in &changed {
            self.nic
                .write(&format!("{DIR}/{}.zone", file(zone.name)), text);
            script += &sign_one(zone);
        }
        script += "wait; if test -e failed; then cat failed signing.*; exit 1; fi";
        self.nic.run(&script).ok();
        for (zone, _) in &changed {
            let path = format!("{DIR}/{}.signed", file(zone.name));
            if let Some(spoilt) = self.zones.borrow().spoil(zone.name, &self.nic.read(&path)) {
                self.nic.write(&path, &spoilt);
            }
        }
        changed
            .iter()
            .map(|(zone, _)| (zone.name, serial))
            .collect()
    }

    /// Starts the liar, which passes on what it does not lie about; `options` are its own.
    pub fn start_liar(&self, options: &str) -> Background {
        let liar = program("dns-liar");
        let running = self
            .nic
            .spawn(&format!("exec {liar} {LIAR}:53 {RESOLVER}:53 {options}"));
        self.nic.wait_for(
            &format!("dig +time=1 +tries=1 @{LIAR} . SOA | grep -q NOERROR"),
            Duration::from_secs(10),
        );
        running
    }
}

/// The program that asks pluto's resolver, for tests: `src/bin/dns-lookup.rs`.
pub fn lookup_program() -> String {
    program("dns-lookup")
}

/// A program of this crate, beside the staged ones.
pub(crate) fn program(name: &str) -> String {
    let me = std::env::current_exe().expect("a running program has a name");
    let dir = me.parent().expect("a program is in a directory");
    let dir = if dir.ends_with("deps") {
        dir.parent().expect("deps is in the profile's directory")
    } else {
        dir
    };
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace --bins` first",
        path.display()
    );
    path.display().to_string()
}

fn sign_one(zone: &Zone) -> String {
    let f = file(zone.name);
    if !zone.signed {
        return format!("cp {f}.zone {f}.signed || echo {f} >>failed &\n");
    }
    let hashed = if zone.hashed { "-3 - -H 0" } else { "" };
    format!(
        "dnssec-signzone -q -P -z {VALIDITY} -O full {hashed} -o {} -f {f}.new {f}.zone $(cat {f}.name) >signing.{f} 2>&1 \
         && mv {f}.new {f}.signed || echo {f} >>failed &\n",
        zone.name
    )
}

fn named_conf(zones: impl Iterator<Item = &'static Zone>) -> String {
    let mut conf = format!(
        "options {{ directory \"{DIR}\"; pid-file \"{DIR}/named.pid\"; session-keyfile \"{DIR}/session.key\"; lock-file none;\n\
         \tlisten-on {{ 192.1.2.53; }}; listen-on-v6 {{ none; }}; recursion no; empty-zones-enable no; dnssec-validation no;\n\
         \tnotify no; check-names primary ignore; allow-transfer {{ none; }}; minimal-responses yes; }};\ncontrols {{ }};\n"
    );
    for zone in zones {
        conf += &format!(
            "zone \"{}\" {{ type primary; file \"{}.signed\"; }};\n",
            zone.name,
            file(zone.name)
        );
    }
    conf
}

fn unbound_conf() -> String {
    // unbound serves the reverse maps of the documentation's networks itself unless told not to.
    let nodefault: String = [
        "2.0.192.in-addr.arpa.",
        "100.51.198.in-addr.arpa.",
        "113.0.203.in-addr.arpa.",
        "8.b.d.0.1.0.0.2.ip6.arpa.",
    ]
    .iter()
    .map(|zone| format!("\tlocal-zone: \"{zone}\" nodefault\n"))
    .collect();
    format!(
        "server:\n\tinterface: {RESOLVER}\n\taccess-control: 0.0.0.0/0 allow\n\tdo-ip6: no\n\tusername: \"\"\n\tchroot: \"\"\n\tdirectory: {DIR}\n\
         \tpidfile: {DIR}/unbound.pid\n\tuse-syslog: no\n\tlogfile: {DIR}/unbound.log\n\troot-hints: {DIR}/root.hints\n\
         \ttrust-anchor-file: {DIR}/{}\n\tnum-threads: 1\n\tmsg-cache-size: 8m\n\trrset-cache-size: 8m\n\tcache-max-negative-ttl: 5\n\
         \ttarget-fetch-policy: \"0 0 0 0 0\"\n\tinfra-keep-probing: yes\n\tedns-buffer-size: 1232\n\toutgoing-range: 512\n\tnum-queries-per-thread: 1024\n{nodefault}\
         remote-control:\n\tcontrol-enable: yes\n\tcontrol-interface: {DIR}/unbound.ctl\n\tcontrol-use-cert: no\n",
        key_file(".")
    )
}
