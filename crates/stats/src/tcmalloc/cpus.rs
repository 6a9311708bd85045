//! The caches of single CPUs.

use super::RULE;
use crate::page_heap_report::temeraire::Form;
use crate::{CpuTable, MoreCpus, figure::Mebibytes};
use core::fmt::{Result, Write};

/// Nothing if the heap runs per thread.
pub(crate) fn render(cpus: &CpuTable, form: Form, out: &mut dyn Write) -> Result {
    if cpus.iter().next().is_none() {
        return Ok(());
    }
    writeln!(out, "{RULE}")?;
    writeln!(out, "Bytes in per-CPU caches (per cpu limit: {} bytes)", cpus.limit_bytes)?;
    writeln!(out, "{RULE}")?;
    // Today's form has one blank more before the states.
    let blank = if form == Form::Today { " " } else { "" };
    for (id, cpu) in cpus.iter() {
        let has_state = cpu.active || cpu.populated;
        writeln!(
            out,
            "cpu {id:3}: {:12} bytes ({:7.1} MiB) with{:12} bytes unallocated{}{}{}",
            cpu.held_bytes,
            Mebibytes(cpu.held_bytes),
            cpu.unallocated_bytes,
            if has_state { blank } else { "" },
            if cpu.active { " active" } else { "" },
            if cpu.populated { " populated" } else { "" },
        )?;
    }
    let MoreCpus { caches, held_bytes, unallocated_bytes } = cpus.more;
    if caches != 0 {
        writeln!(
            out,
            "{caches} more: {held_bytes:9} bytes ({:7.1} MiB) with{unallocated_bytes:12} bytes unallocated",
            Mebibytes(held_bytes),
        )?;
    }
    Ok(())
}
