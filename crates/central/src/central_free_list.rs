//! One class's spans, cut into objects.

use crate::{
    BackEnd, CentralStats, MARKED_BYTES, OtherBackEnds, SAME_SPAN_BUCKETS, SpanCounts,
    granules::{GranuleSet, Granules},
    occupancy::OccupancyLists,
    span_objects,
    stats::SPANS_A_BATCH_BUCKETS,
};
mod inside;

pub(crate) use inside::Claimed;

use core::marker::PhantomData;
use strata_page_heap::{Density, PageHeap, SpanRequest, kernel_page_bytes};
use strata_size_classes::{ClassInfo, PageSize, SizeClass, SizeClassTable};
use strata_span::{
    Address, Function, LastOperation, Misuse, Offence, PageCount, Platform, Span, SpanHandle,
    SpanList, SpanPlace,
};
use strata_sync::{
    LockStats, Mutex, SeqWord,
    atomic::{AtomicU32, AtomicU64, Ordering},
    const_fn, prefetch_for_write, spin_hint,
};

/// Objects whose spans are looked up before the lock is taken once for all of them: 512 bytes of stack.
const LOOK_UP: usize = SAME_SPAN_BUCKETS;

/// The central free list of one size class: spans from a page heap, objects out, objects back.
///
/// Any thread may call any method at any time. One lock for the class, held for the move of one batch;
/// page map and page heap are used outside of it. An object costs a bit in its span's map; spans with
/// free objects are on lists by how full they are, and the fullest are used up first, so that the others
/// come home whole.
///
/// Each list serves one class: `class` is the same at each call, and so are the back end's parts.
#[derive(Debug)]
pub struct CentralFreeList<P: PageSize> {
    /// Guards the spans with free objects, and the bitmaps of all spans of the class.
    /// Rank: above the page heap's and every lock of the platform; none of them is taken under it.
    spans: Mutex<OccupancyLists>,
    /// Covers the four counters.
    sequence: SeqWord,
    /// All four written under the lock, read by figures.
    objects_out: AtomicU64,
    spans_requested: AtomicU64,
    spans_returned: AtomicU64,
    /// Bytes of granules that went back to the kernel and were not used since.
    released_bytes: AtomicU64,
    /// The most objects that were out since it was last asked. Written under the lock.
    peak_out: AtomicU64,
    /// Calls of `take` by the spans that they took from. Written outside of the lock: of two calls at
    /// the same moment one may go uncounted.
    spans_a_batch: [AtomicU32; SPANS_A_BATCH_BUCKETS],
    pages: PhantomData<P>,
}

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

/// Where an object is.
#[derive(Clone, Copy)]
struct Place {
    span: SpanHandle,
    index: u32,
}

impl<P: PageSize> CentralFreeList<P> {
    const_fn! {
        /// A list without spans.
        pub const fn new() -> Self {
            Self {
                spans: Mutex::new(OccupancyLists::new()),
                sequence: SeqWord::new(),
                objects_out: AtomicU64::new(0),
                spans_requested: AtomicU64::new(0),
                spans_returned: AtomicU64::new(0),
                released_bytes: AtomicU64::new(0),
                peak_out: AtomicU64::new(0),
                spans_a_batch: strata_sync::const_array![AtomicU32::new(0); SPANS_A_BATCH_BUCKETS],
                pages: PhantomData,
            }
        }
    }

    /// Fills `out` from the front with objects of `class`; fewer than asked for when the page heap has no
    /// more. Says how many.
    pub fn take<E, H>(
        &self,
        back_end: BackEnd<'_, E, H>,
        class: SizeClass,
        out: &mut [*mut u8],
    ) -> usize
    where
        E: Platform<Pages = P>,
        H: PageHeap<P>,
    {
        let size = P::TABLE.size(class);
        let (mut taken, mut spans) = self.take_from_spans(back_end.platform, size, out);
        while let Some(rest) = out.get_mut(taken..)
            && !rest.is_empty()
        {
            match self.take_from_new_span(back_end, class, rest) {
                0 => break,
                more => {
                    taken += more;
                    spans += 1;
                }
            }
        }
        self.count_batch(spans);
        taken
    }

