//! Making hugepages whole again.
//!
//! A hugepage that stands full in the books may lie on small pages in memory: because parts of it had been given back
//! and were used again, because the kernel had none when it was first touched, or because the heap was small then and did
//! not ask. The kernel's own thread finds such places in minutes to hours, and only where it may; here they are looked
//! for in turn, asked about, and put together by `MADV_COLLAPSE` (Linux 6.1).
//!
//! Rules after TCMalloc's (`hugepage treatment`, 2025): a hugepage is looked at again after five minutes at the
//! earliest, or after ten seconds if parts of it were given back meanwhile; one is collapsed only if less than a
//! fifth of it is missing and less than a quarter in swap, since the kernel fills what is missing; and where that
//! takes it long, or it refuses, the pauses get longer. At a limit none is: there memory matters more.
//!
//! The kernel puts together what nobody forbade, advised or not, and what was forbidden hugepage by hugepage is
//! allowed again the same way. Other memory is advised only where it was left on small pages as a run, and not
//! without a bound, since each such hugepage may be a mapping of its own.
//!
//! Hugepages of the filler are on no list while they are treated. Those that a large span or the spans of a region
//! fill whole are treated where they are: a span that ends at that moment, and goes to the kernel in the same, may
//! leave a hugepage in memory that the books take for gone, until it is used again.

mod figures;
mod walk;

use crate::{
    departures::{Cause, Departures},
    hugepage_aware::HugePageAware,
    state::State,
};
pub use figures::{CollapseError, CollapseFigures};
use strata_os::{AddressRange, Advice, Clock, PageSource, Residency};
use strata_span::{HUGEPAGE_BYTES, HugepageCount, PageSize, Platform};
use walk::{DENSE_SIXTEENTHS, Patient};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

/// Time between two steps, unless the kernel is slow. At half, twice as many hugepages are looked at a second; at
/// five times as much, a heap of a gibibyte is looked at in forty seconds instead of eight, and traces have 0.25
/// MiB more on small pages in the mean.
const PAUSE_NS: u64 = SECOND_NS;
/// The pause doubles so often at most: to 128 seconds.
const MOST_DOUBLINGS: u32 = 7;
/// A collapse that takes longer than this doubles the pause.
const SLOW_NS: u64 = 30 * MILLISECOND_NS;
/// One that takes less halves it.
const QUICK_NS: u64 = 15 * MILLISECOND_NS;
/// A step ends when it has taken so long.
const STEP_NS: u64 = 20 * MILLISECOND_NS;
/// How long a step waits at most while the heap takes fresh runs of hugepages in quick succession, and how long until it
/// looks again whether it does: the kernel keeps the process's memory map locked while it copies a hugepage, for a
/// millisecond or more where others run, and each fresh run waits for that. At a quarter, a program that makes a few
/// blocks of 10 MiB in turn meets it; at four times as much, a program that grows all the while has its first 16 MiB on
/// small pages for half a second.
const MOST_WAIT_NS: u64 = 128 * MILLISECOND_NS;
const LOOK_AGAIN_NS: u64 = 16 * MILLISECOND_NS;
/// Most hugepages that one step asks the kernel about: a few microseconds each.
const MOST_ASKED: usize = 64;
/// How often a step takes the lock to look.
const MOST_WALKS: usize = 64;
/// Time until a heap that is too small for hugepages is looked at again: it may have grown.
const SMALL_PAUSE_NS: u64 = SECOND_NS;
/// Memory that may be missing: the kernel fills it when it collapses. What may be free of a hugepage that is dense;
/// TCMalloc has 64 kernel pages.
const MOST_MISSING_BYTES: usize = HUGEPAGE_BYTES / 16 * (16 - DENSE_SIXTEENTHS) + (1 << 12);
/// Kernel pages that may be in swap: the kernel reads them back when it collapses.
const MOST_SWAPPED_BYTES: usize = 128 << 12;

/// Where treatment is. All zero bits are before its beginning.
#[derive(Debug)]
pub(crate) struct Treatment {
    /// The address at which the next look begins.
    cursor: usize,
    /// The number of the first page of the large span that the last look came to; 0 before the first.
    large_first: usize,
    /// When the next step is due; 0: at once.
    due_ns: u64,
    doublings: u32,
    /// For how long the step that is due has waited for the heap to pause.
    waited_ns: u64,
    figures: CollapseFigures,
}

