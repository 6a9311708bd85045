//! What looking for misuse costs: a library that does not look, the library as it is, and a hardened heap.

use core::fmt::Write;

use anyhow::Result;

use super::contender::{BASE, Contender, Prepared, STRATA_PRELOADED, build_linked};
use super::goals::timed_lines;
use super::ratios;
use super::record::{Entry, Record, Role, Row};
use super::spread::geometric_mean;
use crate::dist;
use crate::page_size::PageSizeName;
use crate::table::{Align, Table};
use crate::workspace::Workspace;

const UNCHECKED: &str = "unchecked";
const HARDENED: &str = "hardened";

/// The three, all preloaded. The library as it is is related to the one that does not look, and the hardened heap
/// to the library as it is.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Prepared> {
    let program = build_linked(workspace, BASE)?;
    dist::build_library(workspace, PageSizeName::Eight)?;
    let library = dist::shared_library(workspace, PageSizeName::Eight);
    let unchecked = dist::build_unchecked_library(workspace)?;
    let contender = |name, base, role, library| {
        Contender::new(name, base, role, program.clone(), Some(library))
    };
    let contenders = vec![
        contender(UNCHECKED, UNCHECKED, Role::Peer, unchecked),
        contender(STRATA_PRELOADED, UNCHECKED, Role::Ours, library.clone()),
        contender(HARDENED, STRATA_PRELOADED, Role::Ours, library).with_conf("hardened:true"),
    ];
    Ok(Prepared { contenders, left_out: Vec::new() })
}

/// The least time of each line, of which other work on the machine spoils less than of medians: the first's, and
/// the others' as parts of what they are related to; and the geometric means of these parts.
pub(crate) fn least_times(record: &Record) -> Table {
    let columns = record.entries.iter().map(|entry| {
        let of = if entry.base == entry.name { "ns" } else { entry.base.as_str() };
        (format!("{} / {of}", entry.name), Align::Right)
    });
    let columns: Vec<(String, Align)> = columns.collect();
    let first = [("workload, least time", Align::Left)];
    let shown = columns.iter().map(|(name, align)| (name.as_str(), *align));
    let mut table = Table::new(first.into_iter().chain(shown));
    for (row, part) in timed_lines(record) {
        let cells = record.entries.iter().map(|entry| match part_of_base(entry, row, part) {
            Some(part) => format!("{part:.2}"),
            None => row
                .cell(&entry.name)
                .and_then(|cell| cell.time(part))
                .map_or_else(String::new, |time| format!("{:.1}", time.min)),
        });
        table.push([row.line(part)].into_iter().chain(cells));
    }
    let means = record.entries.iter().map(|entry| mean(record, entry));
    let means = means.map(|mean| mean.map_or_else(String::new, |mean| format!("{mean:.2}")));
    table.push(["geometric mean".to_owned()].into_iter().chain(means));
    table
}

/// The same means in words, and those of medians.
pub(crate) fn summary(record: &Record) -> String {
    let mut text = String::new();
    for entry in record.ours() {
        let medians: Vec<f64> = timed_lines(record)
            .filter_map(|(row, part)| {
                Some(ratios::ratio(row, entry, &|cell| cell.time(part))?.median)
            })
            .collect();
        if let Some((least, median)) = mean(record, entry).zip(geometric_mean(&medians)) {
            let (name, base, lines) = (&entry.name, &entry.base, medians.len());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name}: {least:.2} times {base} by the least times of {lines} lines, {median:.2} by medians"
            );
        }
    }
    text
}

fn part_of_base(entry: &Entry, row: &Row, part: &str) -> Option<f64> {
    let of = |name: &str| Some(row.cell(name)?.time(part)?.min);
    (entry.base != entry.name).then(|| Some(of(&entry.name)? / of(&entry.base)?))?
}

fn mean(record: &Record, entry: &Entry) -> Option<f64> {
    let parts: Vec<f64> =
        timed_lines(record).filter_map(|(row, part)| part_of_base(entry, row, part)).collect();
    geometric_mean(&parts)
}
