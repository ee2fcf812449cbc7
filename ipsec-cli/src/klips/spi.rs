//! `ipsec spi`: shows, makes and deletes SAs. See ipsec_spi(8).

use std::net::IpAddr;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use ipsec_types::{
    AuthAlg, CompAlg, EncAlg, EspSuite, SaId, SaProto, SuiteError, data, unspecified,
};
use pfkey::client::{Client, Reply, Table};
use pfkey::request::{self, SaParams};
use pfkey::{SaFlags, SaType, errno};
use zeroize::Zeroizing;

use super::common::{self, Common, Failure, SaOptions};
use super::life::Limits;

/// Shows, makes and deletes Security Associations. Without options it lists all.
#[derive(Parser, Debug)]
#[command(group(ArgGroup::new("action").args(["ah", "esp", "comp", "ip4", "ip6", "del", "clear"])))]
struct Options {
    /// Make an AH SA: hmac-sha1-96, hmac-sha2-256-128, aes-xcbc-96, ...
    #[arg(long, value_name = "algorithm")]
    ah: Option<String>,
    /// Make an ESP SA: 3des-md5-96, aes128-sha1-96, aes256-sha2-256-128, aes_gcm128, ...
    #[arg(long, value_name = "algorithm")]
    esp: Option<String>,
    /// Make an IPCOMP SA: deflate
    #[arg(long, value_name = "algorithm")]
    comp: Option<String>,
    /// Make an IPv4 tunnel SA
    #[arg(long)]
    ip4: bool,
    /// Make an IPv6 tunnel SA
    #[arg(long)]
    ip6: bool,
    /// Delete the SA and the whole group it is in
    #[arg(long)]
    del: bool,
    /// Delete all SAs
    #[arg(long)]
    clear: bool,
    /// Authentication key: 0x hexadecimal, 0s base64 or 0t text
    #[arg(long, value_name = "key")]
    authkey: Option<String>,
    /// Encryption key: 0x hexadecimal, 0s base64 or 0t text
    #[arg(long, value_name = "key")]
    enckey: Option<String>,
    /// The ESP SA has no authenticator of its own: an AH SA goes around it in its group, and authenticates it
    #[arg(long)]
    ahoutside: bool,
    /// Replay window in packets
    #[arg(long = "replay_window", alias = "replay-window", value_name = "packets", value_parser = clap::value_parser!(u8).range(1..))]
    replay_window: Option<u8>,
    /// Sequence numbers of 64 bits; both ends must have it, and a replay window
    #[arg(long)]
    esn: bool,
    /// The key was made for this SA alone and is used nowhere else, ever: what AES-CTR, AES-GCM and ChaCha20-Poly1305 need
    #[arg(long)]
    freshkey: bool,
    /// Limits: (soft|hard)-(allocations|bytes|addtime|usetime|packets)=N[,...]
    #[arg(long, value_name = "limits")]
    life: Vec<String>,
    /// Source: of a tunnel, and for the inbound policy check
    #[arg(long, value_name = "address")]
    src: Option<String>,
    /// Destination of a tunnel
    #[arg(long, value_name = "address")]
    dst: Option<String>,
    /// Print the reference that KLIPS gave to the SA
    #[arg(long)]
    saref: bool,
    /// Stay, and print what KLIPS says on the PF_KEY socket
    #[arg(long)]
    listenreply: bool,
    #[command(flatten)]
    sa: SaOptions,
    #[command(flatten)]
    common: Common,
}

/// Runs the command; answers its exit status.
pub fn run(args: Vec<String>) -> u8 {
    common::run("spi", args, |o: &Options| &o.common, act)
}

