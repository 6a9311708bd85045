//! Where an address stands in a class's spans, and what is told of one that is none of its objects.

use super::CentralFreeList;
use crate::{span_objects, untouched::is_untouched};
use strata_page_heap::PageHeap;
use strata_size_classes::{ClassInfo, PageSize, SizeClass};
use strata_span::{
    Address, Function, LastOperation, Misuse, Offence, Platform, Span, SpanHandle, SpanPlace,
};

/// What an address is to a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whereabouts {
    /// In no span of the class.
    Elsewhere,
    /// In a span of the class, where no object begins.
    Inside(SpanHandle),
    /// A free object, as its span knows.
    Free(SpanHandle),
    /// An object that is out of the span: the program's, or in a cache.
    Out(SpanHandle),
}

impl<P: PageSize> CentralFreeList<P> {
    /// What an address is to the class: for those who have time, and for the line about a misuse.
    pub fn whereabouts<E>(&self, platform: &E, class: SizeClass, address: Address) -> Whereabouts
    where
        E: Platform<Pages = P>,
    {
        let Some(span) = platform.map().span_at(address.value()) else {
            return Whereabouts::Elsewhere;
        };
        let spans = self.spans.lock();
        if span.class() != class || span.place() != SpanPlace::InUse {
            return Whereabouts::Elsewhere;
        }
        let info = P::TABLE.info(class);
        let offset = address.offset_from(span.objects_start::<P>());
        let Some(index) = index_at(info, offset, span.object_capacity()) else {
            return Whereabouts::Inside(span);
        };
        // SAFETY: the span has the class's objects, so it is prepared; the class's lock is held.
        let is_free = unsafe { span_objects::is_free(&span, index) };
        drop(spans);
        if is_free { Whereabouts::Free(span) } else { Whereabouts::Out(span) }
    }

    /// Whether what is noted of a span of the class adds up: its objects are as many as its pages have room for,
    /// and those without a bit among the free ones are as many as are out. A span that is not the class's any more
    /// is sound. Takes the lock, for a look at each word of the span's bitmap.
    pub fn is_sound(&self, class: SizeClass, span: &Span) -> bool {
        let _spans = self.spans.lock();
        if span.class() != class || span.place() != SpanPlace::InUse {
            return true;
        }
        let (info, capacity) = (P::TABLE.info(class), span.object_capacity());
        let room = span.objects_offset() + capacity as usize * info.size as usize;
        // SAFETY: the span has the class's objects, so it is prepared; the class's lock is held.
        let free = unsafe { span_objects::free_count(span) };
        room <= span.pages() << P::SHIFT
            && u64::from(span.objects_out()) + free == u64::from(capacity)
    }
}

/// The index of an object of `class` in the span that the page map has there. A pointer that is none is reported, and
/// left alone if the process goes on.
pub(super) fn locate<P: PageSize, H: PageHeap<P>>(
    page_heap: &H,
    class: SizeClass,
    span: Option<SpanHandle>,
    object: *mut u8,
) -> Option<(SpanHandle, u32)> {
    let address = Address::of(object);
    let Some(span) = span else {
        in_no_span(page_heap, class, address);
        return None;
    };
    if span.class() != class {
        wrong_class::<P>(class, address, span);
        return None;
    }
    let offset = address.offset_from(span.objects_start::<P>());
    let Some(index) = index_at(P::TABLE.info(class), offset, span.object_capacity()) else {
        report::<P>(Offence::InsideABlock, address, Some(span), freed_with::<P>(class));
        return None;
    };
    Some((span, index))
}

/// Which of `capacity` objects of a class begins so far from the first, if one does.
#[inline(always)]
pub(super) fn index_at(info: &ClassInfo, offset: usize, capacity: u32) -> Option<u32> {
    let index = info.object_index(offset);
    (index < capacity && index as usize * info.size as usize == offset).then_some(index)
}

/// Whether an object begins with one of two words, as it did when it was freed, and with zeroes alone if with one;
/// one that does not is reported: it was freed twice and is somebody's since, or was written to.
///
/// # Safety
///
/// `object` is one of `bytes` bytes in `span`.
#[inline]
pub(super) unsafe fn is_as_freed<P: PageSize>(
    span: SpanHandle,
    object: *mut u8,
    bytes: usize,
    words: [u64; 2],
) -> bool {
    // SAFETY: the object is one of a span, as the caller promises: a multiple of 8 bytes, which begins at such.
    let first = unsafe { object.cast::<u64>().read() };
    // SAFETY: it is as long as the caller says, and in a span.
    let is_as_freed =
        words.contains(&first) && (first != 0 || unsafe { is_untouched(object, bytes) });
    if !is_as_freed {
        not_as_freed::<P>(span, object);
    }
    is_as_freed
}

/// Where the page heap has memory without a span, one was that is gone: the pointer came twice, as an object and after it.
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
fn in_no_span<P: PageSize, H: PageHeap<P>>(page_heap: &H, class: SizeClass, address: Address) {
    let mut is_reserved = false;
    page_heap.for_each_reservation(|range| is_reserved |= range.contains(address.value()));
    let offence = if is_reserved { Offence::FreeMemory } else { Offence::NeverHandedOut };
    report::<P>(offence, address, None, freed_with::<P>(class));
}

#[cold]
#[inline(never)]
fn not_as_freed<P: PageSize>(span: SpanHandle, object: *mut u8) {
    let (offence, last) = (Offence::FreedTwiceOrWritten, LastOperation::FreedIntoCache);
    report::<P>(offence, Address::of(object), Some(span), last);
}

#[cold]
#[inline(never)]
fn report<P: PageSize>(
    offence: Offence,
    address: Address,
    span: Option<SpanHandle>,
    last: LastOperation,
) {
    let span = span.as_deref();
    Misuse { offence, function: Function::Flush, address, span, last }.report::<P>();
}

/// How an object of the class came: with its size, or with a pointer of which the page map says so.
fn freed_with<P: PageSize>(class: SizeClass) -> LastOperation {
    LastOperation::FreedWith { bytes: P::TABLE.size(class) }
}

#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
fn wrong_class<P: PageSize>(class: SizeClass, address: Address, span: SpanHandle) {
    // A span that went back to the page heap had all its objects: this one came twice.
    let (offence, last) = match span.place() {
        SpanPlace::InUse => (Offence::WrongSize, freed_with::<P>(class)),
        _ => (Offence::DoubleFree, LastOperation::Freed),
    };
    report::<P>(offence, address, Some(span), last);
}

#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
pub(super) fn freed_twice<P: PageSize>(class: SizeClass, span: SpanHandle, index: u32) {
    let address = span.objects_start::<P>().add(index as usize * P::TABLE.size(class));
    report::<P>(Offence::DoubleFree, address, Some(span), LastOperation::Freed);
}
