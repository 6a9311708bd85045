//! The classes of the pages near the map, in a row.

use super::{PageMap, leaf::GRANULE_SHIFT};
use crate::{Address, PageCount, PageId};
use core::{marker::PhantomData, ptr::NonNull};
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Pages that a window shows: 128 GiB of pages of 8 KiB, in 16 MiB of address space of which only what is used is touched.
///
/// At a quarter, a program with 30 GiB of mapped files between two parts of its heap has one of them outside; at
/// four times, a program that locks all its memory (`mlockall`) has 64 MiB of it here.
#[cfg(not(strata_loom))]
const WINDOW_PAGES: usize = 1 << 24;
#[cfg(strata_loom)]
const WINDOW_PAGES: usize = 0;

/// Pages whose classes may be asked for: one fewer, because a compiler makes two shifts of a comparison with a
/// power of two.
const SHOWN_PAGES: usize = WINDOW_PAGES.saturating_sub(1);

/// How much of a window lies above the map, as a part of it: the kernel gives address space from the top down.
const ABOVE: usize = 8;

/// Where words begin that show nothing: no machine has addresses from there on to the width of a window, neither
/// with 48 nor with 57 bits.
const NOWHERE: usize = 0x7fff << 48;

const TOUCHED_WORDS: usize = (WINDOW_PAGES >> GRANULE_SHIFT).div_ceil(64);

/// The window of a page map, and what of it was touched. All zero bits are none.
#[derive(Debug)]
pub(super) struct Window<P: PageSize> {
    /// Where the first page begins. Written once, before `classes`.
    start: AtomicUsize,
    /// A byte for each page; null before it is open. Written once, read by everyone.
    classes: AtomicPtr<AtomicU8>,
    /// A bit for each granule that was written, and what that comes to.
    touched: [AtomicU64; TOUCHED_WORDS],
    touched_bytes: AtomicU64,
    pages: PhantomData<P>,
}

/// The two words that reading a class through the window needs, for those who keep a copy in reach.
///
/// New ones show pages at addresses that no machine has.
#[repr(C)]
#[derive(Debug)]
pub struct PageMapWindow<P: PageSize> {
    /// Where the first page begins. Written once, read by everyone.
    start: AtomicUsize,
    /// A byte for each page. Written once, before `start`.
    classes: AtomicPtr<AtomicU8>,
    pages: PhantomData<P>,
}

impl<P: PageSize> PageMapWindow<P> {
    strata_sync::const_fn! {
        /// Words that show no page.
        pub const fn new() -> Self {
            Self {
                start: AtomicUsize::new(NOWHERE),
                classes: AtomicPtr::new(core::ptr::null_mut()),
                pages: PhantomData,
            }
        }
    }

    /// Makes these the words of `map`, whose root stands.
    pub fn copy_from(&self, map: &PageMap<P>) {
        // Acquire pairs with the release in `open`.
        let classes = map.window.classes.load(Ordering::Acquire);
        if !classes.is_null() {
            self.classes.store(classes, Ordering::Relaxed);
            // Release pairs with the acquire in `class_at`.
            self.start.store(map.window.start.load(Ordering::Relaxed), Ordering::Release);
        }
    }

    /// The class of the page that holds `address`, as [`PageMap::class_at`] tells it, but [`SizeClass::NONE`] for a
    /// page on which no object begins ([`PageMap::set_objects`]); none if the window does not show that page. Any
    /// address may be asked about.
    #[inline(always)]
    pub fn class_at(&self, address: usize) -> Option<SizeClass> {
        // Acquire pairs with the release in `copy_from`.
        let page = address.wrapping_sub(self.start.load(Ordering::Acquire)) >> P::SHIFT;
        if page >= SHOWN_PAGES {
            return None;
        }
        // SAFETY: the window, seen through its start, has that many bytes and stays; before it is open no address
        // comes here.
        let entry = unsafe { self.classes.load(Ordering::Relaxed).add(page) };
        // SAFETY: a byte of the window: they began as zeros, and are atomics to all who know them.
        let raw = unsafe { &*entry }.load(Ordering::Relaxed);
        // SAFETY: what is entered is a class's byte.
        Some(unsafe { SizeClass::from_raw_unchecked(raw) })
    }
}

