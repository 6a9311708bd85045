//! What the huge cache tells.

use crate::time_series::EpochValue;
use strata_span::HugepageCount;

/// What a cache tells, in hugepages unless named otherwise.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct HugeCacheFigures {
    /// Held.
    pub cached_hugepages: u64,
    /// Most that it may hold now.
    pub limit_hugepages: u64,
    /// Wishes that were met from the cache, as a number.
    pub hits: u64,
    /// Wishes that were not, as a number.
    pub misses: u64,
    /// Returns that the cache had room for, as a number.
    pub fills: u64,
    /// Returns that it had no room for, as a number.
    pub overflows: u64,
    /// Given back to the kernel because the cache overflowed.
    pub fast_unbacked_hugepages: u64,
    /// Given back to the kernel on request.
    pub periodic_unbacked_hugepages: u64,
    /// How much it held for how long since the start, in MiB times seconds.
    pub regret_mib_seconds: u64,
    /// In use, as far as they came through the cache, in the last two seconds.
    pub usage: RecentRange,
    /// How far usage was below its recent peak.
    pub off_peak: RecentRange,
    /// What the cache held.
    pub size: RecentRange,
    /// Usage over the last ten minutes.
    pub history: UsageHistory,
}

/// How many hugepages were in use, by epochs of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct UsageHistory {
    /// How long an epoch is, in milliseconds. (Ten seconds in figures that were written before this was.)
    #[cfg_attr(feature = "serde", serde(default = "ten_seconds_ms"))]
    pub epoch_ms: u64,
    /// The newest first; those in which nothing was taken or came back are left out.
    #[cfg_attr(feature = "serde", serde(with = "strata_page_heap::sparse"))]
    pub epochs: [UsageEpoch; Self::EPOCHS],
}

#[cfg(feature = "serde")]
const fn ten_seconds_ms() -> u64 {
    10_000
}

/// The least and the greatest number of hugepages in use within an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UsageEpoch {
    /// Its number since the beginning of the heap's clock, plus one; 0: there is none.
    pub number: u32,
    /// The least.
    pub least: u32,
    /// The greatest.
    pub greatest: u32,
}

impl UsageHistory {
    /// Epochs that are remembered.
    pub const EPOCHS: usize = 600;
    /// How far back it goes, in milliseconds.
    pub const SPAN_MS: u64 = 600_000;
    /// How long each epoch is, in milliseconds. At ten times as much, loads that swing within seconds look like
    /// steady ones; at half, the history of a heap is 5 KiB longer.
    const EPOCH_MS: u64 = Self::SPAN_MS / Self::EPOCHS as u64;
    pub(super) const EPOCH_NS: u64 = Self::EPOCH_MS * 1_000_000;
    pub(super) const NONE: Self = Self {
        epoch_ms: Self::EPOCH_MS,
        epochs: [UsageEpoch { number: 0, least: 0, greatest: 0 }; Self::EPOCHS],
    };

    /// How many epochs of this length are remembered.
    pub const fn remembered(&self) -> u64 {
        match Self::SPAN_MS.checked_div(self.epoch_ms) {
            Some(count) => count,
            None => 0,
        }
    }
}

/// The least and the greatest number of hugepages of an epoch, in half the room of [`Extremes`].
#[derive(Clone, Copy, Debug)]
pub(super) struct UsageExtremes {
    /// Stored inverted, so that all zero bits are "nothing yet".
    least_inverted: u32,
    greatest: u32,
}

impl EpochValue for UsageExtremes {
    const NOTHING: Self = Self { least_inverted: 0, greatest: 0 };
}

impl UsageExtremes {
    pub(super) fn report(&mut self, usage: HugepageCount) {
        let hugepages = u32::try_from(usage.get()).unwrap_or(u32::MAX - 1).min(u32::MAX - 1);
        self.least_inverted = self.least_inverted.max(!hugepages);
        self.greatest = self.greatest.max(hugepages);
    }

    /// The epoch of that number; none if nothing was reported.
    pub(super) fn told(&self, number: u64) -> Option<UsageEpoch> {
        let number = u32::try_from(number).ok().filter(|_| self.least_inverted != 0)?;
        Some(UsageEpoch { number, least: !self.least_inverted, greatest: self.greatest })
    }
}

impl Default for UsageHistory {
    fn default() -> Self {
        Self::NONE
    }
}

/// The least, the current and the greatest value of the last two seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct RecentRange {
    /// The least.
    pub least: u64,
    /// Now.
    pub current: u64,
    /// The greatest.
    pub greatest: u64,
}

impl HugeCacheFigures {
    pub(crate) const NONE: Self = {
        let range = RecentRange { least: 0, current: 0, greatest: 0 };
        Self {
            cached_hugepages: 0,
            limit_hugepages: 0,
            hits: 0,
            misses: 0,
            fills: 0,
            overflows: 0,
            fast_unbacked_hugepages: 0,
            periodic_unbacked_hugepages: 0,
            regret_mib_seconds: 0,
            usage: range,
            off_peak: range,
            size: range,
            history: UsageHistory::NONE,
        }
    };

    /// The share of wishes that were met from the cache; 0 before the first.
    pub fn hit_rate(&self) -> f64 {
        share(self.hits, self.misses)
    }

    /// The share of returns that the cache had no room for; 0 before the first.
    pub fn overflow_rate(&self) -> f64 {
        share(self.overflows, self.fills)
    }
}

fn share(part: u64, rest: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / (part as f64 + rest as f64) }
}
