//! Per-thread object caches, for where restartable sequences are not to be had.
//!
//! A [`ThreadCache`] is one thread's: a list of free objects per size class, reached without an atomic
//! read-modify-write and without a lock. How long a list may get follows from how it is used (slow start); how many
//! bytes a cache may hold is negotiated among the threads by [`ThreadCaches`]. Objects come from and
//! go to an [`ObjectSource`](strata_size_classes::ObjectSource) that each refill and flush names.
//!
//! The lists are linked through the first words of the freed objects, encoded: who writes into freed memory is
//! found out when the object is next handed out, and cannot choose what the list yields.
//!
//! A thread that is idle keeps its cache; by [`Occupancy`] another thread finds out that it is, and takes the cache
//! from it.
//!
//! It must not know where objects come from, nor how a thread finds its cache.
//!
//! ```
//! use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
//! use strata_thread_cache::{ThreadCache, ThreadCaches};
//!
//! /// A pool that asks the system for each object.
//! struct FromSystem;
//!
//! fn layout(class: SizeClass) -> std::alloc::Layout {
//!     std::alloc::Layout::from_size_align(Pages8K::TABLE.size(class), 8).expect("a layout")
//! }
//!
//! // SAFETY: 1. the count is of the slots written. 2. the system allocator hands out what is free, in
//! // the class's own size. 3. it neither unwinds nor knows of caches.
//! unsafe impl ObjectSource for FromSystem {
//!     fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
//!         for slot in out.iter_mut() {
//!             // SAFETY: no class that is taken from has size 0.
//!             *slot = unsafe { std::alloc::alloc(layout(class)) };
//!             assert!(!slot.is_null());
//!         }
//!         out.len()
//!     }
//!     unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
//!         for &mut object in objects {
//!             // SAFETY: the caller gives what `take` allocated with this layout.
//!             unsafe { std::alloc::dealloc(object, layout(class)) };
//!         }
//!     }
//! }
//!
//! static CACHES: ThreadCaches<Pages8K> = ThreadCaches::new();
//! static CACHE: ThreadCache<Pages8K> = ThreadCache::new();
//! let entry = Pages8K::TABLE.entry(48).expect("small enough for a class");
//! let class = entry.class();
//!
//! // SAFETY: this thread alone uses the cache, and leaves before it ends.
//! unsafe {
//!     CACHES.enter(&CACHE);
//!     let mut object = CACHE.pop(class, Pages8K::TABLE.size(class));
//!     if object.is_null() {
//!         object = CACHE.refill(&FromSystem, class);
//!     }
//!     if CACHE.push(class, entry.size(), object) {
//!         CACHE.flush(&CACHES, &FromSystem, class);
//!     }
//!     assert_eq!(CACHE.held_bytes(), 48);
//!     CACHE.release_all(&FromSystem);
//!     CACHES.leave(&CACHE);
//! }
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod free_list;
mod occupancy;
mod thread_cache;
mod thread_caches;

pub use occupancy::{Claim, Inside, Occupancy};
pub use thread_cache::{MAX_LIST_LENGTH, ThreadCache, ThreadCacheStats};
pub use thread_caches::{
    DEFAULT_LIMIT_BYTES, LEAST_BYTES, STOLEN_BYTES, ThreadCaches, ThreadCachesStats,
};
