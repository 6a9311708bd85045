//! From an address to its span.

use crate::{
    Address, Hugepage, MetadataArena, MetadataKind, PageCount, PageId, PublishOnce, SpanHandle,
};
use core::{marker::PhantomData, ptr::NonNull};
use strata_os::PageSource;
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

mod leaf;
mod window;
mod words;
use leaf::{GRANULE_SHIFT, LEAF_PAGES, LEAF_SHIFT, Leaf, leaf_of};
pub use window::PageMapWindow;
use window::Window;
pub use words::PageMapWords;

#[cfg(strata_loom)]
mod modelled;
#[cfg(strata_loom)]
use modelled::WIDEST_ADDRESS;

/// The widest address that the root is sized for. The kernel gives no more than 47 bits (48 on
/// aarch64) to those who do not ask for more by a hint, and page sources here do not.
#[cfg(not(strata_loom))]
const WIDEST_ADDRESS: u32 = 48;

/// Pages that are entered at once: those whose spans are a granule of a leaf.
const PIECE: usize = {
    let spans_of_granule = (1 << GRANULE_SHIFT) / size_of::<usize>();
    if spans_of_granule < LEAF_PAGES { spans_of_granule } else { LEAF_PAGES }
};

/// A radix tree of two levels: a root over the whole address space, and leaves of 32 768 pages.
///
/// Reading takes no lock: one load for the leaf, one for the answer. The size class of a page
/// lies in one byte beside the span pointers, so that `free` finds it without touching the span.
/// Writers write only pages that they own, so that two never write the same entry at once.
///
/// Root and leaves are reserved whole and touched where they are used; [`PageMapStats`] counts
/// both. All zero bits are a map without a root, in which no page has a span.
///
/// The classes of the pages nearest to where the map itself lies stand a second time in a row of bytes, the *window*: there
/// `free` finds one by a subtraction, a shift and a load ([`PageMapWindow`]).
#[derive(Debug)]
pub struct PageMap<P: PageSize> {
    /// Written once by `ensure`; read by everyone. The length follows the pointer: a reader that
    /// sees the length (acquire) sees the pointer.
    root: AtomicPtr<PublishOnce<Leaf>>,
    root_length: AtomicUsize,
    /// Figures: written by `ensure` and by first touches.
    leaves: AtomicU64,
    root_touched_bytes: AtomicU64,
    leaf_touched_bytes: AtomicU64,
    window: Window<P>,
    pages: PhantomData<P>,
}

/// The size of the page map, in bytes unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PageMapStats {
    /// Address space of the root, and of the window.
    pub root_reserved_bytes: u64,
    /// Of these, written at least once (in granules of 4 KiB).
    pub root_touched_bytes: u64,
    /// Number of leaves.
    pub leaves: u64,
    /// Address space of the leaves.
    pub leaf_reserved_bytes: u64,
    /// Of the leaves, written at least once (in granules of 4 KiB).
    pub leaf_touched_bytes: u64,
}

impl<P: PageSize> PageMap<P> {
    strata_sync::const_fn! {
        /// A map without a root.
        pub const fn new() -> Self {
            Self {
                root: AtomicPtr::new(core::ptr::null_mut()),
                root_length: AtomicUsize::new(0),
                leaves: AtomicU64::new(0),
                root_touched_bytes: AtomicU64::new(0),
                leaf_touched_bytes: AtomicU64::new(0),
                window: Window::new(),
                pages: PhantomData,
            }
        }
    }

    /// The class of the page that holds `address`: [`SizeClass::NONE`] where the span must be asked
    /// or where there is none. Any address may be asked about.
    #[inline(always)]
    pub fn class_at(&self, address: usize) -> SizeClass {
        let page = address >> P::SHIFT;
        match self.leaf(page) {
            Some(leaf) => leaf.class(page),
            None => SizeClass::NONE,
        }
    }