fn act(options: &Options) -> Result<(), Failure> {
    if options.clear {
        let mut client = common::connect()?;
        return common::ask(
            &mut client,
            &options.common,
            |b, ids| request::flush(b, ids, SaType::Unspec),
            |_| None,
        )
        .map(drop);
    }
    let adds = options.ah.is_some()
        || options.esp.is_some()
        || options.comp.is_some()
        || options.ip4
        || options.ip6;
    if !adds && !options.del {
        if options.sa.get()?.is_none() {
            return common::show(Table::Spi);
        }
        return Err(
            "what to do is missing: one of --ah, --esp, --comp, --ip4, --ip6, --del and --clear"
                .into(),
        );
    }
    let said = options.sa.need()?;
    let src = source(options, &said)?;
    if options.del {
        let mut client = common::connect()?;
        let gone = |e| {
            matches!(e, errno::ENOENT | errno::ESRCH)
                .then(|| format!("there is no SA {said} to delete"))
        };
        return common::ask(
            &mut client,
            &options.common,
            |b, ids| request::delete(b, ids, &said, Some(src)),
            gone,
        )
        .map(drop);
    }
    let keys = Keys::read(options)?;
    let params = params(options, said, src, &keys)?;
    let explain = |e| match e {
        errno::EEXIST => Some(format!("SA {said} exists: delete it first")),
        errno::EINVAL if !keys.enc.is_empty() => Some(format!(
            "KLIPS refuses a key of {said}: the parts of a 3DES key must differ, and none be a weak DES key"
        )),
        errno::EPROTONOSUPPORT => Some(format!(
            "KLIPS has no such algorithm for {said}: klips.ko takes its algorithms from the running kernel"
        )),
        _ => None,
    };
    let mut client = common::connect()?;
    let reply = common::ask(
        &mut client,
        &options.common,
        |b, ids| request::add(b, ids, &params),
        explain,
    )?;
    if options.saref {
        let sa_ref = reply
            .message()
            .ok()
            .and_then(|m| m.sa())
            .map_or(0, |sa| sa.sa_ref);
        crate::print(&format!("ipsec spi: saref={sa_ref}\n"));
    }
    if options.listenreply {
        listen(&client, &reply)
    } else {
        Ok(())
    }
}

fn source(options: &Options, said: &SaId) -> Result<IpAddr, Failure> {
    let family = if said.dst.is_ipv4() { "inet" } else { "inet6" };
    let tunnel = options.ip4 || options.ip6;
    if let Some(dst) = &options.dst
        && common::resolve("--dst", dst, Some(family))? != said.dst
    {
        return Err(format!(
            "--dst {dst} is not where {said} goes: they must be the same"
        ));
    }
    match &options.src {
        Some(src) => common::resolve("--src", src, Some(family)),
        None if tunnel => Err("--src is missing: a tunnel needs both ends".into()),
        None => Ok(unspecified(said.dst)),
    }
}

/// Keys read from the command line, wiped at the end.
struct Keys {
    auth: Zeroizing<Vec<u8>>,
    enc: Zeroizing<Vec<u8>>,
}

impl Keys {
    fn read(options: &Options) -> Result<Self, Failure> {
        let read = |option: &str, text: Option<&String>| -> Result<Zeroizing<Vec<u8>>, Failure> {
            let mut key = Zeroizing::new(vec![0; 64]);
            let len = text
                .map_or(Ok(0), |text| data::decode(text, &mut key))
                .map_err(|e| format!("{option}: {e}"))?;
            key.truncate(len);
            Ok(key)
        };
        Ok(Self {
            auth: read("--authkey", options.authkey.as_ref())?,
            enc: read("--enckey", options.enckey.as_ref())?,
        })
    }
}

