//! Single figures by the names that `MallocExtension` has for them.

use crate::{Category, Ledger, PageHeapKind, Part, Snapshot};
use strata_alloc::FrontEnd;
use strata_cpu_cache::IdKind;
use strata_page_heap::{PageHeapStats, PeakFigures};
use strata_thread_cache::LEAST_BYTES;

/// A figure with a name.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    read: fn(&Taken<'_>) -> u64,
}

impl Property {
    /// What it is in a snapshot.
    pub fn of(&self, snapshot: &Snapshot, page_heap: PageHeapKind) -> u64 {
        (self.read)(&Taken { snapshot, ledger: Ledger::of(snapshot), page_heap })
    }
}

/// What properties are read from.
struct Taken<'a> {
    snapshot: &'a Snapshot,
    ledger: Ledger,
    page_heap: PageHeapKind,
}

impl Taken<'_> {
    fn of(&self, category: Category) -> u64 {
        self.ledger.bytes(category)
    }

    fn page_heap(&self) -> &PageHeapStats {
        &self.snapshot.heap.page_heap
    }

    /// Free, but not for everything.
    fn external_fragmentation(&self) -> u64 {
        let (free, metadata) =
            (self.ledger.part_bytes(Part::Free), self.ledger.part_bytes(Part::Metadata));
        free.wrapping_add(metadata)
    }

    /// What gperftools counts as thread caches: those in front, whichever run.
    fn front_caches(&self) -> u64 {
        self.of(Category::PerCpu).wrapping_add(self.ledger.thread_caches_bytes())
    }

    fn front_end(&self) -> FrontEnd {
        self.snapshot.heap.front_end
    }
}

/// The figure of that name in a snapshot; none if there is no such name.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{PageHeapKind, Snapshot, property};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// heap.allocate(100);
/// let snapshot = Snapshot::take(heap.core().expect("the first block set it up"));
/// let read = |name| property(name, &snapshot, PageHeapKind::HugePageAware);
/// assert_eq!(read("generic.current_allocated_bytes"), Some(112));
/// assert_eq!(read("generic.unheard_of"), None);
/// ```
pub fn property(name: &str, snapshot: &Snapshot, page_heap: PageHeapKind) -> Option<u64> {
    let property = PROPERTIES.iter().find(|property| property.name == name)?;
    Some(property.of(snapshot, page_heap))
}

macro_rules! properties {
    ($($name:literal => $read:expr,)*) => {
        &[$(Property { name: $name, read: $read }),*]
    };
}

