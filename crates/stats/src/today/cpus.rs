//! The per-CPU caches: what they hold, what they may hold, how often they missed.

use super::classes::heading;
use crate::page_heap_report::temeraire::Form;
use crate::tcmalloc::{RULE, cpus};
use crate::{CpuMisses, Details, MissAges, SlabChanges, Snapshot};
use core::fmt::{Display, Formatter, Result, Write};

/// Nothing if the heap runs per thread.
pub(super) fn render(snapshot: &Snapshot, details: &Details, out: &mut dyn Write) -> Result {
    if snapshot.cpus.iter().next().is_none() {
        return Ok(());
    }
    cpus::render(&snapshot.cpus, Form::Today, out)?;
    heading(&["Size class capacity statistics in per-cpu caches"], out)?;
    for ((index, class), (_, details)) in snapshot.classes.iter().zip(details.classes()) {
        let capacity = &details.capacity;
        write!(
            out,
            "class {index:3} [ {:8} bytes ] : {:6} (minimum), {:7.1} (average), {:6} (maximum), {:6} maximum allowed \
             capacity",
            class.object_bytes,
            capacity.least,
            capacity.mean(),
            capacity.greatest,
            capacity.allowed,
        )?;
        if let Some(misses) = &details.misses {
            write!(
                out,
                ", maximum capacity misses {:8}, (underflow: [{}]; overflow [{}]",
                misses.at_greatest_capacity,
                Ages(misses.underflow),
                Ages(misses.overflow),
            )?;
        }
        writeln!(out)?;
    }
    misses(snapshot, details, out)?;
    slabs(details, out)
}

/// How long ago something was, on the CPU on which it was last and on that on which it is longest ago; if it never
/// was, what TCMalloc says then.
struct Ages(Option<MissAges>);

impl Display for Ages {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            None => write!(f, "{} us CPU -1, 0 us CPU -1", i64::MAX),
            Some(MissAges { latest_ns, latest_id, earliest_ns, earliest_id }) => write!(
                f,
                "{} us CPU {latest_id}, {} us CPU {earliest_id}",
                latest_ns / 1000,
                earliest_ns / 1000,
            ),
        }
    }
}

fn misses(snapshot: &Snapshot, details: &Details, out: &mut dyn Write) -> Result {
    heading(&["Number of per-CPU cache underflows, overflows, and drains"], out)?;
    let total = &snapshot.heap.cpu;
    let total = CpuMisses {
        underflows: total.underflows,
        overflows: total.overflows,
        drains: total.drains,
        resizes: total.resizes,
        ..CpuMisses::default()
    };
    line("Total  ", &total, out)?;
    for (id, misses) in details.cpus() {
        write!(out, "cpu {id:3}")?;
        line("", misses, out)?;
    }
    Ok(())
}

fn line(front: &str, misses: &CpuMisses, out: &mut dyn Write) -> Result {
    let CpuMisses { underflows, overflows, drains, resizes, .. } = *misses;
    let ratio = if underflows == 0 { 0.0 } else { overflows as f64 / underflows as f64 };
    writeln!(
        out,
        "{front}: {underflows:11} underflows, {overflows:11} overflows, overflows / underflows: {ratio:5.2}, {drains:12} \
         drains (reclaims), {resizes:11} resizes"
    )
}

/// Each CPU's slab has a size of its own.
fn slabs(details: &Details, out: &mut dyn Write) -> Result {
    writeln!(out, "{RULE}")?;
    writeln!(out, "Per-CPU cache slab resizing info:")?;
    writeln!(out, "{RULE}")?;
    // TCMalloc has one size for all CPUs.
    let greatest = details.cpus().map(|(_, misses)| misses.region_bytes).max().unwrap_or(0);
    let shift = greatest.checked_ilog2().unwrap_or(0);
    writeln!(out, "Current shift: {shift:3} (slab size: {:4} KiB)", greatest >> 10)?;
    for SlabChanges { region_bytes, growths, shrinkages } in &details.slabs {
        let shift = region_bytes.checked_ilog2().unwrap_or(0);
        writeln!(out, "shift {shift:3}: {growths:11} growths, {shrinkages:12} shrinkages")?;
    }
    writeln!(out, "{:12} bytes for which MADVISE_DONTNEED failed", details.slab_refused_bytes)?;
    for (id, CpuMisses { region_bytes, region_resizes, .. }) in details.cpus() {
        let shift = region_bytes.checked_ilog2().unwrap_or(0);
        writeln!(
            out,
            "cpu {id:3}: current shift: {shift:3} (slab size: {:4} KiB), {region_resizes:11} growths and shrinkages",
            region_bytes >> 10,
        )?;
    }
    Ok(())
}
