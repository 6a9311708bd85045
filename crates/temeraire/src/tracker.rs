//! What the filler knows of one hugepage.

mod backing;

use crate::{bitmap::Bitmap, handle::Handle, keeper::Keeper};
use backing::Standing;
use core::cell::Cell;
use strata_page_heap::SharedHugepage;
use strata_span::{Hugepage, MetadataKind, PoolItem};

/// Which list of the filler a tracker is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FillerSet {
    /// None.
    Nowhere = 0,
    /// Wholly backed, few objects in a span.
    Regular,
    /// Wholly backed, many objects in a span.
    RegularDense,
    /// The tail of a large allocation that nobody has used yet.
    Donated,
    /// Partly given back to the kernel, with free pages that are backed.
    Partial,
    /// The same, many objects in a span.
    PartialDense,
    /// All free pages given back to the kernel.
    Released,
    /// The same, many objects in a span.
    ReleasedDense,
    /// Pages of it are on their way to the kernel.
    Releasing,
}

impl FillerSet {
    /// How many there are.
    pub(crate) const COUNT: usize = 9;
}

/// Words of a bitmap that holds the pages of a hugepage, at the smallest page size.
pub(crate) const WORDS: usize = 8;

/// The state of one hugepage in the filler: 320 bytes from the metadata arena, guarded by the
/// heap's lock.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct HugepageTracker {
    keeper: Cell<Keeper>,
    pub(crate) set: Cell<FillerSet>,
    /// Its spans are dense; it takes only such.
    pub(crate) dense: Cell<bool>,
    /// The tail of a large allocation that nobody has used yet.
    pub(crate) donated: Cell<bool>,
    /// Pages of it were given back to the kernel at some time since it came to the filler.
    pub(crate) was_released: Cell<bool>,
    standing: Cell<Standing>,
    /// When it came to the filler, in milliseconds: the high byte of 40 bits.
    born_ms_high: Cell<u8>,
    /// Pages in it, used or free.
    length: Cell<u16>,
    used_pages: Cell<u16>,
    released_pages: Cell<u16>,
    allocations: Cell<u16>,
    longest_free: Cell<u16>,
    /// Free pages that read as zero, as far as `zeroed` says.
    zeroed_pages: Cell<u16>,
    /// Pages of a large allocation that ended here and went while others lived here.
    pub(crate) abandoned_pages: Cell<u16>,
    /// Its position on the filler's list, see `filler_lists`.
    pub(crate) list: Cell<u16>,
    /// The second of the last look at whether the kernel backs it with a hugepage, plus one; 0: never.
    pub(crate) treated_second: Cell<u32>,
    /// The low bits of when it came.
    born_ms_low: Cell<u32>,
    hugepage: Cell<Hugepage>,
    pub(crate) next: Cell<Option<Handle<Self>>>,
    pub(crate) previous: Cell<Option<Handle<Self>>>,
    /// When its free pages became free, on average.
    free_since_ns: Cell<u64>,
    used: Bitmap<WORDS>,
    /// Free pages that are not backed.
    released: Bitmap<WORDS>,
    /// Free pages that read as zero: never used, or released by force.
    zeroed: Bitmap<WORDS>,
    /// When a span last came, and how long after the one before; for reports.
    last_allocation_ns: Cell<u64>,
    between_allocations_ns: Cell<u64>,
    /// It became full after pages of it had been given back; for reports, as long as it is full.
    pub(crate) refilled: Cell<bool>,
    /// Too much of it was missing to make it whole, when that was last looked at: that it is broken is nothing new then.
    pub(crate) passed_over: Cell<bool>,
    /// Threads that have the kernel fault in pages of it.
    populating: Cell<u16>,
}

static_assertions::const_assert!(size_of::<HugepageTracker>() <= 320);

// SAFETY: 1. zero is an empty cell of each type here: `Keeper::Filler`, `FillerSet::Nowhere`, no
// link. 2. It has no drop and is larger than a pointer.
unsafe impl PoolItem for HugepageTracker {
    const KIND: MetadataKind = MetadataKind::Hugepages;
}

/// Pages that a tracker gave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TrackedPages {
    /// The first, counted from the start of the hugepage.
    pub(crate) start: usize,
    /// How many of them had been given back to the kernel.
    pub(crate) released: usize,
    /// Whether all of them read as zero.
    pub(crate) zeroed: bool,
}

impl HugepageTracker {
    /// Makes it the tracker of a hugepage of `length` pages, all free. `by_page`: the kernel backs it page by page,
    /// and none of it yet; else all of it is backed.
    pub(crate) fn start(
        &self,
        hugepage: Hugepage,
        length: usize,
        zeroed: bool,
        by_page: bool,
        now_ns: u64,
    ) {
        self.keeper.set(Keeper::Filler);
        self.hugepage.set(hugepage);
        self.length.set(small(length));
        self.longest_free.set(small(length));
        self.free_since_ns.set(now_ns);
        let born_ms = now_ns / 1_000_000;
        self.born_ms_low.set((born_ms & 0xffff_ffff) as u32);
        self.born_ms_high.set(((born_ms >> 32) & 0xff) as u8);
        if zeroed {
            self.zeroed.insert(0, length);
            self.zeroed_pages.set(small(length));
        }
        if by_page {
            self.standing.set(Standing::ByPage);
            self.released.insert(0, length);
            self.released_pages.set(small(length));
        }
    }

    /// The hugepage.
    pub(crate) fn hugepage(&self) -> Hugepage {
        self.hugepage.get()
    }

    /// Pages in it.
    pub(crate) fn length(&self) -> usize {
        usize::from(self.length.get())
    }

