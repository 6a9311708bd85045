//! The table of ratios, and what they say about Strata.

use core::fmt::Write;

use super::contender::{BASE, Contender};
use super::rounds::{Cell, Row};
use super::spread::{Spread, geometric_mean};
use crate::table::{Align, Table};

/// A figure of a cell, and how the base's is shown.
struct Quantity {
    name: &'static str,
    of: fn(&Cell) -> Option<Spread>,
    shown: fn(f64) -> String,
}

const QUANTITIES: [Quantity; 2] = [
    Quantity { name: "time", of: Cell::time, shown: nanoseconds },
    Quantity { name: "RSS", of: Cell::peak_rss, shown: |kib| format!("{:.1} MiB", kib / 1024.0) },
];

/// Strata's own entries.
const OURS: [&str; 2] = ["strata", "strata.so"];

/// Peak RSS that Strata may have relative to the base.
const RSS_BOUND: f64 = 1.3;

/// For each workload a line for time and one for peak RSS: the base's median, then for every other
/// allocator the ratio of its median to that, with the ratios of its least and its largest.
pub(crate) fn table(contenders: &[Contender], rows: &[Row]) -> Table {
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
    let mut columns = vec![("workload", Align::Left), ("", Align::Left)];
    columns.extend(names.iter().map(|&name| (name, Align::Right)));
    let mut table = Table::new(columns);
    for row in rows {
        for quantity in &QUANTITIES {
            let mut cells = vec![row.workload.clone(), quantity.name.to_owned()];
            cells.extend(names.iter().map(|name| shown(row, name, quantity)));
            table.push(cells);
        }
    }
    for quantity in &QUANTITIES {
        let mut cells = vec!["geometric mean".to_owned(), quantity.name.to_owned()];
        cells.extend(names.iter().map(|name| {
            geometric_mean(&medians(rows, name, quantity))
                .map_or_else(String::new, |mean| format!("{mean:.2}"))
        }));
        table.push(cells);
    }
    table
}

/// Where Strata is slower than the base, or needs more memory than it may.
pub(crate) fn verdict(rows: &[Row]) -> String {
    let bounds = [("slower than the system's", 1.0), ("peak RSS above 1.3", RSS_BOUND)];
    let mut text = String::new();
    for ours in OURS {
        for (quantity, (what, bound)) in QUANTITIES.iter().zip(bounds) {
            let exceeds =
                |row: &&Row| ratio(row, ours, quantity).is_some_and(|ratio| ratio.median > bound);
            let names: Vec<&str> =
                rows.iter().filter(exceeds).map(|row| row.workload.as_str()).collect();
            if rows.iter().any(|row| row.cell(ours).is_some()) {
                let names = if names.is_empty() { "nowhere".to_owned() } else { names.join(", ") };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{ours}: {what}: {names}");
            }
        }
    }
    for row in rows {
        for cell in &row.cells {
            if let Some(failure) = cell.failures.first() {
                let _ = writeln!(text, "{} failed on {}: {failure}", cell.allocator, row.workload);
            }
        }
    }
    text
}

fn shown(row: &Row, name: &str, quantity: &Quantity) -> String {
    if row.cell(name).is_some_and(|cell| !cell.failures.is_empty()) {
        return "failed".to_owned();
    }
    if name == BASE {
        let base = row.cell(BASE).and_then(quantity.of);
        return base.map_or_else(String::new, |base| (quantity.shown)(base.median));
    }
    ratio(row, name, quantity).map_or_else(String::new, |ratio| {
        format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
    })
}

fn ratio(row: &Row, name: &str, quantity: &Quantity) -> Option<Spread> {
    let base = row.cell(BASE).and_then(quantity.of)?;
    let own = row.cell(name).and_then(quantity.of)?;
    Some(own.relative_to(base.median))
}

fn medians(rows: &[Row], name: &str, quantity: &Quantity) -> Vec<f64> {
    rows.iter().filter_map(|row| Some(ratio(row, name, quantity)?.median)).collect()
}

fn nanoseconds(ns: f64) -> String {
    if ns < 10_000.0 { format!("{ns:.1} ns") } else { format!("{:.1} µs", ns / 1000.0) }
}

#[cfg(test)]
mod tests;
