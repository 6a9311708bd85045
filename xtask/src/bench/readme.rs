//! The figures that README shows.

use core::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use strata_workloads::Kind;

use super::goals::ns;
use super::ratios::{MEANS, Mean, ratio};
use super::record::{Cell, Entry, Record, Row};
use super::spread::geometric_mean;

/// Replaces what stands between the marks: all workloads together in front, and the table.
pub(crate) fn refill(readme: &Path, record: &Record) -> Result<()> {
    let mut text = fs::read_to_string(readme)?;
    for (mark, new) in [("summary", summary(record)), ("figures", figures(record))] {
        text = refilled(&text, mark, &new)
            .with_context(|| format!("{} has no marks for the {mark}", readme.display()))?;
    }
    fs::write(readme, text).with_context(|| format!("writing {}", readme.display()))
}

fn refilled(text: &str, mark: &str, new: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (head, rest) = text.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}{new}{end}{tail}"))
}

/// Rows that README shows as one: how their names begin, and what they are called together.
const FAMILIES: [(&str, &str); 6] = [
    ("pair-", "pairs of 8 to 256 KiB"),
    ("batch-", "batches of a thousand blocks"),
    ("churn-", "random replacement"),
    ("fleet-", "sizes of a data centre"),
    ("hand-over-", "blocks freed by another thread"),
    ("grow-", "vectors that grow"),
];

/// The means over all workloads, of time and of memory at the peak.
fn summary(record: &Record) -> String {
    let mut text = heading("all workloads, glibc is 1", record);
    for (what, mean) in MEANS.into_iter().filter(|(what, _)| ["time", "peak"].contains(what)) {
        let what = if what == "peak" { "peak resident set" } else { what };
        text += &means(what, mean, record);
    }
    text
}

/// A sentence about the run, and a table of geometric means over the rows of a kind.
fn figures(record: &Record) -> String {
    let Record { command, rounds, revision, machine, .. } = record;
    let mut text = format!("`{command}`, {rounds} rounds, revision {revision}; {machine}.\n\n");
    text += &heading("time of an operation", record);
    for (family, rows) in families(record) {
        let cells: Vec<String> = record.entries.iter().map(|entry| cell(&rows, entry)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {family} | {} |", cells.join(" | "));
    }
    for (what, mean) in MEANS {
        let what = match what {
            "peak" | "final" => format!("{what} resident set"),
            _ => what.to_owned(),
        };
        text += &means(&format!("*{what}, geometric mean*"), mean, record);
    }
    text
}

/// The first lines of a table with a column for each allocator.
fn heading(what: &str, record: &Record) -> String {
    let names: Vec<&str> = record.entries.iter().map(|entry| entry.name.as_str()).collect();
    format!("| {what} | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(names.len()))
}

/// A line of means over all rows.
fn means(what: &str, mean: Mean, record: &Record) -> String {
    let cells = record.entries.iter().map(|entry| {
        mean(record, &entry.name).map_or_else(String::new, |mean| format!("{mean:.2}"))
    });
    format!("| {what} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// The rows of each family, in the order of the record. Series are held against themselves alone and have no line.
fn families(record: &Record) -> Vec<(&str, Vec<&Row>)> {
    let mut families: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in record.rows.iter().filter(|row| row.kind != Kind::Series) {
        let name = family(row);
        match families.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => families.push((name, vec![row])),
        }
    }
    families
}

fn family(row: &Row) -> &str {
    if row.kind == Kind::HotPath {
        return "pairs of up to 1 KiB";
    }
    let known = FAMILIES.iter().find(|(begin, _)| row.workload.starts_with(begin));
    known.map_or(&row.workload, |(_, name)| name)
}

/// The mean of an entry's ratios; the mean of the times for what others are related to.
fn cell(rows: &[&Row], entry: &Entry) -> String {
    if rows.iter().filter_map(|row| row.cell(&entry.name)).any(|cell| !cell.failures.is_empty()) {
        return "failed".to_owned();
    }
    let lines = rows.iter().flat_map(|row| row.parts().into_iter().map(move |part| (row, part)));
    let figures: Vec<f64> = lines
        .filter_map(|(row, part)| {
            let time = |cell: &Cell| cell.time(part);
            if entry.name == entry.base {
                return Some(row.cell(&entry.name).and_then(time)?.median);
            }
            Some(ratio(row, entry, &time)?.median)
        })
        .collect();
    geometric_mean(&figures).map_or_else(String::new, |mean| {
        if entry.name == entry.base { ns(mean) } else { format!("{mean:.2}") }
    })
}

#[cfg(test)]
mod tests;