impl Treatment {
    pub(crate) const NONE: Self = Self {
        cursor: 0,
        large_first: 0,
        due_ns: 0,
        doublings: 0,
        waited_ns: 0,
        figures: CollapseFigures::NONE,
    };

    /// Whether a step that is due is to wait, as the heap grows fast or not.
    const fn waits(&mut self, grows: bool) -> bool {
        let waits = grows && self.waited_ns < MOST_WAIT_NS;
        self.waited_ns = if waits { self.waited_ns + LOOK_AGAIN_NS } else { 0 };
        waits
    }

    pub(crate) fn figures(&self) -> CollapseFigures {
        CollapseFigures { pause_ns: self.pause_ns(), least_pause_ns: PAUSE_NS, ..self.figures }
    }

    const fn pause_ns(&self) -> u64 {
        PAUSE_NS << self.doublings
    }

    /// `lone`: what was refused tells nothing of others.
    fn count(&mut self, outcome: Outcome, lone: bool) {
        self.figures.asked += 1;
        match outcome {
            Outcome::Whole => self.figures.whole += 1,
            Outcome::Sparse => self.figures.sparse += 1,
            Outcome::Collapsed { took_ns } => {
                self.figures.collapsed += 1;
                self.figures.total_ns = self.figures.total_ns.saturating_add(took_ns);
                self.figures.longest_ns = self.figures.longest_ns.max(took_ns);
                if took_ns > SLOW_NS {
                    self.back_off();
                } else if took_ns < QUICK_NS {
                    self.doublings = self.doublings.saturating_sub(1);
                }
            }
            Outcome::Refused { error } => {
                self.figures.failures += 1;
                if let Some(count) = self.figures.failures_by_error.get_mut(error as usize) {
                    *count += 1;
                }
                if !lone {
                    self.back_off();
                }
            }
        }
    }

    fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
    }
}

/// What became of a hugepage that was looked at.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It is one for the hardware.
    Whole,
    /// Too much of it is not in memory.
    Sparse,
    Collapsed {
        took_ns: u64,
    },
    /// The kernel refused, to answer or to collapse.
    Refused {
        error: CollapseError,
    },
}

impl Outcome {
    /// Whether the kernel refused for good, for memory that it will not put together: not for want of memory or time.
    const fn is_unfit(self) -> bool {
        matches!(self, Self::Refused { error: CollapseError::Inval })
    }
}

impl<P: PageSize> HugePageAware<P> {
    /// One step of treatment, if it is due.
    pub(crate) fn treat<E: Platform<Pages = P>>(&self, platform: &E, now_ns: u64) -> u64 {
        let end = {
            let mut state = self.state.lock();
            let treatment = &mut state.treatment;
            let due_ns = treatment.due_ns;
            // A clock that jumped back is believed: the due moment lies too far ahead.
            if now_ns < due_ns && due_ns - now_ns <= PAUSE_NS << MOST_DOUBLINGS {
                return due_ns;
            }
            treatment.due_ns = now_ns.saturating_add(treatment.pause_ns());
            if state.is_small() {
                state.treatment.due_ns = now_ns.saturating_add(SMALL_PAUSE_NS);
                return state.treatment.due_ns;
            }
            if !self.advice.collapses(platform) {
                return state.treatment.due_ns;
            }
            let grows = state.cache.misses_much(now_ns);
            if state.treatment.waits(grows) {
                state.treatment.due_ns = now_ns.saturating_add(LOOK_AGAIN_NS);
                return state.treatment.due_ns;
            }
            now_ns.saturating_add(STEP_NS)
        };
        let mut asked = 0;
        for _ in 0..MOST_WALKS {
            let (patient, at_end) = self.next_patient(platform, now_ns);
            if let Some(patient) = patient {
                asked += 1;
                let (outcome, allowed) = self.ask_and_collapse(platform, &patient);
                self.discharge(platform, &patient, outcome, allowed);
                let refused = matches!(outcome, Outcome::Refused { .. });
                // What one span's memory cannot be says nothing about that of others.
                let goes_on = patient.tracker.is_none() && outcome.is_unfit();
                if refused && !goes_on || asked == MOST_ASKED || platform.clock().now_ns() >= end {
                    break;
                }
            }
            if at_end {
                break;
            }
        }
        let mut state = self.state.lock();
        let treatment = &mut state.treatment;
        treatment.figures.skipped_steps += (1 << treatment.doublings) - 1;
        treatment.due_ns = now_ns.saturating_add(treatment.pause_ns());
        treatment.due_ns
    }

