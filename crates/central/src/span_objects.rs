//! The bitmap of a span's free objects.
//!
//! A span of at most 64 objects has it in its own word [`Span::object_map`]; for more that word is the address of
//! as many words as it takes, from [`ObjectMaps`]. A set bit is a free object. The span's hint is the index of a
//! word below which none has a bit set, or the greatest that it can tell. The lower half of its note is when it got
//! its objects; the upper half belongs to `granules`.
//!
//! Whoever calls holds the lock of the span's class, or has the span alone.

use crate::ObjectMaps;
use core::{ops::Range, ptr::NonNull};
use strata_span::{Address, PageSize, Platform, Span, SpanHandle};
use strata_sync::prefetch_for_write;

/// Objects that fit into a span's own word.
const INLINE_OBJECTS: u32 = u64::BITS;

/// Gives a span of `objects` objects, now, a bitmap in which all of them are free. False if there was no memory.
#[must_use]
pub(crate) fn prepare<E: Platform>(
    platform: &E,
    maps: &ObjectMaps,
    span: SpanHandle,
    objects: u32,
) -> bool {
    span.set_note(0);
    span.set_born(platform.now_ns());
    span.set_hint(0);
    span.set_objects_out(0);
    span.set_object_capacity(objects);
    if maps.has_records() && !prepare_records(platform, maps, span) {
        return false;
    }
    if objects <= INLINE_OBJECTS {
        span.set_object_map(low_bits(objects) as usize);
        return true;
    }
    let count = word_count(objects);
    let Some(first) = maps.allocate(platform, count) else {
        // SAFETY: `prepare_records` gave them to the span just now, which nobody else knows.
        unsafe { discard_records(maps, span) };
        return false;
    };
    let mut left = objects;
    for index in 0..count {
        // SAFETY: the map has at least `count` words.
        let word = unsafe { first.add(index) };
        // SAFETY: the map was just given to us alone.
        unsafe { word.write(low_bits(left)) };
        left = left.saturating_sub(u64::BITS);
    }
    span.set_object_map(Address::of(first.as_ptr()).value());
    true
}

/// Gives a span a record for each of its objects, all zero. False if there was no memory.
fn prepare_records<E: Platform>(platform: &E, maps: &ObjectMaps, span: SpanHandle) -> bool {
    let count = span.object_capacity() as usize;
    let Some(first) = maps.allocate(platform, count) else { return false };
    // SAFETY: the piece has at least `count` words, and was just given to us alone.
    unsafe { first.write_bytes(0, count) };
    span.set_records(Address::of(first.as_ptr()).value());
    true
}

/// Takes the records from a span, if it has any.
///
/// # Safety
///
/// `prepare` gave them to the span from the same `maps`, and the span is the caller's alone.
unsafe fn discard_records(maps: &ObjectMaps, span: SpanHandle) {
    let word = span.records();
    if word == 0 {
        return;
    }
    span.set_records(0);
    // Without records it is what the objects were asked for.
    if maps.has_records()
        && let Some(records) = Address::new(word).non_null()
    {
        // SAFETY: `prepare_records` took them for as many objects, and the caller gives the span up.
        unsafe { maps.deallocate(records.cast(), span.object_capacity() as usize) };
    }
}

/// Takes the bitmap from a span.
///
/// # Safety
///
/// `prepare` gave it to the span from the same `maps`, and the span is the caller's alone.
pub(crate) unsafe fn discard(maps: &ObjectMaps, span: SpanHandle) {
    let objects = span.object_capacity();
    if objects > INLINE_OBJECTS
        && let Some(map) = Address::new(span.object_map()).non_null()
    {
        // SAFETY: `prepare` took the map for as many objects, and the caller gives the span up.
        unsafe { maps.deallocate(map.cast(), word_count(objects)) };
    }
    // SAFETY: the span is this thread's alone and has no object out: nobody reads its records.
    unsafe { discard_records(maps, span) };
    span.set_object_map(0);
    span.set_objects_offset(0);
    span.set_object_capacity(0);
    span.set_thread(0);
    span.set_note(0);
}

