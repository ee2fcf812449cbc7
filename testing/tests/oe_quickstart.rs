//! docs/opportunism.md word for word: its commands are typed on the page's host, 192.0.2.1, its files written, its records published,
//! and each set-up ends in a ping that goes encrypted.

use std::time::Duration;

use testing::internet::{ANCHOR, Internet, Site};
use testing::kernel::{self, Clock, Klips};
use testing::page::{Page, fenced, typed};
use testing::{Host, Output, Testbed};

testing::on_both_data_paths!(
    initiate_only_then_full_then_a_subnet,
    the_reverse_zone_signed_by_bind,
    the_reverse_zone_signed_for_nsd,
);

fn the_reverse_zone_signed_by_bind() {
    with_a_signed_zone(serve_with_bind);
}

fn the_reverse_zone_signed_for_nsd() {
    with_a_signed_zone(serve_with_nsd);
}

/// bind waits until no cache has unsigned answers any more.
#[test]
fn bind_says_the_ds_record_a_day_later() {
    let test = concat!(module_path!(), "::bind_says_the_ds_record_a_day_later");
    kernel::inside(test, Klips::Daemon, Clock::Skipping, || {
        let testbed = Testbed::new();
        let host = testbed.host("ns");
        let page = Page::read("docs/opportunism.md");
        let ds = serve_with_bind(&host, &page, "");
        let commands = typed(page.chapter("### With bind"));
        let cds = commands.iter().find(|(command, _)| command.contains("CDS"));
        let command = cds.expect("a command that shows it").0;
        assert_eq!(host.run(command).ok().stdout, "");
        std::thread::sleep(Duration::from_secs(25 * 3600 + 600));
        let said = host.run(command).ok().stdout;
        let [said, ds] = [&said, &ds].map(|text| words(text).concat().to_lowercase());
        assert!(ds.ends_with(&said) && !said.is_empty(), "{said} of {ds}");
        host.run(commands.last().expect("commands").0).ok();
    });
}

/// In the clear; redirects are none.
const PINGS: &str = "icmp[icmptype] == 0 or icmp[icmptype] == 8";
const OWN_ZONE: &str = "2.0.192.in-addr.arpa.";
const OWN_NAME: &str = "1.2.0.192.in-addr.arpa.";

/// The page's host, of which `example.com` and the reverse map of 192.0.2 speak, and someone who does the same at the other end.
struct Reader<'a> {
    page: Page,
    net: Internet<'a>,
    /// The file of the page's connections, the narrower first.
    conns: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(testbed: &'a Testbed) -> Reader<'a> {
        let net = Internet::new(testbed);
        net.publish_site(&net.west);
        net.commit();
        net.west.gateway.conf(&full(&net.west));
        net.west.gateway.run("ipsec setup start").ok();
        let reader = Reader {
            page: Page::read("docs/opportunism.md"),
            net,
            conns: Vec::new(),
        };
        reader.configure();
        reader.host().run("ipsec setup start").ok();
        reader
    }

    /// sunrise, whose neighbour east is a mere router.
    fn host(&self) -> &Host {
        &self.net.east.inside
    }

    /// The installed ipsec.conf, the root of this network, and the page's connections.
    fn configure(&self) {
        let key = "dnssec-rootkey-file=";
        assert!(self.page.chapter("### What to ask").contains(key));
        let sample = Page::read("conf/ipsec.conf");
        let conf = sample.text().replace(
            "config setup\n",
            &format!("config setup\n\t{key}{ANCHOR}\n"),
        );
        self.host().conf(&(conf + &self.conns.concat()));
    }

    /// Types the commands of a part in their order, and looks for what it shows after each, blanks aside.
    fn types(&self, part: &str) -> Vec<Output> {
        typed(part)
            .into_iter()
            .map(|(command, shown)| {
                let output = self.host().run(command).ok();
                for expected in shown {
                    let seen = output.lines().any(|line| words(line) == words(expected));
                    assert!(seen, "{expected:?} of {output}");
                }
                output
            })
            .collect()
    }

    /// The mail that `ipsec mailkey` wrote has these records, and goes to who runs the zone.
    fn mail(&self, about: &str, records: &[(&str, &str)]) {
        let mail = self.host().read(&format!("~/OE_mail_{about}"));
        assert!(
            mail.contains("contact_email=hostmaster@example\n"),
            "{mail}"
        );
        for (kind, rdata) in records {
            assert!(mail.contains(&format!("\tIN\t{kind}\t{rdata}\n")), "{mail}");
        }
    }

    fn goes_encrypted(&self, from: &Host) {
        let net = &self.net;
        let capture = net.public.capture(&format!("{PINGS} or esp"));
        // Of several packets that wait the last is kept, so the first goes alone.
        let pings = from.run("ping -n -c 1 -W 20 192.0.1.1; ping -n -c 2 -i 0.3 -W 20 192.0.1.1");
        let (host, west) = (self.host(), &net.west.gateway);
        let trace = || format!("{pings}{}{}", host.log(), west.log());
        assert!(
            !pings.contains("100% packet loss") && pings.status == 0,
            "{}",
            trace()
        );
        let captured = capture.stop();
        assert_eq!(captured.packets(PINGS), Vec::<String>::new(), "{}", trace());
        assert!(captured.packets("esp").len() >= 6, "{}", trace());
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The first record of a kind that is printed, without its owner.
fn record<'a>(printed: &'a [Output], kind: &str) -> &'a str {
    let mark = format!("\tIN\t{kind}\t");
    let mut found = printed
        .iter()
        .flat_map(Output::lines)
        .filter_map(|line| line.split_once(&mark));
    found.next().unwrap_or_else(|| panic!("no {kind} record")).1
}

