//! Whole hugepages on their way to the kernel.

use crate::huge_range::HugeRange;
use strata_os::{PageSource, Release};
use strata_span::{Hugepage, Platform};

/// Why whole hugepages go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// The cache had no room for them, or was not to have them.
    Overflow,
    /// The cache was asked to give some back.
    Periodic,
    /// A hugepage of the filler became empty that had been given back in part.
    Emptied,
    /// The same, while parts of it went; the release that these were for counts the rest.
    EmptiedInRelease,
}

/// Where the whole hugepages of a span go that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    /// To the cache, backed as they are.
    Cache,
    /// To the kernel, by way of the departures.
    Kernel,
}

/// A run of hugepages that has left its place, and is neither free to be allocated nor given back
/// yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) range: HugeRange,
    /// Pages of it that are backed.
    pub(crate) backed_pages: usize,
    pub(crate) cause: Cause,
    /// The kernel was told not to back it with hugepages, which is to be undone.
    pub(crate) forbidden: bool,
}

/// A few departures, collected under the heap's lock and carried out without it.
#[derive(Debug)]
pub(crate) struct Departures {
    list: [Option<Departure>; Self::MOST],
    count: usize,
    whole: Destination,
}

impl Departures {
    /// Most departures of one call: more wait for the next, so that no call takes long.
    pub(crate) const MOST: usize = 8;

    /// None yet, of what leaves its place for other reasons than that a span ended.
    pub(crate) const fn new() -> Self {
        Self::with(Destination::Cache)
    }

    /// None yet; the whole hugepages of a span that ends go to where is said.
    pub(crate) const fn with(whole: Destination) -> Self {
        Self { list: [None; Self::MOST], count: 0, whole }
    }

    /// Whether the whole hugepages of a span that ends are to depart, too.
    pub(crate) fn take_whole(&self) -> bool {
        self.whole == Destination::Kernel
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.count == Self::MOST
    }

    /// Adds one; there is room.
    pub(crate) fn push(&mut self, departure: Departure) {
        debug_assert!(!self.is_full(), "who adds looks for room first");
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(departure);
            self.count += 1;
        }
    }

    /// Whether one begins with `hugepage`.
    pub(crate) fn has_from(&self, hugepage: Hugepage) -> bool {
        self.iter().any(|departure| departure.range.first == hugepage)
    }

    /// The departures.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Departure> + '_ {
        self.list.iter().filter_map(|departure| *departure)
    }
}

impl Departure {
    /// Gives the memory back. True if the kernel took it.
    pub(crate) fn carry_out<E: Platform>(&self, platform: &E) -> bool {
        let range = self.range.first.range(self.range.count);
        // SAFETY: the heap holds these hugepages, and nothing in them is needed: no span, no
        // tracker, no list refers to them until the departure is settled.
        unsafe { platform.source().release(range, Release::Forced) }.is_ok()
    }
}
