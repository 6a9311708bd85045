//! A hugepage-aware page heap: Temeraire.
//!
//! The hardware reads memory through hugepages of 2 MiB faster than through pages of 4 KiB, and the
//! kernel hands out and takes back a hugepage at the price of a page. So this page heap places
//! spans such that hugepages are either full or empty: [`HugePageAware`] says how. It is one of
//! several implementations of [`PageHeap`](strata_page_heap::PageHeap).
//!
//! It must not know what spans are used for, neither size classes nor objects; and it never touches
//! the memory that it manages, so that a heap of a terabyte can be simulated.
//!
//! ```
//! use strata_os::{MonotonicClock, SystemPages};
//! use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
//! use strata_size_classes::Pages8K;
//! use strata_span::{Ground, PageCount};
//! use strata_temeraire::HugePageAware;
//!
//! static HEAP: HugePageAware<Pages8K> = HugePageAware::EMPTY;
//!
//! let ground = Ground::<Pages8K, _, _, _>::new(SystemPages::new(), SystemPages::new(), MonotonicClock::new());
//! let one = HEAP.allocate(&ground, SpanRequest::of(PageCount::ONE)).expect("memory for a page");
//! let many = HEAP.allocate(&ground, SpanRequest::of(PageCount::new(1000))).expect("memory for 8 MiB");
//!
//! // The thousand pages end inside a hugepage, and the rest of that one was donated to the filler.
//! assert_eq!(HEAP.figures(&ground).filler.counters.donations, 1);
//! assert_eq!(HEAP.stats().in_use_bytes, 1001 * 8192);
//!
//! // SAFETY: the spans came from this heap, and nobody uses them.
//! unsafe { HEAP.deallocate(&ground, many) };
//! // SAFETY: this one, too.
//! unsafe { HEAP.deallocate(&ground, one) };
//! HEAP.release(&ground, PageCount::new(1 << 20), ReleaseReason::Call);
//! assert_eq!(HEAP.stats().free_bytes, 0);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod across;
mod advice;
mod ahead;
mod bitmap;
mod books;
mod demand;
mod departures;
mod empties;
mod extend;
mod figures;
mod fill_history;
mod filler;
mod filler_lists;
mod filler_totals;
mod free_spans;
mod handle;
mod histogram;
mod huge_address_map;
mod huge_allocator;
mod huge_cache;
mod huge_range;
mod hugepage_aware;
mod keeper;
mod limits;
mod modest_runs;
mod node_store;
mod region;
mod region_set;
mod release;
mod retirement;
mod return_history;
mod routes;
mod shared_hugepages;
mod state;
mod subrelease;
mod supply;
mod survey;
mod temeraire;
#[cfg(test)]
mod test_ground;
mod time_series;
mod touch_history;
mod tracker;
mod treatment;

pub use advice::AdviceFigures;
pub use demand::{KeptForDemand, SkipIntervals, SkipJudgement};
pub use figures::{
    ComponentBytes, Components, DensityFigures, FillerFigures, HugeAllocatorFigures, Lifetimes,
    Population, RegionSetFigures, TemeraireFigures,
};
pub use filler::{FillerCounters, FillerEpoch, FillerHistory, FillerMoment, SmallMoment};
pub use free_spans::FreeSpanTable;
pub use histogram::{
    COARSE_BUCKETS, Fullness, HISTOGRAM_BUCKETS, Histogram, coarse_bounds_of, histogram_bounds,
    histogram_bounds_of,
};
pub use huge_cache::{HugeCacheFigures, RecentRange, UsageEpoch, UsageHistory};
pub use hugepage_aware::HugePageAware;
pub use region::RegionFigures;
pub use strata_page_heap::{LIFETIME_BOUNDS_MS, LIFETIME_BUCKETS};
pub use temeraire::Temeraire;
pub use treatment::{CollapseError, CollapseFigures};
