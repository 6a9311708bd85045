//! How a class comes by a span, and how the span goes home.

use crate::{BackEnd, MARKED_BYTES, span_objects};
use strata_page_heap::{Density, PageHeap, SpanRequest};
use strata_size_classes::{ClassInfo, PageSize, SizeClass, SizeClassTable};
use strata_span::{PageCount, Platform, SpanHandle, SpanList};

/// A span for objects of `class`, all of them free, entered in the page map.
pub(super) fn new_span<P, E, H>(
    back_end: BackEnd<'_, E, H>,
    class: SizeClass,
    info: &ClassInfo,
) -> Option<SpanHandle>
where
    P: PageSize,
    E: Platform<Pages = P>,
    H: PageHeap<P>,
{
    let BackEnd { platform, page_heap, object_maps, number } = back_end;
    if info.objects == 0 {
        return None;
    }
    let pages = PageCount::new(usize::from(info.pages));
    let density = if info.is_dense() { Density::Dense } else { Density::Sparse };
    let span = page_heap.allocate(platform, SpanRequest { density, ..SpanRequest::of(pages) })?;
    let entered = platform.map().ensure(platform.arena(), platform.metadata(), span.first(), pages);
    if !entered || !span_objects::prepare(platform, object_maps, span, info.objects) {
        // SAFETY: the span was just allocated there, and nobody knows it.
        unsafe { page_heap.deallocate(platform, span) };
        return None;
    }
    span.set_objects_offset(stagger::<P>(class, span));
    span.set_back_end(number);
    if let Some(word) = object_maps.first_word() {
        mark_objects::<P>(span, info, word);
    }
    platform.map().set_objects(span, class, span.objects_offset(), info.size as usize);
    Some(span)
}

/// Bytes of a new span that are touched before they are used: a kernel page.
const TOUCHED_BYTES: usize = 4 << 10;

/// Writes `word` into the first word of each object of a new span, which nobody knows yet. Of a span that nobody
/// had since it came from the kernel it writes those on the first kernel page, if the span is short, and leaves the
/// others the zeroes that they are: a program of few blocks does not pay for them, one more page a class.
fn mark_objects<P: PageSize>(span: SpanHandle, info: &ClassInfo, word: u64) {
    let first = span.objects_start::<P>();
    let size = (info.size as usize).max(1);
    let touched = match (span.is_zeroed(), span.bytes::<P>() <= MARKED_BYTES) {
        (false, _) => usize::MAX,
        (true, true) => TOUCHED_BYTES.saturating_sub(span.objects_offset()).div_ceil(size),
        (true, false) => 0,
    };
    for index in 0..touched.min(info.objects as usize) {
        let object = first.add(index * size).pointer().cast::<u64>();
        // SAFETY: the object lies in the span, which is ours alone, and has at least 8 bytes; who asked for the
        // word said that such memory may be touched.
        unsafe { object.write(word) };
    }
}

/// Where the first object of a new span begins: for staggered classes at the next offset in turn, by the span's
/// place, so that neighbours differ.
fn stagger<P: PageSize>(class: SizeClass, span: SpanHandle) -> usize {
    let steps = P::TABLE.stagger_bytes(class) / SizeClassTable::STAGGER_ALIGN + 1;
    let turn = span.first::<P>().number() / span.pages().max(1);
    turn % steps * SizeClassTable::STAGGER_ALIGN
}

/// Gives spans, whose objects are all free, to the page heap.
pub(crate) fn give_spans_back<P, E, H>(back_end: BackEnd<'_, E, H>, mut whole: SpanList)
where
    P: PageSize,
    E: Platform<Pages = P>,
    H: PageHeap<P>,
{
    while let Some(span) = whole.pop_front() {
        // SAFETY: no object of the span is out, no list has it, and it is not counted any more.
        unsafe { give_span_back(back_end, span) };
    }
}

/// Gives one span to the page heap, as that handed it out: in the page map with its ends alone and
/// without a class.
///
/// # Safety
///
/// The span came from `new_span` with the same back end; nobody uses its objects, and no list has it.
pub(crate) unsafe fn give_span_back<P, E, H>(back_end: BackEnd<'_, E, H>, span: SpanHandle)
where
    P: PageSize,
    E: Platform<Pages = P>,
    H: PageHeap<P>,
{
    let BackEnd { platform, page_heap, object_maps, .. } = back_end;
    span.set_class(SizeClass::NONE);
    let pages = span.page_count::<P>();
    let inner = pages.saturating_sub(PageCount::new(2));
    platform.map().clear_range(span.first() + PageCount::ONE, inner);
    platform.map().set_ends(span);
    // SAFETY: `new_span` prepared it, and the caller has it alone.
    unsafe { span_objects::discard(object_maps, span) };
    span.set_back_end(0);
    // Its objects were written: what the page heap said of zeroes holds no longer.
    span.set_zeroed(false);
    // SAFETY: `new_span` got it from this page heap, and the caller gives it up.
    unsafe { page_heap.deallocate(platform, span) };
}
