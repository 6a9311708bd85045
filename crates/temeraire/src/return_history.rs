//! How much of a demand that fell comes back before what it left goes as idle.

use crate::huge_cache::HugeCache;

/// What is known of demand that fell: the part of it that came back in time.
///
/// At the rate, skip intervals keep what demand of the last minutes would want again, so that no hugepage is broken
/// that is filled again. But what nobody wanted for a while goes as idle whatever demand is expected, and breaks the
/// same hugepage then: what was kept up to there was kept for nothing. So each fall is watched, from the first
/// decision to keep memory up to the time at which idleness has its way, and of the next fall as large a part is
/// kept as came back of the last ones within that time.
///
/// How long that takes, policy says, which the page heap does not know. It is measured: from the begin of a fall
/// to when hugepages are broken for idle memory. As long as none are (in a program that gives back at a rate alone) a
/// fall is watched for as long as a decision to keep memory is judged, and all is kept that came back within that.
///
/// Demand is looked at in eighths of the fall, so that a span that comes compares it with one number. All zero bits:
/// nothing known, and all is kept.
#[derive(Debug)]
pub(crate) struct ReturnHistory {
    /// The part of falls that did not come back, in 64ths.
    lost: u8,
    /// Eighths of the fall that is watched which came back so far.
    returned_eighths: u8,
    /// When that began; 0: none is watched.
    began_ns: u64,
    /// Pages in use then, and those that were expected to be.
    used: u64,
    expected: u64,
    /// After how long idleness had its way; 0: it never had.
    idle_after_ns: u64,
}

impl ReturnHistory {
    pub(crate) const NONE: Self =
        Self { lost: 0, returned_eighths: 0, began_ns: 0, used: 0, expected: 0, idle_after_ns: 0 };

    const WHOLE: u8 = 64;
    const EIGHTHS: u8 = 8;
    /// For how long a fall is watched where nothing goes as idle.
    const LONGEST_NS: u64 = 300_000_000_000;
    /// Memory that is idle sooner than this after a fall began has been so since before it.
    const SHORTEST_NS: u64 = HugeCache::IDLE_NS / 2;

    /// How many of `expected` pages are worth keeping memory for, with `used` pages in use.
    pub(crate) fn likely(&self, used: usize, expected: usize) -> usize {
        let fall = expected.saturating_sub(used);
        expected - fall.saturating_mul(self.lost.into()) / usize::from(Self::WHOLE)
    }

    /// The part of the last falls that came back in time, in 64ths.
    pub(crate) const fn returned_64ths(&self) -> u8 {
        Self::WHOLE - self.lost
    }

    /// Watches the fall from `expected` pages to `used` ones, if none is watched.
    pub(crate) fn watch(&mut self, now_ns: u64, used: usize, expected: usize) {
        let is_fall = expected.saturating_sub(used) >= usize::from(Self::EIGHTHS);
        if self.began_ns == 0 && is_fall {
            (self.used, self.expected) = (used as u64, expected as u64);
            (self.began_ns, self.returned_eighths) = (now_ns.max(1), 0);
        }
    }

    /// The least demand that would be news.
    pub(crate) fn next_step(&self) -> Option<u64> {
        if self.began_ns == 0 || self.returned_eighths == Self::EIGHTHS {
            return None;
        }
        let fall = self.expected - self.used;
        let eighths = u64::from(self.returned_eighths) + 1;
        Some(self.used + fall / 8 * eighths + fall % 8 * eighths / 8)
    }

    /// Takes in that `pages` pages are in use.
    pub(crate) fn note_demand(&mut self, now_ns: u64, pages: u64) {
        self.settle(now_ns);
        while self.next_step().is_some_and(|step| step <= pages) {
            self.returned_eighths += 1;
        }
    }

    /// Ends the watch over a fall that is over: its time passed, or all of it came back.
    pub(crate) fn settle(&mut self, now_ns: u64) {
        let watched_ns = match self.idle_after_ns {
            0 => Self::LONGEST_NS,
            idle_after_ns => idle_after_ns,
        };
        // That it began in the future, which a clock took back, is as good as long ago.
        let is_over = now_ns.wrapping_sub(self.began_ns) > watched_ns;
        if self.began_ns != 0 && (is_over || self.returned_eighths == Self::EIGHTHS) {
            self.end();
        }
    }

    /// Notes that hugepages are broken for idle memory.
    pub(crate) fn note_idle(&mut self, now_ns: u64) {
        let after_ns = now_ns.wrapping_sub(self.began_ns);
        if self.began_ns == 0 || !(Self::SHORTEST_NS..=Self::LONGEST_NS).contains(&after_ns) {
            return;
        }
        self.idle_after_ns = match self.idle_after_ns {
            0 => after_ns,
            before_ns => before_ns.midpoint(after_ns),
        };
        self.end();
    }

    /// The last fall counts as much as all before it: at a quarter, a program whose demand changes its ways is
    /// believed after a dozen falls only; if it alone counted, one short pause would break what ten would not.
    fn end(&mut self) {
        let lost = (Self::EIGHTHS - self.returned_eighths) * (Self::WHOLE / Self::EIGHTHS);
        self.lost = self.lost.midpoint(lost);
        self.began_ns = 0;
    }
}

#[cfg(test)]
mod tests;