    /// Has the kernel make a hugepage of it, if it is none and little is missing. Also says whether it may be one again
    /// that was forbidden.
    fn ask_and_collapse<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        patient: &Patient,
    ) -> (Outcome, bool) {
        let range = patient.hugepage.range(HugepageCount::ONE);
        let residency = match platform.source().residency(range) {
            Ok(residency) => residency,
            Err(error) => {
                return (Outcome::Refused { error: CollapseError::of(error.errno) }, false);
            }
        };
        let Residency { resident_bytes, hugepage_bytes, swapped_bytes } = residency;
        if hugepage_bytes >= HUGEPAGE_BYTES {
            return (Outcome::Whole, false);
        }
        let missing = HUGEPAGE_BYTES.saturating_sub(resident_bytes);
        if missing >= MOST_MISSING_BYTES || swapped_bytes >= MOST_SWAPPED_BYTES {
            return (Outcome::Sparse, false);
        }
        let allowed = patient.forbidden && self.advice.allow(platform, range);
        let mut outcome = Self::collapse(platform, range);
        // It may be on small pages because what came before it was hardly touched.
        let alone =
            outcome.is_unfit() && !patient.forbidden && self.advice.allow_alone(platform, range);
        if alone {
            outcome = Self::collapse(platform, range);
        }
        if !alone && !allowed && matches!(outcome, Outcome::Collapsed { .. }) {
            self.advice.note_allowed(range.bytes);
        }
        (outcome, allowed)
    }

    #[unsafe(link_section = ".text_rarely")]
    fn collapse<E: Platform<Pages = P>>(platform: &E, range: AddressRange) -> Outcome {
        let before_ns = platform.clock().now_ns();
        match platform.source().advise(range, Advice::Collapse) {
            Ok(()) => {
                let took_ns = platform.clock().now_ns().saturating_sub(before_ns);
                Outcome::Collapsed { took_ns }
            }
            Err(error) => Outcome::Refused { error: CollapseError::of(error.errno) },
        }
    }

    /// Puts it back on its list, or where it belongs if it emptied meanwhile.
    fn discharge<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        patient: &Patient,
        outcome: Outcome,
        allowed: bool,
    ) {
        let mut departures = Departures::new();
        {
            let mut state = self.state.lock();
            let now_ns = state.time(platform);
            let lone = patient.tracker.is_none() && outcome.is_unfit();
            state.treatment.count(outcome, lone);
            let Some(tracker) = patient.tracker else {
                if lone {
                    state.pass_large_span(platform, patient.hugepage);
                }
                return;
            };
            if allowed && tracker.is_forbidden() {
                tracker.set_forbidden(false);
                state.forbidden_hugepages -= 1;
            }
            tracker.passed_over.set(matches!(outcome, Outcome::Sparse));
            let is_whole = matches!(outcome, Outcome::Whole | Outcome::Collapsed { .. });
            // What was missing the kernel has filled; and what it backed page by page is one hugepage now, to be broken like
            // any other.
            let note = || {
                if is_whole && !tracker.is_forbidden() {
                    tracker.become_whole();
                }
            };
            let emptied = state.filler.end_release(tracker, note, now_ns);
            state.note_peak();
            if let Some(emptied) = emptied {
                state.retire(platform, emptied, Cause::Emptied, now_ns, &mut departures);
                state.trim_cache(platform, now_ns, &mut departures);
            }
            if departures.is_empty() {
                self.underway.end();
                return;
            }
        }
        self.carry_out(platform, &departures);
    }
}

impl<P: PageSize> State<P> {
    pub(crate) fn collapse_figures(&self) -> CollapseFigures {
        self.treatment.figures()
    }
}

#[cfg(test)]
mod tests;
