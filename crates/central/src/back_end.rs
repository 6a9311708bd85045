//! What a central free list stands on, named at each call.

use crate::ObjectMaps;
use core::fmt;
use strata_page_heap::PageHeap;
use strata_size_classes::SizeClass;
use strata_span::{Address, Platform};

/// What a central free list stands on: the platform, a page heap, a place for bitmaps.
///
/// It is named at each call, not owned, so that a heap holds its layers side by side.
pub struct BackEnd<'a, E: Platform, H: PageHeap<E::Pages>> {
    /// Page map, sources and clock.
    pub platform: &'a E,
    /// Where spans come from and go.
    pub page_heap: &'a H,
    /// Where bitmaps come from and go.
    pub object_maps: &'a ObjectMaps,
    /// Written into each span, so that objects find their way home: see [`OtherBackEnds`].
    pub number: u8,
}

impl<E: Platform, H: PageHeap<E::Pages>> Clone for BackEnd<'_, E, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Platform, H: PageHeap<E::Pages>> Copy for BackEnd<'_, E, H> {}

impl<E: Platform, H: PageHeap<E::Pages>> fmt::Debug for BackEnd<'_, E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackEnd").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The way home for objects whose spans belong to another back end.
///
/// A sized free looks nothing up, so a cache may hold objects of several back ends of one heap (an arena's
/// among them); the flush tells them apart by [`back_end`](strata_span::Span::back_end).
///
/// # Safety
///
/// An implementation promises:
/// 1. `give` takes the objects back for good: they end in free lists of the back end that is named, or
///    the process ends.
/// 2. It does not unwind, and does not enter the free list that called it.
pub unsafe trait OtherBackEnds {
    /// Takes back objects of `class`, all from spans of `back_end`.
    ///
    /// # Safety
    ///
    /// Nobody uses the objects any more; each is in the slice once.
    unsafe fn give(&self, back_end: u8, class: SizeClass, objects: &mut [*mut u8]);
}

/// There is one back end: an object of another is none of ours, and the process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnlyBackEnd;

// SAFETY: 1. and 2. the process ends.
unsafe impl OtherBackEnds for OnlyBackEnd {
    unsafe fn give(&self, back_end: u8, _: SizeClass, objects: &mut [*mut u8]) {
        let first = objects.first().map_or(0, |&object| Address::of(object).value());
        strata_sync::crash!(
            "free of {first:#x} to a heap without the back end {back_end} of its span"
        );
    }
}