/// Moves free objects of `size` bytes from the front of the span into `out`; says how many.
///
/// # Safety
///
/// `prepare` was called for the span, and the caller holds its class's lock.
pub(crate) unsafe fn take<P: PageSize>(span: &Span, size: usize, out: &mut [*mut u8]) -> usize {
    let start = span.objects_start::<P>();
    let capacity = span.object_capacity();
    if capacity <= INLINE_OBJECTS {
        let mut word = span.object_map() as u64;
        let taken = empty_word(&mut word, start, size, out);
        span.set_object_map(word as usize);
        return taken;
    }
    let word_bytes = size * u64::BITS as usize;
    let mut taken = 0;
    let mut index = hint(span) as usize;
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    let words = unsafe { words_of(span) };
    while let (Some(word), Some(rest)) = (words.get_mut(index), out.get_mut(taken..)) {
        if rest.is_empty() {
            break;
        }
        taken += empty_word(word, start.add(index * word_bytes), size, rest);
        if *word == 0 {
            index += 1;
        }
    }
    set_hint(span, index as u32);
    taken
}

/// How many objects are free.
///
/// # Safety
///
/// As for [`put`].
pub(crate) unsafe fn free_count(span: &Span) -> u64 {
    if span.object_capacity() <= INLINE_OBJECTS {
        return u64::from(span.object_map().count_ones());
    }
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    let words = unsafe { words_of(span) };
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Whether an object is free.
///
/// # Safety
///
/// As for [`put`].
pub(crate) unsafe fn is_free(span: &Span, index: u32) -> bool {
    if span.object_capacity() <= INLINE_OBJECTS {
        return span.object_map() as u64 & 1 << (index % u64::BITS) != 0;
    }
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    let words = unsafe { words_of(span) };
    words.get((index / u64::BITS) as usize).is_some_and(|word| word & 1 << (index % u64::BITS) != 0)
}

/// Asks for the memory that [`put`] will write for this object, if it is not in the span itself. Holds no lock: a span that
/// is given up meanwhile costs a look at what is none of ours.
#[inline]
pub(crate) fn prefetch(span: &Span, index: u32) {
    if span.object_capacity() > INLINE_OBJECTS
        && let Some(map) = Address::new(span.object_map()).non_null()
    {
        let words = map.cast::<u64>().as_ptr().cast_const();
        prefetch_for_write(words.wrapping_add((index / u64::BITS) as usize));
    }
}

/// Marks the objects of these bits of a word as free; answers with the bits of those that were free already.
///
/// # Safety
///
/// `prepare` was called for the span, and the caller holds its class's lock.
#[must_use]
#[inline]
pub(crate) unsafe fn put(span: &Span, word_index: u32, bits: u64) -> u64 {
    if span.object_capacity() <= INLINE_OBJECTS {
        let word = span.object_map() as u64;
        span.set_object_map((word | bits) as usize);
        return word & bits;
    }
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    let words = unsafe { words_of(span) };
    let Some(word) = words.get_mut(word_index as usize) else { return bits };
    let already = *word & bits;
    *word |= bits;
    if word_index < hint(span) {
        set_hint(span, word_index);
    }
    already
}

/// Whether all objects of `range` are free.
///
/// # Safety
///
/// `prepare` was called for the span, and the caller holds its class's lock.
pub(crate) unsafe fn all_free(span: &Span, range: Range<u32>) -> bool {
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    unsafe { fold_words(span, range, true, |free, word, mask| free && *word & mask == mask) }
}

/// Makes all objects of `range` out; says how many were free.
///
/// # Safety
///
/// As for [`all_free`].
pub(crate) unsafe fn claim(span: &Span, range: Range<u32>) -> u32 {
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    unsafe {
        fold_words(span, range, 0, |claimed, word, mask| {
            let free = *word & mask;
            *word &= !mask;
            claimed + free.count_ones()
        })
    }
}

/// Makes all objects of `range` free; says how many were out.
///
/// # Safety
///
/// As for [`all_free`]; and the objects that are out were claimed.
pub(crate) unsafe fn unclaim(span: &Span, range: Range<u32>) -> u32 {
    let first = range.start / u64::BITS;
    if first < hint(span) {
        set_hint(span, first);
    }
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards; its objects that are out were
    // claimed.
    unsafe {
        fold_words(span, range, 0, |freed, word, mask| {
            let out = !*word & mask;
            *word |= mask;
            freed + out.count_ones()
        })
    }
}

/// Folds over the words in which the bits of `range` are, with a mask of these bits.
///
/// # Safety
///
/// As for [`all_free`].
unsafe fn fold_words<T>(
    span: &Span,
    range: Range<u32>,
    start: T,
    mut each: impl FnMut(T, &mut u64, u64) -> T,
) -> T {
    let range = range.start..range.end.min(span.object_capacity());
    if range.is_empty() {
        return start;
    }
    if span.object_capacity() <= INLINE_OBJECTS {
        let mut word = span.object_map() as u64;
        let value = each(start, &mut word, bits_of(&range, 0));
        span.set_object_map(word as usize);
        return value;
    }
    let (first, last) = (range.start / u64::BITS, (range.end - 1) / u64::BITS);
    // SAFETY: `prepare` gave the span its words, which the lock of its class guards.
    let words = unsafe { words_of(span) };
    let mut value = start;
    for index in first..=last {
        if let Some(word) = words.get_mut(index as usize) {
            value = each(value, word, bits_of(&range, index));
        }
    }
    value
}

/// The bits of `range` in the word with this index.
const fn bits_of(range: &Range<u32>, index: u32) -> u64 {
    let first = index * u64::BITS;
    low_bits(range.end.saturating_sub(first)) & !low_bits(range.start.saturating_sub(first))
}

/// The index of a word below which none has a bit set.
fn hint(span: &Span) -> u32 {
    span.hint().into()
}

fn set_hint(span: &Span, index: u32) {
    // Where a bitmap has more words, the first of them are looked through anew.
    span.set_hint(u8::try_from(index).unwrap_or(u8::MAX));
}

/// Moves objects whose bits are set from `word`, whose first object is at `first`, into `out`; says how
/// many.
#[inline]
fn empty_word(word: &mut u64, first: Address, size: usize, out: &mut [*mut u8]) -> usize {
    let mut bits = *word;
    let mut taken = 0;
    for slot in out {
        if bits == 0 {
            break;
        }
        *slot = first.add(bits.trailing_zeros() as usize * size).pointer();
        bits &= bits.wrapping_sub(1);
        taken += 1;
    }
    *word = bits;
    taken
}

/// The words of a span's bitmap.
///
/// # Safety
///
/// `prepare` gave the span a bitmap of its own words, and the caller holds the lock of the span's class
/// for as long as it uses them.
#[expect(
    clippy::mut_from_ref,
    reason = "the words are not the span's: its class's lock guards them"
)]
unsafe fn words_of(span: &Span) -> &mut [u64] {
    let count = word_count(span.object_capacity());
    let Some(first) = Address::new(span.object_map()).non_null() else { return &mut [] };
    let words = NonNull::slice_from_raw_parts(first.cast::<u64>(), count);
    // SAFETY: `prepare` took that many words and wrote them, `discard` has not been called, since the span
    // is still of its class; the lock keeps others away.
    unsafe { &mut *words.as_ptr() }
}

/// Words that hold a bit for each of `objects` objects.
const fn word_count(objects: u32) -> usize {
    objects.div_ceil(u64::BITS) as usize
}

/// A word in which the low `count` bits are set.
const fn low_bits(count: u32) -> u64 {
    match count {
        0 => 0,
        64.. => u64::MAX,
        _ => u64::MAX >> (u64::BITS - count),
    }
}

static_assertions::assert_eq_size!(usize, u64);

#[cfg(all(test, not(strata_loom)))]
mod tests;
