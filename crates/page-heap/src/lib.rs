//! Spans of pages in, spans out: the [`PageHeap`] trait, and what its implementations share.
//!
//! A page heap hands out spans of whole pages, takes them back, and gives memory that nobody uses
//! back to the kernel. It must not know what spans are used for: neither size classes nor objects.
//!
//! `strata-temeraire` has the hugepage-aware implementation; a heap of your own implements
//! the trait and takes its place.
#![no_std]

#[cfg(any(test, feature = "suite"))]
extern crate std;

mod allocation_records;
mod figures;
mod free_set;
mod legacy_figures;
mod legacy_page_heap;
mod page_heap;
mod reserve;
mod span_ages;
#[cfg(feature = "suite")]
pub mod suite;

pub use allocation_records::{
    AllocationFigures, AllocationRecords, LengthRecord, SMALL_LENGTH_BYTES,
};
pub use figures::{PageHeapStats, ReleasedBytes};
pub use legacy_figures::{FreeSpans, LegacyFigures};
pub use legacy_page_heap::LegacyPageHeap;
pub use page_heap::{Density, PageHeap, ReleaseReason, SpanRequest};
pub use reserve::{Reserve, ReserveStats, TakenRange};
pub use span_ages::{AGE_BOUNDS_SECONDS, AGE_COLUMNS, AGE_ROWS, AgeRow, AgeTable, SpanAges};
