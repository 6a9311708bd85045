//! Hugepages that stay with the filler although nobody has a page of them.

use crate::{handle::Handle, tracker::HugepageTracker};

/// A few empty hugepages, which are on the filler's lists like others. All zero bits are none.
#[derive(Debug)]
pub(crate) struct Empties([Option<Handle<HugepageTracker>>; Self::MOST]);

impl Empties {
    /// As many as a heap that is too small for hugepages fills: 16 MiB. With half as many, such a heap that empties
    /// and fills again faults its memory in again.
    const MOST: usize = 8;

    pub(crate) const NONE: Self = Self([None; Self::MOST]);

    /// Puts one in. False if there is no room: there is room for one that is backed as a whole, and for some that
    /// are backed page by page.
    pub(crate) fn insert(&mut self, tracker: Handle<HugepageTracker>) -> bool {
        let is_welcome = tracker.is_by_page()
            || tracker.free_pages() == tracker.length() && self.spare().is_none();
        if !is_welcome {
            return false;
        }
        let Some(place) = self.0.iter_mut().find(|place| place.is_none()) else { return false };
        *place = Some(tracker);
        true
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, tracker: Handle<HugepageTracker>) {
        let is_it = |place: &&mut Option<Handle<HugepageTracker>>| {
            place.is_some_and(|other| other.hugepage() == tracker.hugepage())
        };
        if let Some(place) = self.0.iter_mut().find(is_it) {
            *place = None;
        }
    }

    /// Any of them, one that is backed in part before one that is not backed at all.
    pub(crate) fn any(&self) -> Option<Handle<HugepageTracker>> {
        self.iter().max_by_key(|tracker| tracker.free_pages())
    }

    /// The one that is backed as a whole.
    pub(crate) fn spare(&self) -> Option<Handle<HugepageTracker>> {
        self.iter().find(|tracker| !tracker.is_by_page())
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle<HugepageTracker>> + '_ {
        self.0.iter().filter_map(|place| *place)
    }
}
