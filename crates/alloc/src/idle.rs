//! Threads that say that they will not allocate for a while.

use crate::{Heap, HeapConfig, threads::Standing};

impl<C: HeapConfig> Heap<C> {
    /// Says that this thread will not allocate for a while: what its cache holds goes back, and so does its part of
    /// what all threads' caches may hold. The thread may allocate all the same, which begins a new cache.
    ///
    /// Where caches are per CPU there is nothing to give back: they are drained when the CPU stands still.
    ///
    /// Costs a walk over the classes, and the locks of the transfer caches whose objects come back.
    ///
    /// ```
    /// use strata_alloc::{Config, FrontEndChoice, Heap};
    /// let mut config = Config::DEFAULT;
    /// config.front_end = FrontEndChoice::PerThread;
    /// let heap: Heap = Heap::with(config);
    /// // SAFETY: the block is ours.
    /// unsafe { heap.deallocate(heap.allocate(100)) };
    /// let core = heap.core().expect("the first block set it up");
    /// assert_eq!(core.figures().thread_caches.caches, 1);
    /// heap.mark_idle();
    /// assert_eq!(core.figures().thread_caches.caches, 0);
    /// ```
    pub fn mark_idle(&self) {
        if let Some(core) = self.core() {
            core.end_own_cache(self.slot());
        }
    }

    /// Bytes of free objects that this thread's own cache holds; 0 where caches are per CPU, since a thread holds
    /// nothing then.
    pub fn own_cache_bytes(&self) -> u64 {
        self.core().map_or(0, |core| match core.standing(self.slot()) {
            Standing::Cached(_, cache) => cache.held_bytes(),
            Standing::PerCpu(_) | Standing::Observed(_) | Standing::Alone => 0,
        })
    }

    /// Says that this thread will allocate again after [`mark_idle`](Self::mark_idle): it gets a new cache now, and
    /// not at its next block.
    pub fn mark_busy(&self) {
        if let Some(core) = self.core() {
            core.standing(self.slot());
        }
    }
}
