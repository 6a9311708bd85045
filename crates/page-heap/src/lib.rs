//! Spans of pages in, spans out: the [`PageHeap`] trait, and what its implementations share.
//!
//! A page heap hands out spans of whole pages, takes them back, and gives memory that nobody uses
//! back to the kernel. It must not know what spans are used for: neither size classes nor objects.
//!
//! `strata-temeraire` has the hugepage-aware implementation; a heap of your own implements the trait and takes its
//! place. The feature `suite` has the tests that it must pass. `examples/buddy` in the repository is one: a buddy
//! system as a crate of its own, under the suite and under a heap.
//!
//! ```
//! use strata_os::{MonotonicClock, SystemPages};
//! use strata_page_heap::{Density, LegacyPageHeap, PageHeap, SpanRequest, Temperature};
//! use strata_size_classes::{PageSize, Pages8K};
//! use strata_span::{Ground, PageCount};
//!
//! let (source, metadata) = (SystemPages::new(), SystemPages::new());
//! let ground = Ground::<Pages8K, _, _, _>::new(source, metadata, MonotonicClock::new());
//! let heap = LegacyPageHeap::<Pages8K>::EMPTY;
//!
//! // Sixteen pages that begin at a multiple of four.
//! let request = SpanRequest {
//!     pages: PageCount::new(16),
//!     align: PageCount::new(4),
//!     density: Density::Sparse,
//!     temperature: Temperature::Normal,
//! };
//! let span = heap.allocate(&ground, request).expect("memory");
//! assert!(span.start::<Pages8K>().is_aligned(4 * Pages8K::BYTES));
//!
//! let stats = heap.stats();
//! assert_eq!(stats.in_use_bytes, 16 * 8192);
//! assert_eq!(stats.system_bytes, stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes);
//!
//! // SAFETY: the span came from this heap, and nobody uses it.
//! unsafe { heap.deallocate(&ground, span) };
//! assert_eq!(heap.stats().in_use_bytes, 0);
//! ```
#![no_std]

#[cfg(any(test, feature = "suite"))]
extern crate std;

mod allocation_records;
mod figures;
mod free_set;
mod free_spans;
mod hugepage_use;
mod inside_spans;
mod legacy_figures;
mod legacy_page_heap;
mod lifetimes;
mod limits;
mod page_heap;
mod published;
mod refusals;
mod reserve;
mod span_ages;
#[cfg(feature = "serde")]
pub mod sparse;
#[cfg(feature = "suite")]
pub mod suite;
mod underway;

pub use allocation_records::{
    AllocationFigures, AllocationRecords, LengthRecord, SMALL_LENGTH_BYTES,
};
pub use figures::{FreeParts, PageHeapStats, PeakFigures, ReleasedBytes, copy_into_place};
pub use free_spans::{FreeSpanCounts, FreeSpans};
pub use hugepage_use::{HugepageFigures, HugepageUse, SharedHugepage};
pub use inside_spans::{kernel_page_bytes, release_inside, split_hugepage_around};
pub use legacy_figures::LegacyFigures;
pub use legacy_page_heap::LegacyPageHeap;
pub use lifetimes::{LIFETIME_BOUNDS_MS, LIFETIME_BUCKETS, count_lifetime, lifetime_bucket};
pub use limits::{LimitFigures, MemoryLimits, limited_bytes};
pub use page_heap::{
    Density, Ended, HugepageBreak, PageHeap, ReleaseReason, SpanRequest, Temperature,
};
pub use published::{HasStats, Published, PublishedGuard};
pub use refusals::Refusals;
pub use reserve::{Reserve, ReserveStats, TakenRange};
pub use span_ages::{AGE_BOUNDS_SECONDS, AGE_COLUMNS, AGE_ROWS, AgeRow, AgeTable, SpanAges};
pub use underway::Underway;
