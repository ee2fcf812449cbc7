//! What passed on a segment, as dumpcap recorded it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Testbed, kernel};

/// A running capture.
pub struct Capture {
    dumpcap: Child,
    file: PathBuf,
}

/// A finished capture.
pub struct Captured {
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(testbed: &Testbed, interface: &str, filter: &str) -> Capture {
        let started = Instant::now();
        let file = testbed.scratch(&format!("{interface}-{}.pcap", unique()));
        let script = format!(
            "exec dumpcap -q -P -B 16 -i {interface} -w {} -f {} 2>/dev/null",
            file.display(),
            crate::shell::quote(filter)
        );
        let dumpcap = testbed
            .world
            .command(&[], &script)
            .spawn()
            .expect("nsenter(1) can be run");
        // Not tcpdump: it gives up its groups, which a user namespace forbids. The file's header is written once the capture is on.
        while std::fs::metadata(&file).map_or(0, |m| m.len()) < 24 {
            assert!(
                started.elapsed() < kernel::patience(Duration::from_secs(20)),
                "dumpcap does not start on {interface}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Capture { dumpcap, file }
    }

    /// Ends the capture, after a moment for what is still on its way.
    pub fn stop(mut self) -> Captured {
        // dumpcap takes packets over in blocks, up to 250 ms after they passed, and drops what it has not taken.
        std::thread::sleep(Duration::from_millis(1000));
        self.end();
        Captured {
            file: std::mem::take(&mut self.file),
        }
    }

    fn end(&mut self) {
        kill(
            Pid::from_raw(self.dumpcap.id().cast_signed()),
            Signal::SIGTERM,
        )
        .ok();
        self.dumpcap.wait().ok();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.file.as_os_str().is_empty() {
            self.end();
        }
    }
}

impl Captured {
    /// The pcap file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The same without datagrams that were there before, be it with other headers of Ethernet, IPv4 and UDP: Wireshark takes a message
    /// that was sent again for a new one, and loses the chain of initialization vectors.
    pub fn without_repetitions(&self) -> Captured {
        let file = self.file.with_extension("once.pcap");
        let done = Command::new("editcap")
            .args(["-D", "100000", "-I", "42", "-F", "pcap"])
            .args([&self.file, &file])
            .output()
            .expect("editcap can be run");
        assert!(
            done.status.success(),
            "editcap: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Captured { file }
    }

    /// tcpdump's one line a packet, for those that `filter` takes.
    pub fn packets(&self, filter: &str) -> Vec<String> {
        let done = Command::new("tcpdump")
            .args(["-n", "-t", "-r"])
            .arg(&self.file)
            .arg(filter)
            .output();
        let done = done.expect("tcpdump can be run");
        assert!(
            done.status.success(),
            "tcpdump {filter:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Whether the bytes are anywhere on the wire.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let all = std::fs::read(&self.file).expect("the capture can be read");
        all.windows(bytes.len()).any(|window| window == bytes)
    }

    /// tshark's chosen fields, a row a packet; `options` go before (`-o …` to decrypt, `-Y …` to choose).
    pub fn tshark(&self, options: &[&str], fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = Command::new("tshark");
        command
            .args(["-n", "-r"])
            .arg(&self.file)
            .args(options)
            .args(["-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let done = command.output().expect("tshark can be run");
        assert!(
            done.status.success(),
            "tshark: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let rows = String::from_utf8_lossy(&done.stdout);
        rows.lines()
            .map(|row| row.split('\t').map(str::to_owned).collect())
            .collect()
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
