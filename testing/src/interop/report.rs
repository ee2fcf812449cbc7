//! The table.

use std::collections::BTreeMap;

use super::matrix::Row;
use crate::kernel::Klips;

/// What came of the rows, by row and data path.
pub type Results = BTreeMap<(usize, &'static str), Result<(), String>>;

/// A data path's name in the table.
pub fn path_name(klips: Klips) -> &'static str {
    match klips {
        Klips::Daemon => "klipsd",
        Klips::Module => "klips.ko",
    }
}

/// The table in Markdown: a row each, the results on both data paths last. What was not tried is left empty.
pub fn table(rows: &[Row], results: &Results) -> String {
    let mut text = "| peer | who initiates | keys | IKE | ESP or AH | mode | PFS | protocols | klipsd | klips.ko |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (at, row) in rows.iter().enumerate() {
        let of = |klips| {
            if let Some(lack) = row.lack() {
                return format!("— {lack}");
            }
            match results.get(&(at, path_name(klips))) {
                None => String::new(),
                Some(Ok(())) => "yes".to_owned(),
                Some(Err(reason)) => format!("**no**: {}", reason.replace('|', "\\|")),
            }
        };
        text += &format!(
            "| {} | {} | {} |\n",
            row.columns().join(" | "),
            of(Klips::Daemon),
            of(Klips::Module)
        );
    }
    text
}

/// The text with what stands between the two marks replaced.
pub fn replace(text: &str, begin: &str, end: &str, new: &str) -> String {
    let at = |mark: &str| {
        text.find(mark)
            .unwrap_or_else(|| panic!("the text has no line {mark}"))
    };
    let (from, to) = (at(begin) + begin.len(), at(end));
    format!("{}\n{new}{}", &text[..from], &text[to..])
}
