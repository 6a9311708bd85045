//! Spans of pages in, spans out: the [`PageHeap`] trait, and what its implementations share.
//!
//! A page heap hands out spans of whole pages, takes them back, and gives memory that nobody uses
//! back to the kernel. It must not know what spans are used for: neither size classes nor objects.
//!
//! `strata-temeraire` has the hugepage-aware implementation; a heap of your own implements
//! the trait and takes its place.
#![no_std]

#[cfg(test)]
extern crate std;

mod figures;
mod page_heap;
mod reserve;

pub use figures::{PageHeapStats, ReleasedBytes};
pub use page_heap::{Density, PageHeap, ReleaseReason, SpanRequest};
pub use reserve::{Reserve, ReserveStats, TakenRange};