    /// Makes the root, if it does not stand yet, and the window: after this, [`PageMapWords::copy_from`] and
    /// [`PageMapWindow::copy_from`] have something to copy. False when there is no memory for the root; where there
    /// is none for the window beside it, or the program would miss the address space, the map does without.
    ///
    /// To be called before other threads have the map: a window shows nothing of a page that was entered before it
    /// was open. A map whose first call is [`ensure`](Self::ensure) has none.
    #[must_use]
    pub fn prepare<M: PageSource>(&self, arena: &MetadataArena, source: &M) -> bool {
        let window = if source.is_confined() { 0 } else { Window::<P>::BYTES };
        self.root_length.load(Ordering::Acquire) != 0 || self.make_root(arena, source, window)
    }

    /// The span that holds `address`, as far as its pages were entered. Any address may be asked
    /// about.
    #[inline(always)]
    pub fn span_at(&self, address: usize) -> Option<SpanHandle> {
        self.span_of(PageId::from_address(address))
    }

    /// The span that holds `page`, as far as it was entered.
    #[inline(always)]
    pub fn span_of(&self, page: PageId<P>) -> Option<SpanHandle> {
        let leaf = self.leaf(page.number())?;
        // Acquire pairs with the release in `write`: the span's fields are seen as they were
        // entered.
        let span = leaf.spans[page.number() & (LEAF_PAGES - 1)].load(Ordering::Acquire);
        // SAFETY: only spans from a span pool are entered, by way of their handles.
        NonNull::new(span).map(|span| unsafe { SpanHandle::from_raw(span) })
    }

    /// Makes sure that `pages` pages from `first` can be entered. False when there is no memory for
    /// it, or the pages lie outside of the address space. Any number of threads may call it at
    /// once.
    #[must_use]
    pub fn ensure<M: PageSource>(
        &self,
        arena: &MetadataArena,
        source: &M,
        first: PageId<P>,
        pages: PageCount<P>,
    ) -> bool {
        if self.root_length.load(Ordering::Acquire) == 0 && !self.make_root(arena, source, 0) {
            return false;
        }
        let Some(last) = first.number().checked_add(pages.get().saturating_sub(1)) else {
            return false;
        };
        if last >> LEAF_SHIFT >= self.root_length.load(Ordering::Acquire) {
            return false;
        }
        (first.number() >> LEAF_SHIFT..=last >> LEAF_SHIFT)
            .all(|index| self.ensure_leaf(arena, source, index))
    }

    /// Enters all pages of `span` with a class. The pages were ensured and belong to the caller.
    pub fn set_range(&self, span: SpanHandle, class: SizeClass) {
        self.write_range(span.first(), span.pages(), Some(span), class, None);
    }

    /// Enters all pages of `span` with the class of its objects, which are `object_bytes` long and begin `offset`
    /// bytes into the span. Where objects are longer than pages, the window shows a class of those pages alone on
    /// which one begins: who frees a pointer to another page has not found a class there, and looks closer. The
    /// pages were ensured and belong to the caller.
    pub fn set_objects(
        &self,
        span: SpanHandle,
        class: SizeClass,
        offset: usize,
        object_bytes: usize,
    ) {
        let objects = ObjectStarts { next: offset, bytes: object_bytes };
        self.write_range(span.first(), span.pages(), Some(span), class, Some(objects));
    }

    /// Enters the first and the last page of `span`, without a class. The pages were ensured and
    /// belong to the caller.
    pub fn set_ends(&self, span: SpanHandle) {
        self.write(span.first(), Some(span), SizeClass::NONE);
        if span.pages() > 1 {
            self.write(span.last(), Some(span), SizeClass::NONE);
        }
    }

    /// Takes `pages` pages from `first` out of the map. The pages belong to the caller.
    pub fn clear_range(&self, first: PageId<P>, pages: PageCount<P>) {
        self.write_range(first, pages.get(), None, SizeClass::NONE, None);
    }

    /// Takes the first and the last of `pages` pages from `first` out of the map. The pages belong
    /// to the caller.
    pub fn clear_ends(&self, first: PageId<P>, pages: PageCount<P>) {
        self.write(first, None, SizeClass::NONE);
        if pages.get() > 1 {
            self.write(first + pages - PageCount::ONE, None, SizeClass::NONE);
        }
    }

