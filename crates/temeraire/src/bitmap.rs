//! Sets of pages, a bit each.

use core::cell::Cell;

/// A set of the numbers below `64 * WORDS`. All zero bits are the empty set.
///
/// Methods that search take the number of bits that count, so that one type serves all page sizes.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Bitmap<const WORDS: usize>([Cell<u64>; WORDS]);

/// A place found for some pages in a [`Bitmap`] of pages in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fit {
    /// The first page.
    pub(crate) start: usize,
    /// The longest run of free pages that is left once the pages are taken.
    pub(crate) longest_left: usize,
}

impl<const WORDS: usize> Bitmap<WORDS> {
    /// The empty set.
    pub(crate) const fn empty() -> Self {
        Self([const { Cell::new(0) }; WORDS])
    }

    /// Puts `count` numbers from `start` in.
    pub(crate) fn insert(&self, start: usize, count: usize) {
        self.each_word(start, count, |word, mask| word.set(word.get() | mask));
    }

    /// Takes `count` numbers from `start` out.
    pub(crate) fn remove(&self, start: usize, count: usize) {
        self.each_word(start, count, |word, mask| word.set(word.get() & !mask));
    }

    /// All numbers, a bit each.
    pub(crate) fn words(&self) -> [u64; WORDS] {
        core::array::from_fn(|index| self.word(index))
    }

    /// The numbers that are in this one or in the other.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|index| Cell::new(self.word(index) | other.word(index))))
    }

    /// How many of `count` numbers from `start` are in.
    pub(crate) fn count(&self, start: usize, count: usize) -> usize {
        let mut found = 0;
        self.each_word(start, count, |word, mask| {
            found += (word.get() & mask).count_ones() as usize;
        });
        found
    }

    /// Whether `number` is in.
    pub(crate) fn contains(&self, number: usize) -> bool {
        self.word(number / 64) >> (number % 64) & 1 != 0
    }

    /// The first number from `from` on that is not in; `length` if there is none below it.
    pub(crate) fn next_absent(&self, from: usize, length: usize) -> usize {
        self.next(from, length, |word| !word)
    }

    /// The first number from `from` on that is in; `length` if there is none below it.
    pub(crate) fn next_present(&self, from: usize, length: usize) -> usize {
        self.next(from, length, |word| word)
    }

    /// The runs of numbers below `length` that are not in: start and length.
    pub(crate) fn gaps(&self, length: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let start = self.next_absent(from, length);
            if start >= length {
                return None;
            }
            from = self.next_present(start, length);
            Some((start, from - start))
        })
    }

    /// The runs of numbers below `length` that are in: start and length.
    pub(crate) fn runs(&self, length: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let start = self.next_present(from, length);
            if start >= length {
                return None;
            }
            from = self.next_absent(start, length);
            Some((start, from - start))
        })
    }

    /// The length of the longest gap.
    pub(crate) fn longest_gap(&self, length: usize) -> usize {
        self.gaps(length).map(|(_, gap)| gap).max().unwrap_or(0)
    }

    /// The gap around `number`, which is not in: its length.
    pub(crate) fn gap_around(&self, number: usize, length: usize) -> usize {
        let end = self.next_present(number, length);
        end - self.start_of_gap(number)
    }

    /// The length of the gap that ends with the number before `end`; 0 if that is in.
    pub(crate) fn gap_before(&self, end: usize) -> usize {
        end - self.start_of_gap(end)
    }

    /// The shortest gap that has room for `count` numbers at a multiple of `align` (a power of
    /// two), the first of several. `longest` is the length of the longest gap. Takes time by the
    /// number of gaps, and stops early at an exact fit.
    pub(crate) fn best_fit(
        &self,
        count: usize,
        align: usize,
        longest: usize,
        length: usize,
    ) -> Option<Fit> {
        let mut best: Option<(usize, usize, usize)> = None;
        // How many gaps of the greatest length were seen, and the greatest of the others.
        let (mut longest_seen, mut second) = (0usize, 0usize);
        for (start, gap) in self.gaps(length) {
            if gap == longest {
                longest_seen += 1;
            } else {
                second = second.max(gap);
            }
            let place = (start + align - 1) & !(align - 1);
            let fits = place + count <= start + gap;
            if fits && best.is_none_or(|(_, best_gap, _)| gap < best_gap) {
                best = Some((start, gap, place));
            }
            if let Some((_, best_gap, _)) = best
                && best_gap == count
                && (best_gap < longest || longest_seen > 1)
            {
                break;
            }
        }
        let (start, gap, place) = best?;
        let longest_left = if gap < longest || longest_seen > 1 {
            longest
        } else {
            second.max(place - start).max(start + gap - place - count)
        };
        Some(Fit { start: place, longest_left })
    }

    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, Cell::get)
    }

    #[inline(always)]
    fn next(&self, from: usize, length: usize, wanted: impl Fn(u64) -> u64) -> usize {
        if from >= length {
            return length;
        }
        let mut index = from / 64;
        let mut word = wanted(self.word(index)) & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                return (index * 64 + word.trailing_zeros() as usize).min(length);
            }
            index += 1;
            if index * 64 >= length {
                return length;
            }
            word = wanted(self.word(index));
        }
    }

    /// The first number of the gap that reaches up to `number`.
    fn start_of_gap(&self, number: usize) -> usize {
        let mut index = number / 64;
        let mut word = self.word(index) & !(u64::MAX << (number % 64));
        loop {
            if word != 0 {
                return index * 64 + 64 - word.leading_zeros() as usize;
            }
            if index == 0 {
                return 0;
            }
            index -= 1;
            word = self.word(index);
        }
    }

    #[inline(always)]
    fn each_word(&self, start: usize, count: usize, mut visit: impl FnMut(&Cell<u64>, u64)) {
        let (mut at, end) = (start, start + count);
        while at < end {
            let low = at % 64;
            let bits = (64 - low).min(end - at);
            let mask = if bits == 64 { u64::MAX } else { ((1 << bits) - 1) << low };
            let Some(word) = self.0.get(at / 64) else { return };
            visit(word, mask);
            at += bits;
        }
    }
}

#[cfg(test)]
mod tests;
