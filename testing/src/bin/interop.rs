//! `make interop`: the whole matrix with both peers on both data paths, and its table in `docs/interop.md`.
//!
//! `interop [WORD...]` tries the rows whose text has all the words (`strongswan they AH tunnel`; a data path's name chooses
//! too, and `untried` those cells that the table has empty) and puts what it saw, and the day, into their cells of the table; a run without words makes the table anew. Logs of failures
//! are in `target/debug/interop/`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use testing::Testbed;
use testing::interop::report::{self, Results, Seen, path_name};
use testing::interop::{Bench, Row, matrix};
use testing::kernel::{self, Clock, Klips};
use testing::peer::Kind;

/// The word for what was not tried.
const UNTRIED: &str = "untried";
/// Rows tried in one boot of a test kernel.
const BATCH: usize = 24;
/// What a row may take.
const ROW_LIMIT: Duration = Duration::from_secs(240);
/// Test kernels at a time.
const AT_ONCE: usize = 2;
const BEGIN: &str = "<!-- matrix: written by make interop -->";
const END: &str = "<!-- end of matrix -->";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [inside, rows @ ..] = &words[..]
        && inside == "--inside"
    {
        try_inside(rows);
        return ExitCode::SUCCESS;
    }
    outside(&words)
}

/// In a test kernel: tries the rows of these numbers, all of one peer, and tells of each in lines.
fn try_inside(numbers: &[String]) {
    let rows = matrix();
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|number| number.parse().expect("--inside takes numbers of rows"))
        .collect();
    let first = numbers.first().expect("--inside takes numbers of rows");
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, rows[*first].peer);
    for number in numbers {
        match bench.attempt(&rows[number]) {
            Ok(()) => println!("row {number} yes"),
            Err(failure) => {
                for line in failure.logs.lines() {
                    println!("log {number} {line}");
                }
                println!("row {number} no {}", failure.reason.replace('\n', " "));
            }
        }
    }
}

/// Some rows, for one boot.
struct Batch {
    klips: Klips,
    rows: Vec<usize>,
}

