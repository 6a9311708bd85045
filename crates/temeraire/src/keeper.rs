//! Who keeps the pages of a hugepage.

use core::ptr::NonNull;

/// Who keeps the pages of a hugepage; the first byte of everything that the page map notes of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Keeper {
    /// The filler, in a [`HugepageTracker`](crate::tracker::HugepageTracker).
    Filler = 0,
    /// A region, in a [`Region`](crate::region::Region).
    Region = 1,
}

impl Keeper {
    /// The keeper that the page map's note tells of.
    ///
    /// # Safety
    ///
    /// `note` is a tracker or a region that is in the page map, and the caller holds the heap's
    /// lock.
    pub(crate) unsafe fn of_note(note: NonNull<()>) -> Self {
        // SAFETY: both structures begin with their keeper, and stay while they are in the map.
        unsafe { note.cast::<Self>().read() }
    }
}
