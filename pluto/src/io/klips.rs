//! What KLIPS says about its devices: which physical device each ipsecN is attached to.

use std::{io, path::Path};

use pfkey::client::{Control, Table};

/// An ipsecN device and the physical device below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `ipsec0`.
    pub virt: String,
    /// `eth0`.
    pub phys: String,
}

/// All attachments, as the KLIPS of this host tells them: the module, or klipsd with its sockets in `rundir`.
pub async fn attachments(rundir: &Path) -> io::Result<Vec<Attachment>> {
    let control = Control::find_in(rundir);
    let text = tokio::task::spawn_blocking(move || control.table(Table::TnCfg))
        .await?
        .map_err(io::Error::other)?;
    Ok(parse_tncfg(&text))
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
