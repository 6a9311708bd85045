//! The lines of which the first sections are made.

use crate::figure::Mebibytes;
use core::fmt::{Result, Write};
use strata_span::PoolStats;

/// Bytes that are part of a sum.
pub(crate) fn sum_line(out: &mut dyn Write, sign: char, bytes: u64, name: &str) -> Result {
    writeln!(out, "MALLOC: {sign} {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes))
}

/// Bytes that are told besides.
pub(crate) fn bytes_line(bytes: u64, name: &str, out: &mut dyn Write) -> Result {
    writeln!(out, "MALLOC:   {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes))
}

/// A number that is none of bytes in memory.
pub(crate) fn count_line(number: u64, name: &str, out: &mut dyn Write) -> Result {
    writeln!(out, "MALLOC:   {number:12}               {name}")
}

/// How many structures of a kind are in use, and how many were made.
pub(crate) fn pool_lines(name: &str, stats: &PoolStats, out: &mut dyn Write) -> Result {
    let created_bytes = stats.created.saturating_mul(stats.item_bytes);
    writeln!(out, "MALLOC:   {:12}               {name} in use", stats.in_use)?;
    writeln!(
        out,
        "MALLOC:   {:12} ({:7.1} MiB) {name} created",
        stats.created,
        Mebibytes(created_bytes)
    )
}
