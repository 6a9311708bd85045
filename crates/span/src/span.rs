//! Runs of pages.

mod handle;
mod links;

use crate::{Address, PageCount, PageId};
pub use handle::{SpanHandle, SpanPool};
use strata_os::AddressRange;
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// Where a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SpanPlace {
    /// Nowhere: the structure itself is not in use.
    Unused = 0,
    /// With the application or with a central free list.
    InUse = 1,
    /// In a page heap, backed.
    Free = 2,
    /// In a page heap, given back to the kernel.
    Released = 3,
    /// On its way to the kernel: invisible to allocation and merging.
    Releasing = 4,
}

/// A run of pages, and what its owner wants to remember of it: 64 bytes, one cache line.
///
/// Whoever owns the span writes it under a lock of theirs: a page heap while it is free, a
/// central free list while it holds objects. Others may read at any time and see some recent
/// value of each field; the memory of a span structure is never unmapped.
#[repr(C, align(64))]
#[derive(Debug)]
#[cfg_attr(strata_loom, derive(Default))]
pub struct Span {
    first_page: AtomicUsize,
    page_count: AtomicU32,
    class: AtomicU8,
    place: AtomicU8,
    back_end: AtomicU8,
    marks: AtomicU8,
    next: AtomicPtr<Span>,
    previous: AtomicPtr<Span>,
    objects_out: AtomicU16,
    hint: AtomicU8,
    born_ms_high: AtomicU8,
    object_capacity: AtomicU16,
    objects_offset: AtomicU16,
    object_map: AtomicUsize,
    note: AtomicU64,
    records: AtomicUsize,
}

// loom's atomics are larger.
#[cfg(not(strata_loom))]
static_assertions::assert_eq_size!(Span, [u8; 64]);

