//! What keeps a heap in shape while it works and while it rests.
//!
//! Each kind of work is a task with a time at which it is due. [`Schedule::step`] does one bounded step of what is most
//! overdue, with no lock held across a system call, and says when the next one is due. What goes back to the kernel, and
//! when, is a [`ReleasePolicy`]. The heap is any [`Layers`]: a program's, or a simulated one under a clock that is told
//! the time, so that both run the same policy.
//!
//! It must not know who does the steps, a thread of the heap's own or a program's that missed its cache; [`Looks`] says
//! when the latter look whether one is due.
//!
//! ```
//! use strata_central::MiddleTier;
//! use strata_cpu_cache::CpuCache;
//! use strata_os::{ManualClock, SimulatedPages, SystemPages};
//! use strata_page_heap::{PageHeap, SpanRequest};
//! use strata_size_classes::Pages8K;
//! use strata_span::{Ground, PageCount};
//! use strata_temeraire::HugePageAware;
//! use strata_upkeep::{Counters, Layers, ReleasePolicy, Schedule};
//!
//! /// A page heap and a middle tier, without caches.
//! struct Parts {
//!     ground: Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>,
//!     page_heap: Box<HugePageAware<Pages8K>>,
//!     middle: Box<MiddleTier<Pages8K>>,
//!     counters: Counters,
//! }
//!
//! impl Layers for Parts {
//!     type Platform = Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>;
//!     type PageHeap = HugePageAware<Pages8K>;
//!
//!     fn platform(&self) -> &Self::Platform {
//!         &self.ground
//!     }
//!     fn page_heap(&self) -> &Self::PageHeap {
//!         &self.page_heap
//!     }
//!     fn middle(&self) -> &MiddleTier<Pages8K> {
//!         &self.middle
//!     }
//!     fn cpu_caches(&self) -> Option<&CpuCache> {
//!         None
//!     }
//!     fn with_cpu_cache_stops<R>(&self, _: impl FnOnce(&CpuCache) -> R) -> Option<R> {
//!         None
//!     }
//!     fn policy(&self) -> ReleasePolicy {
//!         ReleasePolicy::DEFAULT
//!     }
//!     fn counters(&self) -> &Counters {
//!         &self.counters
//!     }
//!     fn activity(&self) -> u64 {
//!         0
//!     }
//! }
//!
//! let second = 1_000_000_000;
//! let parts = Parts {
//!     ground: Ground::new(SimulatedPages::new(), SystemPages::new(), ManualClock::new(second)),
//!     page_heap: Box::new(HugePageAware::EMPTY),
//!     middle: Box::new(MiddleTier::new()),
//!     counters: Counters::new(),
//! };
//! let span = parts.page_heap.allocate(&parts.ground, SpanRequest::of(PageCount::new(4096))).expect("32 MiB");
//! // SAFETY: the span came from this heap, and nobody uses it.
//! unsafe { parts.page_heap.deallocate(&parts.ground, span) };
//!
//! // Nobody wants it: after ten seconds it has gone back.
//! let mut schedule = Schedule::new();
//! let mut now = second;
//! while now < 11 * second {
//!     parts.ground.clock.set(now);
//!     now = schedule.step(&parts, now).max(now + 1);
//! }
//! assert!(parts.page_heap.stats().free_bytes <= 3 << 20);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod counters;
mod layers;
mod looks;
mod peaks;
mod policy;
mod schedule;
mod tasks;

pub use counters::Counters;
pub use layers::{Layers, TakenCaches};
pub use looks::Looks;
pub use policy::{
    ReleasePolicy, THREAD_FROM_BYTES, THREAD_FROM_ENDED_THREADS, THREAD_FROM_LEAST_BYTES,
};
pub use schedule::{INTERVAL_NS, LONGEST_NS, Schedule};
