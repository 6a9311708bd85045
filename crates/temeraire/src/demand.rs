//! How much memory was wanted of late, and what that says about giving it back.

use crate::{
    return_history::ReturnHistory,
    time_series::{Extremes, TimeSeries},
};

const SECOND_NS: u64 = 1_000_000_000;

/// How far back demand is looked at, when the memory of free pages is about to be given back.
///
/// Demand is taken to be the greatest fluctuation of an epoch within the short interval on top of
/// the greatest floor of an epoch within the long one; pages that such a demand would need again
/// stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SkipIntervals {
    /// For fluctuations, in nanoseconds. 0: they count for nothing.
    pub short_ns: u64,
    /// For the floor, in nanoseconds; at least the short one. Both 0: nothing is kept back.
    pub long_ns: u64,
}

impl SkipIntervals {
    /// 60 and 300 seconds, as in TCMalloc. At half as much, loads with a period of minutes fault
    /// their memory in again in each; at twice, an idle program keeps its memory for ten minutes.
    pub const STANDARD: Self = Self { short_ns: 60 * SECOND_NS, long_ns: 300 * SECOND_NS };
    /// Nothing is kept back.
    pub const NONE: Self = Self { short_ns: 0, long_ns: 0 };
}

/// Decisions to keep memory, judged five minutes later: right if demand came back meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SkipJudgement {
    /// Pages that were kept back so far.
    pub skipped_pages: u64,
    /// Of these, pages of decisions that demand proved right.
    pub correct_pages: u64,
    /// Pages of decisions that five minutes passed over.
    pub incorrect_pages: u64,
    /// Pages of decisions that are not judged yet.
    pub pending_pages: u64,
    /// Decisions to keep pages back, as a number.
    pub skipped_decisions: u64,
    /// Of these, decisions that demand proved right.
    pub correct_decisions: u64,
    /// Decisions that five minutes passed over.
    pub incorrect_decisions: u64,
    /// Decisions that are not judged yet.
    pub pending_decisions: u64,
}

impl SkipJudgement {
    pub(crate) const NONE: Self = Self {
        skipped_pages: 0,
        correct_pages: 0,
        incorrect_pages: 0,
        pending_pages: 0,
        skipped_decisions: 0,
        correct_decisions: 0,
        incorrect_decisions: 0,
        pending_decisions: 0,
    };

    /// What was pending turned out right.
    fn confirm(&mut self, decision: &Decision) {
        self.correct_pages += decision.pages;
        self.pending_pages -= decision.pages;
        self.correct_decisions += decision.decisions;
        self.pending_decisions -= decision.decisions;
    }

    /// What was pending turned out wrong.
    fn refute(&mut self, decision: &Decision) {
        self.incorrect_pages += decision.pages;
        self.pending_pages -= decision.pages;
        self.incorrect_decisions += decision.decisions;
        self.pending_decisions -= decision.decisions;
    }
}

/// What the filler keeps of its free pages because demand of the last minutes is thought to come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct KeptForDemand {
    /// Free pages, backed, that a release that is asked for leaves.
    pub pages: u64,
    /// Of these, those that the release at a rate leaves: as large a part as came back of the last falls of demand,
    /// rounded up. What is free of hugepages that are broken already goes all the same, and what is idle.
    pub pages_at_rate: u64,
    /// The part of these falls that came back before what they left went as idle, in 64ths; the last fall counts as much as
    /// all before it. 64 before the first.
    pub returned_64ths: u8,
}

impl KeptForDemand {
    pub(crate) const NONE: Self = Self { pages: 0, pages_at_rate: 0, returned_64ths: 0 };
}

/// Pages in use over the last ten minutes, second by second.
///
/// What each report looks at stands at the end, beside the first seconds.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Demand {
    decisions: [Decision; Self::JUDGED_AFTER],
    judgement: SkipJudgement,
    returns: ReturnHistory,
    pages: TimeSeries<Extremes, { Self::EPOCHS }, SECOND_NS>,
    /// The least demand that would prove a pending decision right, or be news of a fall that is watched, plus one; 0 if
    /// none would.
    least_expected: u64,
}

/// What was kept back in one second.
#[derive(Clone, Copy, Debug)]
struct Decision {
    /// The second, plus one.
    second: u64,
    pages: u64,
    /// How often something was.
    decisions: u64,
    /// The demand that it was kept for.
    expected: u64,
}

impl Decision {
    const NONE: Self = Self { second: 0, pages: 0, decisions: 0, expected: 0 };
}

impl Demand {
    /// Seconds that are remembered.
    const EPOCHS: usize = 600;
    /// Seconds after which a decision to keep memory is judged.
    const JUDGED_AFTER: usize = 300;

