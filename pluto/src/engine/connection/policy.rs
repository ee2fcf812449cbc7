//! The policy of a connection: what may be negotiated, and what is done with packets when
//! nothing is.

use core::fmt;

/// What happens to packets of a connection that has no tunnel (`type=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shunt {
    /// Negotiate when a packet comes.
    #[default]
    Trap,
    /// Let pass in the clear.
    Pass,
    /// Drop silently.
    Drop,
    /// Drop, and tell the sender by ICMP.
    Reject,
}

/// What happens to packets after a negotiation failed (`failureshunt=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureShunt {
    /// As without a negotiation: the prospective shunt.
    #[default]
    None,
    /// Let pass in the clear.
    Pass,
    /// Drop silently.
    Drop,
    /// Drop, and tell the sender by ICMP.
    Reject,
}

/// Policy of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Authenticate with a preshared secret.
    pub psk: bool,
    /// Authenticate with RSA signatures.
    pub rsasig: bool,
    /// Use ESP.
    pub encrypt: bool,
    /// Use AH.
    pub authenticate: bool,
    /// Propose IPCOMP.
    pub compress: bool,
    /// Tunnel mode rather than transport mode.
    pub tunnel: bool,
    /// Perfect forward secrecy of the keys of Quick Mode.
    pub pfs: bool,
    /// Do not check that what leaves the tunnel lies within its policy.
    pub disable_arrival_check: bool,
    /// Without a tunnel.
    pub shunt: Shunt,
    /// After a failed negotiation.
    pub failure: FailureShunt,
    /// Let the SAs run out.
    pub dont_rekey: bool,
    /// The peer is found through DNS.
    pub opportunistic: bool,
    /// Read targets from the policy group file of this name.
    pub group: bool,
    /// The group is to be routed.
    pub grouted: bool,
    /// Somebody asked for it to be up.
    pub up: bool,
    /// ESP in UDP even where there is no NAT (`forceencaps=`).
    pub force_encaps: bool,
    /// Keys and gateways in DNS count only where DNSSEC has proved them (`dnssec=`).
    pub dnssec: bool,
}

impl Policy {
    /// Whether there is nothing to authenticate with: a pure shunt (`authby=never`).
    pub const fn never_negotiate(&self) -> bool {
        !self.psk && !self.rsasig
    }

    /// Whether packets go in the clear where there is no tunnel and will be none.
    pub const fn goes_in_the_clear(&self) -> bool {
        match (self.shunt, self.failure) {
            (Shunt::Pass, _) | (Shunt::Trap, FailureShunt::Pass) => true,
            (Shunt::Trap, FailureShunt::None) => self.opportunistic,
            (Shunt::Trap | Shunt::Drop | Shunt::Reject, _) => false,
        }
    }

    /// Whether anything of IPsec is asked for, or only an ISAKMP SA.
    pub const fn has_ipsec(&self) -> bool {
        self.encrypt
            || self.authenticate
            || self.compress
            || self.tunnel
            || self.pfs
            || self.disable_arrival_check
    }
}

impl fmt::Display for Policy {
    /// As `ipsec auto --status` shows it: `PSK+ENCRYPT+TUNNEL+PFS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = [
            (self.psk, "PSK"),
            (self.rsasig, "RSASIG"),
            (self.encrypt, "ENCRYPT"),
            (self.authenticate, "AUTHENTICATE"),
            (self.compress, "COMPRESS"),
            (self.tunnel, "TUNNEL"),
            (self.pfs, "PFS"),
            (self.disable_arrival_check, "DISABLEARRIVALCHECK"),
            (self.dont_rekey, "DONTREKEY"),
            (self.opportunistic, "OPPORTUNISTIC"),
            (self.group, "GROUP"),
            (self.grouted, "GROUTED"),
            (self.up, "UP"),
            (self.force_encaps, "FORCEENCAPS"),
            (self.dnssec, "DNSSEC"),
        ];
        let names: Vec<&str> = bits.iter().filter(|b| b.0).map(|b| b.1).collect();
        f.write_str(&names.join("+"))?;
        match self.shunt {
            Shunt::Trap => {}
            Shunt::Pass => f.write_str("+PASS")?,
            Shunt::Drop => f.write_str("+DROP")?,
            Shunt::Reject => f.write_str("+REJECT")?,
        }
        match self.failure {
            FailureShunt::None => {}
            FailureShunt::Pass => f.write_str("+failurePASS")?,
            FailureShunt::Drop => f.write_str("+failureDROP")?,
            FailureShunt::Reject => f.write_str("+failureREJECT")?,
        }
        if self.never_negotiate() {
            f.write_str("+NEVER_NEGOTIATE")?;
        }
        Ok(())
    }
}