    /// Takes objects of `class` back, and gives spans that are whole again to the page heap. Objects whose
    /// spans belong to another back end go to `others`.
    ///
    /// A pointer that is no object of the class, or is free already, ends the process with a line
    /// that says so, or, where misuse is reported only, is left alone.
    ///
    /// # Safety
    ///
    /// The objects came from [`take`](Self::take) of this list, or of the same class's list of a back end
    /// that `others` knows; each is in the slice once, and nobody uses them any more.
    pub unsafe fn give<E, H, R>(
        &self,
        back_end: BackEnd<'_, E, H>,
        others: &R,
        class: SizeClass,
        objects: &mut [*mut u8],
    ) where
        E: Platform<Pages = P>,
        H: PageHeap<P>,
        R: OtherBackEnds,
    {
        for chunk in objects.chunks_mut(LOOK_UP) {
            // What stands in the memory of many spans is asked for before any of it is waited for.
            let mut spans = [None; LOOK_UP];
            for (span, object) in spans.iter_mut().zip(chunk.iter()) {
                *span = back_end.platform.map().span_at(Address::of(*object).value());
                if let Some(span) = span {
                    prefetch_for_write(span.as_ptr().as_ptr());
                }
            }
            let mut places = [None; LOOK_UP];
            for ((place, object), span) in places.iter_mut().zip(chunk).zip(spans) {
                let Some(found) = locate::<P>(class, span, *object) else {
                    back_end.platform.note_left_alone(P::TABLE.size(class));
                    continue;
                };
                span_objects::prefetch(&found.span, found.index);
                let home = found.span.back_end();
                if home == back_end.number {
                    *place = Some(found);
                } else {
                    // SAFETY: the caller gives the object up, and `found` says where it belongs.
                    unsafe { others.give(home, class, core::slice::from_mut(object)) };
                }
            }
            let whole = self.put_back(back_end.platform, class, &places);
            give_spans_back(back_end, whole);
        }
    }

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
        let index = info.object_index(offset);
        if index >= span.object_capacity() || index as usize * info.size as usize != offset {
            return Whereabouts::Inside(span);
        }
        // SAFETY: the span has the class's objects, so it is prepared; the class's lock is held.
        let is_free = unsafe { span_objects::is_free(&span, index) };
        drop(spans);
        if is_free { Whereabouts::Free(span) } else { Whereabouts::Out(span) }
    }

    /// Whether what is noted of a span of the class adds up: its objects are as many as its pages have room for, and those
    /// without a bit among the free ones are as many as are out. A span that is not the class's any more is sound. Takes the
    /// lock, for a look at each word of the span's bitmap.
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

    /// The figures. Takes the lock only if they are in flux at each of many looks.
    pub fn stats(&self, class: SizeClass) -> CentralStats {
        for _ in 0..64 {
            if let Some(stats) = self.stats_unless_in_flux(class) {
                return stats;
            }
            spin_hint();
        }
        // Whoever interrupted the holder, in a signal handler, reads figures of which each is right in itself.
        let guard = self.spans.lock_for_figures();
        CentralStats { is_unknown: guard.is_none(), ..self.read_figures(class) }
    }

    /// The figures, unless they are just being changed. Takes no lock and never waits.
    pub fn stats_unless_in_flux(&self, class: SizeClass) -> Option<CentralStats> {
        self.sequence.read(|| self.read_figures(class))
    }

    /// How many spans are how full (see [`CentralStats::spans_in_use`] for all), how many it took to fill batches, and how those
    /// that went had lived. Takes the lock.
    pub fn span_counts(&self) -> SpanCounts {
        let spans = self.spans.lock();
        SpanCounts {
            occupancy: spans.lengths(),
            utilization: spans.utilization(),
            spans_a_batch: self.spans_a_batch.each_ref().map(|count| count.load(Ordering::Relaxed)),
            completed_lifetimes: spans.tallies.completed_lifetimes,
            same_span_returns: spans.tallies.same_span_returns,
        }
    }

    /// The most objects that were out at any moment since the last call, which begins anew. There is one asker: the background.
    /// Takes the lock.
    pub fn take_peak_out(&self) -> u64 {
        let _spans = self.spans.lock();
        self.peak_out.swap(self.objects_out.load(Ordering::Relaxed), Ordering::Relaxed)
    }

    /// The lock's figures.
    pub fn lock_stats(&self) -> LockStats {
        self.spans.stats()
    }

    /// Forgets all spans, whose objects nobody uses any more: see
    /// [`MiddleSource::discard_all`](crate::MiddleSource::discard_all).
    pub(crate) fn forget_spans(&self) {
        let mut spans = self.spans.lock();
        spans.forget();
        self.sequence.begin();
        self.objects_out.store(0, Ordering::Relaxed);
        self.spans_returned.store(self.spans_requested.load(Ordering::Relaxed), Ordering::Relaxed);
        self.released_bytes.store(0, Ordering::Relaxed);
        self.sequence.end();
    }

    /// Takes the lock, so that a fork finds the list at rest.
    pub fn acquire(&self) {
        self.spans.acquire();
    }

    /// Gives the lock back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.spans.release() };
    }

    /// Counts a batch that `spans` spans filled.
    #[inline]
    fn count_batch(&self, spans: u32) {
        if spans == 0 {
            return;
        }
        let bucket = (spans - 1).checked_ilog2().map_or(0, |power| power as usize + 1);
        if let Some(count) = self.spans_a_batch.get(bucket.min(SPANS_A_BATCH_BUCKETS - 1)) {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Takes what the spans at hand have; says how many objects that were, and from how many spans.
    fn take_from_spans<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        size: usize,
        out: &mut [*mut u8],
    ) -> (usize, u32) {
        let mut spans = self.spans.lock();
        let (mut taken, mut used, mut touched_bytes) = (0, 0, 0);
        while let Some(rest) = out.get_mut(taken..)
            && !rest.is_empty()
            && let Some(span) = spans.fullest()
        {
            // SAFETY: spans on the lists were prepared, and the lock is held.
            let more = unsafe { span_objects::take::<P>(&span, size, rest) };
            debug_assert!(more > 0, "a span on a list has a free object");
            spans.set_objects_out(span, span.objects_out() + more as u32);
            if !GranuleSet::released(&span).is_empty() {
                let objects = rest.get(..more).unwrap_or_default();
                touched_bytes += note_used::<E>(platform, span, size, objects);
            }
            taken += more;
            used += 1;
        }
        if taken > 0 {
            self.count(|| {
                add(&self.objects_out, taken as u64);
                add(&self.released_bytes, touched_bytes.wrapping_neg());
            });
            self.note_peak();
        }
        (taken, used)
    }

    /// Gets a span and takes from it, before others see it.
    #[cold]
    fn take_from_new_span<E, H>(
        &self,
        back_end: BackEnd<'_, E, H>,
        class: SizeClass,
        out: &mut [*mut u8],
    ) -> usize
    where
        E: Platform<Pages = P>,
        H: PageHeap<P>,
    {
        let info = P::TABLE.info(class);
        let Some(span) = new_span(back_end, class, info) else { return 0 };
        let mut spans = self.spans.lock();
        // From here on others may look at the span: a span has the class as long as this lock guards it.
        span.set_class(class);
        // SAFETY: the span was prepared, and the lock is held.
        let taken = unsafe { span_objects::take::<P>(&span, info.size as usize, out) };
        spans.set_objects_out(span, taken as u32);
        self.count(|| {
            add(&self.objects_out, taken as u64);
            add(&self.spans_requested, 1);
        });
        self.note_peak();
        taken
    }

    /// Marks objects as free, and answers with the spans that are whole by that, on no list any more.
    fn put_back<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        class: SizeClass,
        places: &[Option<Place>],
    ) -> SpanList {
        let mut whole = SpanList::new();
        let (mut objects, mut released_bytes) = (0, 0);
        let all = places.iter().flatten().count() as u64;
        let mut spans = self.spans.lock();
        let mut places = places.iter().flatten().peekable();
        // The clock is asked once a call, and only if a span goes.
        let mut now_ns = None;
        while let Some(place) = places.next() {
            let span = place.span;
            let mut run = u32::from(put_object::<P>(class, place));
            while let Some(next) = places.next_if(|next| next.span == span) {
                run += u32::from(put_object::<P>(class, next));
            }
            if run == 0 {
                continue;
            }
            spans.tallies.count_run(run);
            let out = span.objects_out().wrapping_sub(run);
            spans.set_objects_out(span, out);
            if out == 0 {
                let now_ns = *now_ns.get_or_insert_with(|| platform.now_ns());
                spans.tallies.count_completed(&span, now_ns);
                released_bytes += forget_released(platform, class, span);
                whole.push_back(span);
            }
            objects += u64::from(run);
        }
        if objects > 0 {
            self.count(|| {
                add(&self.objects_out, objects.wrapping_neg());
                add(&self.spans_returned, whole.len() as u64);
                add(&self.released_bytes, released_bytes.wrapping_neg());
            });
        }
        if objects < all {
            platform.note_left_alone((all - objects) as usize * P::TABLE.size(class));
        }
        whole
    }

    /// Remembers the most objects that were out; the lock is held.
    #[inline(always)]
    fn note_peak(&self) {
        let out = self.objects_out.load(Ordering::Relaxed);
        if out > self.peak_out.load(Ordering::Relaxed) {
            self.peak_out.store(out, Ordering::Relaxed);
        }
    }

    /// Changes the counters as one; the lock is held.
    #[inline(always)]
    fn count(&self, change: impl FnOnce()) {
        self.sequence.begin();
        change();
        self.sequence.end();
    }

    fn read_figures(&self, class: SizeClass) -> CentralStats {
        let info = P::TABLE.info(class);
        let objects_out = self.objects_out.load(Ordering::Relaxed);
        let spans_requested = self.spans_requested.load(Ordering::Relaxed);
        let spans_returned = self.spans_returned.load(Ordering::Relaxed);
        let spans_in_use = spans_requested.wrapping_sub(spans_returned);
        let objects_per_span = u64::from(info.objects);
        let tail_bytes = (u64::from(info.pages) << P::SHIFT)
            .wrapping_sub(objects_per_span.wrapping_mul(u64::from(info.size)));
        CentralStats {
            objects_out,
            free_objects: spans_in_use.wrapping_mul(objects_per_span).wrapping_sub(objects_out),
            spans_in_use,
            spans_requested,
            spans_returned,
            objects_per_span,
            live_pages: spans_in_use.wrapping_mul(u64::from(info.pages)),
            tail_bytes: spans_in_use.wrapping_mul(tail_bytes),
            released_bytes: self.released_bytes.load(Ordering::Relaxed),
            is_unknown: false,
            lock: self.spans.stats(),
        }
    }
}

