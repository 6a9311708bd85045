//! The kernel pages of a span, and which of them went back to the kernel.
//!
//! A span is looked at in *granules*: kernel pages, or as many of them in a row as it takes that a span has no more
//! than 32. A granule on which no object is out may go back. The upper half of the span's note has a bit for each
//! that went and was not used since.
//!
//! Whoever calls holds the lock of the span's class.

use crate::span_objects;
use core::ops::Range;
use strata_span::{Address, PageSize, Span};

/// Most granules of a span: bits of half a note.
const MOST: usize = 32;

/// How a span with objects of one size is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granules {
    start: Address,
    /// Bytes of one, and how many there are.
    bytes: usize,
    count: usize,
    object_bytes: usize,
    objects_offset: usize,
    objects: usize,
}

/// Granules of a span, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct GranuleSet(u32);

impl Granules {
    /// Those of a span with objects of `object_bytes` bytes, where kernel pages have `kernel_page_bytes`; none if the span
    /// is no longer than one.
    pub(crate) fn of<P: PageSize>(
        span: &Span,
        object_bytes: usize,
        kernel_page_bytes: usize,
    ) -> Option<Self> {
        let span_bytes = span.bytes::<P>();
        let least = span_bytes.div_ceil(MOST).checked_next_power_of_two()?;
        let bytes = least.max(kernel_page_bytes);
        // What is behind the last whole one stays.
        (object_bytes > 0 && span_bytes > bytes).then(|| Self {
            start: span.start::<P>(),
            bytes,
            count: span_bytes / bytes,
            object_bytes,
            objects_offset: span.objects_offset(),
            objects: span.object_capacity() as usize,
        })
    }

    /// Bytes of one granule.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those on which no object is out, released or not.
    ///
    /// # Safety
    ///
    /// They are the span's, which was prepared; the caller holds its class's lock.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn empty(&self, span: &Span) -> GranuleSet {
        let mut empty = GranuleSet::default();
        for index in 0..self.count {
            let objects = self.objects_on(index);
            // SAFETY: the span was prepared, and the lock of its class is held as long as its words are read.
            if unsafe { span_objects::all_free(span, objects) } {
                empty.insert(index);
            }
        }
        empty
    }

    /// Whether an object lies on any of a set.
    pub(crate) fn have_objects(&self, set: GranuleSet) -> bool {
        set.iter().any(|index| !self.objects_on(index).is_empty())
    }

    /// Makes all objects on a set of empty granules out, so that nobody gets one; says how many.
    ///
    /// # Safety
    ///
    /// As for [`Self::empty`].
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn claim(&self, span: &Span, set: GranuleSet) -> u32 {
        // SAFETY: the caller holds the lock of the class whose objects the span has. (An object on two granules is
        // claimed with the first.)
        set.iter().map(|index| unsafe { span_objects::claim(span, self.objects_on(index)) }).sum()
    }

    /// The reverse; says how many objects were out.
    ///
    /// # Safety
    ///
    /// As for [`Self::claim`], which was called with the same set.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn unclaim(&self, span: &Span, set: GranuleSet) -> u32 {
        // SAFETY: the span was prepared, and the lock of its class is held, by the caller's promise; `claim` had
        // the same objects out.
        set.iter().map(|index| unsafe { span_objects::unclaim(span, self.objects_on(index)) }).sum()
    }

    /// The granules that the object at `address` lies on.
    pub(crate) fn of_object(&self, address: Address) -> GranuleSet {
        let first = address.offset_from(self.start);
        let last = first + self.object_bytes - 1;
        let mut set = GranuleSet::default();
        (first / self.bytes..=last / self.bytes).for_each(|index| set.insert(index));
        set
    }

    /// Calls `visit` with the start and the bytes of each run of a set.
    pub(crate) fn for_each_run(&self, set: GranuleSet, mut visit: impl FnMut(Address, usize)) {
        let mut bits = set.0;
        while bits != 0 {
            let first = bits.trailing_zeros();
            let length = (bits >> first).trailing_ones();
            visit(self.start.add(first as usize * self.bytes), length as usize * self.bytes);
            bits &= !(u32::MAX.checked_shr(u32::BITS - length).unwrap_or(0) << first);
        }
    }

    /// The start of the first granule that is not in the set.
    pub(crate) fn first_outside(&self, set: GranuleSet) -> Option<Address> {
        let index = set.0.trailing_ones() as usize;
        (index < self.count).then(|| self.start.add(index * self.bytes))
    }

    /// The objects that lie on a granule, in whole or in part.
    fn objects_on(&self, index: usize) -> Range<u32> {
        let first_byte = (index * self.bytes).saturating_sub(self.objects_offset);
        let end_byte = ((index + 1) * self.bytes).saturating_sub(self.objects_offset);
        let first = (first_byte / self.object_bytes).min(self.objects);
        let end = end_byte.div_ceil(self.object_bytes).min(self.objects);
        // A span has fewer than 2^16 objects.
        first as u32..end as u32
    }
}

impl GranuleSet {
    /// Those of the span that went back to the kernel and were not used since.
    #[inline(always)]
    pub(crate) fn released(span: &Span) -> Self {
        Self((span.note() >> u32::BITS) as u32)
    }

    /// Says which these are.
    pub(crate) fn set_released(self, span: &Span) {
        let born = span.note() & u64::from(u32::MAX);
        span.set_note(u64::from(self.0) << u32::BITS | born);
    }

    #[inline(always)]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The first `most` of them.
    pub(crate) fn first(self, most: usize) -> Self {
        let mut first = Self::default();
        self.iter().take(most).for_each(|index| first.insert(index));
        first
    }

    fn insert(&mut self, index: usize) {
        self.0 |= 1_u32.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |index| self.0 >> index & 1 != 0)
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
