//! The page: HTML without scripts, pictures or anything from elsewhere, that text browsers show as well.

use super::tables::State;
use ipsec_dns::Name;
use std::net::IpAddr;

const STYLE: &str = "\
body{font:1.05em/1.5 system-ui,sans-serif;max-width:50em;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
.state{padding:.6em 1em;border-left:.5em solid;font-size:1.3em;font-weight:600}\
.yes{color:#0b5c2e;background:#e6f4ea;border-color:#0b5c2e}.no{color:#8a1c1c;background:#fbeaea;border-color:#8a1c1c}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4em .6em;border-bottom:1px solid #ccc;vertical-align:top}\
.route{font-family:ui-monospace,monospace;overflow-wrap:anywhere}td.count{text-align:right}th.count{text-align:right}";

/// The page for a visitor.
pub(super) fn page(
    head_only: bool,
    visitor: IpAddr,
    name: Option<&Name>,
    state: &State,
) -> Vec<u8> {
    let name = match name {
        Some(name) => format!(
            "which DNS says is: <strong>{}</strong>",
            escape(name.as_str())
        ),
        None => "for which DNS has no name".to_owned(),
    };
    let (class, verdict) = if state.fault.is_some() {
        (
            "no",
            "This host can't tell whether the connection arrived encrypted.",
        )
    } else if state.encrypted() {
        ("yes", "OE enabled: this connection arrived encrypted.")
    } else if state.routes.first().is_some_and(|route| route.encrypts) {
        (
            "no",
            "A tunnel to you is there, but nothing has come through it yet. Reload this page.",
        )
    } else {
        (
            "no",
            "OE not enabled: this connection arrived in the clear.",
        )
    };
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Opportunistic encryption test</title><style>{STYLE}</style></head>\n<body>\n\
         <h1>Opportunistic encryption test</h1>\n\
         <p>You seem to be connecting from: <strong>{visitor}</strong> {name}.</p>\n\
         <p class=\"state {class}\">{verdict}</p>\n{}\n</body></html>\n",
        details(state)
    );
    answer(200, "OK", &body, head_only)
}

fn details(state: &State) -> String {
    if let Some(fault) = &state.fault {
        return format!(
            "<p>This host could not look into its tables: {}</p>",
            escape(fault)
        );
    }
    if state.routes.is_empty() {
        return "<p>No eroute leads from this host to your address.</p>".to_owned();
    }
    let rows: String = state
        .routes
        .iter()
        .map(|route| {
            let status = status(&route.text, route.encrypts);
            format!(
                "<tr><td>{status}</td><td class=\"count\">{}</td><td class=\"route\">{}</td></tr>\n",
                route.packets,
                escape(&route.text)
            )
        })
        .collect();
    format!(
        "<table>\n<thead><tr><th>Status</th><th class=\"count\">Packets</th><th>E-route</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n\
         <p>The first line is the one that packets to you meet. From you came {} packets out of a tunnel.</p>",
        state.arrived
    )
}

/// What becomes of packets that meet an eroute.
fn status(route: &str, encrypts: bool) -> &'static str {
    let target = route.rsplit("=> ").next().unwrap_or_default();
    match target {
        _ if encrypts => "OE enabled",
        _ if target.starts_with("%trap") => "asks for a tunnel",
        _ if target.starts_with("%hold") => "waits for a tunnel",
        _ if target.starts_with("%drop") || target.starts_with("%reject") => "dropped",
        _ => "clear",
    }
}

/// An answer that is no page.
pub(super) fn refusal(code: u16, reason: &str, why: &str) -> Vec<u8> {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code} {reason}</title></head><body><h1>{reason}</h1><p>{why}</p></body></html>\n"
    );
    answer(code, reason, &body, false)
}

fn answer(code: u16, reason: &str, body: &str, head_only: bool) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if !head_only {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
