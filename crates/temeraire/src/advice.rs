//! When the kernel is told about hugepages.

use crate::{fill_history::FillHistory, touch_history::TouchHistory};
use strata_os::{AddressRange, Advice, PageSource, Residency, ThpMode};
use strata_page_heap::Refusals;
use strata_span::{HUGEPAGE_BYTES, HugepageCount, Platform};
use strata_sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// What the heap tells the kernel about hugepages, and what it knows of the system's mode.
///
/// Small programs must not pay: their hugepages fill page by page. A fresh hugepage is advised only
/// where the heap is large enough that its pages are about to be used, and only if the program
/// is known to touch most of such hugepages, or of such large spans.
#[derive(Debug)]
pub(crate) struct HugepageAdvice {
    /// The system's mode, plus one; 0 until somebody asked. Written by whoever asks first, all the
    /// same value.
    mode: AtomicU8,
    /// How often the kernel refused.
    failures: AtomicU64,
    /// Refusals of late to back memory with hugepages, and not to.
    refusals_for: Refusals,
    refusals_against: Refusals,
    /// Refusals of late to fault memory in ahead.
    refusals_to_fault_in: Refusals,
    /// Bytes that were advised to be on hugepages, each time they were.
    advised_bytes: AtomicU64,
    /// Whether a run for one large span was forbidden, so that advice has to take that back.
    has_forbidden_runs: AtomicBool,
    /// Hugepages of runs that were left on small pages, that were allowed one by one since.
    allowed_alone: AtomicUsize,
    /// Whether runs of the heap are kept on small pages because it was small when it took them. Written with the heap's
    /// lock held or by who will take it; read as a hint.
    has_modest_runs: AtomicBool,
    /// How much of its large spans the program touches.
    touched: TouchHistory,
    /// How much of the hugepages that many spans share.
    filled: FillHistory,
}

/// Advice given so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AdviceFigures {
    /// Bytes that the kernel was asked to back with hugepages, each time they came from it.
    pub advised_bytes: u64,
    /// How often the kernel refused, as a number.
    pub failures: u64,
    /// How often it was not told because it had just refused several times, as a number.
    pub withheld: u64,
    /// Hugepages that it was told not to back so, because parts of them were given back.
    pub forbidden_hugepages: u64,
}

impl AdviceFigures {
    pub(crate) const NONE: Self =
        Self { advised_bytes: 0, failures: 0, withheld: 0, forbidden_hugepages: 0 };
}

/// How the kernel backs fresh memory of the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Backing {
    /// With hugepages, as far as known.
    Whole = 0,
    /// With hugepages where it is asked for them, and it was not asked yet.
    Asked,
    /// With hugepages, but where it is told not to because the heap is small.
    Modest,
    /// Page by page.
    ByPage,
}

impl HugepageAdvice {
    /// Bytes in use from which on fresh hugepages are advised. At half as much, programs of 10 MiB
    /// grow by the unused part of their last hugepages, 20 % of their size; at twice, the first 32
    /// MiB of every large program stay on small pages.
    pub(crate) const THRESHOLD_BYTES: usize = 16 << 20;
    /// One part in so many of a large span may be free behind it for its last hugepage to be asked for. At half of that part,
    /// blocks of 8 to 16 MiB have a fifth more faults; at four thirds of it, they have 3 % more memory at their peak.
    const PARTS_FREE_BEHIND: usize = 8;
    /// Hugepages that one allocation has to span at least to be advised: of two hugepages it fills
    /// more than half for certain, and of one it may touch a little.
    const LEAST_RUN: HugepageCount = HugepageCount::new(2);
    /// Spans up to this share hugepages: the filler's.
    const MOST_PACKED_BYTES: usize = HUGEPAGE_BYTES / 2;
    /// Most hugepages to be forbidden at a time. Each is a mapping of its own, of which a process
    /// may have 65 530 by default.
    pub(crate) const MOST_FORBIDDEN: usize = 8192;

    /// Most hugepages of runs that were left on small pages, that are allowed one by one: 4 GiB, and 4096 mappings at most.
    pub(crate) const MOST_ALLOWED_ALONE: usize = 2048;

    /// Bytes in use up to which last hugepages that their spans hardly use are left out. Such a span has two
    /// mebibytes at least, and each may be two mappings: 16 384 at most.
    const MOST_WITH_TAILS_BYTES: usize = 16 << 30;

