//! What comes behind the page heap.

use super::RULE;
use crate::properties::cache_limits;
use crate::{Ledger, Snapshot, figure::Mebibytes};
use core::fmt::{Result, Write};
use strata_alloc::FrontEnd;

/// The state of guarded sampling, which Strata does not do: the section says so at its end. Its lines are those
/// given, with zeros.
pub(crate) fn render_guarded(lines: &[&str], out: &mut dyn Write) -> Result {
    writeln!(out)?;
    writeln!(out, "{RULE}")?;
    writeln!(out, "GWP-ASan Status")?;
    writeln!(out, "{RULE}")?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "PARAMETER tcmalloc_guarded_sample_parameter -1")?;
    writeln!(out, "Guarded Sampling: inactive")
}

/// The lines of April 2020.
pub(super) const GUARDED_LINES: [&str; 5] = [
    "Successful Allocations: 0",
    "Failed Allocations: 0",
    "Slots Currently Allocated: 0",
    "Slots Currently Quarantined: 0",
    "Maximum Slots Allocated: 0 / 0",
];

/// The limits; none is the greatest number.
pub(crate) fn render_limits(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let limits = snapshot.heap.page_heap.limits.limits;
    for (name, bytes) in [
        ("desired_usage_limit_bytes", limits.soft_bytes),
        ("hard_usage_limit_bytes", limits.hard_bytes),
    ] {
        writeln!(out, "PARAMETER {name} {}", if bytes == 0 { u64::MAX } else { bytes })?;
    }
    Ok(())
}

/// The options in force that TCMalloc has too.
pub(crate) fn render_parameters(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let per_cpu = matches!(snapshot.heap.front_end, FrontEnd::PerCpu(_));
    let caches = cache_limits(snapshot);
    for (name, value) in [
        ("tcmalloc_per_cpu_caches", u64::from(per_cpu)),
        ("tcmalloc_max_per_cpu_cache_size", caches.per_cpu_bytes),
        ("tcmalloc_max_total_thread_cache_bytes", caches.all_threads_bytes),
    ] {
        writeln!(out, "PARAMETER {name} {value}")?;
    }
    Ok(())
}

/// What came from the system.
pub(crate) fn render_low_level(
    snapshot: &Snapshot,
    ledger: &Ledger,
    out: &mut dyn Write,
) -> Result {
    let mapped = ledger.mapped_bytes;
    writeln!(out)?;
    writeln!(out, "Low-level allocator stats:")?;
    writeln!(out, "Memory Release Failures: {}", snapshot.heap.page_heap.release_failures)?;
    writeln!(out, "MmapSysAllocator: {mapped} bytes ({:.1} MiB) reserved", Mebibytes(mapped))
}
