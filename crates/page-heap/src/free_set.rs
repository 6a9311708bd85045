//! The free spans of a page heap, by length.

use crate::allocation_records::{EXACT_LENGTHS, SMALL_LENGTH_BYTES};
use core::marker::PhantomData;
use strata_span::{PageCount, PageSize, SpanHandle, SpanList, SpanTree};

const WORDS: usize = EXACT_LENGTHS / 64;

/// Free spans that are all backed, or all not: a list for each length below 1 MiB, one list for the
/// longer ones, and the longer ones ordered by length and address besides.
///
/// Lists are ordered by the time of entry, newest first. A bit for each list says whether something
/// is on it, so that finding one takes constant time.
#[derive(Debug)]
pub(crate) struct FreeSet<P: PageSize> {
    /// By length in pages; the list at 0 is that of the longer spans.
    lists: [SpanList; EXACT_LENGTHS],
    occupied: [u64; WORDS],
    large: SpanTree,
    large_pages: u64,
    pages: PhantomData<P>,
}

impl<P: PageSize> FreeSet<P> {
    /// Spans of this length are found by the tree.
    pub(crate) const LARGE: PageCount<P> = PageCount::new(SMALL_LENGTH_BYTES >> P::SHIFT);

    pub(crate) const fn new() -> Self {
        Self {
            lists: [const { SpanList::new() }; EXACT_LENGTHS],
            occupied: [0; WORDS],
            large: SpanTree::new(),
            large_pages: 0,
            pages: PhantomData,
        }
    }

    /// Puts a span in, as the newest of its length.
    pub(crate) fn insert(&mut self, span: SpanHandle) {
        let list_index = Self::list_of(span);
        if let Some(list) = self.lists.get_mut(list_index) {
            list.push_front(span);
        }
        self.mark(list_index, true);
        if list_index == 0 {
            self.large.insert(span);
            self.large_pages += span.pages() as u64;
        }
    }

    /// Takes a span out that is in this set; its range is what it was when it was put in.
    pub(crate) fn remove(&mut self, span: SpanHandle) {
        let list_index = Self::list_of(span);
        if let Some(list) = self.lists.get_mut(list_index) {
            list.remove(span);
            if list.is_empty() {
                self.mark(list_index, false);
            }
        }
        if list_index == 0 {
            self.large.remove(span);
            self.large_pages -= span.pages() as u64;
        }
    }

    /// The newest of the shortest spans below 1 MiB that have at least `pages` pages.
    pub(crate) fn best_small(&self, pages: PageCount<P>) -> Option<SpanHandle> {
        self.lists.get(self.next_occupied(pages.get().max(1))?)?.first()
    }

    /// The shortest and then lowest span of 1 MiB or more that has at least `pages` pages.
    pub(crate) fn best_large(&self, pages: PageCount<P>) -> Option<SpanHandle> {
        self.large.best_fit(pages.get())
    }

    /// The spans that have at least `pages` pages, by rising length.
    pub(crate) fn at_least(&self, pages: PageCount<P>) -> impl Iterator<Item = SpanHandle> + '_ {
        let next = |from: usize| self.next_occupied(from.max(1));
        let lists = core::iter::successors(next(pages.get()), move |list| next(list + 1));
        let short = lists.filter_map(|list| self.lists.get(list)).flat_map(SpanList::iter);
        let long = core::iter::successors(self.best_large(pages), |span| self.large.after(*span));
        short.chain(long)
    }

    /// The longest span of 1 MiB or more.
    pub(crate) fn longest(&self) -> Option<SpanHandle> {
        self.large.longest()
    }

    /// The first list from `index` on with something on it.
    pub(crate) fn next_occupied(&self, index: usize) -> Option<usize> {
        let mut bits = self.occupied.get(index / 64)? & (u64::MAX << (index % 64));
        let mut word = index / 64;
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// The list at `index`, which is a length in pages or 0 for the longer ones.
    pub(crate) fn list(&self, index: usize) -> Option<&SpanList> {
        self.lists.get(index)
    }

    /// Pages in spans of 1 MiB and more.
    pub(crate) const fn large_pages(&self) -> u64 {
        self.large_pages
    }

    fn list_of(span: SpanHandle) -> usize {
        if span.page_count() < Self::LARGE { span.pages() } else { 0 }
    }

    fn mark(&mut self, list_index: usize, occupied: bool) {
        if let Some(word) = self.occupied.get_mut(list_index / 64) {
            let bit = 1 << (list_index % 64);
            if occupied {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }
}