    strata_sync::const_fn! {
        /// Nothing known, nothing told.
        pub(crate) const fn new() -> Self {
            Self {
                mode: AtomicU8::new(0),
                failures: AtomicU64::new(0),
                refusals_for: Refusals::new(),
                refusals_against: Refusals::new(),
                refusals_to_fault_in: Refusals::new(),
                advised_bytes: AtomicU64::new(0),
                has_forbidden_runs: AtomicBool::new(false),
                allowed_alone: AtomicUsize::new(0),
                has_modest_runs: AtomicBool::new(false),
                touched: TouchHistory::new(),
                filled: FillHistory::new(),
            }
        }
    }

    /// Whether a fresh run of `run` hugepages should be advised, with `in_use_bytes` in use.
    /// `single`: one hugepage is enough, since it is for many small spans, or the large one fills it.
    pub(crate) fn is_worth_it(in_use_bytes: usize, run: HugepageCount, single: bool) -> bool {
        in_use_bytes > Self::THRESHOLD_BYTES && (single || run >= Self::LEAST_RUN)
    }

    /// How fresh memory is backed. Once the kernel was asked for hugepages, they may stand behind what went back and comes
    /// again, so that nothing is certain to be backed page by page any more.
    #[inline]
    pub(crate) fn backing<E: Platform>(&self, platform: &E) -> Backing {
        match self.mode(platform) {
            ThpMode::Never => Backing::ByPage,
            ThpMode::Madvise if self.advised_bytes.load(Ordering::Relaxed) == 0 => Backing::Asked,
            ThpMode::Always => Backing::Modest,
            _ => Backing::Whole,
        }
    }

    /// Notes that `bytes` bytes that were forbidden may be hugepages again.
    pub(crate) fn note_allowed(&self, bytes: usize) {
        self.advised_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Tells the kernel about a fresh run that is taken for `span`, with `in_use_bytes` in use. True if the run or
    /// a part of it is left on small pages and [`Self::learn`] wants to hear of the span when it ends.
    pub(crate) fn tell<E: Platform>(
        &self,
        platform: &E,
        run: AddressRange,
        span: AddressRange,
        in_use_bytes: u64,
    ) -> bool {
        let leaves_tails = in_use_bytes <= Self::MOST_WITH_TAILS_BYTES as u64;
        let wanted = if leaves_tails { span } else { run };
        let is_known = self.mode(platform) != ThpMode::Unknown;
        if is_known && span.bytes <= Self::MOST_PACKED_BYTES {
            if let Some(due) = self.filled.due()
                && let Ok(found) = platform.source().residency(due)
            {
                self.filled.note(found.resident_bytes + found.swapped_bytes);
            }
            if self.filled.stays_small(run) {
                self.leave_on_small_pages(platform, run);
                return false;
            }
        } else if is_known {
            let choice = self.touched.next(run, span, |tail| Self::is_touched(platform, tail));
            if let Some(range) = choice.look_at {
                self.look(platform, range);
            }
            if let Some(part) = choice.on_small_pages {
                self.ask_around(platform, run, Some(part), wanted);
                return true;
            }
            if let Some(tail) = Self::left_tail(run, wanted) {
                self.touched.leave_tail(tail, |tail| Self::is_touched(platform, tail));
            }
        }
        self.ask_around(platform, run, None, wanted);
        false
    }

    /// Whether most of a tail that was left on small pages was touched; no where a hugepage stands behind it after all,
    /// of which nothing can be told.
    fn is_touched<E: Platform>(platform: &E, tail: AddressRange) -> bool {
        let is_touched = |found: Residency| {
            let touched_bytes = found.resident_bytes + found.swapped_bytes;
            found.hugepage_bytes == 0 && touched_bytes >= tail.bytes / 2
        };
        platform.source().residency(tail).is_ok_and(is_touched)
    }

    /// What a span, of which `wanted` is to be used, has of the last hugepage of its run, if that is not asked for: more
    /// than a quarter of it is free, and more than an eighth of the span. The rest is for others, who may never come, and
    /// a hugepage is broken for as much. If a quarter of it is enough, tails that nobody needs are in memory, of spans of
    /// 1.5 hugepages a quarter of what they use; at seven eighths, most last hugepages are on small pages.
    fn left_tail(run: AddressRange, wanted: AddressRange) -> Option<AddressRange> {
        let last = run.end() - HUGEPAGE_BYTES;
        let free_bytes = run.end().saturating_sub(wanted.end());
        let most_free = (HUGEPAGE_BYTES / 4).max(wanted.bytes / Self::PARTS_FREE_BEHIND);
        let is_left = free_bytes > most_free && last > run.start;
        is_left.then(|| AddressRange::new(last, wanted.end().saturating_sub(last)))
    }

    /// Asks for hugepages behind a fresh run of which `wanted` is to be used, but for `part` of it, which is left
    /// on small pages, and for [its last one](Self::left_tail) if that is left there, too.
    fn ask_around<E: Platform>(
        &self,
        platform: &E,
        run: AddressRange,
        part: Option<AddressRange>,
        wanted: AddressRange,
    ) {
        let end = Self::left_tail(run, wanted).map_or(run.end(), |tail| tail.start);
        let part = part.unwrap_or(AddressRange::new(end, 0));
        for (start, end) in [(run.start, part.start), (part.end(), end)] {
            if start < end {
                self.ask(platform, AddressRange::new(start, end - start));
            }
        }
        if part.bytes > 0 {
            self.leave_on_small_pages(platform, part);
        }
    }

    /// Has the kernel back a fresh range now, for writing. Says how many bytes of its beginning it did that for: all, or
    /// none where it refuses, as one before Linux 5.14 does; or those that it came to before it had no more memory.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn fault_in<E: Platform>(&self, platform: &E, range: AddressRange) -> usize {
        let source = platform.source();
        let mut done = 0;
        let call = || {
            let answer = source.advise(range, Advice::PopulateWrite);
            done = match answer {
                Ok(()) => range.bytes,
                Err(error) if error.is_halfway() => {
                    source.residency(range).map_or(0, |found| found.resident_bytes)
                }
                Err(_) => 0,
            };
            answer.is_ok()
        };
        self.refusals_to_fault_in.ask(platform.clock(), call);
        done
    }

