//! How libreswan's pluto is configured and started.

use std::time::Duration;

use super::Peer;

pub(super) fn prepare(peer: &Peer) {
    peer.run(
        "mkdir -p /run/pluto /etc/ipsec.d/policies && [ -d /var/lib/ipsec/nss ] || {
             mkdir -p /var/lib/ipsec/nss && certutil -N -d sql:/var/lib/ipsec/nss --empty-password; }",
    )
    .ok();
}

pub(super) fn start(peer: &Peer) {
    peer.run(
        "rm -f /run/pluto/pluto.log
         setsid -f /usr/libexec/ipsec/pluto --config /etc/ipsec.conf --nssdir /var/lib/ipsec/nss --logfile /run/pluto/pluto.log \
         --nofork </dev/null >/run/pluto.out 2>&1",
    )
    .ok();
    // pluto has addconn load its connections, which then tells it to listen and to read the secrets.
    peer.host().wait_for(
        "grep -q 'loading secrets' /run/pluto/pluto.log",
        Duration::from_secs(40),
    );
}

pub(super) fn rsa_key(peer: &Peer) -> String {
    let made = peer
        .run(
            "ipsec showhostkey --list | grep -q RSA || ipsec newhostkey --bits 2192 --seeddev /dev/urandom 1>&2
             ipsec showhostkey --left --ckaid $(ipsec showhostkey --list | sed -n 's/.*ckaid: *//p' | head -n 1)",
        )
        .ok();
    let key = made.lines().find_map(|line| line.split_once("rsasigkey="));
    key.unwrap_or_else(|| panic!("no key: {made}"))
        .1
        .trim()
        .to_owned()
}