fn outside(words: &[String]) -> ExitCode {
    let begun = Instant::now();
    let rows = matrix();
    let known = Table::read().known(&rows);
    let mut batches: Vec<Batch> = Vec::new();
    for peer in Kind::ALL {
        for klips in [Klips::Daemon, Klips::Module] {
            let path = path_name(klips);
            let chosen = |at: &usize| {
                let text = format!("{} {path}", rows[*at]);
                let untried = !known.contains_key(&(*at, path));
                rows[*at].peer == peer
                    && rows[*at].exists()
                    && words.iter().all(|word| {
                        (word == UNTRIED && untried) || text.split(' ').any(|have| have == word)
                    })
            };
            let numbers: Vec<usize> = (0..rows.len()).filter(chosen).collect();
            batches.extend(numbers.chunks(BATCH).map(|rows| Batch {
                klips,
                rows: rows.to_vec(),
            }));
        }
    }
    batches.reverse();
    let results = Mutex::new(Results::new());
    let queue = Mutex::new(batches);
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").pop();
                    let Some(batch) = next else { break };
                    run_batch(&batch, &rows, &results);
                }
            });
        }
    });
    let results = results.into_inner().expect("no thread panics with it");
    let failed = results.values().filter(|seen| seen.result.is_err()).count();
    println!(
        "{} passed, {failed} failed, in {} s",
        results.len() - failed,
        begun.elapsed().as_secs()
    );
    // A run of all forgets what was seen before it.
    let known = if words.is_empty() {
        Results::new()
    } else {
        known
    };
    let all: Results = known.into_iter().chain(results).collect();
    Table::read().write(&rows, &all);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_batch(batch: &Batch, rows: &[Row], results: &Mutex<Results>) {
    let (path, day) = (path_name(batch.klips), today());
    let limit = Duration::from_secs(120) + ROW_LIMIT * batch.rows.len() as u32;
    let me = std::env::current_exe().expect("a running program has a name");
    let mut command: Command = kernel::command(batch.klips, Clock::Real, limit);
    command.arg(me).arg("--inside");
    command.args(batch.rows.iter().map(usize::to_string));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("testing/kernels/run can be run");
    let mut log = String::new();
    let mut last = Instant::now();
    let told = |number: usize, result: Result<(), String>, log: &str, seconds: u64| {
        match &result {
            Ok(()) => println!("yes  {} {path} ({seconds} s)", rows[number]),
            Err(reason) => {
                println!("NO   {} {path}: {reason}", rows[number]);
                let file = logs().join(format!("{number}-{path}.log"));
                let text = format!("{} {path}: {reason}\n{log}", rows[number]);
                std::fs::write(&file, text)
                    .unwrap_or_else(|error| eprintln!("{}: {error}", file.display()));
            }
        }
        let day = day.clone();
        results
            .lock()
            .expect("no thread panics with it")
            .insert((number, path), Seen { day, result });
    };
    // Read to its end by a thread of its own, so that a full pipe holds nobody up.
    let mut err = child.stderr.take().expect("stderr is piped");
    let complaints = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut err, &mut text).ok();
        String::from_utf8_lossy(&text).into_owned()
    });
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let Ok(line) = line else { break };
        let mut parts = line.splitn(3, ' ');
        let (kind, number, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
            continue;
        };
        match kind {
            Some("log") => {
                log += rest;
                log.push('\n');
            }
            Some("row") => {
                let result = match rest.strip_prefix("no ") {
                    None => Ok(()),
                    Some(reason) => Err(reason.to_owned()),
                };
                told(number, result, &log, last.elapsed().as_secs());
                last = Instant::now();
                log.clear();
            }
            _ => {}
        }
    }
    let status = child.wait().expect("a child can be waited for");
    let complaints = complaints.join().unwrap_or_default();
    let done: Vec<usize> = {
        let results = results.lock().expect("no thread panics with it");
        let mine = results.keys().filter(|(_, of)| *of == path);
        mine.map(|(number, _)| *number).collect()
    };
    if !status.success() {
        // Whose fault it is can't be known, so none of the rows counts.
        let reason = complaints
            .lines()
            .last()
            .unwrap_or("the test kernel failed");
        eprintln!("{complaints}");
        for number in batch.rows.iter().filter(|number| !done.contains(number)) {
            told(*number, Err(reason.to_owned()), &complaints, 0);
        }
        if status.code() == Some(125) {
            for number in &batch.rows {
                told(*number, Err(reason.to_owned()), &complaints, 0);
            }
        }
    }
}

/// Where the logs of failed rows go.
fn logs() -> PathBuf {
    let me = std::env::current_exe().expect("a running program has a name");
    let target = me
        .ancestors()
        .nth(2)
        .expect("the program is in target/debug");
    let dir = target.join("interop");
    std::fs::create_dir_all(&dir)
        .unwrap_or_else(|error| panic!("{} can't be made: {error}", dir.display()));
    dir
}

/// The table of docs/interop.md, which a run of all rows makes anew and of some rows brings up to date.
struct Table {
    file: PathBuf,
    text: String,
}

impl Table {
    fn read() -> Table {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md");
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{} can't be read: {error}", file.display()));
        Table { file, text }
    }

    fn known(&self, rows: &[Row]) -> Results {
        report::read(rows, report::between(&self.text, BEGIN, END))
    }

    fn write(&self, rows: &[Row], results: &Results) {
        let versions = [Kind::Strongswan, Kind::Libreswan]
            .map(|kind| format!("{} {}", kind.name(), kind.version()));
        let passed = results.values().filter(|seen| seen.result.is_ok()).count();
        let cells = 2 * rows.iter().filter(|row| row.exists()).count();
        let new = format!(
            "\nWith {}: of {cells} cells {passed} passed, {} failed, {} were not tried.\n\n{}\n",
            versions.join(" and "),
            results.len() - passed,
            cells - results.len(),
            report::table(rows, results)
        );
        std::fs::write(&self.file, report::replace(&self.text, BEGIN, END, &new))
            .unwrap_or_else(|error| panic!("{} can't be written: {error}", self.file.display()));
    }
}

/// Today, as `date +%F` has it.
fn today() -> String {
    let said = Command::new("date").arg("+%F").output();
    let said = said.expect("date(1) can be run").stdout;
    String::from_utf8_lossy(&said).trim().to_owned()
}