impl Span {
    /// Says which pages the span covers.
    pub fn set_range<P: PageSize>(&self, first: PageId<P>, pages: PageCount<P>) {
        self.first_page.store(first.number(), Ordering::Relaxed);
        // A span of 2^32 pages would cover 16 TiB at least; page heaps refuse such lengths.
        self.page_count.store(u32::try_from(pages.get()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The first page.
    #[inline(always)]
    pub fn first<P: PageSize>(&self) -> PageId<P> {
        PageId::new(self.first_page.load(Ordering::Relaxed))
    }

    /// The last page.
    pub fn last<P: PageSize>(&self) -> PageId<P> {
        PageId::new(self.first_page.load(Ordering::Relaxed) + self.pages().saturating_sub(1))
    }

    /// The page behind the last.
    pub fn end<P: PageSize>(&self) -> PageId<P> {
        PageId::new(self.first_page.load(Ordering::Relaxed) + self.pages())
    }

    /// Its length, as a count of pages of `P`.
    #[inline(always)]
    pub fn page_count<P: PageSize>(&self) -> PageCount<P> {
        PageCount::new(self.pages())
    }

    /// Its length in pages, as a number.
    #[inline(always)]
    pub fn pages(&self) -> usize {
        self.page_count.load(Ordering::Relaxed) as usize
    }

    /// The first address.
    #[inline(always)]
    pub fn start<P: PageSize>(&self) -> Address {
        self.first::<P>().address()
    }

    /// Its bytes.
    #[inline(always)]
    pub fn bytes<P: PageSize>(&self) -> usize {
        self.pages() << P::SHIFT
    }

    /// The addresses that it covers.
    pub fn range<P: PageSize>(&self) -> AddressRange {
        AddressRange::new(self.start::<P>().value(), self.bytes::<P>())
    }

    /// The class of its objects; [`SizeClass::NONE`] for a span that is one block.
    #[inline(always)]
    pub fn class(&self) -> SizeClass {
        SizeClass::from_raw(self.class.load(Ordering::Relaxed))
    }

    /// Sets the class of its objects.
    pub fn set_class(&self, class: SizeClass) {
        self.class.store(class.raw(), Ordering::Relaxed);
    }

    /// Where it is.
    pub fn place(&self) -> SpanPlace {
        match self.place.load(Ordering::Relaxed) {
            1 => SpanPlace::InUse,
            2 => SpanPlace::Free,
            3 => SpanPlace::Released,
            4 => SpanPlace::Releasing,
            _ => SpanPlace::Unused,
        }
    }

    /// Says where it is.
    pub fn set_place(&self, place: SpanPlace) {
        self.place.store(place as u8, Ordering::Relaxed);
    }

    /// Whether it is in use for objects of `class`, which is not [`SizeClass::NONE`]: the central free lists, which alone
    /// give spans a class, take it from them before they are out of use.
    #[inline(always)]
    pub fn holds(&self, class: SizeClass) -> bool {
        self.class.load(Ordering::Relaxed) == class.raw()
    }

    /// Takes it out of use. Of several threads that do so at the same moment one is told that it was in use; the
    /// others, and whoever comes later, are not, and leave it as it is: another owner may have it already. One
    /// compare-and-exchange.
    #[must_use]
    pub fn leave_use(&self) -> bool {
        let (from, to) = (SpanPlace::InUse as u8, SpanPlace::Unused as u8);
        self.place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Which back end of its heap it belongs to (arenas have their own).
    pub fn back_end(&self) -> u8 {
        self.back_end.load(Ordering::Relaxed)
    }

    /// Says which back end it belongs to.
    pub fn set_back_end(&self, back_end: u8) {
        self.back_end.store(back_end, Ordering::Relaxed);
    }

    /// Whether its memory is known to read as zero: fresh from the system, or released by force.
    pub fn is_zeroed(&self) -> bool {
        self.has(Self::ZEROED)
    }

    /// Says whether its memory is known to read as zero.
    pub fn set_zeroed(&self, zeroed: bool) {
        self.mark(Self::ZEROED, zeroed);
    }

    /// Whether its last hugepage was donated to the filler.
    pub fn has_donated_tail(&self) -> bool {
        self.has(Self::DONATED)
    }

    /// Says whether its last hugepage was donated.
    pub fn set_donated_tail(&self, donated: bool) {
        self.mark(Self::DONATED, donated);
    }

    /// Whether its objects are many and small (see the page heap's density).
    pub fn is_dense(&self) -> bool {
        self.has(Self::DENSE)
    }

    /// Says whether its objects are many and small.
    pub fn set_dense(&self, dense: bool) {
        self.mark(Self::DENSE, dense);
    }

    /// Whether the page heap looks, when the span ends, how much of it was touched.
    pub fn is_watched(&self) -> bool {
        self.has(Self::WATCHED)
    }

    /// Says whether the page heap looks how much of it was touched.
    pub fn set_watched(&self, watched: bool) {
        self.mark(Self::WATCHED, watched);
    }

    /// Which heap of a page heap that is made of up to four it is from.
    #[inline]
    pub fn heap(&self) -> u8 {
        (self.marks.load(Ordering::Relaxed) & Self::HEAP) >> Self::HEAP_SHIFT
    }

    /// Says which heap it is from, 0 to 3.
    pub fn set_heap(&self, heap: u8) {
        let marks = self.marks.load(Ordering::Relaxed) & !Self::HEAP;
        self.marks.store(marks | (heap << Self::HEAP_SHIFT) & Self::HEAP, Ordering::Relaxed);
    }

    /// How many of its objects are out of the central free list.
    #[inline(always)]
    pub fn objects_out(&self) -> u32 {
        self.objects_out.load(Ordering::Relaxed).into()
    }

    /// Sets how many of its objects are out, at most 65 535.
    #[inline(always)]
    pub fn set_objects_out(&self, count: u32) {
        debug_assert!(count <= u16::MAX.into(), "no span has so many objects");
        self.objects_out.store((count & 0xffff) as u16, Ordering::Relaxed);
    }

    /// The central free list's hint about where its free objects begin.
    #[inline(always)]
    pub fn hint(&self) -> u8 {
        self.hint.load(Ordering::Relaxed)
    }

    /// Sets the central free list's hint.
    #[inline(always)]
    pub fn set_hint(&self, hint: u8) {
        self.hint.store(hint, Ordering::Relaxed);
    }

    /// Notes that it gets objects at `now_ns`. The words are those of the hint's neighbour and of the lower half of
    /// the note.
    pub fn set_born(&self, now_ns: u64) {
        let [a, b, c, d, high, ..] = (now_ns / 1_000_000).to_le_bytes();
        self.born_ms_high.store(high, Ordering::Relaxed);
        let low = u64::from(u32::from_le_bytes([a, b, c, d]));
        self.set_note(self.note() >> u32::BITS << u32::BITS | low);
    }

    /// How long it has had objects at `now_ns`, in milliseconds; 0 if the clock jumped back. Right up to 17 years.
    pub fn age_ms(&self, now_ns: u64) -> u64 {
        const MASK: u64 = (1 << 40) - 1;
        let high = u64::from(self.born_ms_high.load(Ordering::Relaxed));
        let born = high << u32::BITS | self.note() & u64::from(u32::MAX);
        let age = (now_ns / 1_000_000).wrapping_sub(born) & MASK;
        if age > MASK / 2 { 0 } else { age }
    }

    /// Of a span that is one block: the number of a thread, for whoever looks for misuse. The words are those that
    /// spans with objects have for what is out of them.
    pub fn thread(&self) -> u32 {
        let [low, high] = self.objects_out.load(Ordering::Relaxed).to_le_bytes();
        u32::from_le_bytes([low, high, self.hint(), self.born_ms_high.load(Ordering::Relaxed)])
    }

    /// Sets the number of a thread, of a span that is one block.
    pub fn set_thread(&self, thread: u32) {
        let [a, b, hint, high] = thread.to_le_bytes();
        self.objects_out.store(u16::from_le_bytes([a, b]), Ordering::Relaxed);
        self.set_hint(hint);
        self.born_ms_high.store(high, Ordering::Relaxed);
    }

    /// How many objects it is cut into.
    #[inline(always)]
    pub fn object_capacity(&self) -> u32 {
        self.object_capacity.load(Ordering::Relaxed).into()
    }

    /// Sets how many objects it is cut into, at most 65 535.
    pub fn set_object_capacity(&self, count: u32) {
        debug_assert!(count <= u16::MAX.into(), "no span has so many objects");
        self.object_capacity.store(u16::try_from(count).unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    /// Where its first object begins, in bytes from its start.
    #[inline(always)]
    pub fn objects_offset(&self) -> usize {
        self.objects_offset.load(Ordering::Relaxed).into()
    }

    /// Sets where its first object begins, in bytes from its start, below 64 KiB.
    pub fn set_objects_offset(&self, bytes: usize) {
        debug_assert!(bytes <= u16::MAX.into(), "objects begin near the span's start");
        self.objects_offset.store(u16::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// The address of its first object.
    #[inline(always)]
    pub fn objects_start<P: PageSize>(&self) -> Address {
        self.start::<P>().add(self.objects_offset())
    }

    /// The owner's word for the map of free objects: the bits themselves or where they are.
    #[inline(always)]
    pub fn object_map(&self) -> usize {
        self.object_map.load(Ordering::Relaxed)
    }

    /// Sets the owner's word for the map of free objects.
    #[inline(always)]
    pub fn set_object_map(&self, word: usize) {
        self.object_map.store(word, Ordering::Relaxed);
    }

    /// The owner's note: a page heap keeps the time of entry here; a central free list, in the lower half, when the
    /// span got objects, and in the upper what of it went back to the kernel.
    #[inline(always)]
    pub fn note(&self) -> u64 {
        self.note.load(Ordering::Relaxed)
    }

    /// Sets the owner's note.
    #[inline(always)]
    pub fn set_note(&self, note: u64) {
        self.note.store(note, Ordering::Relaxed);
    }

    /// The word of who observes the heap: where the records of the objects are, or the record of a large block.
    #[inline(always)]
    pub fn records(&self) -> usize {
        self.records.load(Ordering::Acquire)
    }

    /// Sets the word of who observes the heap.
    pub fn set_records(&self, word: usize) {
        // Release pairs with the acquire in `records`: what the word leads to is seen.
        self.records.store(word, Ordering::Release);
    }

    /// Puts `new` in place of `old` in the word of who observes the heap.
    ///
    /// # Errors
    ///
    /// What stands there, if it is not `old`: another thread was first.
    pub fn exchange_records(&self, old: usize, new: usize) -> Result<usize, usize> {
        self.records.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Objects of a span of which it can be told what they were asked for.
    pub const TOLD_OBJECTS: u32 = usize::BITS / u8::BITS;

    /// Of a span with objects in a heap that nobody observes: the class that one of its first
    /// [`TOLD_OBJECTS`](Self::TOLD_OBJECTS) objects was asked for, if that was less than its own; else none. The
    /// word is that of who observes the heap.
    pub fn asked_for(&self, index: u32) -> SizeClass {
        let [.., class] =
            (self.records.load(Ordering::Relaxed) >> Self::told_shift(index)).to_be_bytes();
        SizeClass::from_raw(class)
    }

    /// Sets the class that an object was asked for. Owners of other objects may do the same at the same time.
    pub fn set_asked_for(&self, index: u32, class: SizeClass) {
        let shift = Self::told_shift(index);
        if self.object_capacity() == 1 {
            // Nobody else has an object of the span.
            return self.records.store(class.raw().into(), Ordering::Relaxed);
        }
        let set = |word: usize| Some(word & !(0xff << shift) | usize::from(class.raw()) << shift);
        let _ = self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    }

    fn told_shift(index: u32) -> u32 {
        debug_assert!(index < Self::TOLD_OBJECTS, "nothing is told of further objects");
        index % Self::TOLD_OBJECTS * u8::BITS
    }

    const ZEROED: u8 = 1;
    const DONATED: u8 = 2;
    const DENSE: u8 = 4;
    const WATCHED: u8 = 8;
    const HEAP_SHIFT: u32 = 4;
    const HEAP: u8 = 3 << Self::HEAP_SHIFT;

    fn has(&self, mark: u8) -> bool {
        self.marks.load(Ordering::Relaxed) & mark != 0
    }

    fn mark(&self, mark: u8, on: bool) {
        let marks = self.marks.load(Ordering::Relaxed);
        self.marks.store(if on { marks | mark } else { marks & !mark }, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
