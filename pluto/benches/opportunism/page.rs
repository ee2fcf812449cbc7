//! The figures as a table and as a plot.

use std::fmt::Write as _;
use std::path::Path;

use super::world::Row;

const BEGIN: &str = "<!-- simulation: begin -->";
const END: &str = "<!-- simulation: end -->";

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| take part | packets encrypted | among those who take part | lost while a tunnel was made | first packet later, encrypted: median, 95 % | in round trips | first packet later, in the clear: median, 95 % | DNS queries a gateway | negotiations begun a gateway | IKE datagrams a gateway |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let each = row.taking_part.max(1) as f64;
        let _ = writeln!(
            text,
            "| {} % | {:.1} % | {:.2} % | {:.2} % | {} ms, {} ms | {:.1} | {} ms, {} ms | {:.1} | {:.1} | {:.1} |",
            row.share,
            percent(row.encrypted, row.packets),
            percent(row.among_encrypted, row.among),
            percent(row.lost, row.packets),
            row.encrypted_delay.0,
            row.encrypted_delay.1,
            row.round_trips as f64 / 10.0,
            row.clear_delay.0,
            row.clear_delay.1,
            row.dns_queries as f64 / each,
            row.exchanges as f64 / each,
            row.datagrams as f64 / each,
        );
    }
    text
}

/// Three groups of bars: packets encrypted, DNS queries and negotiations of each gateway.
fn plot(rows: &[Row]) -> String {
    type Series = (&'static str, &'static str, fn(&Row) -> f64);
    let series: [Series; 3] = [
        ("packets encrypted, % of all", "#2a6f97", |row| {
            percent(row.encrypted, row.packets)
        }),
        ("DNS queries of a gateway in the hour", "#e09f3e", |row| {
            row.dns_queries as f64 / row.taking_part.max(1) as f64
        }),
        ("negotiations that a gateway begins", "#9e2a2b", |row| {
            row.exchanges as f64 / row.taking_part.max(1) as f64
        }),
    ];
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"300\" viewBox=\"0 0 720 300\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"720\" height=\"300\" fill=\"white\"/>\n",
    );
    for (n, (title, colour, value)) in series.iter().enumerate() {
        let left = 30.0 + 235.0 * n as f64;
        let most = rows.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"24\">{title}</text>");
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"260\" x2=\"{}\" y2=\"260\" stroke=\"black\"/>",
            left + 200.0
        );
        for (m, row) in rows.iter().enumerate() {
            let (x, height) = (left + 15.0 + 62.0 * m as f64, 200.0 * value(row) / most);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"42\" height=\"{height:.1}\" fill=\"{colour}\"/>\n<text x=\"{}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1}</text>\n<text x=\"{}\" y=\"278\" text-anchor=\"middle\">{} %</text>",
                260.0 - height,
                x + 21.0,
                254.0 - height,
                value(row),
                x + 21.0,
                row.share,
            );
        }
    }
    svg.push_str("<text x=\"30\" y=\"296\">of the gateways take part</text>\n</svg>\n");
    svg
}

/// Puts the table into docs/opportunism.md, and the plot beside it.
pub fn write(docs: &Path, rows: &[Row]) -> std::io::Result<()> {
    std::fs::write(docs.join("opportunism.svg"), plot(rows))?;
    let page = docs.join("opportunism.md");
    let text = std::fs::read_to_string(&page).unwrap_or_default();
    let gateways = rows.first().map_or(0, |row| row.gateways);
    let section = format!("{BEGIN}\n{gateways} gateways:\n\n{}{END}", table(rows));
    let new = match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{section}{}", &text[..begin], &text[end + END.len()..])
        }
        _ => format!("{text}\n{section}\n"),
    };
    std::fs::write(page, new)
}
