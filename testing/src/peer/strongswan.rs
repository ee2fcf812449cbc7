//! How charon is configured and started.

use std::time::Duration;

use super::{Kind, Peer};

/// Only what IKEv1 with shared secrets and raw keys needs: quick to start, and nothing that asks the network.
const CONF: &str = "\
charon {
	load = random nonce openssl aes des sha1 sha2 md5 hmac xcbc cmac ctr gcm ccm chapoly curve25519 gmp kdf pem pkcs1 pkcs8 \
pubkey dnskey sshkey x509 @KERNEL@ kernel-netlink socket-default vici updown
	filelog {
		log {
			path = /run/charon.log
			time_format = %H:%M:%S
			default = 1
			ike = 2
			cfg = 2
			enc = 1
			flush_line = yes
		}
	}
}
pki {
	load = random openssl pem pkcs1 pkcs8 pubkey dnskey sshkey
}
swanctl {
	load = pem pkcs1 pkcs8 pubkey openssl
}
";

pub(super) fn prepare(peer: &Peer) {
    let host = peer.host();
    // The first plugin that offers ESP is taken; routes and addresses are kernel-netlink's anyway.
    let kernel = match peer.kind() {
        Kind::Libipsec => "kernel-libipsec",
        _ => "",
    };
    host.write("/etc/strongswan.conf", &CONF.replace("@KERNEL@", kernel));
    host.run("mkdir -p /etc/swanctl/rsa /etc/swanctl/pubkey")
        .ok();
}

pub(super) fn start(peer: &Peer) {
    peer.run("setsid -f /usr/lib/ipsec/charon </dev/null >/run/charon.out 2>&1")
        .ok();
    peer.host()
        .wait_for("[ -S /run/charon.vici ]", Duration::from_secs(20));
    let loaded = peer.run("swanctl --load-all");
    assert!(loaded.status == 0, "{loaded}\n{}", peer.log());
}

pub(super) fn rsa_key(peer: &Peer) -> String {
    let key = "/etc/swanctl/rsa/key.pem";
    peer.run(&format!(
        "[ -s {key} ] || (umask 077; pki --gen --type rsa --size 2048 --outform pem >{key})"
    ))
    .ok();
    // The public half as DNS has it, which is FreeS/WAN's form too.
    let public = peer
        .run(&format!("pki --pub --type rsa --in {key} --outform dnskey"))
        .ok();
    format!("0s{}", public.stdout.trim())
}