    /// Notes a fresh run that is taken for a span of `span_bytes` while the heap is small.
    pub(crate) fn note_small(&self, run: AddressRange, span_bytes: usize) {
        if span_bytes <= Self::MOST_PACKED_BYTES {
            self.filled.leave(run);
        }
    }

    /// The same for a run that a large span grows into. `watched`: some of its beginning was left on small pages.
    pub(crate) fn tell_grown<E: Platform>(&self, platform: &E, run: AddressRange, watched: bool) {
        if watched && self.touched.is_doubtful() {
            self.leave_on_small_pages(platform, run);
        } else {
            self.ask(platform, run);
        }
    }

    /// Looks how much was touched of a large span of which a part was left on small pages, and that is about to end.
    pub(crate) fn learn<E: Platform>(&self, platform: &E, span: AddressRange) {
        if let Some(range) = self.touched.end(span) {
            self.look(platform, range);
        }
    }

    fn look<E: Platform>(&self, platform: &E, range: AddressRange) {
        if let Ok(found) = platform.source().residency(range) {
            self.touched.note(found.resident_bytes + found.swapped_bytes, range.bytes);
        }
    }

    /// Sees to it that the kernel backs a run with small pages, whatever it was told of it before.
    #[unsafe(link_section = ".text_rarely")]
    fn leave_on_small_pages<E: Platform>(&self, platform: &E, run: AddressRange) {
        let backs_with_hugepages = match self.mode(platform) {
            ThpMode::Always => true,
            ThpMode::Madvise => self.advised_bytes.load(Ordering::Relaxed) > 0,
            _ => false,
        };
        if backs_with_hugepages {
            self.has_forbidden_runs.store(true, Ordering::Relaxed);
            self.say(platform, run, Advice::NoHugepage);
        }
    }

    /// Asks for hugepages behind a fresh range, where the system leaves that to us.
    #[unsafe(link_section = ".text_rarely")]
    fn ask<E: Platform>(&self, platform: &E, range: AddressRange) {
        let must_ask = match self.mode(platform) {
            ThpMode::Madvise => true,
            ThpMode::Always => self.has_forbidden_runs.load(Ordering::Relaxed),
            _ => false,
        };
        if must_ask {
            self.advised_bytes.fetch_add(range.bytes as u64, Ordering::Relaxed);
            self.say(platform, range, Advice::Hugepage);
        }
    }

