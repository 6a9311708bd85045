//! What was chosen when the heap started.

use crate::{PageHeapKind, Snapshot};
use core::fmt::{Result, Write};
use strata_alloc::FrontEnd;
use strata_cpu_cache::{Fences, IdKind};

/// Strata's choices, in the form of TCMalloc's experiments; and which caches run, and why.
pub(crate) fn render(snapshot: &Snapshot, page_heap: PageHeapKind, out: &mut dyn Write) -> Result {
    let front_end = snapshot.heap.front_end;
    write!(out, "MALLOC EXPERIMENTS:")?;
    for (name, chosen) in [
        ("STRATA_PER_CPU", matches!(front_end, FrontEnd::PerCpu(_))),
        ("STRATA_MM_CID", front_end == FrontEnd::PerCpu(IdKind::Concurrency)),
        ("TCMALLOC_TEMERAIRE", page_heap == PageHeapKind::HugePageAware),
        // The hugepage-aware page heap always gives back parts of hugepages, where demand allows.
        ("TCMALLOC_TEMERAIRE_WITH_SUBRELEASE_V3", page_heap == PageHeapKind::HugePageAware),
    ] {
        write!(out, " {name}={}", u8::from(chosen))?;
    }
    writeln!(out)?;
    match front_end {
        FrontEnd::PerCpu(kind) => {
            let id = match kind {
                IdKind::Concurrency => "concurrency id",
                IdKind::Cpu => "CPU number",
            };
            write!(out, "MALLOC FRONT END: per-CPU caches (by {id}")?;
            match snapshot.heap.fences {
                Fences::Unknown => writeln!(out, ")"),
                fences => writeln!(out, "; fences {})", fences.as_str()),
            }
        }
        FrontEnd::PerThread(why) => {
            writeln!(out, "MALLOC FRONT END: per-thread caches ({})", why.as_str())
        }
        FrontEnd::Observed(observer) => {
            writeln!(out, "MALLOC FRONT END: no caches ({})", observer.as_str())
        }
    }
}
