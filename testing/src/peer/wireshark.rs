//! What Wireshark makes of a capture with the keys that a pluto of ours has logged.

use crate::{Captured, Host};

/// The keys, as options for tshark.
pub struct WiresharkKeys(Vec<String>);

impl WiresharkKeys {
    /// What `keylogfile=FILE` has left on a host.
    pub fn of(host: &Host, file: &str) -> WiresharkKeys {
        let mut options = vec!["esp.enable_encryption_decode:TRUE".to_owned()];
        for (table, file) in [
            ("ikev1_decryption_table", file.to_owned()),
            ("esp_sa", format!("{file}.esp_sa")),
        ] {
            let lines = host.read(&file);
            options.extend(lines.lines().map(|line| format!("uat:{table}:{line}")));
        }
        WiresharkKeys(options)
    }

    /// tshark's chosen fields of what `filter` takes, a row a packet.
    pub fn read(&self, captured: &Captured, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let keys = self.0.iter().flat_map(|option| ["-o", option]);
        let options: Vec<&str> = keys.chain(["-Y", filter]).collect();
        captured.tshark(&options, fields)
    }

    /// Asserts that of each exchange (by its number) a message from `source` shows all these payloads, and that no encrypted message
    /// shows none.
    #[track_caller]
    pub fn shows(&self, captured: &Captured, source: &str, exchanges: &[(&str, &[&str])]) {
        let fields = ["frame.number", "isakmp.exchangetype", "isakmp.typepayload"];
        let filter = format!("isakmp && ip.src == {source}");
        let rows = self.read(captured, &filter, &fields);
        for (exchange, payloads) in exchanges {
            let shown = rows.iter().any(|row| {
                let types: Vec<&str> = row[2].split(',').collect();
                row[1] == *exchange && payloads.iter().all(|payload| types.contains(payload))
            });
            assert!(shown, "exchange {exchange} of {source}: {rows:?}");
        }
        let filter = format!("{filter} && isakmp.flag_e == 1 && !isakmp.typepayload");
        let closed = self.read(captured, &filter, &fields);
        assert_eq!(closed, Vec::<Vec<String>>::new(), "not decrypted");
    }
}