/// All of them, in bytes unless named otherwise. The names are TCMalloc's, with those of gperftools that have a
/// meaning here behind them, and `strata.` before the ledger's own; `experiment.` stands before those of Strata's
/// choices.
///
/// What Strata does not have is 0 truly: there are no sharded transfer caches, no partitions, and nothing is
/// sampled. Fragmentation is told in per cent. No limit is the greatest number.
pub static PROPERTIES: &[Property] = properties! {
    "generic.current_allocated_bytes" => |taken| taken.of(Category::InUse),
    "generic.bytes_in_use_by_app" => |taken| taken.of(Category::InUse),
    "generic.heap_size" => |taken| {
        let stats = taken.page_heap();
        stats.system_bytes.saturating_sub(stats.unmapped_bytes)
    },
    "generic.peak_memory_usage" => |taken| taken.page_heap().peak_backed_bytes,
    "generic.physical_memory_used" => |taken| taken.ledger.actual_bytes(),
    "generic.realized_fragmentation" => |taken| {
        (realized_fragmentation(&taken.page_heap().peak) * 100.0) as u64
    },
    "generic.virtual_memory_used" => |taken| taken.ledger.virtual_bytes(),
    "tcmalloc.central_cache_free" => |taken| taken.of(Category::Central),
    "tcmalloc.cpu_free" => |taken| taken.of(Category::PerCpu),
    "tcmalloc.current_total_thread_cache_bytes" => |taken| taken.ledger.thread_caches_bytes(),
    "tcmalloc.desired_usage_limit_bytes" => |taken| {
        limit(taken.page_heap().limits.limits.soft_bytes)
    },
    "tcmalloc.external_fragmentation_bytes" => |taken| taken.external_fragmentation(),
    "tcmalloc.hard_limit_hits" => |taken| taken.page_heap().limits.hard_hits,
    "tcmalloc.hard_usage_limit_bytes" => |taken| {
        limit(taken.page_heap().limits.limits.hard_bytes)
    },
    "tcmalloc.local_bytes" => |taken| {
        taken.front_caches()
    },
    "tcmalloc.max_total_thread_cache_bytes" => |taken| {
        cache_limits(taken.snapshot).all_threads_bytes
    },
    "tcmalloc.metadata_bytes" => |taken| taken.ledger.part_bytes(Part::Metadata),
    "tcmalloc.num_released_total_bytes" => |taken| taken.page_heap().released.total(),
    "tcmalloc.num_released_release_memory_to_system_bytes" => |taken| {
        taken.page_heap().released.call
    },
    "tcmalloc.num_released_process_background_actions_bytes" => |taken| {
        let released = &taken.page_heap().released;
        released.policy.wrapping_add(released.idle)
    },
    "tcmalloc.num_released_soft_limit_exceeded_bytes" => |taken| {
        taken.page_heap().released.soft_limit
    },
    "tcmalloc.num_released_hard_limit_exceeded_bytes" => |taken| {
        taken.page_heap().released.hard_limit
    },
    "tcmalloc.page_heap_free" => |taken| taken.ledger.free_pages_bytes(),
    "tcmalloc.pageheap_free_bytes" => |taken| taken.ledger.free_pages_bytes(),
    "tcmalloc.page_heap_unmapped" => |taken| taken.of(Category::Released),
    "tcmalloc.pageheap_unmapped_bytes" => |taken| taken.of(Category::Released),
    "tcmalloc.per_cpu_caches_active" => |taken| {
        u64::from(matches!(taken.front_end(), FrontEnd::PerCpu(_)))
    },
    "tcmalloc.required_bytes" => |taken| {
        taken.ledger.actual_bytes().saturating_sub(taken.ledger.free_pages_bytes())
    },
    "tcmalloc.sampled_internal_fragmentation" => |_| 0,
    "tcmalloc.security_partitioning_active" => |_| 0,
    "tcmalloc.sharded_transfer_cache_free" => |_| 0,
    "tcmalloc.slack_bytes" => |taken| {
        taken.ledger.free_pages_bytes().wrapping_add(taken.of(Category::Released))
    },
    "tcmalloc.soft_limit_hits" => |taken| taken.page_heap().limits.soft_hits,
    "tcmalloc.successful_shrinks_after_soft_limit_hit" => |taken| {
        taken.page_heap().limits.soft_successes
    },
    "tcmalloc.successful_shrinks_after_hard_limit_hit" => |taken| {
        let limits = &taken.page_heap().limits;
        limits.hard_hits.saturating_sub(limits.hard_failures)
    },
    "tcmalloc.thread_cache_count" => |taken| taken.snapshot.heap.thread_caches.caches,
    "tcmalloc.thread_cache_free" => |taken| taken.ledger.thread_caches_bytes(),
    "tcmalloc.transfer_cache_free" => |taken| taken.of(Category::Transfer),
    // As gperftools calls them.
    "generic.total_physical_bytes" => |taken| taken.ledger.actual_bytes(),
    "tcmalloc.central_cache_free_bytes" => |taken| taken.of(Category::Central),
    "tcmalloc.transfer_cache_free_bytes" => |taken| taken.of(Category::Transfer),
    "tcmalloc.thread_cache_free_bytes" => |taken| taken.front_caches(),
    "tcmalloc.pageheap_committed_bytes" => |taken| {
        let stats = taken.page_heap();
        stats.system_bytes.saturating_sub(stats.unmapped_bytes)
    },
    "tcmalloc.pageheap_total_decommit_bytes" => |taken| taken.page_heap().released.total(),
    "tcmalloc.pageheap_total_reserve_bytes" => |taken| taken.page_heap().reserved_bytes,
    "tcmalloc.heap_limit_mb" => |taken| taken.page_heap().limits.limits.hard_bytes >> 20,
    "tcmalloc.min_per_thread_cache_size" => |_| LEAST_BYTES,
    "tcmalloc.sampling_period_bytes" => |_| 0,
    "tcmalloc.impl.thread_cache_count" => |taken| taken.snapshot.heap.thread_caches.caches,
    // Strata's own.
    "strata.mapped_bytes" => |taken| taken.ledger.mapped_bytes,
    "strata.never_used_bytes" => |taken| taken.ledger.part_bytes(Part::NeverUsed),
    "strata.in_use_by_threads_bytes" => |taken| taken.ledger.in_use_by_threads_bytes,
    "strata.unexplained_bytes" => |taken| taken.ledger.unexplained().unsigned_abs(),
    "strata.slack_estimate_bytes" => |taken| taken.snapshot.slack_estimate_bytes(),
    "tcmalloc.experiment.STRATA_PER_CPU" => |taken| {
        u64::from(matches!(taken.front_end(), FrontEnd::PerCpu(_)))
    },
    "tcmalloc.experiment.STRATA_MM_CID" => |taken| {
        u64::from(taken.front_end() == FrontEnd::PerCpu(IdKind::Concurrency))
    },
    "tcmalloc.experiment.TCMALLOC_TEMERAIRE" => |taken| {
        u64::from(taken.page_heap == PageHeapKind::HugePageAware)
    },
    "tcmalloc.experiment.TCMALLOC_TEMERAIRE_WITH_SUBRELEASE_V3" => |taken| {
        u64::from(taken.page_heap == PageHeapKind::HugePageAware)
    },
};

/// No limit is the greatest number.
const fn limit(bytes: u64) -> u64 {
    if bytes == 0 { u64::MAX } else { bytes }
}

/// How much was free and backed at the moment at which most was in spans, as a share of that; 0 before the first span.
pub(crate) fn realized_fragmentation(peak: &PeakFigures) -> f64 {
    match peak.in_use_bytes {
        0 => 0.0,
        in_use => peak.free_bytes as f64 / in_use as f64,
    }
}

/// What caches may hold, now.
pub(crate) struct CacheLimits {
    pub(crate) per_cpu_bytes: u64,
    pub(crate) all_threads_bytes: u64,
}

/// Where there are no per-CPU caches, what they were configured to hold.
pub(crate) fn cache_limits(snapshot: &Snapshot) -> CacheLimits {
    let has_cpus = snapshot.cpus.iter().next().is_some();
    CacheLimits {
        per_cpu_bytes: if has_cpus {
            snapshot.cpus.limit_bytes
        } else {
            snapshot.config.max_per_cpu_cache_size as u64
        },
        all_threads_bytes: snapshot.heap.thread_caches.limit_bytes,
    }
}

#[cfg(test)]
mod tests;
