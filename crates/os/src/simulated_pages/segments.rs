//! Address space as a list of segments of one state each.

use crate::{AddressRange, Purpose};
use std::collections::BTreeMap;

/// What stands behind a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Backing {
    /// Not committed.
    Reserved,
    /// Committed and never touched, where touches are told.
    Untouched,
    /// Committed, and taken for touched.
    Resident,
    /// Committed and given back lazily: there until the kernel wants it.
    Lazy,
    /// Committed and given back by force.
    Released,
}

impl Backing {
    pub(super) const fn is_committed(self) -> bool {
        !matches!(self, Self::Reserved)
    }

    pub(super) const fn is_resident(self) -> bool {
        matches!(self, Self::Resident | Self::Lazy)
    }
}

/// What was advised about hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HugepageAdvice {
    None,
    For,
    Against,
}

/// All that is known of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageState {
    pub(super) purpose: Purpose,
    pub(super) backing: Backing,
    pub(super) advice: HugepageAdvice,
    /// Whether its hugepage was committed or given back in parts, so that small pages stand there.
    pub(super) split: bool,
    /// Whether a hugepage stands there because it was put together, whatever was advised.
    pub(super) collapsed: bool,
}

/// Reserved address space, by its start; neighbours of one state are one segment.
///
/// Each operation costs the logarithm of the number of segments, and what it changes.
#[derive(Debug)]
pub(super) struct Segments {
    by_start: BTreeMap<usize, Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    end: usize,
    state: PageState,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { by_start: BTreeMap::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Mappings that a kernel has for what is there: neighbours of one purpose and one advice share one.
    pub(super) fn mappings(&self) -> usize {
        let mut last: Option<Segment> = None;
        let mut count = 0;
        for (&start, segment) in &self.by_start {
            let goes_on = last.is_some_and(|last| {
                last.end == start
                    && last.state.purpose == segment.state.purpose
                    && last.state.advice == segment.state.advice
            });
            count += usize::from(!goes_on);
            last = Some(*segment);
        }
        count
    }

    /// Adds `range`, of which nothing is there.
    pub(super) fn insert(&mut self, range: AddressRange, state: PageState) {
        assert!(self.parts(range).next().is_none(), "{range:?} overlaps what is reserved");
        self.by_start.insert(range.start, Segment { end: range.end(), state });
        self.merge(range);
    }

    /// Takes `range` out, as far as it is there.
    pub(super) fn remove(&mut self, range: AddressRange) {
        self.split_at(range.start);
        self.split_at(range.end());
        while let Some((&start, _)) = self.by_start.range(range.start..range.end()).next() {
            self.by_start.remove(&start);
        }
    }

    /// Puts `change` of its state in place of the state of each part of `range` that is there.
    pub(super) fn update(
        &mut self,
        range: AddressRange,
        mut change: impl FnMut(AddressRange, PageState) -> PageState,
    ) {
        self.split_at(range.start);
        self.split_at(range.end());
        for (&start, segment) in self.by_start.range_mut(range.start..range.end()) {
            let part = AddressRange::new(start, segment.end - start);
            segment.state = change(part, segment.state);
        }
        self.merge(range);
    }

    /// The parts of `range` that are there, upwards, cut to it.
    pub(super) fn parts(
        &self,
        range: AddressRange,
    ) -> impl Iterator<Item = (AddressRange, PageState)> {
        let before = self.by_start.range(..range.start).next_back();
        let first = before.filter(|(_, segment)| segment.end > range.start);
        let rest = self.by_start.range(range.start..range.end().max(range.start));
        first.into_iter().chain(rest).map(move |(&start, segment)| {
            let start = start.max(range.start);
            (AddressRange::new(start, segment.end.min(range.end()) - start), segment.state)
        })
    }

    /// Whether every byte of `range` is there, in a state that `fits`.
    pub(super) fn all(&self, range: AddressRange, fits: impl Fn(PageState) -> bool) -> bool {
        let mut reached = range.start;
        for (part, state) in self.parts(range) {
            if part.start != reached || !fits(state) {
                return false;
            }
            reached = part.end();
        }
        reached == range.end()
    }

    /// The lowest place in `within` where `bytes` bytes aligned to `align` are free.
    pub(super) fn find_gap(
        &self,
        within: AddressRange,
        bytes: usize,
        align: usize,
    ) -> Option<usize> {
        let mut start = within.start.checked_next_multiple_of(align)?;
        for (&taken, segment) in &self.by_start {
            if start.checked_add(bytes)? <= taken {
                break;
            }
            start = start.max(segment.end).checked_next_multiple_of(align)?;
        }
        (start.checked_add(bytes)? <= within.end()).then_some(start)
    }

    fn split_at(&mut self, at: usize) {
        let Some((_, segment)) = self.by_start.range_mut(..at).next_back() else { return };
        if segment.end > at {
            let upper = *segment;
            segment.end = at;
            self.by_start.insert(at, upper);
        }
    }

    /// Makes one of neighbours of one state, in `range` and at its ends.
    fn merge(&mut self, range: AddressRange) {
        let before = self.by_start.range(..range.start).next_back();
        let mut at = before.map_or(range.start, |(&start, _)| start);
        while let Some((&start, &segment)) = self.by_start.range(at..=range.end()).next() {
            at = start;
            match self.by_start.get(&segment.end).copied() {
                Some(next) if next.state == segment.state => {
                    self.by_start.remove(&segment.end);
                    self.by_start.insert(start, next_end(segment, next));
                }
                Some(_) | None => at = segment.end,
            }
            if at > range.end() {
                break;
            }
        }
    }
}

const fn next_end(segment: Segment, next: Segment) -> Segment {
    Segment { end: next.end, state: segment.state }
}

#[cfg(test)]
mod tests;
