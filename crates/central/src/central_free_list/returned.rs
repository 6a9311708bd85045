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

/// Objects that are found before the lock is taken once for all of them: 608 bytes of stack.
pub(super) const FOUND_AT_ONCE: usize = SAME_SPAN_BUCKETS;

/// Objects of a class that were found in their spans, in *stretches*: those that came one after another from one span,
/// and whose bits share a word of its bitmap.
pub(super) struct Returned {
    /// Of each stretch. Before it is found, of each object: what the page map has there.
    spans: [Option<SpanHandle>; FOUND_AT_ONCE],
    /// Of each stretch, the bits of its objects in the word.
    bits: [u64; FOUND_AT_ONCE],
    /// Of each stretch, the index of the word in the span's bitmap.
    words: [u16; FOUND_AT_ONCE],
    /// How many objects each stretch has.
    counts: [u8; FOUND_AT_ONCE],
    /// How many stretches there are.
    len: usize,
}

impl Returned {
    /// None.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            spans: [None; FOUND_AT_ONCE],
            bits: [0; FOUND_AT_ONCE],
            words: [0; FOUND_AT_ONCE],
            counts: [0; FOUND_AT_ONCE],
            len: 0,
        }
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
        self.look_up_spans(back_end.platform.map(), objects);
        let info = E::Pages::TABLE.info(class);
        let bytes = info.size as usize;
        let freed_words = back_end.object_maps.words_of_freed(bytes);
        let mut row = Row::NONE;
        // There are no more stretches than objects in front of `at`: none takes the place of a span that is still to
        // be read.
        let (mut at, mut len) = (0, 0);
        while let Some(object) = objects.get_mut(at) {
            let place = self.spans[at % FOUND_AT_ONCE];
            at += 1;
            if place != row.span {
                row = Row::of::<E::Pages>(back_end.number, class, place);
            }
            let index = match row.index_of(info, *object) {
                Some(index) => index,
                None => {
                    // SAFETY: the contract is the same, and the page map has the span there.
                    match unsafe { pass_on_or_report(back_end, others, class, object, place) } {
                        Some(index) => index,
                        None => continue,
                    }
                }
            };
            let Some(span) = place else { continue };
            span_objects::prefetch(&span, index);
            if let Some(freed_words) = freed_words
                // SAFETY: an object of the class is there, and at least as long as a word.
                && !unsafe { is_as_freed::<E::Pages>(span, *object, bytes, freed_words) }
            {
                back_end.platform.note_left_alone(bytes);
                continue;
            }
            let (mut bits, mut count) = (bit_of(index), 1);
            if let Some(behind) = objects.get(at..)
                && !behind.is_empty()
                && self.spans[at % FOUND_AT_ONCE] == place
            {
                let word = row.word_of(info, index);
                let more;
                (bits, more) = match freed_words {
                    None => word.gather(info, bits, behind),
                    // SAFETY: those that are objects of the class can be read: the caller gives them up.
                    Some([freed, _]) => unsafe { word.gather_freed(info, bits, behind, freed) },
                };
                count += more;
                at += more;
            }
            self.spans[len % FOUND_AT_ONCE] = Some(span);
            self.bits[len % FOUND_AT_ONCE] = bits;
            self.words[len % FOUND_AT_ONCE] = (index / u64::BITS) as u16;
            self.counts[len % FOUND_AT_ONCE] = count as u8;
            len += 1;
        }
        self.len = len;
    }

    /// The stretch with this index.
    #[inline(always)]
    pub(super) fn stretch(&self, at: usize) -> Option<Stretch> {
        Some(Stretch {
            span: self.span(at)?,
            bits: self.bits[at % FOUND_AT_ONCE],
            word: self.words[at % FOUND_AT_ONCE].into(),
            count: self.counts[at % FOUND_AT_ONCE].into(),
        })
    }

    /// The span of the stretch with this index.
    #[inline(always)]
    pub(super) fn span(&self, at: usize) -> Option<SpanHandle> {
        if at < self.len { self.spans[at % FOUND_AT_ONCE] } else { None }
    }

    /// Notes in which span each object is, as the page map has it, and asks for the spans' memory, of many before any
    /// of it is waited for.
    #[inline(always)]
    fn look_up_spans<P: PageSize>(&mut self, map: &PageMap<P>, objects: &[*mut u8]) {
        // No object is in the last page that an address could have.
        let (mut page, mut span) = (PageId::from_address(usize::MAX), None);
        for (place, &object) in self.spans.iter_mut().zip(objects) {
            let next = PageId::from_address(Address::of(object).value());
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

/// Objects of one span whose bits share a word of its bitmap.
pub(super) struct Stretch {
    pub(super) span: SpanHandle,
    /// How many they are.
    pub(super) count: u32,
    word: u32,
    bits: u64,
}

impl Stretch {
    /// Marks the objects as free by one write; says how many were free already, which are reported. The lock of `class` is
    /// held.
    #[inline(always)]
    pub(super) fn put<P: PageSize>(&self, class: SizeClass) -> u32 {
        // Between the look-up and the lock the span can only have left the class if another free of the same
        // object was in the way.
        let already = if self.span.class() == class {
            // SAFETY: the span has the class's objects, so it is prepared; the caller holds the class's lock.
            unsafe { span_objects::put(&self.span, self.word, self.bits) }
        } else {
            self.bits
        };
        match already {
            0 => 0,
            already => report_freed_twice::<P>(class, self.span, self.word, already),
        }
    }
}

/// The objects of one span whose bits share a word of its bitmap.
struct Word {
    first: Address,
    /// From the first object's beginning to the last one's end.
    bytes: usize,
}

impl Word {
    /// Adds the bits of objects from the front to `bits`, as far as they are the word's and not among these; answers with
    /// all bits, and with how many came to them.
    #[inline(never)]
    fn gather(self, info: &ClassInfo, bits: u64, objects: &[*mut u8]) -> (u64, usize) {
        self.gather_if(info, bits, objects, |_| true)
    }

    /// The same, as far as the first word of objects is `freed`.
    ///
    /// # Safety
    ///
    /// The first words of those that are the span's objects can be read.
    #[inline(never)]
    unsafe fn gather_freed(
        self,
        info: &ClassInfo,
        bits: u64,
        objects: &[*mut u8],
        freed: u64,
    ) -> (u64, usize) {
        // SAFETY: the caller's promise: objects are multiples of 8 bytes and begin at such.
        self.gather_if(info, bits, objects, |object| unsafe {
            object.cast::<u64>().read() == freed
        })
    }

    #[inline(always)]
    fn gather_if(
        self,
        info: &ClassInfo,
        mut bits: u64,
        objects: &[*mut u8],
        is_as_freed: impl Fn(*mut u8) -> bool,
    ) -> (u64, usize) {
        let size = info.size as usize;
        let gathered = objects.iter().take_while(|&&object| {
            let offset = Address::of(object).offset_from(self.first);
            if offset >= self.bytes {
                return false;
            }
            let index = info.object_index(offset);
            let is_another =
                index as usize * size == offset && bits & bit_of(index) == 0 && is_as_freed(object);
            if is_another {
                bits |= bit_of(index);
            }
            is_another
        });
        let gathered = gathered.count();
        (bits, gathered)
    }
}

/// The bit of the object with this index, in its word.
#[inline(always)]
const fn bit_of(index: u32) -> u64 {
    1 << (index % u64::BITS)
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
}

impl Row {
    const NONE: Self = Self { span: None, objects_start: Address::new(0), capacity: 0 };

    #[inline(always)]
    fn of<P: PageSize>(back_end: u8, class: SizeClass, span: Option<SpanHandle>) -> Self {
        match span {
            Some(found) if found.class() == class && found.back_end() == back_end => Self {
                span,
                objects_start: found.objects_start::<P>(),
                capacity: found.object_capacity(),
            },
            _ => Self { span, ..Self::NONE },
        }
    }

    /// The index of an object, if one begins there.
    #[inline(always)]
    fn index_of(&self, info: &ClassInfo, object: *mut u8) -> Option<u32> {
        index_at(info, Address::of(object).offset_from(self.objects_start), self.capacity)
    }

    /// The objects whose bits share a word with that of the object with this index.
    #[inline(always)]
    fn word_of(&self, info: &ClassInfo, index: u32) -> Word {
        let (first, size) = (index - index % u64::BITS, info.size as usize);
        Word {
            first: self.objects_start.add(first as usize * size),
            bytes: self.capacity.saturating_sub(first).min(u64::BITS) as usize * size,
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
