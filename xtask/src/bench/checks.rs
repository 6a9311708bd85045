//! What looking for misuse costs: a library that does not look, the library as it is, and a hardened heap.

use core::fmt::Write;

use anyhow::Result;

use super::contender::{BASE, Contender, Prepared, STRATA_PRELOADED, build_linked};
use super::goals::timed_lines;
use super::record::{Record, Role};
use super::spread::{Spread, geometric_mean};
use crate::dist;
use crate::page_size::PageSizeName;
use crate::workspace::Workspace;

const UNCHECKED: &str = "unchecked";
const HARDENED: &str = "hardened";

/// The three, all preloaded. The library as it is is related to the one that does not look, and the hardened heap to the library
/// as it is.
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

/// The geometric mean of each one's times over all lines, relative to what it is related to: of medians, and of the least times,
/// which other work on the machine spoils less.
pub(crate) fn summary(record: &Record) -> String {
    let mut text = String::new();
    for entry in record.ours() {
        let ratios = |figure: fn(&Spread) -> f64| -> Vec<f64> {
            timed_lines(record)
                .filter_map(|(row, part)| {
                    let base = row.cell(&entry.base)?.time(part)?;
                    Some(figure(&row.cell(&entry.name)?.time(part)?) / figure(&base))
                })
                .collect()
        };
        let (medians, least) = (ratios(|time| time.median), ratios(|time| time.min));
        if let Some((median, least)) = geometric_mean(&medians).zip(geometric_mean(&least)) {
            let (name, base, lines) = (&entry.name, &entry.base, medians.len());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name}: {median:.2} times {base}, the mean of {lines} lines ({least:.2} by the least times)"
            );
        }
    }
    text
}