fn params<'k>(
    options: &Options,
    said: SaId,
    src: IpAddr,
    keys: &'k Keys,
) -> Result<SaParams<'k>, Failure> {
    let (proto, auth, encrypt) = algorithms(options)?;
    if said.proto != proto {
        return Err(format!(
            "{said} is not of protocol {proto}, which the algorithm belongs to"
        ));
    }
    if (options.ip4 && said.dst.is_ipv6()) || (options.ip6 && said.dst.is_ipv4()) {
        return Err(format!(
            "{said} has an address of the other kind than --ip4 or --ip6 says"
        ));
    }
    let esp = options
        .esp
        .as_deref()
        .and_then(|name| EspSuite::from_name(name).ok());
    let bare = esp.is_some_and(|suite| !suite.authenticates());
    if let (Some(name), true, false) = (&options.esp, bare, options.ahoutside) {
        return Err(format!(
            "--esp {name}: encryption without authentication lets anyone alter packets (RFC 8221 section 4). Write \
             {name}-sha2-256-128 with --authkey; or say with --ahoutside that an AH SA goes around it in its group"
        ));
    }
    if options.ahoutside && !bare {
        return Err("--ahoutside has no use here: it is for --esp with a cipher alone".into());
    }
    check_key(
        "--authkey",
        auth.name().unwrap_or_default(),
        keys.auth.len(),
        &[auth.key_bits().unwrap_or(0)],
        0,
    )?;
    let enc_bits: Vec<u16> = esp.map_or(vec![0], |suite| suite.key_bits().collect());
    let cipher = options.esp.as_deref().unwrap_or_default();
    check_key(
        "--enckey",
        cipher,
        keys.enc.len(),
        &enc_bits,
        encrypt.salt_bits(),
    )?;
    if encrypt.needs_fresh_key() && esp.is_some() && !options.freshkey {
        return Err(format!(
            "--esp {cipher}: a key that is used again after a restart would give itself away. Use a cipher in CBC, or pluto, which \
             makes keys; or say with --freshkey that this key was made for this SA alone"
        ));
    }
    if options.esn && !matches!(proto, SaProto::Esp | SaProto::Ah) {
        return Err(format!(
            "--esn has no use here: {said} has no sequence numbers"
        ));
    }
    if options.esn && options.replay_window.is_none() {
        return Err("--esn needs --replay_window: the half of a sequence number that is not sent is told by the window".into());
    }
    let mut limits = Limits::default();
    options.life.iter().try_for_each(|text| limits.add(text))?;
    Ok(SaParams {
        replay: options.replay_window.unwrap_or(0),
        auth,
        encrypt,
        auth_key: &keys.auth,
        enc_key: &keys.enc,
        hard: limits.hard,
        soft: limits.soft,
        flags: [
            (options.esn, SaFlags::ESN),
            (options.ahoutside, SaFlags::AH_OUTSIDE),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(SaFlags::NONE, |all, (_, flag)| all | flag),
        ..SaParams::new(said, src)
    })
}

fn algorithms(options: &Options) -> Result<(SaProto, AuthAlg, EncAlg), Failure> {
    if let Some(name) = &options.ah {
        let auth = EspSuite::auths()
            .find(|alg| alg.name() == Some(name))
            .ok_or_else(|| {
                let known: Vec<_> = EspSuite::auths().filter_map(AuthAlg::name).collect();
                format!("--ah {name}: unknown; known are {}", known.join(", "))
            })?;
        return Ok((SaProto::Ah, auth, EncAlg::NONE));
    }
    if let Some(name) = &options.esp {
        let suite =
            EspSuite::from_name(name).map_err(|e: SuiteError| format!("--esp {name}: {e}"))?;
        return Ok((SaProto::Esp, suite.auth, suite.enc));
    }
    if let Some(name) = &options.comp {
        let comp = CompAlg::from_name(name)
            .filter(|alg| *alg == CompAlg::DEFLATE)
            .ok_or_else(|| format!("--comp {name}: unknown; known is deflate"))?;
        return Ok((SaProto::Comp, AuthAlg::NONE, EncAlg(comp.0)));
    }
    Ok((SaProto::IpIp, AuthAlg::NONE, EncAlg::NONE))
}

