//! From an address to its span.

mod entries;
mod leaf;
#[cfg(strata_loom)]
mod modelled;
mod root_and_leaves;
mod touched;
mod window;
mod words;

use crate::{Hugepage, PageCount, PageId, PublishOnce, SpanHandle};
use core::{marker::PhantomData, ptr::NonNull};
use entries::ObjectStarts;
use leaf::{LEAF_PAGES, LEAF_SHIFT, Leaf, leaf_of};
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
pub use touched::PageMapStats;
pub use window::PageMapWindow;
use window::Window;
pub use words::PageMapWords;

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
    /// Written once by `make_root`; read by everyone. The length follows the pointer: a reader that
    /// sees the length (acquire) sees the pointer.
    root: AtomicPtr<PublishOnce<Leaf>>,
    root_length: AtomicUsize,
    /// Figures: written by who makes a leaf, and at first touches.
    leaves: AtomicU64,
    root_touched_bytes: AtomicU64,
    leaf_touched_bytes: AtomicU64,
    window: Window<P>,
    pages: PhantomData<P>,
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
        // Acquire pairs with the releases in `entries.rs`: the span's fields are seen as they were entered.
        let span = leaf.spans[page.number() & (LEAF_PAGES - 1)].load(Ordering::Acquire);
        // SAFETY: only spans from a span pool are entered, by way of their handles.
        NonNull::new(span).map(|span| unsafe { SpanHandle::from_raw(span) })
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

    /// Calls `visit` once for each span that has a page entered, in order of addresses. A span that
    /// comes or goes meanwhile may be seen or not.
    pub fn for_each_span(&self, mut visit: impl FnMut(SpanHandle)) {
        for index in 0..self.root_length.load(Ordering::Acquire) {
            let Some(leaf) = self.leaf_at(index) else { continue };
            let mut slot = 0;
            while let Some(entry) = leaf.spans.get(slot) {
                // Acquire pairs with the releases in `entries.rs`.
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

    const fn tracker_index(hugepage: Hugepage) -> usize {
        let per_leaf = LEAF_PAGES >> (crate::HUGEPAGE_SHIFT - P::SHIFT);
        hugepage.number() & per_leaf.saturating_sub(1)
    }
}

impl<P: PageSize> Default for PageMap<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
