//! What the heap knows of one hugepage.

use core::{cell::Cell, fmt, ops::Deref, ptr::NonNull};
use strata_span::{Hugepage, MetadataKind, PoolItem};

/// Words of a bitmap with a bit for each page of a hugepage, at the smallest page size.
const WORDS: usize = 8;

/// One bit for each page of a hugepage.
pub(crate) type Pages = [u64; WORDS];

/// The state of a hugepage, in the metadata arena. The heap's lock guards it.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Record {
    used: Cell<Pages>,
    /// With memory behind it, used or free.
    backed: Cell<Pages>,
    /// Free, and reads as zero.
    zeroed: Cell<Pages>,
    pub(crate) next: Cell<Option<RecordHandle>>,
    pub(crate) previous: Cell<Option<RecordHandle>>,
    hugepage: Cell<Hugepage>,
    /// Of the free block that begins here: its backed pages.
    pub(crate) block_backed: Cell<usize>,
    /// The list that it is on, plus one; 0: none.
    pub(crate) list: Cell<u8>,
    /// Free pages of it are on their way to the kernel: it is on no list meanwhile.
    pub(crate) away: Cell<bool>,
}

// SAFETY: 1. zero is an empty cell of each type here. 2. It has no drop and is larger than a pointer.
unsafe impl PoolItem for Record {
    const KIND: MetadataKind = MetadataKind::Hugepages;
}

impl Record {
    /// Makes it the record of a free hugepage of `pages` pages without memory behind them.
    pub(crate) fn start(&self, hugepage: Hugepage, pages: usize, zeroed: bool) {
        self.hugepage.set(hugepage);
        // Pages that a hugepage does not have are in use for ever.
        self.used.set(span_of(pages, WORDS * 64 - pages));
        self.zeroed.set(if zeroed { span_of(0, pages) } else { [0; WORDS] });
    }

    pub(crate) fn hugepage(&self) -> Hugepage {
        self.hugepage.get()
    }

    /// Hands `count` pages from `start` on out. Says how many of them were backed, and whether all read as zero.
    pub(crate) fn take(&self, start: usize, count: usize) -> (usize, bool) {
        let taken = span_of(start, count);
        let backed = ones(and(self.backed.get(), taken));
        let zeroed = ones(and(self.zeroed.get(), taken)) == count;
        self.used.set(or(self.used.get(), taken));
        self.backed.set(or(self.backed.get(), taken));
        self.zeroed.set(and_not(self.zeroed.get(), taken));
        (backed, zeroed)
    }

    /// Takes `count` pages from `start` on back, which stay backed.
    pub(crate) fn put(&self, start: usize, count: usize) {
        self.used.set(and_not(self.used.get(), span_of(start, count)));
    }

    /// Notes that the kernel took free pages.
    pub(crate) fn note_released(&self, pages: Pages) {
        self.backed.set(and_not(self.backed.get(), pages));
        self.zeroed.set(or(self.zeroed.get(), pages));
    }

    /// Pages with memory behind them that are free.
    pub(crate) fn free_backed(&self) -> Pages {
        and_not(self.backed.get(), self.used.get())
    }

    /// Whether all `pages` pages of the hugepage are free.
    pub(crate) fn is_free(&self, pages: usize) -> bool {
        ones(and(self.used.get(), span_of(0, pages))) == 0
    }

    /// The logarithm of the length of the longest free block; none if no page is free.
    pub(crate) fn longest(&self, pages: usize) -> Option<u32> {
        if self.used.get() == [u64::MAX; WORDS] {
            return None;
        }
        (0..=pages.ilog2()).rev().find(|order| self.blocks(*order) != [0; WORDS])
    }

