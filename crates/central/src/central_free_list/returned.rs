//! Objects on their way back: found in their spans, and gathered by the words of the spans' bitmaps.
//!
//! What comes back together was often allocated together: many objects of one span, and of one word of its bitmap.
//! Of these the page map is asked once a page, the span once a row of objects, and a word is written once, under
//! the class's lock.

use super::place::{freed_twice, index_at, is_as_freed, locate};
use crate::{BackEnd, OtherBackEnds, span_objects, stats::SAME_SPAN_BUCKETS};
use strata_page_heap::PageHeap;
use strata_size_classes::{ClassInfo, PageSize, SizeClass};
use strata_span::{Address, PageId, PageMap, Platform, SpanHandle};
use strata_sync::prefetch_for_write;

/// Objects that are found before the lock is taken once for all of them: 320 bytes of stack.
pub(super) const FOUND_AT_ONCE: usize = SAME_SPAN_BUCKETS;

/// Objects of a class that were found in their spans, in the order in which they came.
pub(super) struct Returned {
    /// None where a pointer was no object, or went elsewhere.
    spans: [Option<SpanHandle>; FOUND_AT_ONCE],
    /// Of each object in its span, which has fewer than 2^16: the size classes' validator allows no more, when compiling.
    indices: [u16; FOUND_AT_ONCE],
    /// How many were looked for.
    len: usize,
}

impl Returned {
    /// None.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self { spans: [None; FOUND_AT_ONCE], indices: [0; FOUND_AT_ONCE], len: 0 }
    }

    /// Finds objects, at most [`FOUND_AT_ONCE`]; there are none so far. A pointer that is no object of `class` is
    /// reported, and left alone if the process goes on; what belongs to one of the `others` goes there.
    ///
    /// # Safety
    ///
    /// As for [`CentralFreeList::give`](super::CentralFreeList::give).
    #[inline(always)]
    pub(super) unsafe fn find<E: Platform, H: PageHeap<E::Pages>, R: OtherBackEnds>(
        &mut self,
        back_end: BackEnd<'_, E, H>,
        others: &R,
        class: SizeClass,
        objects: &mut [*mut u8],
    ) {
        self.len = objects.len();
        self.look_up_spans(back_end.platform.map(), objects);
        let info = E::Pages::TABLE.info(class);
        let bytes = info.size as usize;
        let freed_words = back_end.object_maps.words_of_freed(bytes);
        let mut row = Row::NONE;
        for ((place, at), object) in self.spans.iter_mut().zip(&mut self.indices).zip(objects) {
            if *place != row.span {
                row = Row::of::<E::Pages>(back_end.number, class, *place);
            }
            let index = match row.index_of(info, *object) {
                Some(index) => index,
                // SAFETY: the contract is the same, and the page map has the span there.
                None => match unsafe { pass_on_or_report(back_end, others, class, object, *place) }
                {
                    Some(index) => index,
                    None => {
                        *place = None;
                        continue;
                    }
                },
            };
            // Less than the span's capacity, and so than 2^16.
            *at = index as u16;
            row.prefetch(index);
            if let Some(words) = freed_words
                && let Some(span) = *place
                // SAFETY: an object of the class is there, and at least as long as a word.
                && !unsafe { is_as_freed::<E::Pages>(span, *object, bytes, words) }
            {
                back_end.platform.note_left_alone(bytes);
                *place = None;
            }
        }
    }

    /// The span and the index of each object that was found.
    #[inline(always)]
    pub(super) fn places(&self) -> impl Iterator<Item = (SpanHandle, u32)> {
        let spans = self.spans.get(..self.len).unwrap_or_default();
        spans.iter().zip(&self.indices).filter_map(|(span, &index)| Some(((*span)?, index.into())))
    }

    /// Notes in which span each object is, as the page map has it, and asks for the spans' memory, of many before any
    /// of it is waited for.
    #[inline(always)]
    fn look_up_spans<P: PageSize>(&mut self, map: &PageMap<P>, objects: &[*mut u8]) {
        // No object is in the last page that an address could have.
        let (mut page, mut span) = (PageId::from_address(usize::MAX), None);
        for (place, object) in self.spans.iter_mut().zip(objects) {
            let next = PageId::from_address(Address::of(*object).value());
            if page != next {
                (page, span) = (next, map.span_of(next));
                if let Some(span) = span {
                    prefetch_for_write(span.as_ptr().as_ptr());
                }
            }
            *place = span;
        }
    }
}

