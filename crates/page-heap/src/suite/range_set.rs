//! Sets of addresses, as ranges.

use std::collections::BTreeMap;
use strata_os::AddressRange;

/// A set of addresses; ranges that touch become one.
#[derive(Debug, Default)]
pub(super) struct RangeSet {
    /// Starts and ends; no two ranges overlap or touch.
    ends: BTreeMap<usize, usize>,
}

impl RangeSet {
    pub(super) fn insert(&mut self, range: AddressRange) {
        let (mut start, mut end) = (range.start, range.end());
        while let Some((&low, &high)) = self.ends.range(..=end).next_back()
            && high >= start
        {
            self.ends.remove(&low);
            (start, end) = (start.min(low), end.max(high));
        }
        self.ends.insert(start, end);
    }

    pub(super) fn remove(&mut self, range: AddressRange) {
        let (start, end) = (range.start, range.end());
        while let Some((&low, &high)) = self.ends.range(..end).next_back()
            && high > start
        {
            self.ends.remove(&low);
            if high > end {
                self.ends.insert(end, high);
            }
            if low < start {
                self.ends.insert(low, start);
            }
        }
    }

    pub(super) fn overlaps(&self, range: AddressRange) -> bool {
        self.ends.range(..range.end()).next_back().is_some_and(|(_, &high)| high > range.start)
    }

    pub(super) fn covers(&self, range: AddressRange) -> bool {
        let below = self.ends.range(..=range.start).next_back();
        below.is_some_and(|(_, &high)| high >= range.end())
    }
}

#[cfg(test)]
mod tests;