fn full(site: &Site<'_>) -> String {
    format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n\n\
         conn subnet-to-anyone\n\talso=me-to-anyone\n\tleftsubnet={}\n\nconn me-to-anyone\n\tleft=%defaultroute\n\
         \tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\trightrsasigkey=%dnsondemand\n\tauto=route\n",
        site.subnet
    )
}

fn initiate_only_then_full_then_a_subnet() {
    let testbed = Testbed::new();
    let mut reader = Reader::new(&testbed);
    let page = Page::read("docs/opportunism.md");

    let part = page.chapter("## Initiate only");
    let (before, after) = part.split_once("```\n").expect("a file");
    let printed = reader.types(before);
    let (key, txt) = (record(&printed, "KEY"), record(&printed, "TXT"));
    reader.mail("xy.example.com", &[("KEY", key), ("TXT", txt)]);
    reader.net.replace("xy.example.com.", "KEY", key);
    reader.net.replace("xy.example.com.", "TXT", txt);
    reader.net.commit();
    let conn = format!("\n{}", fenced(part)[0]);
    reader.conns = vec![conn.clone()];
    reader.configure();
    reader.types(after);
    reader.goes_encrypted(reader.host());

    let part = page.chapter("## Full opportunism");
    let (before, after) = part
        .split_once("In /etc/ipsec.conf")
        .expect("the connection");
    assert!(after.contains("without `leftid=`"));
    let printed = reader.types(before);
    let (key, txt) = (record(&printed, "KEY"), record(&printed, "TXT"));
    reader.mail("192.0.2.1", &[("KEY", key), ("TXT", txt)]);
    reader.net.replace(OWN_NAME, "KEY", key);
    reader.net.replace(OWN_NAME, "TXT", txt);
    reader.net.commit();
    let without: String = conn
        .lines()
        .filter(|line| !line.contains("leftid="))
        .map(|line| format!("{line}\n"))
        .collect();
    reader.conns = vec![without];
    reader.configure();
    reader.types(after);
    reader.goes_encrypted(reader.host());

    let part = page.chapter("## A gateway for its subnet");
    let inside = behind(&testbed, &reader.net);
    let txt = txt.to_owned();
    reader.net.replace("130.2.0.192.in-addr.arpa.", "TXT", &txt);
    reader.net.commit();
    reader.conns.insert(0, format!("\n{}", fenced(part)[0]));
    reader.configure();
    reader.types(part);
    reader.goes_encrypted(&inside);
    // Who does all of this can be begun with.
    reader.host().run("ipsec setup restart").ok();
    reader
        .net
        .west
        .inside
        .run("ping -n -c 2 -W 20 192.0.2.130")
        .ok();
}

/// The page's subnet behind its host, and a machine in it.
fn behind(testbed: &Testbed, net: &Internet<'_>) -> Host {
    let wire = testbed.segment("lan", "");
    let inside = testbed.host("lan");
    net.east.inside.attach(&wire, "eth1", "192.0.2.129/25");
    inside
        .attach(&wire, "eth0", "192.0.2.130/25")
        .gateway("192.0.2.129");
    net.east
        .gateway
        .run("ip route add 192.0.2.128/25 via 192.0.2.1")
        .ok();
    inside
}

