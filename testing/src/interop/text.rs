//! Both sides' configuration of a row.

use super::matrix::{Mode, Row, Wrap};
use crate::Keys;
use crate::peer::Kind;

/// What both sides' files hold whatever the row.
#[derive(Clone, Debug)]
pub(super) struct PublicKeys {
    /// west's, `0s…`.
    pub west: String,
    /// east's, `0s…`.
    pub east: String,
}

pub(super) const SECRET: &str = "a secret of at least some length";

/// The lines of a `conn` that FreeS/WAN's heirs read alike.
fn conn(row: &Row, keys: &PublicKeys) -> String {
    let mut text =
        "conn cell\n\tleft=192.1.2.45\n\tleftid=@west\n\tright=192.1.2.23\n\trightid=@east\n"
            .to_owned();
    text += match row.mode {
        Mode::Tunnel => "\ttype=tunnel\n\tleftsubnet=192.0.1.0/24\n\trightsubnet=192.0.2.0/24\n",
        Mode::Transport => "\ttype=transport\n",
    };
    text += &match row.keys {
        Keys::Psk => "\tauthby=secret\n".to_owned(),
        Keys::Rsa => format!(
            "\tauthby=rsasig\n\tleftrsasigkey={}\n\trightrsasigkey={}\n",
            keys.west, keys.east
        ),
    };
    text += &format!("\tike={}\n", row.suite.ours[0]);
    text += &match row.wrap {
        Wrap::Ah => "\tphase2=ah\n\tphase2alg=sha1\n".to_owned(),
        _ => format!("\tesp={}\n", row.suite.ours[1]),
    };
    if row.wrap == Wrap::Compressed {
        text += "\tcompress=yes\n";
    }
    text += if row.pfs { "\tpfs=yes\n" } else { "\tpfs=no\n" };
    text + "\tauto=add\n"
}

/// Our ipsec.conf.
pub(super) fn ours(row: &Row, keys: &PublicKeys) -> String {
    format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\n{}",
        conn(row, keys)
    )
}

/// The peer's configuration file.
pub(super) fn theirs(row: &Row, keys: &PublicKeys) -> String {
    match row.peer {
        Kind::Libreswan => format!(
            "config setup\n\tikev1-policy=accept\n\n{}\tikev2=no\n",
            conn(row, keys)
        ),
        Kind::Strongswan | Kind::Libipsec => swanctl(row),
    }
}

fn swanctl(row: &Row) -> String {
    let [ike, esp] = row.suite.swanctl;
    let group = if row.pfs {
        format!("-{}", row.suite.group)
    } else {
        String::new()
    };
    let (local, remote) = match row.keys {
        Keys::Psk => ("auth = psk", "auth = psk"),
        Keys::Rsa => (
            "auth = pubkey\n            pubkeys = east.pem",
            "auth = pubkey\n            pubkeys = west.pem",
        ),
    };
    let (mode, selectors) = match row.mode {
        Mode::Tunnel => (
            "tunnel",
            "                local_ts = 192.0.2.0/24\n                remote_ts = 192.0.1.0/24\n",
        ),
        Mode::Transport => ("transport", ""),
    };
    let proposals = match row.wrap {
        Wrap::Ah => format!("ah_proposals = sha1{group}"),
        _ => format!("esp_proposals = {esp}{group}"),
    };
    let ipcomp = if row.wrap == Wrap::Compressed {
        "yes"
    } else {
        "no"
    };
    format!(
        "\
connections {{
    cell {{
        version = 1
        local_addrs = 192.1.2.23
        remote_addrs = 192.1.2.45
        proposals = {ike}
        local {{
            id = @east
            {local}
        }}
        remote {{
            id = @west
            {remote}
        }}
        children {{
            cell {{
{selectors}                mode = {mode}
                {proposals}
                ipcomp = {ipcomp}
            }}
        }}
    }}
}}
secrets {{
    ike-west {{
        id-1 = @west
        id-2 = @east
        secret = \"{SECRET}\"
    }}
}}
"
    )
}
