//! The algorithms that a connection asks for: read from `ike=`, `esp=`, `pfsgroup=` when it is added, and told in status.
//!
//! Not here: what they mean in a negotiation (`ike::policy`).

use ike::crypto::Group;
use ike::proposal::{AhAlgorithms, AlgorithmError, Esn, EspAlgorithms, IkeAlgorithms, parse_group};

/// Algorithms asked for; `None` is the default list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// `ike=aes256-sha2_256-modp2048,…`
    pub ike: Option<IkeAlgorithms>,
    /// `esp=aes128-sha1,…`
    pub esp: Option<EspAlgorithms>,
    /// AH's: `phase2alg=` where `phase2=ah`, else the authenticators of `esp=`.
    pub ah: Option<AhAlgorithms>,
    /// `pfsgroup=modp1536`, or the group in `esp=`.
    pub pfs_group: Option<Group>,
    /// `esn=`
    pub esn: Esn,
}

/// A list that cannot be understood, with the parameter it was for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}={list}: {error}")]
pub struct BadList {
    /// `ike`, `esp` or `pfsgroup`.
    pub parameter: &'static str,
    /// As typed.
    pub list: String,
    /// What is wrong.
    pub error: Box<AlgorithmError>,
}

impl Algorithms {
    /// Reads what a connection asks for.
    ///
    /// # Errors
    /// The first list that cannot be understood.
    pub fn of(request: &whack::Connection) -> Result<Self, BadList> {
        let policy = &request.policy;
        let only_ah = policy.authenticate && !policy.encrypt;
        let esp_text = |ah| request.esp.as_ref().filter(|_| only_ah == ah);
        let esp = read("esp", esp_text(false), EspAlgorithms::parse)?;
        let ah = match read("phase2alg", esp_text(true), AhAlgorithms::parse)? {
            Some(ah) => Some(ah),
            None => esp.as_ref().map(AhAlgorithms::of_esp),
        };
        let named = read("pfsgroup", request.pfsgroup.as_ref(), parse_group)?;
        Ok(Self {
            ike: read("ike", request.ike.as_ref(), IkeAlgorithms::parse)?,
            pfs_group: named.or_else(|| esp.as_ref().and_then(|esp| esp.pfs_group)),
            esp,
            ah: ah.filter(|_| policy.authenticate),
            esn: match policy.esn {
                whack::Esn::No => Esn::No,
                whack::Esn::Yes => Esn::Yes,
                whack::Esn::Either => Esn::Either,
            },
        })
    }

    /// The lists as `ipsec auto --status` shows them: name of the line, and what it says.
    pub fn status(&self) -> Vec<(&'static str, String)> {
        let join = |all: Vec<String>, strict: bool| {
            let flag = if strict { "; flags=strict" } else { "" };
            format!("{}{flag}", all.join(", "))
        };
        let mut lines = Vec::new();
        if let Some(ike) = &self.ike {
            let all = ike.suites.iter().map(|s| s.official()).collect();
            lines.push(("IKE algorithms", join(all, ike.strict)));
        }
        if let Some(esp) = &self.esp {
            let all = esp.suites.iter().map(|s| s.official()).collect();
            lines.push(("ESP algorithms", join(all, esp.strict)));
        }
        if let Some(ah) = &self.ah {
            let all = ah.auths.iter().map(|a| a.official().to_owned()).collect();
            lines.push(("AH algorithms", join(all, ah.strict)));
        }
        lines
    }
}

fn read<T>(
    parameter: &'static str,
    list: Option<&String>,
    parse: impl Fn(&str) -> Result<T, AlgorithmError>,
) -> Result<Option<T>, BadList> {
    list.map(|list| {
        parse(list).map_err(|error| BadList {
            parameter,
            list: list.clone(),
            error: Box::new(error),
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> whack::Connection {
        let end = |addr: [u8; 4]| whack::End::new(whack::Host::Addr(addr.into()));
        whack::Connection {
            policy: whack::Policy {
                encrypt: true,
                ..whack::Policy::default()
            },
            ..whack::Connection::new("n", end([192, 0, 2, 1]), end([192, 0, 2, 2]))
        }
    }

    #[test]
    fn one_list_serves_esp_and_ah() {
        let mut request = connection();
        request.esp = Some("aes128-sha2_256,3des-sha1;modp2048".into());
        let esp = Algorithms::of(&request).unwrap();
        assert_eq!((esp.ah, esp.pfs_group), (None, Some(Group::MODP2048)));
        request.policy.authenticate = true;
        request.pfsgroup = Some("dh19".into());
        let both = Algorithms::of(&request).unwrap();
        assert_eq!(both.ah.unwrap().to_string(), "sha2_256,sha1");
        assert_eq!(both.pfs_group, Some(Group::ECP256));
        request.policy.encrypt = false;
        let error = Algorithms::of(&request).unwrap_err();
        assert_eq!(error.parameter, "phase2alg");
        request.esp = Some("sha2_512!".into());
        let only = Algorithms::of(&request).unwrap();
        assert_eq!((only.esp, only.ah.unwrap().strict), (None, true));
    }

    #[test]
    fn mistakes_name_the_parameter() {
        for (set, parameter) in [
            (
                (|c| c.ike = Some("aes129".into())) as fn(&mut whack::Connection),
                "ike=aes129: ",
            ),
            (|c| c.esp = Some("sha1".into()), "esp=sha1: "),
            (|c| c.pfsgroup = Some("dh1".into()), "pfsgroup=dh1: "),
        ] {
            let mut request = connection();
            set(&mut request);
            let error = Algorithms::of(&request).unwrap_err().to_string();
            assert!(error.starts_with(parameter), "{error}");
        }
    }
}