    /// What a page heap noted of a hugepage.
    pub fn tracker(&self, hugepage: Hugepage) -> Option<NonNull<()>> {
        let leaf = self.leaf(hugepage.first_page::<P>().number())?;
        let entry = leaf.trackers.get(Self::tracker_index(hugepage))?;
        // Acquire pairs with the release in `set_tracker`.
        NonNull::new(entry.load(Ordering::Acquire))
    }

    /// Notes `tracker` of a hugepage, whose pages were ensured and belong to the caller.
    pub fn set_tracker(&self, hugepage: Hugepage, tracker: Option<NonNull<()>>) {
        let Some(leaf) = self.leaf(hugepage.first_page::<P>().number()) else { return };
        if let Some(entry) = leaf.trackers.get(Self::tracker_index(hugepage)) {
            self.touch(leaf, entry);
            // Release pairs with the acquire in `tracker`.
            entry.store(tracker.map_or(core::ptr::null_mut(), NonNull::as_ptr), Ordering::Release);
        }
    }

    /// The size of the map.
    pub fn stats(&self) -> PageMapStats {
        let leaves = self.leaves.load(Ordering::Relaxed);
        PageMapStats {
            root_reserved_bytes: (self.root_length.load(Ordering::Relaxed) * size_of::<usize>())
                .next_multiple_of(1 << GRANULE_SHIFT) as u64
                + self.window.reserved_bytes(),
            root_touched_bytes: self.root_touched_bytes.load(Ordering::Relaxed)
                + self.window.touched_bytes(),
            leaves,
            leaf_reserved_bytes: leaves * Self::leaf_bytes() as u64,
            leaf_touched_bytes: self.leaf_touched_bytes.load(Ordering::Relaxed),
        }
    }

    /// Bytes of the map that nobody has written yet, and that cost no memory. A few loads.
    pub fn untouched_bytes(&self) -> u64 {
        let PageMapStats {
            root_reserved_bytes,
            root_touched_bytes,
            leaf_reserved_bytes,
            leaf_touched_bytes,
            ..
        } = self.stats();
        let reserved = root_reserved_bytes + leaf_reserved_bytes;
        // A leaf may be counted as touched a moment before it is counted as reserved.
        reserved.saturating_sub(root_touched_bytes + leaf_touched_bytes)
    }