/// For who accepts signed answers only the page's host has no key until the zone above its own has the DS record.
fn with_a_signed_zone(serve: fn(&Host, &Page, &str) -> String) {
    let testbed = Testbed::new();
    let mut reader = Reader::new(&testbed);
    let page = Page::read("docs/opportunism.md");
    let part = page.chapter("## Full opportunism");
    let printed: Vec<Output> = typed(part)
        .into_iter()
        .filter(|(command, _)| command.contains("showhostkey"))
        .map(|(command, _)| reader.host().run(command).ok())
        .collect();
    let records = format!(
        "1 IN KEY {}\n1 IN TXT {}\n",
        record(&printed, "KEY"),
        record(&printed, "TXT")
    );
    let conn =
        fenced(page.chapter("## Initiate only"))[0].replace("\tleftid=@xy.example.com\n", "");
    assert!(page.chapter("## Signing").contains("`dnssec=yes`"));
    reader.conns = vec![format!("\n{conn}\tdnssec=yes\n")];
    reader.configure();

    let host = reader.host();
    host.run("ipsec setup stop").ok();
    let west = &reader.net.west;
    let strict = full(west).replace("auto=route", "dnssec=yes\n\tauto=route");
    west.gateway.conf(&strict);

    let ds = serve(&reader.net.plain, &page, &records);
    reader.net.hand_over(OWN_ZONE, "plain.example.", "");
    reader.net.commit();
    west.gateway.run("ipsec setup restart").ok();
    let capture = reader.net.public.capture(PINGS);
    let why = "a record without a signature makes no tunnel, and the policy lets pass";
    let ping = || west.inside.run("ping -n -c 1 -W 20 192.0.2.1").ok();
    reader.net.watch.in_the_clear(why, ping);
    assert!(!capture.stop().packets(PINGS).is_empty());
    west.gateway
        .run("ipsec auto --status")
        .ok()
        .says("the answer from DNS is not signed, and dnssec=yes wants that");

    reader.net.hand_over(OWN_ZONE, "plain.example.", &ds);
    reader.net.commit();
    west.gateway.run("ipsec setup restart").ok();
    host.run("ipsec setup start").ok();
    reader.goes_encrypted(host);
}

/// The zone's file as its owner keeps it.
fn zone_file(records: &str) -> String {
    format!(
        "$TTL 10\n@ IN SOA plain.example. hostmaster.example. 1 3600 600 86400 5\n@ IN NS plain.example.\n1 IN PTR xy.example.com.\n{records}"
    )
}

/// What stands between quotation marks behind a word.
fn quoted<'a>(text: &'a str, word: &str) -> &'a str {
    let mut found = text.lines().filter(|line| line.trim().starts_with(word));
    let line = found
        .next()
        .unwrap_or_else(|| panic!("no {word} in {text}"));
    line.split('"').nth(1).expect("quotation marks")
}

/// Debian's bind runs with nothing of its own, and is told of the page's zone; the DS record.
fn serve_with_bind(host: &Host, page: &Page, records: &str) -> String {
    let part = page.chapter("### With bind");
    // What the package keeps there is the machine's own.
    host.run("for d in /var/lib/bind /var/cache/bind; do mount -t tmpfs bind $d || exit 1; done; mkdir -p /run/named")
        .ok();
    host.run("rm -f /etc/bind/rndc.key && rndc-confgen -a && named -L /run/named.log")
        .ok();
    host.wait_for("rndc status", Duration::from_secs(30));
    let stanza = fenced(part)[0];
    host.write(quoted(stanza, "file"), &zone_file(records));
    assert!(part.contains("In /etc/bind/named.conf.local:"));
    host.write("/etc/bind/named.conf.local", stanza);
    let mut ds = String::new();
    for (command, _) in typed(part) {
        if command.contains("checkds") {
            continue;
        }
        if command.contains("DNSKEY") {
            host.wait_for(
                "dig @localhost 2.0.192.in-addr.arpa DNSKEY +short | grep .",
                Duration::from_secs(30),
            );
        }
        ds = host.run(command).ok().stdout;
    }
    assert!(ds.contains(" IN DS "), "{ds}");
    ds
}

/// nsd runs with the page's zone, signed by ldns; the DS record.
fn serve_with_nsd(host: &Host, page: &Page, records: &str) -> String {
    let part = page.chapter("### With nsd");
    assert!(part.contains("write 16896 for 0x4200"));
    let zone = zone_file(&records.replace("0x4200", "16896"));
    let stanza = fenced(part)[0];
    let signed = quoted(stanza, "zonefile:");
    let file = signed.strip_suffix(".signed").expect("ldns' ending");
    host.write(file, &zone);
    let (dir, _) = file.rsplit_once('/').expect("a path");
    let commands: String = typed(part)
        .into_iter()
        .map(|(command, _)| format!(" && {command}"))
        .collect();
    let ds = host.run(&format!("cd {dir}{commands}")).ok().stdout;
    assert!(ds.contains("\tDS\t"), "{ds}");
    // As who started it, and nothing in the machine's own directories.
    let own = "server:\n\tusername: \"\"\n\tpidfile: \"\"\n\txfrdir: \"/run\"\n\txfrdfile: \"\"\n\tzonelistfile: \"/run/nsd.zones\"\n\tserver-count: 1\n";
    host.write("/etc/nsd/nsd.conf", &format!("{own}{stanza}"));
    host.run("nsd-checkconf /etc/nsd/nsd.conf && nsd -c /etc/nsd/nsd.conf")
        .ok();
    host.wait_for(
        "dig @localhost 2.0.192.in-addr.arpa SOA +short | grep .",
        Duration::from_secs(30),
    );
    ds
}
