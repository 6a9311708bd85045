//! Trackers, sorted so that the first that can serve is found at once.

use crate::{
    handle::Handle,
    tracker::{FillerSet, HugepageTracker},
};

/// Lists of trackers by a number below `LISTS`, with a bit for each list that has something.
///
/// Finding the first list from some number on takes two looks at bitmaps: a word for each 64
/// lists and a word over these. All zero bits are no trackers.
///
/// The bitmaps lie in front, and behind them the lists that small heaps use, those of long runs and many pages: all
/// on a page with what else is used.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FillerLists<const LISTS: usize, const WORDS: usize> {
    summary: u64,
    occupied: [u64; WORDS],
    /// At the places that [`Self::place`] says.
    heads: [Option<Handle<HugepageTracker>>; LISTS],
}

/// Lists by longest run of free pages and, within the same, by number of allocations.
pub(crate) type SparseLists = FillerLists<4096, 64>;
/// Lists by one number of pages.
pub(crate) type PageLists = FillerLists<512, 8>;

impl<const LISTS: usize, const WORDS: usize> FillerLists<LISTS, WORDS> {
    pub(crate) const EMPTY: Self = {
        assert!(LISTS == 64 * WORDS && WORDS <= 64, "one bit a list, one bit a word");
        Self { summary: 0, occupied: [0; WORDS], heads: [None; LISTS] }
    };

    /// Puts a tracker that is on no list in front of the list `list`.
    pub(crate) fn insert(&mut self, tracker: Handle<HugepageTracker>, set: FillerSet, list: usize) {
        let list = list.min(LISTS - 1);
        // Written first: memory that was never touched faults twice where it is read before.
        if let Some(word) = self.occupied.get_mut(list / 64) {
            *word |= 1 << (list % 64);
        }
        self.summary |= 1 << (list / 64);
        let Some(head) = self.heads.get_mut(Self::place(list)) else { return };
        tracker.set.set(set);
        tracker.list.set((list & 0xffff) as u16);
        tracker.previous.set(None);
        tracker.next.set(*head);
        if let Some(second) = *head {
            second.previous.set(Some(tracker));
        }
        *head = Some(tracker);
    }

    /// Takes a tracker off its list, which is one of these.
    pub(crate) fn remove(&mut self, tracker: Handle<HugepageTracker>) {
        let list = usize::from(tracker.list.get());
        let (previous, next) = (tracker.previous.get(), tracker.next.get());
        if let Some(next) = next {
            next.previous.set(previous);
        }
        match previous {
            Some(previous) => previous.next.set(next),
            None => self.set_head(list, next),
        }
        tracker.next.set(None);
        tracker.previous.set(None);
        tracker.set.set(FillerSet::Nowhere);
    }

    /// The first tracker of the first list from `from` on that has one.
    #[inline]
    pub(crate) fn first_from(&self, from: usize) -> Option<Handle<HugepageTracker>> {
        let index = from / 64;
        let word = self.occupied.get(index)? & (u64::MAX << (from % 64));
        let list = if word != 0 {
            index * 64 + word.trailing_zeros() as usize
        } else {
            let rest = self.summary.checked_shr(index as u32 + 1)?;
            if rest == 0 {
                return None;
            }
            let index = index + 1 + rest.trailing_zeros() as usize;
            index * 64 + self.occupied.get(index)?.trailing_zeros() as usize
        };
        self.head(list)
    }

    /// The trackers from the list `from` on.
    pub(crate) fn forwards(
        &self,
        from: usize,
    ) -> impl Iterator<Item = Handle<HugepageTracker>> + '_ {
        let first = self.first_from(from);
        core::iter::successors(first, |tracker| {
            tracker.next.get().or_else(|| self.first_from(usize::from(tracker.list.get()) + 1))
        })
    }

    /// The trackers from the last list to the first.
    pub(crate) fn backwards(&self) -> impl Iterator<Item = Handle<HugepageTracker>> + '_ {
        let mut below = LISTS;
        let mut next: Option<Handle<HugepageTracker>> = None;
        core::iter::from_fn(move || {
            let tracker = match next {
                Some(tracker) => tracker,
                None => {
                    below = self.last_below(below)?;
                    self.head(below)?
                }
            };
            next = tracker.next.get();
            Some(tracker)
        })
    }

    /// The last list below `end` that has a tracker.
    fn last_below(&self, end: usize) -> Option<usize> {
        let index = end / 64;
        let in_word = self.occupied.get(index).map_or(0, |word| word & !(u64::MAX << (end % 64)));
        if in_word != 0 {
            return Some(index * 64 + 63 - in_word.leading_zeros() as usize);
        }
        let words = if index >= 64 { u64::MAX } else { !(u64::MAX << index) };
        let index = 63usize.checked_sub((self.summary & words).leading_zeros() as usize)?;
        let word = self.occupied.get(index)?;
        Some(index * 64 + 63usize.checked_sub(word.leading_zeros() as usize)?)
    }

    fn head(&self, list: usize) -> Option<Handle<HugepageTracker>> {
        *self.heads.get(Self::place(list))?
    }

    /// Where the head of a list stands: the lists of either half from the last to the first. A hugepage of 256
    /// pages, as with pages of 8 KiB, uses the lower half, and an empty one its last list.
    #[inline]
    const fn place(list: usize) -> usize {
        list ^ (LISTS / 2 - 1)
    }

    fn set_head(&mut self, list: usize, tracker: Option<Handle<HugepageTracker>>) {
        if let Some(head) = self.heads.get_mut(Self::place(list)) {
            *head = tracker;
        }
        if tracker.is_some() {
            return;
        }
        if let Some(word) = self.occupied.get_mut(list / 64) {
            *word &= !(1 << (list % 64));
            if *word == 0 {
                self.summary &= !(1 << (list / 64));
            }
        }
    }
}

#[cfg(test)]
mod tests;
