//! What the books of simulated pages add up to.

use super::segments::{Backing, PageState};
use crate::{AddressRange, CallKind, Purpose};

/// The state of simulated address space, in bytes, and the calls that led to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SimulatedFigures {
    /// Reserved now, committed or not.
    pub reserved_bytes: usize,
    /// Committed now, released or not.
    pub committed_bytes: usize,
    /// In memory now: committed, and not released by force.
    pub resident_bytes: usize,
    /// Released by force, and still committed.
    pub released_bytes: usize,
    /// Released lazily, and so still resident.
    pub lazily_released_bytes: usize,
    /// The most that was reserved at a time.
    pub peak_reserved_bytes: usize,
    /// The most that was committed at a time.
    pub peak_committed_bytes: usize,
    /// The most that was resident at a time.
    pub peak_resident_bytes: usize,
    /// Bytes that were used again, or committed again, after a release by force; in all.
    pub refaulted_bytes: u64,
    reserved_by_purpose: [usize; Purpose::COUNT],
    calls: [u64; CallKind::COUNT],
}

impl SimulatedFigures {
    pub(super) const ZERO: Self = Self {
        reserved_bytes: 0,
        committed_bytes: 0,
        resident_bytes: 0,
        released_bytes: 0,
        lazily_released_bytes: 0,
        peak_reserved_bytes: 0,
        peak_committed_bytes: 0,
        peak_resident_bytes: 0,
        refaulted_bytes: 0,
        reserved_by_purpose: [0; Purpose::COUNT],
        calls: [0; CallKind::COUNT],
    };

    /// How many calls of `kind` succeeded.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.calls[kind.index()]
    }

    /// Reserved now for `purpose`.
    pub fn reserved_for(&self, purpose: Purpose) -> usize {
        self.reserved_by_purpose[purpose as usize]
    }

    pub(super) fn count(&mut self, kind: CallKind) {
        self.calls[kind.index()] += 1;
    }

    pub(super) fn add(&mut self, state: PageState, bytes: usize) {
        self.each_of(state, |figure| *figure += bytes);
    }

    pub(super) fn remove(&mut self, state: PageState, bytes: usize) {
        self.each_of(state, |figure| *figure -= bytes);
    }

    pub(super) fn note_peaks(&mut self) {
        self.peak_reserved_bytes = self.peak_reserved_bytes.max(self.reserved_bytes);
        self.peak_committed_bytes = self.peak_committed_bytes.max(self.committed_bytes);
        self.peak_resident_bytes = self.peak_resident_bytes.max(self.resident_bytes);
    }

    /// The figures that pages of `state` count in.
    fn each_of(&mut self, state: PageState, mut change: impl FnMut(&mut usize)) {
        change(&mut self.reserved_bytes);
        change(&mut self.reserved_by_purpose[state.purpose as usize]);
        if state.backing.is_committed() {
            change(&mut self.committed_bytes);
        }
        match state.backing {
            Backing::Reserved | Backing::Untouched => {}
            Backing::Resident => change(&mut self.resident_bytes),
            Backing::Lazy => {
                change(&mut self.resident_bytes);
                change(&mut self.lazily_released_bytes);
            }
            Backing::Released => change(&mut self.released_bytes),
        }
    }
}

/// One call that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LoggedCall {
    /// Which call.
    pub kind: CallKind,
    /// What it was about.
    pub range: AddressRange,
    /// The books after it.
    pub figures: SimulatedFigures,
}
