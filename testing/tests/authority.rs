//! Who may have which connection: east as a company has it, and a client that knows the secret of the group and nothing else.

use std::time::Duration;

use testing::{Gateways, Host, Keys, Testbed};

/// What east offers: `road` to whoever knows the secret of the group, the others to those whom they name.
const EAST: &str = "\
conn %default
	right=192.1.2.23
	rightid=@east
	left=%any
	authby=secret
	auto=add
conn road
	rightsubnet=192.0.2.0/24
conn admin
	leftid=@admin
	rightsubnet=10.50.0.0/16
conn strict
	leftid=@strict
	rightsubnet=10.52.0.0/16
	ike=aes256-sha2_512-ecp384!
conn branch
	left=192.1.2.45
	leftid=@branch
	authby=rsasig
	leftrsasigkey=%none
	rightsubnet=10.51.0.0/16
conn certified
	leftid=@certified
	rightca=\"C=CA, O=us, CN=root\"
	rightsubnet=10.53.0.0/16
	auto=ignore
";

const SECRETS: &str =
    "@east %any : PSK \"the secret of the group\"\n@east @admin : PSK \"of admin alone\"\n";

/// West names itself, and asks for a subnet of east's.
fn client(west: &Host, who: &str, subnet: &str) {
    west.secrets(&format!("{who} @east : PSK \"the secret of the group\"\n"));
    west.conf(&format!(
        "version 2.0\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\nconn mine\n\tleft=192.1.2.45\n\tleftid={who}\n\tright=192.1.2.23\n\trightid=@east\n\trightsubnet={subnet}\n\tauthby=secret\n\tike=aes128-sha2_256-ecp256\n\tkeyingtries=1\n"
    ));
    west.run("ipsec auto --delete mine >/dev/null 2>&1; ipsec auto --rereadsecrets; ipsec auto --add mine && ipsec auto --asynchronous --up mine")
        .ok();
}

#[test]
fn a1_the_secret_of_a_group_opens_no_other_connection() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let setup = "version 2.0\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n";
    net.east.conf(&format!("{setup}{EAST}")).secrets(SECRETS);
    net.west.conf(setup).secrets("");
    net.start();
    let east_says = |text: &str| {
        let script = format!("grep -F '{text}' /run/pluto/pluto.log");
        net.east.wait_for(&script, Duration::from_secs(60));
    };
    for (who, subnet, text) in [
        (
            "@admin",
            "10.50.0.0/16",
            "\"admin\" wants another preshared secret",
        ),
        ("@branch", "10.51.0.0/16", "\"branch\" wants authby=rsasig"),
        (
            "@strict",
            "10.52.0.0/16",
            "\"strict\" does not allow aes128-sha2_256-ecp256",
        ),
        (
            "@rw",
            "10.50.0.0/16",
            "no connection is known for 10.50.0.0/16",
        ),
    ] {
        client(&net.west, who, subnet);
        east_says(text);
        assert_eq!(
            net.east.run("ipsec eroute | grep -c tun0x").stdout.trim(),
            "0"
        );
    }
    client(&net.west, "@rw", "192.0.2.0/24");
    east_says("IPsec SA established");
    net.west.wait_for(
        "ping -n -q -c 1 -W 1 -I 192.1.2.45 192.0.2.1",
        Duration::from_secs(60),
    );
    // East does not begin over that what wants a key.
    let up = net.east.run("ipsec auto --up branch");
    assert_ne!(up.status, 0, "{up}");
    up.says("unable to locate my private key");
    // What asks for trust that is not there does not load.
    let add = net.east.run("ipsec auto --add certified 2>&1");
    assert_ne!(add.status, 0, "{add}");
    add.says("ipsec.conf:27")
        .says("certificates, which are not supported yet");
}
