//! What KLIPS says about its devices: which physical device each ipsecN is attached to. From
//! `/proc/net/ipsec_tncfg` where the kernel has the module, else from klipsd's `klips.ctl`.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

const PROC: &str = "/proc/net/ipsec_tncfg";
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 1 << 20;

/// An ipsecN device and the physical device below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `ipsec0`.
    pub virt: String,
    /// `eth0`.
    pub phys: String,
}

/// All attachments.
pub async fn attachments(rundir: &Path) -> io::Result<Vec<Attachment>> {
    // Proc files do not block.
    match std::fs::read_to_string(PROC) {
        Ok(text) => Ok(parse_tncfg(&text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let socket = rundir.join("klips.ctl");
            let text = timeout(PATIENCE, ask(&socket, "get ipsec_tncfg")).await??;
            Ok(parse_tncfg(&text))
        }
        Err(e) => Err(e),
    }
}

/// One line to klipsd, and its answer without the `ok` line.
async fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    match answer.split_once('\n') {
        Some(("ok", text)) => Ok(text.to_string()),
        _ => {
            let first = answer.lines().next().unwrap_or("no answer");
            Err(io::Error::other(format!("klipsd to \"{line}\": {first}")))
        }
    }
}

/// Lines like `ipsec0 -> eth0 mtu=16260(1443) -> 1500`; an unattached device says `NULL`.
fn parse_tncfg(text: &str) -> Vec<Attachment> {
    text.lines()
        .filter_map(|line| {
            let (virt, rest) = line.split_once("->")?;
            let phys = rest.split_whitespace().next()?;
            let virt = virt.trim();
            (phys != "NULL" && !virt.is_empty()).then(|| Attachment {
                virt: virt.to_string(),
                phys: phys.to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_devices_are_read() {
        let text = "ipsec0 -> eth0 mtu=16260(1443) -> 1500\nipsec1 -> NULL mtu=0(0) -> 0\n\
                    ipsec2->eth1 mtu=0\njunk\n -> \n";
        let pair = |virt: &str, phys: &str| Attachment {
            virt: virt.into(),
            phys: phys.into(),
        };
        assert_eq!(
            parse_tncfg(text),
            [pair("ipsec0", "eth0"), pair("ipsec2", "eth1")]
        );
        assert!(parse_tncfg("").is_empty());
    }
}
