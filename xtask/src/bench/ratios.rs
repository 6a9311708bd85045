//! The tables on the terminal.

use core::fmt::Write;

use super::goals::{Answer, Outcome, by_goal, mean_of_rows, mean_time, mib, ns};
use super::record::{Cell, Entry, Record, Row};
use super::spread::Spread;
use crate::table::{Align, Table};

/// For each line of the workloads one of times and for each row one of tail, peak and final memory:
/// the base's median, then for every other contender the ratio of its median to that; for times
/// with the ratios of its least and its largest.
pub(crate) fn table(record: &Record) -> Table {
    let names = record.entries.iter().map(|entry| (entry.name.as_str(), Align::Right));
    let columns = [("workload", Align::Left), ("", Align::Left)];
    let mut table = Table::new(columns.into_iter().chain(names));
    for row in &record.rows {
        for part in row.parts() {
            let time = |cell: &Cell| cell.time(part);
            table.push(line(record, row, row.line(part), "time", &time, ns, true));
        }
        let name = || row.workload.clone();
        table.push(line(record, row, name(), "p99.9", &Cell::p999, ns, false));
        table.push(line(record, row, name(), "peak", &Cell::peak_rss, mib, false));
        table.push(line(record, row, name(), "final", &Cell::final_rss, mib, false));
    }
    for (what, mean) in MEANS {
        let mut cells = vec!["geometric mean".to_owned(), what.to_owned()];
        cells.extend(record.entries.iter().map(|entry| {
            mean(record, &entry.name).map_or_else(String::new, |mean| format!("{mean:.2}"))
        }));
        table.push(cells);
    }
    table
}

/// The mean of an entry, by its name.
pub(crate) type Mean = fn(&Record, &str) -> Option<f64>;

/// Means over all rows, relative to the first entry.
pub(crate) const MEANS: [(&str, Mean); 4] = [
    ("time", mean_time),
    ("p99.9", |record, name| mean_of_rows(record, name, Cell::p999)),
    ("peak", |record, name| mean_of_rows(record, name, Cell::peak_rss)),
    ("final", |record, name| mean_of_rows(record, name, Cell::final_rss)),
];

fn line(
    record: &Record,
    row: &Row,
    name: String,
    what: &str,
    figure: &dyn Fn(&Cell) -> Option<Spread>,
    shown: fn(f64) -> String,
    with_range: bool,
) -> Vec<String> {
    let mut cells = vec![name, what.to_owned()];
    cells.extend(record.entries.iter().map(|entry| {
        let own = row.cell(&entry.name);
        if own.is_some_and(|cell| !cell.failures.is_empty()) {
            return "failed".to_owned();
        }
        if entry.base == entry.name {
            return own.and_then(figure).map_or_else(String::new, |own| shown(own.median));
        }
        ratio(row, entry, figure).map_or_else(String::new, |ratio| {
            let Spread { median, min, max } = ratio;
            if with_range {
                format!("{median:.2} ({min:.2}–{max:.2})")
            } else {
                format!("{median:.2}")
            }
        })
    }));
    cells
}

/// An entry's figure relative to the median of what it is related to.
pub(crate) fn ratio(
    row: &Row,
    entry: &Entry,
    figure: &dyn Fn(&Cell) -> Option<Spread>,
) -> Option<Spread> {
    let base = row.cell(&entry.base).and_then(figure)?;
    let own = row.cell(&entry.name).and_then(figure)?;
    Some(own.relative_to(base.median))
}

/// How many answers there are of each kind, goal by goal, then those that are not what they should be.
pub(crate) fn summary(answers: &[Answer]) -> String {
    let mut text = String::new();
    for (goal, ours, of_goal) in by_goal(answers) {
        let count = |result| of_goal.iter().filter(|a| a.result == result).count();
        let [reached, noise, missed] =
            [Outcome::Reached, Outcome::WithinNoise, Outcome::Missed].map(count);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{ours}: {goal}: {reached} reached, {noise} within noise, {missed} missed"
        );
        for answer in of_goal.iter().filter(|a| a.result == Outcome::Missed) {
            let by = (answer.multiple - 1.0) * 100.0;
            let _ = writeln!(text, "    {}: {} ({by:+.0} %)", answer.line, answer.figures);
        }
    }
    text
}

/// Rows on which what is checked out differs from the other commit by more than their runs do.
pub(crate) fn differences(record: &Record) -> String {
    let mut text = String::new();
    for entry in record.ours() {
        let mut found = 0;
        for row in &record.rows {
            for part in row.parts() {
                let time = |cell: &Cell| cell.time(part);
                let base = row.cell(&entry.base).and_then(time);
                let own = row.cell(&entry.name).and_then(time);
                let Some((own, base)) = own.zip(base) else { continue };
                if own.min > base.max || own.max < base.min {
                    found += 1;
                    let ratio = own.median / base.median;
                    let (line, own, base) = (row.line(part), ns(own.median), ns(base.median));
                    let _ =
                        writeln!(text, "{}: {line}: {ratio:.2} × ({own}, was {base})", entry.name);
                }
            }
        }
        let _ = writeln!(
            text,
            "{}: {found} times differ from {} by more than their runs",
            entry.name, entry.base
        );
    }
    text
}

/// Failures, and contenders that were not there.
pub(crate) fn troubles(record: &Record) -> String {
    let mut text = String::new();
    for row in &record.rows {
        for cell in &row.cells {
            if let Some(failure) = cell.failures.first() {
                let _ = writeln!(text, "{} failed on {}: {failure}", cell.allocator, row.workload);
            }
        }
    }
    for (name, reason) in &record.left_out {
        let _ = writeln!(text, "left out: {name}: {reason}");
    }
    text
}

#[cfg(test)]
mod tests;
