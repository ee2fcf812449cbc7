//! The connections that every file of version 2 has without writing them: the policy groups and `packetdefault`. A section of
//! the same name in the file takes the place of such a connection. `packetdefault6` is the same for IPv6, and goes with it.

use crate::document::Loader;
use crate::keyword::SectionKind;

/// The policy groups: each reads the blocks of `ipsec.d/policies/NAME`.
pub const GROUPS: [&str; 5] = [
    "block",
    "clear",
    "clear-or-private",
    "private",
    "private-or-clear",
];
/// What packets get that no group is for, of hosts behind this gateway too.
pub const PACKET_DEFAULT: &str = "packetdefault";
/// The same for IPv6.
pub const PACKET_DEFAULT_6: &str = "packetdefault6";

const OURS: &str = "\tleft=%defaultroute\n\tleftid=%myid\n\tleftrsasigkey=%dnsondemand\n\trightrsasigkey=%dnsondemand\n\tauto=route\n";
const NEGOTIATED: &str =
    "\tauthby=rsasig\n\tkeyingtries=3\n\tikelifetime=1h\n\tkeylife=1h\n\trekey=no\n";

/// What is particular to each.
fn body(name: &str) -> String {
    let (text, negotiated) = match name {
        "block" => ("\ttype=reject\n\tauthby=never\n\tright=%group\n", false),
        "clear" => (
            "\ttype=passthrough\n\tauthby=never\n\tright=%group\n",
            false,
        ),
        "clear-or-private" => (
            "\ttype=passthrough\n\tright=%opportunisticgroup\n\tfailureshunt=passthrough\n",
            true,
        ),
        "private" => (
            "\ttype=tunnel\n\tright=%opportunisticgroup\n\tfailureshunt=drop\n",
            true,
        ),
        "private-or-clear" => (
            "\ttype=tunnel\n\tright=%opportunisticgroup\n\tfailureshunt=passthrough\n",
            true,
        ),
        PACKET_DEFAULT_6 => (
            "\ttype=tunnel\n\tleftsubnet=::/0\n\tright=%opportunistic\n\tfailureshunt=passthrough\n",
            true,
        ),
        _ => (
            "\ttype=tunnel\n\tleftsubnet=0.0.0.0/0\n\tright=%opportunistic\n\tfailureshunt=passthrough\n",
            true,
        ),
    };
    let more = if negotiated { NEGOTIATED } else { "" };
    format!("conn {name}\n{OURS}{text}{more}\n")
}

/// Adds those that the file does not have. `%default` is not for them.
pub(crate) fn supply(loader: &mut Loader) {
    if loader.document.version.is_none() {
        return;
    }
    let is_there = |name: &str| {
        loader
            .document
            .index
            .contains_key(&(SectionKind::Conn, name.to_owned()))
    };
    let missing = |name: &&str| {
        let v6_not_wanted = *name == PACKET_DEFAULT_6 && is_there(PACKET_DEFAULT);
        !is_there(name) && !v6_not_wanted
    };
    let text: String = GROUPS
        .iter()
        .chain([&PACKET_DEFAULT, &PACKET_DEFAULT_6])
        .copied()
        .filter(missing)
        .map(body)
        .collect();
    let first = loader.document.sections.len();
    loader.text("(implicit)".to_owned(), text, 0);
    loader.document.implicit = first..loader.document.sections.len();
}
