//! What simulated pages know of their address space.

use super::{
    HUGEPAGE_BYTES,
    figures::{LoggedCall, SimulatedFigures},
    segments::{Backing, PageState, Segments},
};
use crate::AddressRange;
use std::vec::Vec;

#[derive(Debug)]
pub(super) struct Books {
    pub(super) segments: Segments,
    pub(super) figures: SimulatedFigures,
    pub(super) limit_bytes: usize,
    /// Where the last reservation ended.
    pub(super) reached: usize,
    pub(super) log: Vec<LoggedCall>,
}

impl Books {
    /// The place for `bytes` bytes: behind the last one, else where there is room.
    pub(super) fn place(
        &self,
        whole: AddressRange,
        bytes: usize,
        align: usize,
    ) -> Option<AddressRange> {
        let behind = self.reached.max(whole.start).checked_next_multiple_of(align);
        let behind = behind.map(|start| AddressRange::new(start, bytes));
        behind
            .filter(|range| range.start.checked_add(bytes).is_some_and(|end| end <= whole.end()))
            .or_else(|| {
                Some(AddressRange::new(self.segments.find_gap(whole, bytes, align)?, bytes))
            })
    }

    pub(super) fn change(
        &mut self,
        range: AddressRange,
        mut change: impl FnMut(AddressRange, PageState) -> PageState,
    ) {
        let figures = &mut self.figures;
        self.segments.update(range, |part, before| {
            let after = change(part, before);
            figures.remove(before, part.bytes);
            figures.add(after, part.bytes);
            after
        });
        self.figures.note_peaks();
    }

    pub(super) fn demand_committed(&self, range: AddressRange, what: &str) {
        let fine = self.segments.all(range, |state| state.backing.is_committed());
        assert!(fine, "{range:?} is {what}, and not all of it is committed");
    }

    pub(super) fn demand_reserved(&self, range: AddressRange, what: &str) {
        assert!(self.segments.all(range, |_| true), "{range:?} is {what}, and not all reserved");
    }

    /// Returns how many bytes had been released.
    pub(super) fn make_resident(&mut self, range: AddressRange) -> usize {
        let mut refaulted = 0;
        self.change(range, |part, state| {
            if state.backing == Backing::Released {
                refaulted += part.bytes;
            }
            PageState { backing: Backing::Resident, ..state }
        });
        refaulted
    }

    /// Notes that `range` changed as a whole: hugepages inside are whole, those at its ends split.
    pub(super) fn note_split(&mut self, range: AddressRange) {
        let inner = inner_hugepages(range);
        self.change(inner, |_, state| PageState { split: false, collapsed: false, ..state });
        let outer_start = range.start & !(HUGEPAGE_BYTES - 1);
        let outer_end = range.end().next_multiple_of(HUGEPAGE_BYTES);
        let (head_end, tail_start) =
            if inner.is_empty() { (outer_end, outer_end) } else { (inner.start, inner.end()) };
        for (start, end) in [(outer_start, head_end), (tail_start, outer_end)] {
            let edge = AddressRange::new(start, end - start);
            self.change(edge, |_, state| PageState { split: true, collapsed: false, ..state });
        }
    }
}

/// The hugepages that lie in `range` whole.
pub(super) const fn inner_hugepages(range: AddressRange) -> AddressRange {
    let start = range.start.next_multiple_of(HUGEPAGE_BYTES);
    let end = range.end() & !(HUGEPAGE_BYTES - 1);
    AddressRange::new(start, end.saturating_sub(start))
}
