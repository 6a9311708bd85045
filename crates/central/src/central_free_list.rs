//! One class's spans, cut into objects.

mod apart;
mod figures;
mod inside;
mod place;
mod returned;
mod spans;

pub(crate) use inside::Claimed;
pub use place::Whereabouts;
pub(crate) use spans::{give_span_back, give_spans_back};

use crate::{
    BackEnd, OtherBackEnds,
    granules::{GranuleSet, Granules},
    occupancy::OccupancyLists,
    span_objects,
    stats::SPANS_A_BATCH_BUCKETS,
};
use apart::{are_set_apart, set_apart};
use core::marker::PhantomData;
use returned::{FOUND_AT_ONCE, Returned};
use spans::new_span;
use strata_page_heap::{PageHeap, kernel_page_bytes};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{Address, Platform, SpanHandle, SpanList};
use strata_sync::{
    Mutex, SeqWord,
    atomic::{AtomicU32, AtomicU64, Ordering},
    const_fn,
};

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
    /// more. Says how many. They lie upwards, side by side where a span is new; while few of a class are out that is
    /// shorter than a line of the processor's cache, those that share one do not follow each other, as far as the
    /// greatest power of two goes that is not beyond their number.
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
        let apart = are_set_apart(size, self.objects_out.load(Ordering::Relaxed));
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
        if apart && let Some(objects) = out.get_mut(..taken) {
            set_apart(objects);
        }
        taken
    }

    /// Takes objects of `class` back, and gives spans that are whole again to the page heap. Objects whose
    /// spans belong to another back end go to `others`.
    ///
    /// A pointer that is no object of the class, or is free already, ends the process with a line that says so, or,
    /// where misuse is reported only, is left alone; and so does an object without the word that those of its size
    /// come back with, where there is one
    /// ([`ObjectMaps::begin_objects_with`](crate::ObjectMaps::begin_objects_with)).
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
        for chunk in objects.chunks_mut(FOUND_AT_ONCE) {
            let mut returned = Returned::new();
            // SAFETY: the contract is the same.
            unsafe { returned.find(back_end, others, class, chunk) };
            let whole = self.put_back(back_end.platform, class, &returned);
            give_spans_back(back_end, whole);
        }
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
        returned: &Returned,
    ) -> SpanList {
        let mut whole = SpanList::new();
        let (mut objects, mut refused, mut released_bytes) = (0, 0, 0);
        let mut spans = self.spans.lock();
        // The clock is asked once a call, and only if a span goes.
        let mut now_ns = None;
        let mut at = 0;
        while let Some(stretch) = returned.stretch(at) {
            at += 1;
            let span = stretch.span;
            let (mut run, mut already) = (stretch.count, stretch.put::<P>(class));
            while returned.span(at) == Some(span)
                && let Some(stretch) = returned.stretch(at)
            {
                at += 1;
                run += stretch.count;
                already += stretch.put::<P>(class);
            }
            refused += already as usize;
            run -= already;
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
        if refused > 0 {
            platform.note_left_alone(refused * P::TABLE.size(class));
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
}

impl<P: PageSize> Default for CentralFreeList<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Notes that objects of a span are used, some of whose granules went back to the kernel; says how many bytes of
/// these have memory behind them again. The lock is held.
#[unsafe(link_section = ".text_rarely")]
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

/// Takes a span that is whole out of what is looked at: its class, and what is known of its granules. Says how many
/// bytes of them had no memory behind them. The lock is held.
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