    /// Calls `visit` once for each span that has a page entered, in order of addresses. A span that
    /// comes or goes meanwhile may be seen or not.
    pub fn for_each_span(&self, mut visit: impl FnMut(SpanHandle)) {
        for index in 0..self.root_length.load(Ordering::Acquire) {
            let Some(leaf) = self.leaf_at(index) else { continue };
            let mut slot = 0;
            while let Some(entry) = leaf.spans.get(slot) {
                // Acquire pairs with the release in `write`.
                let Some(span) = NonNull::new(entry.load(Ordering::Acquire)) else {
                    slot += 1;
                    continue;
                };
                // SAFETY: only spans from a span pool are entered.
                let span = unsafe { SpanHandle::from_raw(span) };
                let page = (index << LEAF_SHIFT) + slot;
                if span.first::<P>().number() == page {
                    visit(span);
                    slot += span.pages().max(1);
                } else {
                    slot += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn leaf(&self, page: usize) -> Option<&Leaf> {
        self.leaf_at(page >> LEAF_SHIFT)
    }

    #[inline(always)]
    fn leaf_at(&self, index: usize) -> Option<&Leaf> {
        // Acquire pairs with the release in `make_root`: who sees the length sees the root.
        let length = self.root_length.load(Ordering::Acquire);
        // SAFETY: the root has `root_length` entries, and stays as long as the map is used.
        unsafe { leaf_of(self.root.load(Ordering::Relaxed), length, index) }
    }

    fn leaf_bytes() -> usize {
        size_of::<Leaf>().next_multiple_of(1 << GRANULE_SHIFT)
    }

    const fn tracker_index(hugepage: Hugepage) -> usize {
        let per_leaf = LEAF_PAGES >> (crate::HUGEPAGE_SHIFT - P::SHIFT);
        hugepage.number() & per_leaf.saturating_sub(1)
    }

    /// Makes the root, with so many bytes for a window behind it: [`Window::BYTES`], or 0 for none.
    #[cold]
    fn make_root<M: PageSource>(&self, arena: &MetadataArena, source: &M, window: usize) -> bool {
        let bits = source.address_bits().min(WIDEST_ADDRESS);
        let length = 1usize << bits.saturating_sub(P::SHIFT + LEAF_SHIFT);
        let bytes = (length * size_of::<PublishOnce<Leaf>>()).next_multiple_of(1 << GRANULE_SHIFT);
        let allocate =
            |bytes| arena.allocate(source, bytes, align_of::<usize>(), MetadataKind::PageMap);
        // The window stands behind the root, so that both are one reservation.
        let (memory, window) = match allocate(bytes + window) {
            Some(memory) => (memory, window > 0),
            None => match allocate(bytes) {
                Some(memory) => (memory, false),
                None => return self.root_length.load(Ordering::Acquire) != 0,
            },
        };
        #[cfg(strata_loom)]
        // SAFETY: the piece was taken for a root of that length, and is ours until it is published.
        unsafe {
            modelled::start_root(memory.cast(), length);
        }
        // The first root stands. A second one, made at the same moment, stays unused in the arena.
        let first = self.root.compare_exchange(
            core::ptr::null_mut(),
            memory.cast().as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if window && first.is_ok() {
            // SAFETY: the piece is that much longer than the root, zeroed, and stays.
            let classes = unsafe { memory.add(bytes) };
            // SAFETY: zeroed bytes that stay; the root that stands is the one in front of it, so this is done once;
            // and nobody else has the map yet (`prepare`), so that no page is entered.
            unsafe { self.window.open(classes) };
        }
        // Release pairs with the acquire in `leaf_at`.
        self.root_length.store(length, Ordering::Release);
        true
    }

    fn ensure_leaf<M: PageSource>(&self, arena: &MetadataArena, source: &M, index: usize) -> bool {
        if index >= self.root_length.load(Ordering::Acquire) {
            return false;
        }
        if self.leaf_at(index).is_some() {
            return true;
        }
        let Some(memory) =
            arena.allocate(source, Self::leaf_bytes(), 1 << GRANULE_SHIFT, MetadataKind::PageMap)
        else {
            return self.leaf_at(index).is_some();
        };
        #[cfg(strata_loom)]
        // SAFETY: the piece was taken for a leaf, and is ours until it is published.
        unsafe {
            modelled::start_leaf(memory.cast());
        }
        let root = self.root.load(Ordering::Relaxed);
        // SAFETY: `index` is below the root's length, checked above.
        let entry = unsafe { root.add(index) };
        let first_of_granule = self.is_first_of_granule(index);
        // SAFETY: zeroed or published entries are valid places, and shared only through atomics.
        let standing = unsafe { &*entry }.publish(memory.cast());
        // Of two leaves made at the same moment one stands; the other stays unused in the arena.
        if standing == memory.cast() {
            self.leaves.fetch_add(1, Ordering::Relaxed);
            if let Some(leaf) = self.leaf_at(index) {
                // Written before it is read, which would be a fault of its own.
                self.count_granule(leaf, Self::granule_of(leaf, &leaf.touched));
            }
            if first_of_granule {
                self.root_touched_bytes.fetch_add(1 << GRANULE_SHIFT, Ordering::Relaxed);
            }
        }
        true
    }

    /// Whether no leaf stands in the root's granule around `index` yet.
    fn is_first_of_granule(&self, index: usize) -> bool {
        let per_granule = (1 << GRANULE_SHIFT) / size_of::<usize>();
        let first = index & !(per_granule - 1);
        (first..first + per_granule).all(|index| self.leaf_at(index).is_none())
    }

    fn write(&self, page: PageId<P>, span: Option<SpanHandle>, class: SizeClass) {
        self.write_showing(page, span, class, class);
    }

    /// The same, with what the window shows of the page: its class, or none.
    #[inline(always)]
    fn write_showing(
        &self,
        page: PageId<P>,
        span: Option<SpanHandle>,
        class: SizeClass,
        shown: SizeClass,
    ) {
        let Some(leaf) = self.leaf(page.number()) else { return };
        let slot = page.number() & (LEAF_PAGES - 1);
        let (class_entry, span_entry) = (&leaf.classes[slot], &leaf.spans[slot]);
        self.touch(leaf, class_entry);
        self.touch(leaf, span_entry);
        class_entry.store(class.raw(), Ordering::Relaxed);
        self.window.write(page, shown);
        let raw = span.map_or(core::ptr::null_mut(), |span| span.as_ptr().as_ptr());
        // Release pairs with the acquire in `span_of`.
        span_entry.store(raw, Ordering::Release);
    }

    /// Enters `pages` pages from `first`. The window shows the class of all of them, or of those on which one of
    /// `objects` begins, and of the others none.
    #[inline(never)]
    fn write_range(
        &self,
        first: PageId<P>,
        pages: usize,
        span: Option<SpanHandle>,
        class: SizeClass,
        mut objects: Option<ObjectStarts>,
    ) {
        let mut shown = |index: usize| {
            let begins = objects.as_mut().is_none_or(|objects| objects.begin_on::<P>(index));
            if begins { class } else { SizeClass::NONE }
        };
        if pages == 1 {
            return self.write_showing(first, span, class, shown(0));
        }
        let raw = span.map_or(core::ptr::null_mut(), |span| span.as_ptr().as_ptr());
        let mut done = 0;
        while done < pages {
            let page = first + PageCount::new(done);
            let slot = page.number() & (LEAF_PAGES - 1);
            let count = (PIECE - slot % PIECE).min(pages - done);
            if let Some(leaf) = self.leaf(page.number())
                && let Some(classes) = leaf.classes.get(slot..slot + count)
                && let Some(spans) = leaf.spans.get(slot..slot + count)
            {
                self.touch_ends(leaf, classes);
                self.touch_ends(leaf, spans);
                classes.iter().for_each(|entry| entry.store(class.raw(), Ordering::Relaxed));
                self.window.write_range(page, count, |index| shown(done + index));
                // Release pairs with the acquire in `span_of`.
                spans.iter().for_each(|entry| entry.store(raw, Ordering::Release));
            }
            done += count;
        }
    }

    /// Counts the granules of a leaf that entries in a row lie in, which are two at most, at their first write.
    #[inline]
    fn touch_ends<T>(&self, leaf: &Leaf, entries: &[T]) {
        for entry in [entries.last(), entries.first()].into_iter().flatten() {
            self.touch(leaf, entry);
        }
    }

    /// Counts the granule of a leaf that `entry` lies in, at its first write.
    #[inline]
    fn touch<T>(&self, leaf: &Leaf, entry: &T) {
        let granule = Self::granule_of(leaf, entry);
        let Some(word) = leaf.touched.get(granule / 64) else { return };
        if word.load(Ordering::Relaxed) & (1 << (granule % 64)) == 0 {
            self.count_granule(leaf, granule);
        }
    }

    /// The granule of a leaf that a part of it begins in.
    #[inline]
    fn granule_of<T>(leaf: &Leaf, part: &T) -> usize {
        let leaf = Address::of(core::ptr::from_ref(leaf));
        Address::of(core::ptr::from_ref(part)).offset_from(leaf) >> GRANULE_SHIFT
    }

    /// Counts a granule of a leaf, unless it is counted already.
    fn count_granule(&self, leaf: &Leaf, granule: usize) {
        let bit = 1u64 << (granule % 64);
        let Some(word) = leaf.touched.get(granule / 64) else { return };
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.leaf_touched_bytes.fetch_add(1 << GRANULE_SHIFT, Ordering::Relaxed);
        }
    }
}

/// Where objects of one length begin in a span, asked page by page.
struct ObjectStarts {
    /// Of the first object that begins on the page at hand or behind it; on pages that are no shorter than an object
    /// one begins on each, from the first on.
    next: usize,
    bytes: usize,
}

impl ObjectStarts {
    /// Whether one begins on this page of the span. Asked from the first page to the last.
    #[inline(always)]
    fn begin_on<P: PageSize>(&mut self, index: usize) -> bool {
        let start = index * P::BYTES;
        if self.next < start {
            self.next = if self.bytes > P::BYTES { self.next + self.bytes } else { start };
        }
        self.next < start + P::BYTES
    }
}

impl<P: PageSize> Default for PageMap<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