impl<P: PageSize> Default for CentralFreeList<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Notes that objects of a span are used, some of whose granules went back to the kernel; says how many bytes of these have memory
/// behind them again. The lock is held.
#[cold]
fn note_used<E: Platform>(platform: &E, span: SpanHandle, size: usize, objects: &[*mut u8]) -> u64 {
    let Some(granules) = Granules::of::<E::Pages>(&span, size, kernel_page_bytes(platform)) else {
        return 0;
    };
    let used = objects.iter().fold(GranuleSet::default(), |used, object| {
        used.with(granules.of_object(Address::of(*object)))
    });
    let released = GranuleSet::released(&span);
    released.without(used).set_released(&span);
    (released.and(used).len() * granules.bytes()) as u64
}

/// Takes a span that is whole out of what is looked at: its class, and what is known of its granules. Says how many bytes of them had
/// no memory behind them. The lock is held.
fn forget_released<E: Platform>(platform: &E, class: SizeClass, span: SpanHandle) -> u64 {
    span.set_class(SizeClass::NONE);
    let released = GranuleSet::released(&span);
    if released.is_empty() {
        return 0;
    }
    GranuleSet::default().set_released(&span);
    let size = E::Pages::TABLE.size(class);
    Granules::of::<E::Pages>(&span, size, kernel_page_bytes(platform))
        .map_or(0, |granules| (released.len() * granules.bytes()) as u64)
}

