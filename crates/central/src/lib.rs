//! The middle tier: transfer caches and central free lists, one of each per size class.
//!
//! Caches of threads and CPUs refill and flush in batches. A batch goes first through its class's
//! [`TransferCache`], an array of pointers that one thread fills and another empties. Behind it stands the
//! class's [`CentralFreeList`], which cuts spans from a page heap into objects, allocates from the fullest
//! span, and gives a span back when all of its objects came home. [`MiddleTier`] holds both for
//! all classes; [`MiddleTier::with`] makes it an [`ObjectSource`](strata_size_classes::ObjectSource).
//!
//! Which objects of a span are free is kept in a bitmap outside the span: nothing of ours stands in freed
//! memory, and an object that is freed twice, or was never handed out, stops the program at the flush
//! with one line that names it.
//!
//! It must not know who caches objects above it, nor how the page heap finds its pages.
//!
//! ```
//! use strata_central::MiddleTier;
//! use strata_os::{MonotonicClock, SystemPages};
//! use strata_page_heap::{LegacyPageHeap, PageHeap};
//! use strata_size_classes::{ObjectSource, PageSize, Pages8K};
//! use strata_span::Ground;
//!
//! let ground = Ground::<Pages8K, _, _, _>::new(SystemPages::new(), SystemPages::new(), MonotonicClock);
//! let page_heap = LegacyPageHeap::<Pages8K>::EMPTY;
//! let tier = MiddleTier::<Pages8K>::new();
//! let objects = tier.with(&ground, &page_heap);
//!
//! let class = Pages8K::TABLE.entry(48).expect("small enough for a class").class();
//! let mut batch = [core::ptr::null_mut(); 32];
//! assert_eq!(objects.take(class, &mut batch), 32);
//! assert_eq!(tier.class_stats(class).central.objects_out, 32);
//!
//! // SAFETY: just taken, used by nobody, each in the slice once.
//! unsafe { objects.give(class, &mut batch) };
//! assert_eq!(tier.class_stats(class).transfer.used, 32);
//! objects.drain_transfer(class);
//! assert_eq!(tier.class_stats(class).central.spans_in_use, 0);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod back_end;
mod central_free_list;
mod class_places;
mod granules;
mod middle_source;
mod middle_tier;
mod object_maps;
mod occupancy;
mod resizing;
mod span_objects;
mod stats;
mod sweep;
mod tallies;
mod transfer_cache;
mod transfer_policy;
mod untouched;

pub use back_end::{BackEnd, OnlyBackEnd, OtherBackEnds};
pub use central_free_list::{CentralFreeList, Whereabouts};
pub use middle_source::{MiddleSource, Taken};
pub use middle_tier::MiddleTier;
pub use object_maps::{MARKED_BYTES, ObjectMaps, ObjectMapsStats};
pub use occupancy::{OCCUPANCY_LISTS, UTILIZATION_BUCKETS};
pub use stats::{
    CentralStats, ClassStats, MiddleStats, SAME_SPAN_BUCKETS, SPANS_A_BATCH_BUCKETS, SpanCounts,
    TransferStats,
};
pub use sweep::{Allowances, Swept};
pub use transfer_cache::{InsertLimits, TransferCache};
pub use transfer_policy::{StandardTransfer, TransferPolicy};
pub use untouched::is_untouched;
