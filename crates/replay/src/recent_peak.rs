//! The greatest of what was reported of late.

use std::collections::VecDeque;

/// How far back it looks, in nanoseconds: as long as memory is wanted before it is idle, if nobody says otherwise.
const WINDOW_NS: u64 = 2_000_000_000;

/// The greatest value of the last two seconds.
#[derive(Debug)]
pub(crate) struct RecentPeak {
    /// Falling values, each greater than all that were reported after it, with the time up to which it stood.
    peaks: VecDeque<(u64, u64)>,
    /// The value now.
    value: u64,
}

impl RecentPeak {
    pub(crate) const NONE: Self = Self { peaks: VecDeque::new(), value: 0 };

    /// Takes in a value that holds from `now_ns` on.
    pub(crate) fn note(&mut self, now_ns: u64, value: u64) {
        let before = core::mem::replace(&mut self.value, value);
        while self.peaks.back().is_some_and(|&(_, peak)| peak <= before) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now_ns, before));
        while self.peaks.front().is_some_and(|&(until, _)| now_ns - until > WINDOW_NS) {
            self.peaks.pop_front();
        }
    }

    /// The greatest value of the two seconds before `now_ns`.
    pub(crate) fn at(&self, now_ns: u64) -> u64 {
        let recent = self.peaks.iter().find(|&&(until, _)| now_ns - until <= WINDOW_NS);
        recent.map_or(self.value, |&(_, peak)| peak.max(self.value))
    }
}
