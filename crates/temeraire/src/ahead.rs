//! How much fresh memory is faulted in before spans take it.

use strata_span::{PageCount, PageSize};

/// What a heap that grows fast has taken fresh of late, on small pages, for spans of one page and many objects.
///
/// Such spans share hugepages with their like alone, and the program writes to each kernel page of them before long. Of
/// longer ones much may never be touched: with those of objects of up to 2 KiB besides, the peak of programs of a
/// dozen mebibytes rises by 3 to 8 %.
///
/// Each such page is a fault, of a microsecond or two, in one of the program's calls or behind it. A program that takes
/// a page each few hundred calls has all its slowest calls there. So the kernel is asked to fault in what lies behind
/// such a span together with it: one call of tens of microseconds instead of a dozen faults, for the same time in all.
///
/// What was faulted in and never taken is memory for nothing. So it is done only while the heap grows so fast that it
/// will be taken within a millisecond or two, and for a small part of what the heap has.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// When the bytes that are counted began to be.
    since_ns: u64,
    /// Bytes that were taken since, faulted in ahead or not.
    taken_bytes: usize,
}

impl Ahead {
    /// Nothing taken yet. (All zero bits.)
    pub(crate) const NONE: Self = Self { since_ns: 0, taken_bytes: 0 };

    /// Bytes in use from which on it is done. Smaller heaps do not run this code, nor have it in memory.
    const LEAST_IN_USE_BYTES: usize = 1 << 20;
    /// The part of what is in use that may be faulted in ahead, and the most of it.
    const PART: usize = 32;
    const MOST_BYTES: usize = 64 << 10;
    /// Bytes by which the pace is measured. At half, two classes that begin are a heap that grows; at twice, a small one
    /// has grown before anything is faulted in ahead.
    const MEASURED_BYTES: usize = 32 << 10;
    /// The slowest pace at which it pays, in ns for each byte: 64 MiB a second. A program that makes a call in 50 ns
    /// takes a page in 1200 calls then, so that faults are hardly among the slowest of a thousand.
    const SLOWEST_NS: u64 = 15;

    /// Whether a heap with so many pages in use is large enough.
    #[inline]
    pub(crate) fn is_for<P: PageSize>(in_use: PageCount<P>) -> bool {
        in_use.bytes() >= Self::LEAST_IN_USE_BYTES
    }

    /// Notes that `taken` fresh pages go to a span, with so many in use then. Says how many behind them are to be faulted in
    /// together with them; none: they are left alone.
    pub(crate) fn note<P: PageSize>(
        &mut self,
        taken: PageCount<P>,
        in_use: PageCount<P>,
        now_ns: u64,
    ) -> PageCount<P> {
        self.taken_bytes = self.taken_bytes.saturating_add(taken.bytes());
        if self.taken_bytes < Self::MEASURED_BYTES {
            return PageCount::ZERO;
        }
        let took_ns = now_ns.saturating_sub(self.since_ns);
        let longest_ns = Self::SLOWEST_NS.saturating_mul(self.taken_bytes as u64);
        // A clock that did not move tells nothing.
        let is_fast = (1..=longest_ns).contains(&took_ns);
        *self = Self { since_ns: now_ns, taken_bytes: 0 };
        if !is_fast {
            return PageCount::ZERO;
        }
        let most = (in_use.bytes() / Self::PART).min(Self::MOST_BYTES);
        PageCount::new(most >> P::SHIFT)
    }

    /// Notes that so many pages behind a span were faulted in: the next fresh one comes when they are taken.
    pub(crate) fn note_ahead<P: PageSize>(&mut self, pages: PageCount<P>) {
        self.taken_bytes = self.taken_bytes.saturating_add(pages.bytes());
    }
}

#[cfg(test)]
mod tests;
