//! Secrets, public keys and our own identity, as whack and the secrets file bring them.

use ipsec_keys::{PublicKey, Secrets};
use whack::Rc;

use crate::engine::event::{Action, ClientId};
use crate::engine::ike::authority::{KnownKey, Origin};
use crate::engine::log::About;
use crate::engine::{Connection, Engine, Id, Time};

impl Engine {
    /// Replaces the public keys of an identity, or adds one.
    pub(super) fn whack_key(
        &mut self,
        now: Time,
        client: ClientId,
        id: &str,
        add: bool,
        key: Option<&str>,
    ) {
        let about = About::client(client);
        let id: Id = match id.parse() {
            Ok(id) => id,
            Err(error) => {
                self.loglog(
                    about,
                    Rc::BadId,
                    format!("bad --keyid \"{}\": {error}", id.escape_debug()),
                );
                return;
            }
        };
        let Some(text) = key else {
            self.load_key(now, &id, client, add);
            return;
        };
        match PublicKey::from_text(text) {
            Ok(key) => {
                let origin = Origin::Configured;
                self.keys_known(about, &id, add, vec![KnownKey { key, origin }]);
            }
            Err(error) => self.loglog(
                about,
                Rc::LogSerious,
                format!("bad public key of {id}: {error}"),
            ),
        }
    }

    /// Keys of an identity have become known: beside those that are, or in their place.
    pub(in crate::engine) fn keys_known(
        &mut self,
        about: About,
        id: &Id,
        add: bool,
        new: Vec<KnownKey>,
    ) {
        for known in &new {
            if let Some(warning) = known.key.warning() {
                let text = format!("RSA key {} of {id}: {warning}", known.key.key_id());
                self.loglog(about, Rc::Comment, text);
            }
        }
        let unsigned = new.iter().any(|known| !known.origin.trusted());
        let mut conns = self
            .conns
            .by_peer_id(id)
            .filter_map(|id| self.conns.get(id));
        let strict = conns.find(|conn| conn.policy.rsasig && conn.policy.dnssec);
        let strict = strict.map(Connection::tag);
        drop(conns);
        if let Some(tag) = strict.filter(|_| unsigned) {
            let text = format!(
                "the key of {id} came from DNS without a signature: {tag} will not take it, for it says dnssec=yes"
            );
            self.loglog(about, Rc::NoKey, text);
        }
        let keys = self.public_keys.entry(id.normal()).or_default();
        if !add {
            keys.clear();
        }
        for known in new {
            match keys.iter_mut().find(|other| other.key == known.key) {
                // What a person has configured does not depend on DNS.
                Some(other) if other.origin == Origin::Configured => {}
                Some(other) => *other = known,
                None => keys.push(known),
            }
        }
    }

    /// The public keys known for an identity.
    pub(crate) fn public_keys_of(&self, id: &Id) -> &[KnownKey] {
        self.public_keys
            .get(&id.normal())
            .map_or(&[], Vec::as_slice)
    }

    /// Sets what `%myid` stands for.
    pub(super) fn whack_my_id(&mut self, now: Time, client: ClientId, text: &str) {
        match text.parse::<Id>() {
            Ok(Id::MyId) => self.loglog(
                About::client(client),
                Rc::BadId,
                "bad --myid: %myid cannot stand for itself",
            ),
            Ok(id) => {
                self.my_id = id;
                self.my_id_said(now);
            }
            Err(error) => self.loglog(
                About::client(client),
                Rc::BadId,
                format!("bad --myid: {error}"),
            ),
        }
    }

    /// Starts reading the secrets file; the client waits.
    pub(super) fn whack_reread(&mut self, client: ClientId) {
        self.hold_client(client);
        self.waiting_for_secrets.push(client);
        self.act(Action::ReadSecrets);
    }

    /// The secrets file was read.
    pub(in crate::engine) fn secrets_read(&mut self, secrets: Secrets, problems: &[String]) {
        self.secrets = secrets;
        let waiting = core::mem::take(&mut self.waiting_for_secrets);
        for problem in problems {
            self.loglog(About::default(), Rc::LogSerious, problem);
            for client in &waiting {
                self.reply(*client, Rc::LogSerious, problem.clone());
            }
        }
        for client in waiting {
            self.release_client(client);
        }
    }

    /// Lists the public keys by identity.
    pub(super) fn list_public_keys(&mut self, client: ClientId) {
        let mut lines = Vec::new();
        for (id, keys) in &self.public_keys {
            for key in keys {
                lines.push(format!(
                    "{id}, {} RSA Key {}, until --- -- --:--:-- ---- ok (expires never){}",
                    key.key.bits(),
                    key.key.key_id(),
                    key.origin.note()
                ));
            }
        }
        lines.sort_unstable();
        let head = [" ", "List of Public Keys:", " "].map(str::to_owned);
        for line in head.into_iter().chain(lines) {
            self.reply(client, Rc::Comment, line);
        }
    }
}
