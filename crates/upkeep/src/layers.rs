//! The heap that is kept in shape.

use crate::{Counters, ReleasePolicy};
use strata_central::MiddleTier;
use strata_cpu_cache::CpuCache;
use strata_page_heap::PageHeap;
use strata_span::Platform;

/// What became of the caches of idle threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TakenCaches {
    /// Bytes that they held.
    pub bytes: u64,
    /// Caches that threads have still, as a number.
    pub left: u64,
}

/// The layers of a heap, as its upkeep sees them.
///
/// All methods are called with no lock of the heap held, by whoever does a step; of two threads only one is in a step.
pub trait Layers {
    /// What the layers share.
    type Platform: Platform;
    /// Where spans come from.
    type PageHeap: PageHeap<<Self::Platform as Platform>::Pages>;

    /// What the layers share.
    fn platform(&self) -> &Self::Platform;
    /// Where spans come from.
    fn page_heap(&self) -> &Self::PageHeap;
    /// The transfer caches and central free lists.
    fn middle(&self) -> &MiddleTier<<Self::Platform as Platform>::Pages>;
    /// The caches of CPUs, if they stand in front.
    fn cpu_caches(&self) -> Option<&CpuCache>;
    /// Runs what stops CPUs' caches, where no fork can find one stopped. None if another thread is at it.
    fn with_cpu_cache_stops<R>(&self, work: impl FnOnce(&CpuCache) -> R) -> Option<R>;
    /// Takes idle threads' caches away from them, if threads have caches: at most some, and the time for it is
    /// bounded by a few loads a thread.
    fn take_idle_thread_caches(&self) -> Option<TakenCaches> {
        None
    }
    /// What goes back to the kernel, and when; it may change between two steps.
    fn policy(&self) -> ReleasePolicy;
    /// Where is counted what was done.
    fn counters(&self) -> &Counters;
    /// A number that changes whenever the program did something that may leave something to do: where it stays as
    /// it is, the heap is quiet.
    fn activity(&self) -> u64;

    /// Shards of a heap that checks its free slots; 0 for others.
    fn shards(&self) -> usize {
        0
    }

    /// Looks through a part of what the shard with that index, below [`shards`](Self::shards), has.
    fn sweep_shard(&self, index: usize) {
        let _ = index;
    }
}
