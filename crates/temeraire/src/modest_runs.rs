//! Small heaps on systems that back everything with hugepages.

use crate::{
    advice::HugepageAdvice, hugepage_aware::HugePageAware, state::State, supply::KeeperHandle,
};
use strata_span::{Hugepage, HugepageCount, PageSize, Platform};

/// Runs that a heap took while it was small, and that the kernel was told to back with small pages: where the system's mode
/// is `always`, the first touch of each would cost 2 MiB. When the heap has grown, all of them may be hugepages.
#[derive(Debug)]
pub(crate) struct ModestRuns {
    runs: [Option<(Hugepage, HugepageCount)>; Self::MOST],
    count: usize,
}

impl ModestRuns {
    /// Most runs that are kept small: twice as many hugepages as a heap at the threshold fills.
    const MOST: usize = 16;

    pub(crate) const NONE: Self = Self { runs: [None; Self::MOST], count: 0 };

    fn push(&mut self, run: (Hugepage, HugepageCount)) {
        if let Some(place) = self.runs.get_mut(self.count) {
            *place = Some(run);
            self.count += 1;
        }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.count == Self::MOST
    }
}

impl<P: PageSize> HugePageAware<P> {
    /// Has the kernel back a fresh run of a small heap with small pages, where it would not by itself.
    #[cold]
    pub(crate) fn keep_small<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        run: (Hugepage, HugepageCount),
    ) {
        if !self.advice.bloats(platform) {
            return;
        }
        let has_room = !self.state.lock().modest.is_full();
        let is_kept = has_room && self.advice.forbid(platform, run.0.range(run.1));
        let mut state = self.state.lock();
        if is_kept {
            state.modest.push(run);
            self.advice.note_modest(true);
        } else {
            state.count_as_whole(platform, run);
        }
    }

    /// Allows hugepages behind what the heap took while it was small: it is not any more.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn allow_large<E: Platform<Pages = P>>(&self, platform: &E) {
        let ModestRuns { runs, .. } = {
            let mut state = self.state.lock();
            self.advice.note_modest(false);
            let runs = core::mem::replace(&mut state.modest, ModestRuns::NONE);
            let keep = |run: &Option<_>| run.filter(|run| !state.is_broken(platform, run));
            let runs = ModestRuns { runs: runs.runs.each_ref().map(keep), ..runs };
            // From here on the kernel may back them whole without being asked again: the books may say too much, never too
            // little.
            runs.runs.iter().flatten().for_each(|run| state.count_as_whole(platform, *run));
            runs
        };
        for (first, count) in runs.into_iter().flatten() {
            self.advice.allow(platform, first.range(count));
        }
    }
}

impl<P: PageSize> State<P> {
    /// Whether a run is one hugepage of the filler of which parts were given back since.
    fn is_broken<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        run: &(Hugepage, HugepageCount),
    ) -> bool {
        let keeper = self.keeper_of(platform, run.0);
        matches!(
            keeper,
            Some(KeeperHandle::Tracker(tracker))
                if tracker.is_forbidden() || tracker.was_released.get()
        )
    }

    /// Counts the hugepages of a run that the filler has as wholly backed: they were not kept on small pages after all.
    #[unsafe(link_section = ".text_rarely")]
    fn count_as_whole<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        run: (Hugepage, HugepageCount),
    ) {
        for index in 0..run.1.get() {
            let hugepage = run.0 + HugepageCount::new(index);
            if let Some(KeeperHandle::Tracker(tracker)) = self.keeper_of(platform, hugepage)
                && tracker.is_by_page()
            {
                self.filler.become_whole(tracker);
            }
        }
        self.note_peak();
    }
}

static_assertions::const_assert!(
    ModestRuns::MOST * strata_span::HUGEPAGE_BYTES >= HugepageAdvice::THRESHOLD_BYTES
);

#[cfg(test)]
mod tests;
