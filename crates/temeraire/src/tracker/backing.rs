//! What of a hugepage the kernel backs, and what of it reads as zero.

use super::{HugepageTracker, small};
use crate::bitmap::Fit;

/// How the kernel backs a hugepage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Standing {
    /// As a whole, as far as known.
    Whole = 0,
    /// Page by page, since it was asked for no hugepage: what nobody touched is not in memory.
    ByPage,
    /// It was told not to back it with a hugepage.
    Forbidden,
}

impl HugepageTracker {
    /// Whether the kernel backs it page by page.
    pub(crate) fn is_by_page(&self) -> bool {
        self.standing.get() == Standing::ByPage
    }

    /// Whether the kernel was told not to back it with a hugepage.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.standing.get() == Standing::Forbidden
    }

    /// Notes that the kernel was told so, or the contrary.
    pub(crate) fn set_forbidden(&self, forbidden: bool) {
        self.standing.set(if forbidden { Standing::Forbidden } else { Standing::Whole });
    }

    /// Notes that the kernel backs it with a hugepage, or may: all of it counts as backed.
    pub(crate) fn become_whole(&self) {
        self.standing.set(Standing::Whole);
        self.released.remove(0, self.length());
        self.released_pages.set(0);
    }

    /// Whether it has `count` pages in a row that are free and backed.
    pub(crate) fn has_backed_run(&self, count: usize) -> bool {
        self.free_pages() >= count
            && self.used.union(&self.released).longest_gap(self.length()) >= count
    }

    /// A place for `count` pages in the shortest sufficient run of pages that are free and backed, where not all
    /// free ones are.
    pub(super) fn fit_backed(&self, count: usize, align: usize) -> Option<Fit> {
        if self.released_pages.get() == 0 || self.free_pages() < count {
            return None;
        }
        let length = self.length();
        let taken = self.used.union(&self.released);
        let Fit { start, .. } = taken.best_fit(count, align, taken.longest_gap(length), length)?;
        let longest = self.longest_free();
        let longest_left = if self.used.gap_around(start, length) < longest {
            longest
        } else {
            self.used.insert(start, count);
            self.used.longest_gap(length)
        };
        Some(Fit { start, longest_left })
    }

    /// Its free pages that are backed, as runs of whole granules of `granule` pages: start and
    /// length.
    pub(crate) fn backed_gaps(&self, granule: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.gaps().filter_map(move |gap| {
            if gap.released {
                return None;
            }
            let start = gap.start.next_multiple_of(granule);
            let end = (gap.start + gap.length) & !(granule - 1);
            (start < end).then(|| (start, end - start))
        })
    }

    /// Notes that `count` free, backed pages from `start` were given back to the kernel and read as
    /// zero.
    pub(crate) fn mark_released(&self, start: usize, count: usize) {
        debug_assert_eq!(self.used.count(start, count), 0, "released pages are free");
        debug_assert_eq!(self.released.count(start, count), 0, "pages are released once");
        self.released.insert(start, count);
        let zeroed = count - self.zeroed.count(start, count);
        self.zeroed.insert(start, count);
        self.zeroed_pages.set(self.zeroed_pages.get() + small(zeroed));
        self.released_pages.set(self.released_pages.get() + small(count));
        self.was_released.set(true);
    }

    /// Notes that pages which come into use are backed now. Says how many were not.
    #[inline]
    pub(super) fn take_released(&self, start: usize, count: usize) -> usize {
        if self.released_pages.get() == 0 {
            return 0;
        }
        let released = self.released.count(start, count);
        self.released.remove(start, count);
        self.released_pages.set(self.released_pages.get() - small(released));
        released
    }

    /// Pages in a row, from `start` on and up to `most`, that are free and not backed.
    pub(crate) fn unbacked_run(&self, start: usize, most: usize) -> usize {
        self.released.next_absent(start, (start + most).min(self.length())) - start
    }

    /// Counts the `count` pages from `start` on as backed, as far as they are free and not backed.
    pub(crate) fn back(&self, start: usize, count: usize) {
        self.take_released(start, count);
    }

    /// Notes that the kernel is being asked to fault in pages of it. False if as many ask as can be counted.
    pub(crate) fn begin_populating(&self) -> bool {
        let more = self.populating.get().checked_add(1);
        more.inspect(|&more| self.populating.set(more)).is_some()
    }

    /// Notes that one who asked was answered.
    pub(crate) fn end_populating(&self) {
        debug_assert!(self.populating.get() > 0, "somebody asked");
        self.populating.set(self.populating.get().saturating_sub(1));
    }

    /// Whether the kernel is being asked to fault in pages of it: none of it may go meanwhile.
    pub(crate) fn is_populating(&self) -> bool {
        self.populating.get() > 0
    }

    /// Notes that pages which come into use may be written to. Says how many read as zero.
    #[inline]
    pub(super) fn take_zeroed(&self, start: usize, count: usize) -> usize {
        if self.zeroed_pages.get() == 0 {
            return 0;
        }
        let zeroed = self.zeroed.count(start, count);
        self.zeroed.remove(start, count);
        self.zeroed_pages.set(self.zeroed_pages.get() - small(zeroed));
        zeroed
    }

    /// Its free pages, as runs of one kind.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = Gap> + '_ {
        let length = self.length();
        let mut from = 0;
        core::iter::from_fn(move || {
            let start = self.used.next_absent(from, length);
            if start >= length {
                return None;
            }
            let end = self.used.next_present(start, length);
            let released = self.released.contains(start);
            from = if released {
                self.released.next_absent(start, end)
            } else {
                self.released.next_present(start, end)
            };
            Some(Gap { start, length: from - start, released })
        })
    }
}

/// A run of free pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) start: usize,
    pub(crate) length: usize,
    /// Whether they were given back to the kernel.
    pub(crate) released: bool,
}
