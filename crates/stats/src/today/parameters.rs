//! The options in force, by the names that TCMalloc has for them.

use crate::{PageHeapDetails, Snapshot};
use core::fmt::{self, Display, Formatter, Result, Write};
use strata_alloc::FrontEnd;
use strata_cpu_cache::IdKind;

/// A span of time as `1m30s` or `250ms`; `0` if it is none.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) ns: u64,
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.ns == 0 {
            return f.write_str("0");
        }
        let (seconds, rest_ms) = (self.ns / 1_000_000_000, self.ns / 1_000_000 % 1000);
        if seconds == 0 {
            return write!(f, "{}ms", self.ns as f64 / 1e6);
        }
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        for (count, unit) in [(hours, "h"), (minutes, "m")] {
            if count != 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        if seconds != 0 || rest_ms != 0 {
            write!(f, "{}s", seconds as f64 + rest_ms as f64 / 1000.0)?;
        }
        Ok(())
    }
}

/// An option of TCMalloc's, as it stands in Strata.
pub(crate) enum Value {
    /// On or off.
    Is(bool),
    /// A number.
    Number(u64),
    /// A span of time.
    Time(Span),
    /// One of several.
    Word(&'static str),
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(is) => write!(f, "{}", u8::from(*is)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(span) => write!(f, "{span}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// Those that Strata has too, or has in one way alone, in TCMalloc's order.
pub(crate) fn todays(
    snapshot: &Snapshot,
    page_heap: PageHeapDetails<'_>,
) -> [(&'static str, Value); 21] {
    use Value::{Is, Number, Time, Word};
    let (is_temeraire, filler) = match page_heap {
        PageHeapDetails::Temeraire(figures) => (true, Some(&figures.filler)),
        _ => (false, None),
    };
    let vcpu = match snapshot.heap.front_end {
        FrontEnd::PerCpu(IdKind::Concurrency) => "MM_CID",
        _ => "NONE",
    };
    let populated = snapshot.cpus.populated() as u64;
    let last = snapshot.cpus.iter().filter(|(_, cpu)| cpu.populated).last();
    let touched_ids = last.map_or(0, |(id, _)| id as u64 + 1);
    [
        ("malloc_release_bytes_per_sec", Number(snapshot.config.release_rate as u64)),
        (
            "tcmalloc_skip_subrelease_short_interval",
            Time(Span { ns: filler.map_or(0, |filler| filler.skip_short_ns) }),
        ),
        (
            "tcmalloc_skip_subrelease_long_interval",
            Time(Span { ns: filler.map_or(0, |filler| filler.skip_long_ns) }),
        ),
        ("tcmalloc_release_partial_alloc_pages", Is(is_temeraire)),
        ("tcmalloc_release_pages_from_huge_region", Is(is_temeraire)),
        ("tcmalloc_huge_region_adaptive_release", Is(false)),
        ("madvise_cold_regions_nohugepage", Is(false)),
        ("tcmalloc_use_wider_slabs", Is(false)),
        ("heap_partitioning", Is(false)),
        ("size_class_config", Word("STRATA")),
        ("percpu_vcpu_type", Word(vcpu)),
        ("madvise", Word("MADVISE_DONTNEED")),
        ("tcmalloc_resize_size_class_max_capacity", Is(false)),
        ("tcmalloc_dense_trackers_sorted_on_spans_allocated", Is(is_temeraire)),
        ("tcmalloc_usermode_hugepage_collapse", Is(is_temeraire)),
        ("tcmalloc_subrelease_unbacked_hugepages", Is(false)),
        ("tcmalloc_back_small_allocations", Is(false)),
        ("tcmalloc_cpu_cache_touched", Number(populated)),
        ("max_tcmalloc_cpu_cache_touched", Number(touched_ids)),
        ("tcmalloc_enable_unfiltered_collapse", Is(false)),
        ("tcmalloc_release_stale_pages", Is(false)),
    ]
}

pub(super) fn render(
    snapshot: &Snapshot,
    page_heap: PageHeapDetails<'_>,
    out: &mut dyn Write,
) -> Result {
    todays(snapshot, page_heap)
        .iter()
        .try_for_each(|(name, value)| writeln!(out, "PARAMETER {name} {value}"))
}

#[cfg(test)]
mod tests;