/// Objects of one span whose bits share a word of its bitmap, which is written once for all of them.
pub(super) struct Gathered {
    word: u32,
    bits: u64,
}

impl Gathered {
    /// One object.
    #[inline(always)]
    pub(super) const fn of(index: u32) -> Self {
        Self { word: index / u64::BITS, bits: 1 << (index % u64::BITS) }
    }

    /// Takes in another object of the same span; false if its bit is in another word, or it is one of these.
    #[inline(always)]
    pub(super) const fn join(&mut self, index: u32) -> bool {
        let other = Self::of(index);
        let joins = other.word == self.word && self.bits & other.bits == 0;
        if joins {
            self.bits |= other.bits;
        }
        joins
    }

    /// Marks the objects as free; says how many were free already, which are reported. The lock of `class` is held.
    #[inline(always)]
    pub(super) fn put<P: PageSize>(self, class: SizeClass, span: SpanHandle) -> u32 {
        // Between the look-up and the lock the span can only have left the class if another free of the same
        // object was in the way.
        let already = if span.class() == class {
            // SAFETY: the span has the class's objects, so it is prepared; the caller holds the class's lock.
            unsafe { span_objects::put(&span, self.word, self.bits) }
        } else {
            self.bits
        };
        if already == 0 { 0 } else { report_freed_twice::<P>(class, span, self.word, already) }
    }
}

/// Reports that the objects of these bits were free already; says how many they are.
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
fn report_freed_twice<P: PageSize>(
    class: SizeClass,
    span: SpanHandle,
    word: u32,
    already: u64,
) -> u32 {
    for bit in (0..u64::BITS).filter(|bit| already & 1 << bit != 0) {
        freed_twice::<P>(class, span, word * u64::BITS + bit);
    }
    already.count_ones()
}

/// A span in which objects in a row are: what is looked at once for all of them.
struct Row {
    span: Option<SpanHandle>,
    objects_start: Address,
    /// Objects that it has; none if they are of another class, or another back end's.
    capacity: u32,
    /// The word of its bitmap that was asked for.
    word: u32,
}

impl Row {
    const NONE: Self =
        Self { span: None, objects_start: Address::new(0), capacity: 0, word: u32::MAX };

    #[inline(always)]
    fn of<P: PageSize>(back_end: u8, class: SizeClass, span: Option<SpanHandle>) -> Self {
        match span {
            Some(found) if found.class() == class && found.back_end() == back_end => Self {
                span,
                objects_start: found.objects_start::<P>(),
                capacity: found.object_capacity(),
                word: u32::MAX,
            },
            _ => Self { span, ..Self::NONE },
        }
    }

    /// The index of an object, if one begins there.
    #[inline(always)]
    fn index_of(&self, info: &ClassInfo, object: *mut u8) -> Option<u32> {
        index_at(info, Address::of(object).offset_from(self.objects_start), self.capacity)
    }

    /// Asks for the memory that the return of an object is going to write.
    #[inline(always)]
    fn prefetch(&mut self, index: u32) {
        if index / u64::BITS != self.word {
            self.word = index / u64::BITS;
            if let Some(span) = self.span {
                span_objects::prefetch(&span, index);
            }
        }
    }
}

/// The index of an object of which the span seemed not to be the class's, or not this back end's, if it is. One of
/// another back end goes there; what is no object is reported, and left alone if the process goes on.
///
/// # Safety
///
/// As for [`CentralFreeList::give`](super::CentralFreeList::give); `span` is what the page map has where the object
/// is.
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
unsafe fn pass_on_or_report<E: Platform, H: PageHeap<E::Pages>, R: OtherBackEnds>(
    back_end: BackEnd<'_, E, H>,
    others: &R,
    class: SizeClass,
    object: &mut *mut u8,
    span: Option<SpanHandle>,
) -> Option<u32> {
    let bytes = E::Pages::TABLE.size(class);
    let Some((span, index)) = locate::<E::Pages, H>(back_end.page_heap, class, span, *object)
    else {
        back_end.platform.note_left_alone(bytes);
        return None;
    };
    let home = span.back_end();
    if home == back_end.number {
        return Some(index);
    }
    if let Some(words) = back_end.object_maps.words_of_freed(bytes)
        // SAFETY: an object of the class is there, and at least as long as a word.
        && !unsafe { is_as_freed::<E::Pages>(span, *object, bytes, words) }
    {
        back_end.platform.note_left_alone(bytes);
        return None;
    }
    // SAFETY: the caller gives the object up, and it belongs there.
    unsafe { others.give(home, class, core::slice::from_mut(object)) };
    None
}
