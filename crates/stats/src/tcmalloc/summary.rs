//! The first lines: what is used for what, and what the kernel says.

use super::{RULE, sum_line};
use crate::{Category, Ledger, Part, figure::Mebibytes};
use core::fmt::{Result, Write};
use strata_os::ProcessMemory;

/// The lines add up exactly: what is printed is summed, not measured once more.
pub(super) fn render(ledger: &Ledger, out: &mut dyn Write) -> Result {
    let of = |category| ledger.bytes(category);
    writeln!(out, "{RULE}")?;
    sum_line(out, ' ', of(Category::InUse), "Bytes in use by application")?;
    sum_line(out, '+', ledger.free_pages_bytes(), "Bytes in page heap freelist")?;
    sum_line(out, '+', of(Category::Central), "Bytes in central cache freelist")?;
    sum_line(out, '+', of(Category::PerCpu), "Bytes in per-CPU cache freelist")?;
    sum_line(out, '+', of(Category::Transfer), "Bytes in transfer cache freelist")?;
    sum_line(out, '+', ledger.thread_caches_bytes(), "Bytes in thread cache freelists")?;
    sum_line(out, '+', ledger.part_bytes(Part::Metadata), "Bytes in malloc metadata")?;
    writeln!(out, "MALLOC:   ------------")?;
    sum_line(out, '=', ledger.actual_bytes(), "Actual memory used (physical + swap)")?;
    sum_line(out, '+', ledger.part_bytes(Part::Released), "Bytes released to OS (aka unmapped)")?;
    writeln!(out, "MALLOC:   ------------")?;
    sum_line(out, '=', ledger.virtual_bytes(), "Virtual address space used")?;
    writeln!(out, "MALLOC:")
}

/// How what is free goes back.
pub(crate) fn render_hint(out: &mut dyn Write) -> Result {
    writeln!(out, "{RULE}")?;
    writeln!(
        out,
        "Call ReleaseMemoryToSystem() to release freelist memory to the OS (via madvise())."
    )?;
    writeln!(out, "Bytes released to the OS take up virtual address space but no physical memory.")
}

/// What the kernel counts as the process's; the section is left out where it does not tell.
pub(super) fn render_process(process: Option<ProcessMemory>, out: &mut dyn Write) -> Result {
    let Some(process) = process else { return Ok(()) };
    writeln!(out)?;
    writeln!(out, "Total process stats (inclusive of non-malloc sources):")?;
    for (bytes, name) in [
        (process.resident_bytes, "Bytes resident (physical memory used)"),
        (process.mapped_bytes, "Bytes mapped (virtual memory used)"),
    ] {
        writeln!(out, "TOTAL: {bytes:12} ({:7.1} MiB) {name}", Mebibytes(bytes as u64))?;
    }
    Ok(())
}
