//! Secrets, public keys and our own identity, as whack and the secrets file bring them.

use ipsec_keys::{PublicKey, Secrets};
use whack::Rc;

use crate::engine::event::{Action, ClientId};
use crate::engine::log::About;
use crate::engine::{Engine, Id, Time};

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
                let keys = self.public_keys.entry(id.normal()).or_default();
                if !add {
                    keys.clear();
                }
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            Err(error) => self.loglog(
                about,
                Rc::LogSerious,
                format!("bad public key of {id}: {error}"),
            ),
        }
    }

    /// The public keys known for an identity.
    pub(crate) fn public_keys_of(&self, id: &Id) -> &[PublicKey] {
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
                    "{id}, {} RSA Key {}, until --- -- --:--:-- ---- ok (expires never)",
                    key.bits(),
                    key.key_id()
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
