//! How much of its large spans a program touches.

use core::ops::RangeInclusive;
use strata_os::AddressRange;
use strata_span::HUGEPAGE_BYTES;
use strata_sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// What is known of large spans: whether most of such a span is touched while it lives.
///
/// On a hugepage the first byte touched costs 2 MiB of memory and the time to clear them; on small pages it costs
/// one of them. Which is better depends on the program: buffers are filled, tables made for the worst case are not.
/// So in one fresh span of eight one hugepage is left on small pages, where the kernel can tell what was touched;
/// it is looked at when the span ends, or when the next such span is handed out. After one that was hardly touched
/// all fresh runs are left on small pages and looked at, until two in a row were touched: the mistake that costs
/// memory weighs more than the one that costs faults.
///
/// Such a trial takes 512 faults where one would do. So none is made if the tail of a span that came before, which is on
/// small pages in any case, turns out to be touched: then the rest of it is as well. (A tail that is not touched says
/// nothing: blocks are filled from the front.)
///
/// A counter with saturation as in branch prediction (J. E. Smith: "A study of branch prediction strategies",
/// ISCA 1981), with unequal steps.
#[derive(Debug)]
pub(crate) struct TouchHistory {
    /// From 0, most of a span is touched, to [`Self::MOST_DOUBT`].
    doubt: AtomicU8,
    /// Fresh spans so far that might have been trials, wrapping.
    spans: AtomicU32,
    /// Where to look at the last trial; 0 if its span ended.
    open_trial: AtomicUsize,
    /// The tail of the last span that left one on small pages: where it begins, which is a hugepage, plus its bytes;
    /// 0: none.
    tail: AtomicUsize,
    /// Since the last trial, or what would have been one, a tail was found touched.
    has_touched_tail: AtomicBool,
}

impl TouchHistory {
    /// Doubt from which on runs are left on small pages.
    const DOUBTFUL: u8 = 2;
    const MOST_DOUBT: u8 = 3;
    /// One span in so many, the second first, is a trial. With half as many, a program that touches everything has twice
    /// as many of its hugepages on small pages; with twice, it is found out later that it no longer does.
    const SPANS_BY_TRIAL: u32 = 8;
    /// Bytes that a trial may have. Longer spans are none: a program's one great array shall not be the eighth. Shorter
    /// ones would have nothing left on hugepages.
    const TRIALS: RangeInclusive<usize> = 2 * HUGEPAGE_BYTES..=128 << 20;

    /// Least bytes of a tail that is looked at. At half, a program that writes a header and a trailer to its blocks seems
    /// to touch them.
    const LEAST_TAIL: usize = HUGEPAGE_BYTES / 8;

    strata_sync::const_fn! {
        /// Nothing known: spans are expected to be touched.
        pub(crate) const fn new() -> Self {
            Self {
                doubt: AtomicU8::new(0),
                spans: AtomicU32::new(0),
                open_trial: AtomicUsize::new(0),
                tail: AtomicUsize::new(0),
                has_touched_tail: AtomicBool::new(false),
            }
        }
    }

    /// Decides about the fresh run `run`, which is taken for `span`. `is_touched` looks at the tail of another.
    pub(crate) fn next(
        &self,
        run: AddressRange,
        span: AddressRange,
        is_touched: impl FnOnce(AddressRange) -> bool,
    ) -> Choice {
        let is_trial = Self::TRIALS.contains(&span.bytes)
            && self.spans.fetch_add(1, Ordering::Relaxed) % Self::SPANS_BY_TRIAL == 1
            && !self.is_vouched_for(is_touched);
        let sample = if is_trial { Self::sample(span) } else { None };
        let last_trial =
            sample.map_or(0, |this| self.open_trial.swap(this.start, Ordering::Relaxed));
        Choice {
            on_small_pages: if self.is_doubtful() { Some(run) } else { sample },
            look_at: (last_trial != 0).then(|| AddressRange::new(last_trial, HUGEPAGE_BYTES)),
        }
    }

    /// Notes the tail of a span that is left on small pages, if it is long enough to tell something. `is_touched` looks at
    /// the one before it: by now it should be.
    pub(crate) fn leave_tail(
        &self,
        tail: AddressRange,
        is_touched: impl FnOnce(AddressRange) -> bool,
    ) {
        if tail.bytes < Self::LEAST_TAIL {
            return;
        }
        let before = self.exchange_tail(tail.start + tail.bytes);
        let is_told = self.has_touched_tail.load(Ordering::Relaxed) || self.has_doubt();
        if !is_told && before.is_some_and(is_touched) {
            self.has_touched_tail.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a tail says that the program touches its spans, so that no trial is needed this time.
    fn is_vouched_for(&self, is_touched: impl FnOnce(AddressRange) -> bool) -> bool {
        let was_told = self.has_touched_tail.swap(false, Ordering::Relaxed);
        !self.has_doubt() && (was_told || self.exchange_tail(0).is_some_and(is_touched))
    }

    fn exchange_tail(&self, end: usize) -> Option<AddressRange> {
        let end = self.tail.swap(end, Ordering::Relaxed);
        let bytes = end % HUGEPAGE_BYTES;
        (end != 0).then(|| AddressRange::new(end - bytes, bytes))
    }

    fn has_doubt(&self) -> bool {
        self.doubt.load(Ordering::Relaxed) > 0
    }

    /// A span of which a part was left on small pages is about to end: where to look at it.
    pub(crate) fn end(&self, span: AddressRange) -> Option<AddressRange> {
        let sample = Self::sample(span)?;
        if self.open_trial.load(Ordering::Relaxed) == sample.start {
            self.open_trial.store(0, Ordering::Relaxed);
        }
        Some(sample)
    }

    /// The part of a span that is looked at: its second whole hugepage, if it has two, as programs write to the
    /// beginning of a block in any case. It is the same in a span that has grown, and none of a span that has no
    /// whole hugepage.
    fn sample(span: AddressRange) -> Option<AddressRange> {
        let first = span.start.checked_next_multiple_of(HUGEPAGE_BYTES)?;
        let whole = span.end().checked_sub(first)? / HUGEPAGE_BYTES;
        let start = if whole > 1 { first + HUGEPAGE_BYTES } else { first };
        (whole > 0).then(|| AddressRange::new(start, HUGEPAGE_BYTES))
    }

    /// Enters what was found: so many bytes touched of so many looked at.
    pub(crate) fn note(&self, touched_bytes: usize, bytes: usize) {
        let doubt = self.doubt.load(Ordering::Relaxed);
        let doubt = if touched_bytes >= bytes / 2 {
            doubt.saturating_sub(1)
        } else {
            doubt.saturating_add(Self::DOUBTFUL).min(Self::MOST_DOUBT)
        };
        // Of two at once one is lost: a sample fewer.
        self.doubt.store(doubt, Ordering::Relaxed);
    }

    /// Whether fresh runs are left on small pages.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubt.load(Ordering::Relaxed) >= Self::DOUBTFUL
    }
}

/// What to do about a fresh run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// The part of it that gets no hugepages: all of it, or what is looked at when its span ends; none.
    pub(crate) on_small_pages: Option<AddressRange>,
    /// A part of an older span, to be looked at and entered now.
    pub(crate) look_at: Option<AddressRange>,
}

#[cfg(test)]
mod tests;