/// `salt` of the bits are salt or nonce.
fn check_key(
    option: &str,
    algorithm: &str,
    octets: usize,
    bits: &[u16],
    salt: u16,
) -> Result<(), Failure> {
    let fits = bits.iter().any(|b| usize::from(*b) == octets * 8);
    let wanted = || {
        let all: Vec<_> = bits.iter().map(u16::to_string).collect();
        let behind = match salt {
            0 => String::new(),
            salt => format!(", of which the last {salt} are the salt"),
        };
        format!("{}{behind}", all.join(" or "))
    };
    match (fits, octets) {
        (true, _) => Ok(()),
        (false, 0) => Err(format!(
            "{option} is missing: {algorithm} needs a key of {} bits",
            wanted()
        )),
        (false, _) if bits == [0] => {
            Err(format!("{option} has no use here: no algorithm takes it"))
        }
        (false, _) => Err(format!(
            "{option} has {} bits, {algorithm} needs {}",
            octets * 8,
            wanted()
        )),
    }
}

/// Prints what comes, until interrupted.
fn listen(client: &Client, first: &Reply) -> Result<(), Failure> {
    let print = |reply: &Reply| match reply.message() {
        Ok(message) => crate::print(&super::print::message(&message)),
        Err(error) => crate::print(&format!("ipsec spi: {error}\n")),
    };
    print(first);
    loop {
        if let Some(reply) = client
            .recv_within(Duration::from_secs(3600))
            .map_err(|e| e.to_string())?
        {
            print(&reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_params(line: &str) -> Result<String, Failure> {
        let options =
            Options::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        let said = options.sa.need()?;
        let src = source(&options, &said)?;
        let keys = Keys::read(&options)?;
        params(&options, said, src, &keys)
            .map(|p| format!("{} {} {} {}", p.said, p.auth.0, p.encrypt.0, p.replay))
    }

    const MD5: &str = "0x0123456789abcdef0123456789abcdef";
    const DES3: &str = "0x0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn sas() {
        let esp = format!(
            "spi --af inet --edst 192.0.2.1 --spi 0x125 --proto esp --src 192.0.2.2 --esp 3des-md5-96 --enckey {DES3} --authkey {MD5} --replay_window 32"
        );
        assert_eq!(try_params(&esp).unwrap(), "esp0x125@192.0.2.1 2 3 32");
        let aes =
            format!("spi --said esp.200@192.0.2.1 --esp aes-md5-96 --enckey {MD5} --authkey {MD5}");
        assert_eq!(try_params(&aes).unwrap(), "esp0x200@192.0.2.1 2 12 0");
        assert_eq!(
            try_params("spi --said comp.1000@::1 --comp deflate").unwrap_err(),
            "comp.1000@::1: `.' before the SPI announces an IPv4 address, `:' an IPv6 address; the address is of the other kind"
        );
        assert_eq!(
            try_params("spi --said comp:1000@::1 --comp deflate").unwrap(),
            "comp0x1000@::1 0 2 0"
        );
        let keys = format!("--enckey {MD5}01020304 --freshkey --esn --replay_window 64");
        for (name, numbers) in [("aes_gcm128", "0 20 64"), ("aes_gcm_8", "0 18 64")] {
            let line = format!("spi --said esp.200@192.0.2.1 --esp {name} {keys}");
            assert_eq!(
                try_params(&line).unwrap(),
                format!("esp0x200@192.0.2.1 {numbers}")
            );
        }
        let null = format!("spi --said esp.200@192.0.2.1 --esp null-aes-cmac-96 --authkey {MD5}");
        assert_eq!(try_params(&null).unwrap(), "esp0x200@192.0.2.1 250 11 0");
        let ah = format!("spi --said ah.200@192.0.2.1 --ah aes-xcbc-96 --authkey {MD5}");
        assert_eq!(try_params(&ah).unwrap(), "ah0x200@192.0.2.1 9 0 0");
        let tun = "spi --said tun.113@192.0.2.1 --ip4 --src 192.0.2.2 --dst 192.0.2.1";
        assert_eq!(try_params(tun).unwrap(), "tun0x113@192.0.2.1 0 0 0");
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (rest, want) in [
            (
                format!(
                    "--said esp.125@192.0.2.1 --esp 3des-md5-96 --enckey {MD5} --authkey {MD5}"
                ),
                "--enckey has 128 bits, 3des-md5-96 needs 192",
            ),
            (
                format!("--said esp.125@192.0.2.1 --esp 3des-md5-96 --enckey {DES3}"),
                "--authkey is missing: hmac-md5-96 needs a key of 128 bits",
            ),
            (
                format!(
                    "--said esp.125@192.0.2.1 --esp 3des --ahoutside --enckey {DES3} --authkey {MD5}"
                ),
                "--authkey has no use here",
            ),
            (
                format!("--said ah.125@192.0.2.1 --esp 3des --enckey {DES3}"),
                "is not of protocol esp",
            ),
            (
                "--said esp.125@192.0.2.1 --esp des-md5-96".into(),
                "--esp des-md5-96: unknown cipher; known are 3des",
            ),
            (
                "--said esp.125@192.0.2.1 --esp aes-md4-96".into(),
                "unknown authenticator; known are md5-96",
            ),
            (
                "--said ah.125@192.0.2.1 --ah hmac-ripemd160-96".into(),
                "known are hmac-md5-96, hmac-sha1-96, hmac-sha2-256-128",
            ),
            (
                "--said esp.125@192.0.2.1 --esp null".into(),
                "never used without authentication",
            ),
            (
                format!("--said esp.125@192.0.2.1 --esp aes_gcm-sha1-96 --enckey {MD5}"),
                "authenticates by itself",
            ),
            (
                format!("--said esp.125@192.0.2.1 --esp aes_gcm128 --enckey {MD5} --freshkey"),
                "--enckey has 128 bits, aes_gcm128 needs 160, of which the last 32 are the salt",
            ),
            (
                format!("--said esp.125@192.0.2.1 --esp aes_gcm --enckey {MD5}01020304"),
                "--freshkey",
            ),
            (
                format!(
                    "--said esp.125@192.0.2.1 --esp aes_ctr-md5-96 --enckey {MD5}01020304 --authkey {MD5}"
                ),
                "--freshkey",
            ),
            (
                format!(
                    "--said esp.125@192.0.2.1 --esp aes_gcm --freshkey --esn --enckey {MD5}01020304"
                ),
                "--esn needs --replay_window",
            ),
            (
                "--said tun.125@192.0.2.1 --ip4 --src 192.0.2.2 --esn --replay_window 3".into(),
                "has no sequence numbers",
            ),
            ("--said esp.99@192.0.2.1 --esp 3des".into(), "reserved"),
            (
                format!("--said esp.125@192.0.2.1 --esp 3des --enckey {DES3}"),
                "--esp 3des: encryption without authentication lets anyone alter packets (RFC 8221 section 4). Write 3des-sha2-256-128",
            ),
            (
                format!("--said esp.125@192.0.2.1 --esp aes --enckey {MD5} --replay_window 64"),
                "aes-sha2-256-128",
            ),
            (
                format!("--said ah.125@192.0.2.1 --ah hmac-md5-96 --authkey {MD5} --ahoutside"),
                "--ahoutside has no use here",
            ),
            ("--said tun.125@192.0.2.1 --ip4".into(), "--src is missing"),
            (
                "--said tun.125@192.0.2.1 --ip6 --src 192.0.2.2".into(),
                "other kind",
            ),
            (
                "--said tun.125@192.0.2.1 --ip4 --src 192.0.2.2 --dst 192.0.2.9".into(),
                "must be the same",
            ),
            ("--edst 192.0.2.1 --spi 0x125 --ip4".into(), "together"),
            (
                "--said ah.125@192.0.2.1 --ah hmac-md5-96 --authkey 0x123".into(),
                "odd number",
            ),
            (
                "--said ah.125@192.0.2.1 --ah hmac-md5-96 --esp 3des".into(),
                "cannot be used with",
            ),
        ] {
            let why = try_params(&format!("spi {rest}")).unwrap_err();
            assert!(why.contains(want), "{rest}: {why}");
        }
    }
}
