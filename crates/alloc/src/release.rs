//! Memory that goes back to the kernel because the program asks.

use crate::{Core, Heap, HeapConfig};
use strata_page_heap::{MemoryLimits, PageHeap, ReleaseReason, limited_bytes};
use strata_size_classes::PageSize;
use strata_span::PageCount;

impl<C: HeapConfig> Heap<C> {
    /// Gives free memory back to the kernel, at least `bytes` if so much is free; says how many bytes went.
    ///
    /// First the caches of all CPUs or of this thread and the transfer caches are emptied, so that spans of which
    /// every block was freed are free; what the caches of other threads hold stays there. A heap without a block
    /// yet has nothing to give.
    ///
    /// Any thread may ask at any time. Costs system calls for each CPU and each range that goes.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// let block = heap.allocate(8 << 20);
    /// // SAFETY: the block is ours.
    /// unsafe { heap.deallocate(block) };
    /// assert!(heap.release(8 << 20) >= 8 << 20);
    /// ```
    pub fn release(&self, bytes: usize) -> usize {
        let Some(core) = self.core() else { return 0 };
        core.empty_caches(core.slot());
        let wanted = PageCount::holding(bytes)
            .unwrap_or(PageCount::<C::Pages>::new(usize::MAX >> C::Pages::SHIFT));
        core.page_heap().release(core, wanted, ReleaseReason::Call).bytes()
    }

    /// The same for all that is free but `keep_bytes` bytes, which stay backed for blocks to come. What goes is
    /// whole hugepages first, so that less may stay than that.
    pub fn release_all_but(&self, keep_bytes: usize) -> usize {
        let Some(core) = self.core() else { return 0 };
        core.empty_caches(core.slot());
        let free_bytes = core.page_heap().stats().free_bytes;
        let keep_bytes = u64::try_from(keep_bytes).unwrap_or(u64::MAX);
        match free_bytes.checked_sub(keep_bytes) {
            None | Some(0) => 0,
            Some(bytes) => self.release(usize::try_from(bytes).unwrap_or(usize::MAX)),
        }
    }
}

impl<C: HeapConfig> Core<C> {
    /// Gives back what the page heaps have backed above `limits`, if so much of it is free. What caches hold stays there,
    /// as when a heap grows beyond its limits.
    #[cold]
    pub(crate) fn give_back_above(&self, limits: MemoryLimits) {
        let each = [
            (limits.soft_bytes, ReleaseReason::SoftLimit),
            (limits.hard_bytes, ReleaseReason::HardLimit),
        ];
        for (limit, reason) in each.into_iter().filter(|(limit, _)| *limit != 0) {
            let backed = limited_bytes(self, self.page_heap().stats().backed_bytes());
            let excess = backed.saturating_sub(limit).div_ceil(C::Pages::BYTES as u64);
            if excess > 0 {
                let pages = PageCount::new(usize::try_from(excess).unwrap_or(usize::MAX));
                self.page_heap().release(self, pages, reason);
            }
        }
    }
}