    /// The start of the free block from which 2^`order` pages are best taken: the shortest that is long enough.
    pub(crate) fn best(&self, order: u32, pages: usize) -> Option<usize> {
        (order..=pages.ilog2()).find_map(|longer| {
            let blocks = self.blocks(longer);
            // A block whose buddy is free too is part of a longer one.
            let is_whole =
                |start: &usize| 1 << longer == pages || !is_one(blocks, start ^ (1 << longer));
            (0..pages).step_by(1 << longer).filter(|start| is_one(blocks, *start)).find(is_whole)
        })
    }

    /// A bit for the start of each free block of 2^`order` pages, those that are parts of longer ones included.
    fn blocks(&self, order: u32) -> Pages {
        let free = self.used.get().map(|word| !word);
        let in_word = |word: u64| {
            // A page begins a free run of 2^k+1 if it and the one 2^k further on begin one of 2^k.
            let run = (0..order.min(6)).fold(word, |run, k| run & run >> (1u32 << k));
            run & EVERY.get(order as usize).copied().unwrap_or(1)
        };
        let mut blocks = free.map(in_word);
        for half in (6..order).map(|k| 1usize << (k - 6)) {
            for index in (0..WORDS).step_by(2 * half) {
                let upper = blocks.get(index + half).copied().unwrap_or(0);
                if let Some(lower) = blocks.get_mut(index) {
                    *lower &= upper;
                }
                blocks.iter_mut().skip(index + half).take(1).for_each(|word| *word = 0);
            }
        }
        blocks
    }
}

/// Words in which every 2^n-th bit is set, from the lowest on.
const EVERY: [u64; 6] =
    [u64::MAX, u64::MAX / 3, u64::MAX / 15, u64::MAX / 255, u64::MAX / 65_535, 1 << 32 | 1];

fn is_one(pages: Pages, bit: usize) -> bool {
    pages.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// A bitmap with `count` bits from `start` on.
pub(crate) fn span_of(start: usize, count: usize) -> Pages {
    let mut words = [0; WORDS];
    for (word, low) in words.iter_mut().zip((0..).step_by(64)) {
        let (from, to) = (start.max(low), (start + count).min(low + 64));
        if from < to {
            *word = u64::MAX >> (64 - (to - from)) << (from - low);
        }
    }
    words
}

/// The runs of ones, as start and length.
pub(crate) fn runs(pages: Pages) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let start = (at..WORDS * 64).find(|bit| is_one(pages, *bit))?;
        at = (start..WORDS * 64).find(|bit| !is_one(pages, *bit)).unwrap_or(WORDS * 64);
        Some((start, at - start))
    })
}

pub(crate) fn ones(pages: Pages) -> usize {
    pages.iter().map(|word| word.count_ones() as usize).sum()
}

fn zip(left: Pages, right: Pages, combine: impl Fn(u64, u64) -> u64) -> Pages {
    let mut words = left;
    words.iter_mut().zip(right).for_each(|(word, other)| *word = combine(*word, other));
    words
}

pub(crate) fn or(left: Pages, right: Pages) -> Pages {
    zip(left, right, |left, right| left | right)
}

fn and(left: Pages, right: Pages) -> Pages {
    zip(left, right, |left, right| left & right)
}

fn and_not(left: Pages, right: Pages) -> Pages {
    zip(left, right, |left, right| left & !right)
}

/// A record that is the heap's.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RecordHandle(NonNull<Record>);

impl RecordHandle {
    /// A handle of `record`.
    ///
    /// # Safety
    ///
    /// `record` came from the heap's pool and does not go back there while a handle is used, and the heap's lock is held
    /// whenever one is.
    pub(crate) const unsafe fn new(record: NonNull<Record>) -> Self {
        Self(record)
    }

    /// Where the record is.
    pub(crate) const fn place(self) -> NonNull<Record> {
        self.0
    }
}

impl Deref for RecordHandle {
    type Target = Record;

    fn deref(&self) -> &Record {
        // SAFETY: `new`'s caller promised that the record stays; its fields are cells, so no exclusive reference exists.
        unsafe { self.0.as_ref() }
    }
}

impl fmt::Debug for RecordHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}