/// Adds to a counter that the holder of the lock alone writes.
#[inline(always)]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// A span for objects of `class`, all of them free, entered in the page map.
fn new_span<P, E, H>(
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
    platform.map().set_range(span, class);
    Some(span)
}

/// Bytes of a new span that are touched before they are used: a kernel page.
const TOUCHED_BYTES: usize = 4 << 10;

/// Writes `word` into the first word of each object of a new span, which nobody knows yet. Of a span that nobody had since it came
/// from the kernel it writes those on the first kernel page, if the span is short, and leaves the others the zeroes that they
/// are: a program of few blocks does not pay for them, one more page a class.
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
        // SAFETY: the object lies in the span, which is ours alone, and has at least 8 bytes; who asked for the word said that
        // such memory may be touched.
        unsafe { object.write(word) };
    }
}

/// Where the first object of a new span begins: for staggered classes at the next offset in turn, by the span's place, so that
/// neighbours differ.
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

/// Where an object of `class` is, in the span that the page map has there. A pointer that is none is reported, and left alone if
/// the process goes on.
#[inline]
fn locate<P: PageSize>(
    class: SizeClass,
    span: Option<SpanHandle>,
    object: *mut u8,
) -> Option<Place> {
    let address = Address::of(object);
    let Some(span) = span else {
        report::<P>(Offence::NeverHandedOut, address, None, freed_with::<P>(class));
        return None;
    };
    if span.class() != class {
        wrong_class::<P>(class, address, span);
        return None;
    }
    let info = P::TABLE.info(class);
    let offset = address.offset_from(span.objects_start::<P>());
    let index = info.object_index(offset);
    if index >= span.object_capacity() || index as usize * info.size as usize != offset {
        report::<P>(Offence::InsideABlock, address, Some(span), freed_with::<P>(class));
        return None;
    }
    Some(Place { span, index })
}

/// Marks one object as free; false if it was free already, which is reported. The lock is held.
#[inline]
fn put_object<P: PageSize>(class: SizeClass, place: &Place) -> bool {
    let Place { span, index } = *place;
    // Between the look-up and the lock the span can only have left the class if another free of the same
    // object was in the way.
    //
    // SAFETY: the span has the class's objects, so it is prepared; the caller holds the class's lock.
    if span.class() != class || !unsafe { span_objects::put(&span, index) } {
        freed_twice::<P>(class, place);
        return false;
    }
    true
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

#[cold]
#[inline(never)]
fn freed_twice<P: PageSize>(class: SizeClass, place: &Place) {
    let Place { span, index } = *place;
    let address = span.objects_start::<P>().add(index as usize * P::TABLE.size(class));
    report::<P>(Offence::DoubleFree, address, Some(span), LastOperation::Freed);
}
