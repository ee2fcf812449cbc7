//! The table, and what an earlier table says.

use std::collections::BTreeMap;

use super::matrix::Row;
use crate::kernel::Klips;

/// What came of one row on one data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The day it was tried, `2026-11-25`.
    pub day: String,
    /// What went wrong, if anything.
    pub result: Result<(), String>,
}

/// What came of the rows, by row and data path.
pub type Results = BTreeMap<(usize, &'static str), Seen>;

/// Columns before the results.
const BEFORE: usize = 8;
const PATHS: [Klips; 2] = [Klips::Daemon, Klips::Module];

/// A data path's name in the table.
pub fn path_name(klips: Klips) -> &'static str {
    match klips {
        Klips::Daemon => "klipsd",
        Klips::Module => "klips.ko",
    }
}

/// The table in Markdown: a row each, the results on both data paths last, with their days. What was not tried is left empty.
pub fn table(rows: &[Row], results: &Results) -> String {
    let mut text = "| peer | who initiates | keys | IKE | ESP or AH | mode | PFS | protocols | klipsd | klips.ko |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (at, row) in rows.iter().enumerate() {
        let of = |klips| match (row.lack(), results.get(&(at, path_name(klips)))) {
            (Some(lack), _) => format!("— {lack}"),
            (None, None) => String::new(),
            (
                None,
                Some(Seen {
                    day,
                    result: Ok(()),
                }),
            ) => format!("yes {day}"),
            (
                None,
                Some(Seen {
                    day,
                    result: Err(reason),
                }),
            ) => {
                format!("**no** {day}: {}", reason.replace('|', "/"))
            }
        };
        let cells = PATHS.map(of);
        text += &format!(
            "| {} | {} |\n",
            row.columns().join(" | "),
            cells.join(" | ")
        );
    }
    text
}

/// What a table says of these rows; lines of no row of today's are passed over.
pub fn read(rows: &[Row], table: &str) -> Results {
    let mut results = Results::new();
    for line in table.lines() {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        let Some((columns, said)) = cells.split_at_checked(BEFORE) else {
            continue;
        };
        let Some(number) = rows.iter().position(|row| row.columns() == *columns) else {
            continue;
        };
        for (klips, said) in PATHS.into_iter().zip(said) {
            if let Some(seen) = read_cell(said) {
                results.insert((number, path_name(klips)), seen);
            }
        }
    }
    results
}

fn read_cell(text: &str) -> Option<Seen> {
    if let Some(day) = text.strip_prefix("yes ") {
        let (day, result) = (day.to_owned(), Ok(()));
        return Some(Seen { day, result });
    }
    let (day, reason) = text.strip_prefix("**no** ")?.split_once(": ")?;
    let (day, result) = (day.to_owned(), Err(reason.to_owned()));
    Some(Seen { day, result })
}

/// What stands between the two marks.
pub fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (from, to) = marks(text, begin, end);
    &text[from..to]
}

/// The text with what stands between the two marks replaced.
pub fn replace(text: &str, begin: &str, end: &str, new: &str) -> String {
    let (from, to) = marks(text, begin, end);
    format!("{}\n{new}{}", &text[..from], &text[to..])
}

fn marks(text: &str, begin: &str, end: &str) -> (usize, usize) {
    let at = |mark: &str| {
        text.find(mark)
            .unwrap_or_else(|| panic!("the text has no line {mark}"))
    };
    (at(begin) + begin.len(), at(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::matrix;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rows = matrix();
        let day = "2026-11-25".to_owned();
        let tried = |at: usize| rows[at].exists();
        let mut results = Results::new();
        for at in (0..rows.len()).step_by(3).filter(|at| tried(*at)) {
            let result = match at % 2 {
                0 => Ok(()),
                _ => Err(format!("{at}: said: so")),
            };
            let day = day.clone();
            results.insert((at, path_name(Klips::Module)), Seen { day, result });
        }
        assert!(results.len() > 10);
        assert_eq!(read(&rows, &table(&rows, &results)), results);
    }
}