impl<P: PageSize> Default for PageMapWindow<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: PageSize> Window<P> {
    /// Bytes of a window.
    pub(super) const BYTES: usize = WINDOW_PAGES;

    strata_sync::const_fn! {
        /// No window.
        pub(super) const fn new() -> Self {
            Self {
                start: AtomicUsize::new(0),
                classes: AtomicPtr::new(core::ptr::null_mut()),
                touched: strata_sync::const_array![AtomicU64::new(0); TOUCHED_WORDS],
                touched_bytes: AtomicU64::new(0),
                pages: PhantomData,
            }
        }
    }

    /// Shows the pages around `classes`, of which none has been entered yet.
    ///
    /// # Safety
    ///
    /// `classes` is [`Self::BYTES`] of zeroed memory that stays and is nobody else's. Called once.
    pub(super) unsafe fn open(&self, classes: NonNull<u8>) {
        let own_page = Address::of(classes.as_ptr()).value() >> P::SHIFT;
        let first = (own_page + WINDOW_PAGES / ABOVE).saturating_sub(WINDOW_PAGES);
        self.start.store(first << P::SHIFT, Ordering::Relaxed);
        // Release pairs with the acquires in `copy_from` and `write`.
        self.classes.store(classes.cast().as_ptr(), Ordering::Release);
    }

    /// Enters the class of a page that the caller owns, if the window shows it.
    pub(super) fn write(&self, page: PageId<P>, class: SizeClass) {
        // Acquire pairs with the release in `open`.
        let Some(classes) = NonNull::new(self.classes.load(Ordering::Acquire)) else { return };
        let index = page.number().wrapping_sub(self.start.load(Ordering::Relaxed) >> P::SHIFT);
        if index >= SHOWN_PAGES {
            return;
        }
        let granule = index >> GRANULE_SHIFT;
        if let Some(word) = self.touched.get(granule / 64) {
            let bit = 1u64 << (granule % 64);
            // A page without a class is not touched to say so.
            if word.load(Ordering::Relaxed) & bit == 0 {
                if class.is_none() {
                    return;
                }
                if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                    self.touched_bytes.fetch_add(1 << GRANULE_SHIFT, Ordering::Relaxed);
                }
            }
        }
        // SAFETY: the window is open: it has that many bytes and stays.
        let entry = unsafe { classes.add(index) };
        // SAFETY: a byte of the window: they began as zeros, and are atomics to all who know them.
        unsafe { entry.as_ref() }.store(class.raw(), Ordering::Relaxed);
    }

    /// Enters what is shown of `pages` pages from `first`, which the caller owns, as far as the window shows them. Asked
    /// from the first page to the last, by how many pages are in front of it.
    #[inline]
    pub(super) fn write_range(
        &self,
        first: PageId<P>,
        pages: usize,
        mut shown: impl FnMut(usize) -> SizeClass,
    ) {
        // Acquire pairs with the release in `open`.
        let Some(classes) = NonNull::new(self.classes.load(Ordering::Acquire)) else { return };
        let index = first.number().wrapping_sub(self.start.load(Ordering::Relaxed) >> P::SHIFT);
        let last = index.saturating_add(pages.saturating_sub(1));
        let granule = index >> GRANULE_SHIFT;
        let is_touched = last < SHOWN_PAGES
            && last >> GRANULE_SHIFT == granule
            && self
                .touched
                .get(granule / 64)
                .is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (granule % 64) != 0);
        if !is_touched {
            (0..pages).for_each(|page| self.write(first + PageCount::new(page), shown(page)));
            return;
        }
        for page in 0..pages {
            // SAFETY: the window is open: it has more bytes than the last index, and stays.
            let entry = unsafe { classes.add(index + page) };
            // SAFETY: a byte of the window: they began as zeros, and are atomics to all who know them.
            unsafe { entry.as_ref() }.store(shown(page).raw(), Ordering::Relaxed);
        }
    }

    /// Address space of it.
    pub(super) fn reserved_bytes(&self) -> u64 {
        if self.classes.load(Ordering::Relaxed).is_null() { 0 } else { WINDOW_PAGES as u64 }
    }

    /// Of it, written at least once.
    pub(super) fn touched_bytes(&self) -> u64 {
        self.touched_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
