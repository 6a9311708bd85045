//! A page heap of one's own, written against the public traits alone: a buddy system.
//!
//! Free memory is kept in blocks whose lengths are powers of two and which begin at multiples of their lengths. A wish is
//! served from the front of the smallest block that holds it, and what is left of the block goes back as smaller ones;
//! what comes back joins its buddy, the other half of the next larger block, for as long as that is free too. (Knowlton,
//! "A fast storage allocator", Communications of the ACM 8, 1965; Knuth, The Art of Computer Programming 1, section 2.5.)
//!
//! It is here to be read by those who write a page heap themselves. What it takes is in four files: a record for each
//! hugepage (`record.rs`), lists of records (`lists.rs`), what the lock guards (`state.rs`), and the trait
//! (`buddy_page_heap.rs`). `tests/conformance.rs` runs the suite that every page heap has to pass,
//! `examples/global_allocator.rs` a program on it.
//!
//! ```
//! use strata_alloc::{Heap, HeapConfig};
//! use strata_example_buddy::BuddyPageHeap;
//! use strata_os::{MonotonicClock, SystemPages};
//! use strata_size_classes::Pages8K;
//!
//! struct OnBuddies;
//!
//! impl HeapConfig for OnBuddies {
//!     type Pages = Pages8K;
//!     type Source = SystemPages;
//!     type PageHeap = BuddyPageHeap<Pages8K>;
//!     type Clock = MonotonicClock;
//!     fn source() -> &'static SystemPages {
//!         static SOURCE: SystemPages = SystemPages::new();
//!         &SOURCE
//!     }
//!     fn clock() -> &'static MonotonicClock {
//!         static CLOCK: MonotonicClock = MonotonicClock::new();
//!         &CLOCK
//!     }
//! }
//!
//! static HEAP: Heap<OnBuddies> = Heap::new();
//! let block = HEAP.allocate(1 << 20);
//! assert!(!block.is_null());
//! // SAFETY: the block is ours.
//! unsafe { HEAP.deallocate(block) };
//! ```
#![no_std]

mod buddy_page_heap;
mod lists;
mod record;
mod state;

pub use buddy_page_heap::{BuddyFigures, BuddyPageHeap};