    /// Forbids a hugepage, parts of which are about to be given back: where the kernel collects
    /// hugepages in the background, it would fill them again. True if it is forbidden now.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn forbid<E: Platform>(&self, platform: &E, range: AddressRange) -> bool {
        if !self.forbids(platform) {
            return false;
        }
        self.say(platform, range, Advice::NoHugepage)
    }

    /// Allows a hugepage that was forbidden. True if it is allowed now.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allow<E: Platform>(&self, platform: &E, range: AddressRange) -> bool {
        let done = self.say(platform, range, Advice::Hugepage);
        if done {
            self.note_allowed(range.bytes);
        }
        done
    }

    /// Allows a hugepage of a run that was left on small pages, if there may be such a run, and not too many were
    /// allowed so: each may be a mapping of its own. True if it is allowed now.
    pub(crate) fn allow_alone<E: Platform>(&self, platform: &E, range: AddressRange) -> bool {
        let may_be = self.has_forbidden_runs.load(Ordering::Relaxed)
            && self.allowed_alone.load(Ordering::Relaxed) < Self::MOST_ALLOWED_ALONE;
        if !may_be {
            return false;
        }
        self.allowed_alone.fetch_add(1, Ordering::Relaxed);
        self.allow(platform, range)
    }

    /// Whether the kernel backs with hugepages what nobody asked it for.
    pub(crate) fn bloats<E: Platform>(&self, platform: &E) -> bool {
        self.mode(platform) == ThpMode::Always
    }

    /// Notes whether runs are kept on small pages.
    pub(crate) fn note_modest(&self, any: bool) {
        self.has_modest_runs.store(any, Ordering::Relaxed);
    }

    /// Whether runs are kept on small pages.
    #[inline]
    pub(crate) fn has_modest_runs(&self) -> bool {
        self.has_modest_runs.load(Ordering::Relaxed)
    }

    /// Takes the system's mode to be `mode`.
    #[cfg(test)]
    pub(crate) fn pretend(&self, mode: ThpMode) {
        self.mode.store(number_of(mode), Ordering::Relaxed);
    }

    /// Whether the kernel may be asked to put hugepages together: not where the system wants none. A source without memory
    /// behind it may always.
    pub(crate) fn collapses<E: Platform>(&self, platform: &E) -> bool {
        let mode = self.mode(platform);
        let asks_nobody = mode == ThpMode::Unknown && !platform.source().touchable();
        asks_nobody || matches!(mode, ThpMode::Always | ThpMode::Madvise)
    }

    /// Whether forbidding has a meaning: the system makes hugepages, for all, or for who asks and did.
    pub(crate) fn forbids<E: Platform>(&self, platform: &E) -> bool {
        match self.mode(platform) {
            ThpMode::Always => true,
            ThpMode::Madvise => self.advised_bytes.load(Ordering::Relaxed) > 0,
            _ => false,
        }
    }

    /// The figures; `forbidden_hugepages` is known to the heap.
    pub(crate) fn figures(&self, forbidden_hugepages: usize) -> AdviceFigures {
        AdviceFigures {
            advised_bytes: self.advised_bytes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            withheld: self.refusals_for.withheld() + self.refusals_against.withheld(),
            forbidden_hugepages: forbidden_hugepages as u64,
        }
    }

    /// Tells the kernel, unless it has refused to hear that several times of late. True if it does so.
    fn say<E: Platform>(&self, platform: &E, range: AddressRange, advice: Advice) -> bool {
        let refusals = match advice {
            Advice::NoHugepage => &self.refusals_against,
            _ => &self.refusals_for,
        };
        let answer =
            refusals.ask(platform.clock(), || platform.source().advise(range, advice).is_ok());
        if answer == Some(false) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer == Some(true)
    }

    fn mode<E: Platform>(&self, platform: &E) -> ThpMode {
        match self.mode.load(Ordering::Relaxed) {
            1 => ThpMode::Always,
            2 => ThpMode::Madvise,
            3 => ThpMode::Never,
            4 => ThpMode::Unknown,
            _ => self.find_mode(platform),
        }
    }

    #[cold]
    fn find_mode<E: Platform>(&self, platform: &E) -> ThpMode {
        let mode = platform.source().thp_mode();
        self.mode.store(number_of(mode), Ordering::Relaxed);
        mode
    }
}

/// A mode as it is kept: 0 is none yet.
const fn number_of(mode: ThpMode) -> u8 {
    match mode {
        ThpMode::Always => 1,
        ThpMode::Madvise => 2,
        ThpMode::Never => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests;