    pub(crate) const EMPTY: Self = Self {
        pages: TimeSeries::EMPTY,
        decisions: [Decision::NONE; Self::JUDGED_AFTER],
        least_expected: 0,
        judgement: SkipJudgement::NONE,
        returns: ReturnHistory::NONE,
    };

    /// Takes in how many pages are in use.
    #[inline]
    pub(crate) fn report(&mut self, now_ns: u64, pages: usize) {
        self.pages.report(now_ns, pages);
        if self.least_expected != 0 && pages as u64 + 1 >= self.least_expected {
            self.judge(now_ns, pages as u64);
        }
    }

    /// How many pages are likely to be wanted again soon.
    pub(crate) fn expected(&self, now_ns: u64, intervals: SkipIntervals) -> usize {
        let long_ns = intervals.long_ns.max(intervals.short_ns);
        if long_ns == 0 {
            return 0;
        }
        let fluctuation = if intervals.short_ns == 0 {
            None
        } else {
            self.pages
                .recent(now_ns, intervals.short_ns)
                .filter_map(|epoch| Some(epoch.greatest()? - epoch.least()?))
                .max()
        };
        let floor = self.pages.recent(now_ns, long_ns).filter_map(Extremes::least).max();
        let peak = self.pages.greatest(now_ns).unwrap_or(0);
        (fluctuation.unwrap_or(0) + floor.unwrap_or(0)).min(peak)
    }

    /// Notes that `pages` pages were kept back because a demand of `expected` pages is thought to
    /// come.
    pub(crate) fn note_skip(&mut self, now_ns: u64, pages: usize, expected: usize) {
        let second = now_ns / SECOND_NS + 1;
        self.expire(second);
        let slot = (second % Self::JUDGED_AFTER as u64) as usize;
        let Some(decision) = self.decisions.get_mut(slot) else { return };
        let (pages, expected) = (pages as u64, expected as u64);
        self.judgement.skipped_pages += pages;
        self.judgement.pending_pages += pages;
        self.judgement.skipped_decisions += 1;
        self.judgement.pending_decisions += 1;
        *decision = Decision {
            second,
            pages: decision.pages + pages,
            decisions: decision.decisions + 1,
            expected: decision.expected.max(expected),
        };
        self.await_demand(expected);
    }

    /// What of an expectation of `expected` pages, with `used` pages in use, is worth keeping memory for: as much of
    /// the fall as came back of earlier ones before idleness had its way.
    pub(crate) fn likely(&mut self, now_ns: u64, used: usize, expected: usize) -> usize {
        self.returns.settle(now_ns);
        self.returns.watch(now_ns, used, expected);
        if let Some(step) = self.returns.next_step() {
            self.await_demand(step);
        }
        self.returns.likely(used, expected)
    }

    /// What is kept of `kept` pages that recent demand would want again, beside `used` pages in use.
    pub(crate) fn kept(&self, used: usize, kept: usize) -> KeptForDemand {
        KeptForDemand {
            pages: kept as u64,
            pages_at_rate: (self.returns.likely(used, used + kept) - used) as u64,
            returned_64ths: self.returns.returned_64ths(),
        }
    }

    /// Notes that hugepages are broken for idle memory, whatever demand is expected.
    pub(crate) fn note_idle(&mut self, now_ns: u64) {
        self.returns.note_idle(now_ns);
    }

    /// Has demand of `pages` pages looked at when it comes.
    fn await_demand(&mut self, pages: u64) {
        self.least_expected = match self.least_expected {
            0 => pages + 1,
            least => least.min(pages + 1),
        };
    }

    /// How the decisions turned out that are judged already.
    pub(crate) const fn judged(&self) -> SkipJudgement {
        self.judgement
    }

    /// How the decisions turned out.
    pub(crate) fn judgement(&mut self, now_ns: u64) -> SkipJudgement {
        self.expire(now_ns / SECOND_NS + 1);
        self.judgement
    }

    /// Confirms the decisions that expected `pages` or less.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    fn judge(&mut self, now_ns: u64, pages: u64) {
        self.expire(now_ns / SECOND_NS + 1);
        self.returns.note_demand(now_ns, pages);
        let mut least = self.returns.next_step().map_or(u64::MAX, |step| step + 1);
        for decision in &mut self.decisions {
            if decision.second == 0 {
                continue;
            }
            if decision.expected <= pages {
                self.judgement.confirm(decision);
                *decision = Decision::NONE;
            } else {
                least = least.min(decision.expected + 1);
            }
        }
        self.least_expected = if least == u64::MAX { 0 } else { least };
    }

    /// Counts decisions that are too old as wrong; such of a future that a clock took back, too.
    fn expire(&mut self, second: u64) {
        for decision in &mut self.decisions {
            let age = second.wrapping_sub(decision.second);
            if decision.second != 0 && age >= Self::JUDGED_AFTER as u64 {
                self.judgement.refute(decision);
                *decision = Decision::NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests;