    /// Pages in use.
    pub(crate) fn used_pages(&self) -> usize {
        usize::from(self.used_pages.get())
    }

    /// Pages that are free, backed or not.
    pub(crate) fn unused_pages(&self) -> usize {
        self.length() - self.used_pages()
    }

    /// Free pages that are not backed: given back to the kernel, or never touched where it backs them one by one.
    pub(crate) fn released_pages(&self) -> usize {
        usize::from(self.released_pages.get())
    }

    /// Free pages that are backed.
    pub(crate) fn free_pages(&self) -> usize {
        self.unused_pages() - self.released_pages()
    }

    /// Allocations that live in it.
    pub(crate) fn allocations(&self) -> usize {
        usize::from(self.allocations.get())
    }

    /// The length of its longest run of free pages.
    pub(crate) fn longest_free(&self) -> usize {
        usize::from(self.longest_free.get())
    }

    /// How long it has been with the filler, in milliseconds; 0 if the clock jumped back. Right up to 17 years.
    pub(crate) fn age_ms(&self, now_ns: u64) -> u64 {
        const MASK: u64 = (1 << 40) - 1;
        let born = u64::from(self.born_ms_high.get()) << 32 | u64::from(self.born_ms_low.get());
        let age = (now_ns / 1_000_000).wrapping_sub(born) & MASK;
        if age > MASK / 2 { 0 } else { age }
    }

    /// When its free pages became free, on average.
    pub(crate) fn free_since_ns(&self) -> u64 {
        self.free_since_ns.get()
    }

    /// When the last span came.
    pub(crate) fn last_allocation_ns(&self) -> u64 {
        self.last_allocation_ns.get()
    }

    /// Takes `count` pages at a multiple of `align` from the shortest run that has room, of backed pages if there
    /// is such a run.
    pub(crate) fn allocate(&self, count: usize, align: usize) -> Option<TrackedPages> {
        let fit = match self.fit_backed(count, align) {
            Some(fit) => fit,
            None => self.used.best_fit(count, align, self.longest_free(), self.length())?,
        };
        let pages = self.occupy(fit.start, count);
        self.longest_free.set(small(fit.longest_left));
        self.allocations.set(self.allocations.get() + 1);
        Some(pages)
    }

    /// Takes the `count` pages from `start` on, which are free.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allocate_at(&self, start: usize, count: usize) -> TrackedPages {
        debug_assert_eq!(self.used.count(start, count), 0, "these pages are free");
        let pages = self.occupy(start, count);
        self.longest_free.set(small(self.used.longest_gap(self.length())));
        self.allocations.set(self.allocations.get() + 1);
        pages
    }

    /// Pages at its end that are free.
    pub(crate) fn free_at_end(&self) -> usize {
        self.used.gap_before(self.length())
    }

    /// Makes an allocation of `from` pages from `start` on `to` pages long; false if the pages
    /// behind it are not free.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn extend(&self, start: usize, from: usize, to: usize) -> bool {
        let (added, count) = (start + from, to - from);
        if start + to > self.length() || self.used.count(added, count) != 0 {
            return false;
        }
        self.occupy(added, count);
        self.longest_free.set(small(self.used.longest_gap(self.length())));
        true
    }

    /// Has `count` free pages from `start` on come into use: they are backed from now on, and may be written to.
    #[inline(always)]
    fn occupy(&self, start: usize, count: usize) -> TrackedPages {
        self.used.insert(start, count);
        let released = self.take_released(start, count);
        let zeroed = self.take_zeroed(start, count) == count;
        self.used_pages.set(self.used_pages.get() + small(count));
        TrackedPages { start, released, zeroed }
    }

    /// Takes `count` pages from `start` back, which stay backed.
    pub(crate) fn deallocate(&self, start: usize, count: usize, now_ns: u64) {
        debug_assert_eq!(self.used.count(start, count), count, "these pages are not in use");
        let unused = self.unused_pages() as u64;
        let since = self.free_since_ns.get();
        let step = now_ns.saturating_sub(since) / (unused + count as u64) * count as u64;
        self.free_since_ns.set(if unused == 0 { now_ns } else { since + step });
        self.used.remove(start, count);
        self.used_pages.set(self.used_pages.get() - small(count));
        self.allocations.set(self.allocations.get() - 1);
        let gap = self.used.gap_around(start, self.length());
        self.longest_free.set(self.longest_free.get().max(small(gap)));
    }

    /// The first page that is in use, if any is.
    pub(crate) fn first_used(&self) -> Option<usize> {
        let page = self.used.next_present(0, self.length());
        (page < self.length()).then_some(page)
    }

    /// Notes that a span came.
    pub(crate) fn note_allocation(&self, now_ns: u64) {
        let last_ns = self.last_allocation_ns.replace(now_ns);
        if self.allocations.get() > 1 {
            self.between_allocations_ns.set(now_ns.saturating_sub(last_ns));
        }
    }

    /// What it tells to whoever asks the kernel about its pages.
    pub(crate) fn shared(&self, population: usize) -> SharedHugepage {
        SharedHugepage {
            hugepage: self.hugepage(),
            population,
            used: self.used.words(),
            allocations: self.allocations.get().into(),
            longest_free_pages: self.longest_free.get().into(),
            dense: self.dense.get(),
            treated: self.treated_second.get() != 0,
            passed_over: self.passed_over.get(),
            refilled: self.refilled.get() && self.unused_pages() == 0,
            between_allocations_ns: self.between_allocations_ns.get(),
        }
    }
}

/// A count of pages of a hugepage: at most 512.
const fn small(count: usize) -> u16 {
    debug_assert!(count <= 64 * WORDS, "more pages than a hugepage has");
    (count & 0xffff) as u16
}

#[cfg(test)]
mod tests;
