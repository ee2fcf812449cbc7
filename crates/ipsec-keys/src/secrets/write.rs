//! Writes an RSA entry in the form FreeS/WAN's `rsasigkey` and `newhostkey` give it.

use crate::{PrivateKey, data};
use core::fmt::Write;
use zeroize::Zeroizing;

impl PrivateKey {
    /// The indented lines between the braces of an entry, as `ipsec rsasigkey` prints them. `host` and `date` go
    /// into the comment at their head, from which `ipsec showhostkey` takes the name for DNS.
    pub fn to_secret_lines(&self, host: &str, date: &str) -> Zeroizing<String> {
        let public = self.public();
        let numbers = self.numbers();
        // Large enough from the start: a growing string would leave copies of the secret behind.
        let mut out = Zeroizing::new(String::with_capacity(2048 + public.size() * 20));
        let mut line = |text: core::fmt::Arguments<'_>| {
            out.push('\t');
            // Writing to a string can't fail.
            let _ = out.write_fmt(text);
            out.push('\n');
        };
        line(format_args!(
            "# RSA {} bits   {host}   {date}",
            public.bits()
        ));
        line(format_args!("# for signatures only, UNSAFE FOR ENCRYPTION"));
        line(format_args!("#pubkey={}", public.to_text()));
        line(format_args!("#IN KEY 0x4200 4 1 {}", public.to_base64()));
        line(format_args!(
            "# (0x4200 = auth-only host-level, 4 = IPSec, 1 = RSA)"
        ));
        line(format_args!("Modulus: {}", data::to_hex(&numbers.modulus)));
        line(format_args!(
            "PublicExponent: {}",
            data::to_hex(&numbers.public_exponent)
        ));
        line(format_args!("# everything after this point is secret"));
        let secret = [
            ("PrivateExponent", Some(&numbers.private_exponent)),
            ("Prime1", Some(&numbers.prime1)),
            ("Prime2", Some(&numbers.prime2)),
            ("Exponent1", numbers.exponent1.as_ref()),
            ("Exponent2", numbers.exponent2.as_ref()),
            ("Coefficient", numbers.coefficient.as_ref()),
        ];
        for (name, value) in secret {
            if let Some(value) = value {
                let hex = Zeroizing::new(data::to_hex(value));
                line(format_args!("{name}: {}", *hex));
            }
        }
        out
    }
}

/// A whole entry: indices, `: RSA {`, the lines of the key, the brace and the reminder about its indenting.
pub fn secret_entry(
    indices: &[&str],
    key: &PrivateKey,
    host: &str,
    date: &str,
) -> Zeroizing<String> {
    let lines = key.to_secret_lines(host, date);
    let head: String = indices.iter().map(|i| format!("{i} ")).collect();
    let mut out = Zeroizing::new(String::with_capacity(head.len() + lines.len() + 80));
    out.push_str(&head);
    out.push_str(": RSA\t{\n");
    out.push_str(&lines);
    out.push_str("\t}\n# do not change the indenting of that \"}\"\n");
    out
}
