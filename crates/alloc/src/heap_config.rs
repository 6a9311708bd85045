//! What a heap is made of, as types.

use crate::{Config, SelectedPageHeap};
use core::marker::PhantomData;
use strata_os::{Clock, MonotonicClock, PageSource, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::{PageSize, Pages8K};
use strata_temeraire::SkipIntervals;

/// The choices of a heap that are made when it is compiled.
///
/// ```
/// use strata_alloc::{Heap, HeapConfig};
/// use strata_os::{MonotonicClock, SystemPages};
/// use strata_size_classes::Pages32K;
/// use strata_temeraire::HugePageAware;
///
/// /// Pages of 32 KiB, and no question at start which page heap it is.
/// struct Large;
///
/// impl HeapConfig for Large {
///     type Pages = Pages32K;
///     type Source = SystemPages;
///     type PageHeap = HugePageAware<Pages32K>;
///     type Clock = MonotonicClock;
///     fn source() -> &'static SystemPages {
///         static SOURCE: SystemPages = SystemPages::new();
///         &SOURCE
///     }
///     fn clock() -> &'static MonotonicClock {
///         static CLOCK: MonotonicClock = MonotonicClock::new();
///         &CLOCK
///     }
/// }
///
/// static HEAP: Heap<Large> = Heap::new();
/// let block = HEAP.allocate(100);
/// // SAFETY: the block is ours.
/// unsafe { HEAP.deallocate(block) };
/// ```
pub trait HeapConfig: Send + Sync + 'static {
    /// The page size.
    type Pages: PageSize;
    /// Where address space comes from; it must be [touchable](PageSource::touchable).
    type Source: PageSource + 'static;
    /// Where spans come from.
    type PageHeap: PageHeap<Self::Pages>;
    /// The time.
    type Clock: Clock + 'static;

    /// Whether a block that was freed twice, or written to after it was freed, is found before it is handed out again: each
    /// free writes a word into the block, and each allocation compares that. Without it the last block freed is looked at,
    /// and what leaves the caches.
    const MARKS_FREE_BLOCKS: bool = false;

    /// Whether the heap of this type is the only heap of the program or shared object that it is compiled into.
    /// Then which words of a thread are its own is known when compiling, which saves a load on the common path.
    /// Where it is said of a heap that meets another one all the same, the later of the two hands out nothing.
    const IS_ONLY_HEAP: bool = false;

    /// Where address space comes from.
    fn source() -> &'static Self::Source;

    /// The time.
    fn clock() -> &'static Self::Clock;

    /// Tells a new page heap what was configured at start, before its first span.
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        let _ = (page_heap, config);
    }
}

/// What most programs want: address space from the kernel, and the page heap that the options name.
#[derive(Debug)]
pub struct Standard<P: PageSize = Pages8K>(PhantomData<P>);

impl<P: PageSize> HeapConfig for Standard<P> {
    type Pages = P;
    type Source = SystemPages;
    type PageHeap = SelectedPageHeap<P>;
    type Clock = MonotonicClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }

    fn configure(page_heap: &SelectedPageHeap<P>, config: &Config) {
        page_heap.select(config.page_heap);
        let intervals = |config: &Config| SkipIntervals {
            short_ns: config.skip_subrelease_short_interval_ms * 1_000_000,
            long_ns: config.skip_subrelease_long_interval_ms * 1_000_000,
        };
        // What nobody changed is not written: a page that is not touched costs nothing.
        if intervals(config) != intervals(&Config::DEFAULT) {
            page_heap.set_skip_intervals(intervals(config));
        }
    }
}
