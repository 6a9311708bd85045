//! All classes' transfer caches and central free lists.

use crate::{
    BackEnd, CentralFreeList, ClassStats, MiddleSource, MiddleStats, ObjectMaps, OnlyBackEnd,
    StandardTransfer, TransferCache, TransferPolicy, class_places::ClassPlaces,
    resizing::SpareCapacity,
};
use strata_page_heap::PageHeap;
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};
use strata_span::Platform;
use strata_sync::const_fn;

/// The transfer cache and the central free list of each class.
///
/// All zero bits are an empty tier, so that it may be part of a static, or lie in the metadata arena.
/// Platform and page heap are named by [`with`](Self::with), and are the same for as long as the tier
/// has a span.
///
/// What all classes share lies in front, and behind it the classes as they come into use: so a small program has all of
/// it on few pages.
#[repr(C)]
#[derive(Debug)]
pub struct MiddleTier<P: PageSize, T: TransferPolicy = StandardTransfer> {
    object_maps: ObjectMaps,
    pub(crate) spare_capacity: SpareCapacity,
    places: ClassPlaces,
    /// Each class's at its place.
    classes: [ClassTier<P, T>; CLASS_SLOTS],
}

/// What one class has. Both lie together, so that a program of few classes has them on few pages.
#[repr(C)]
#[derive(Debug)]
struct ClassTier<P: PageSize, T: TransferPolicy> {
    transfer: TransferCache<T>,
    central: CentralFreeList<P>,
}

impl<P: PageSize, T: TransferPolicy> ClassTier<P, T> {
    const_fn! {
        const fn new() -> Self {
            Self { transfer: TransferCache::new(), central: CentralFreeList::new() }
        }
    }
}

impl<P: PageSize, T: TransferPolicy> MiddleTier<P, T> {
    const_fn! {
        /// A tier that has nothing.
        pub const fn new() -> Self {
            Self {
                object_maps: ObjectMaps::new(),
                spare_capacity: SpareCapacity::new(),
                places: ClassPlaces::new(),
                classes: strata_sync::const_array![ClassTier::new(); CLASS_SLOTS],
            }
        }
    }

    /// The tier on a platform and a page heap that it has for itself: what caches refill from.
    pub fn with<'a, E, H>(
        &'a self,
        platform: &'a E,
        page_heap: &'a H,
    ) -> MiddleSource<'a, E, H, OnlyBackEnd, T>
    where
        E: Platform<Pages = P>,
        H: PageHeap<P>,
    {
        self.with_others(platform, page_heap, 0, OnlyBackEnd)
    }

    /// The same for one back end, `number`, of a heap with several. Objects of the others' spans go to `others`.
    pub fn with_others<'a, E, H, R>(
        &'a self,
        platform: &'a E,
        page_heap: &'a H,
        number: u8,
        others: R,
    ) -> MiddleSource<'a, E, H, R, T>
    where
        E: Platform<Pages = P>,
        H: PageHeap<P>,
    {
        let object_maps = &self.object_maps;
        MiddleSource::new(self, BackEnd { platform, page_heap, object_maps, number }, others)
    }

    /// The figures of one class.
    pub fn class_stats(&self, class: SizeClass) -> ClassStats {
        let info = P::TABLE.info(class);
        ClassStats {
            object_bytes: u64::from(info.size),
            batch: u64::from(info.batch),
            transfer: self.transfer(class).stats(),
            central: self.central(class).stats(class),
        }
    }

    /// The figures of all classes together.
    pub fn stats(&self) -> MiddleStats {
        let mut all = MiddleStats {
            spare_capacity_bytes: self.spare_capacity.bytes(),
            object_maps: self.object_maps.stats(),
            ..MiddleStats::default()
        };
        for class in P::TABLE.classes() {
            let stats = self.class_stats(class);
            // In a signal handler that interrupted who changes a class's figures, these may be too great: sums wrap.
            let add = |sum: &mut u64, part: u64| *sum = sum.wrapping_add(part);
            add(&mut all.transfer_bytes, stats.transfer_bytes());
            add(&mut all.central_bytes, stats.central_bytes());
            add(&mut all.tail_bytes, stats.central.tail_bytes);
            add(&mut all.released_bytes, stats.central.released_bytes);
            add(&mut all.out_bytes, stats.out_bytes());
            add(&mut all.objects_out, stats.central.objects_out);
            add(&mut all.span_bytes, stats.central.live_pages << P::SHIFT);
            add(&mut all.spans_in_use, stats.central.spans_in_use);
            all.is_unknown |= stats.central.is_unknown;
        }
        all
    }

    /// One class's transfer cache.
    #[inline(always)]
    pub fn transfer(&self, class: SizeClass) -> &TransferCache<T> {
        // A place is below the array's length, by a mask, so that this has no check.
        &self.classes[self.places.of(class)].transfer
    }

    /// One class's central free list.
    #[inline(always)]
    pub fn central(&self, class: SizeClass) -> &CentralFreeList<P> {
        &self.classes[self.places.of(class)].central
    }

    /// The bitmaps of spans.
    pub const fn object_maps(&self) -> &ObjectMaps {
        &self.object_maps
    }

    /// Takes all locks, so that a fork finds the tier at rest: resizing, the transfer caches by place,
    /// the central free lists by place, the bitmaps.
    pub fn acquire(&self) {
        self.spare_capacity.acquire();
        self.classes.iter().for_each(|class| class.transfer.acquire());
        self.classes.iter().for_each(|class| class.central.acquire());
        self.object_maps.acquire();
    }

    /// Gives all locks back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took them with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: the caller holds all locks.
        unsafe { self.object_maps.release() };
        for class in self.classes.iter().rev() {
            // SAFETY: one of the locks that the caller holds.
            unsafe { class.central.release() };
        }
        for class in self.classes.iter().rev() {
            // SAFETY: one of the locks that the caller holds.
            unsafe { class.transfer.release() };
        }
        // SAFETY: the last of the locks that the caller holds.
        unsafe { self.spare_capacity.release() };
    }
}

impl<P: PageSize, T: TransferPolicy> Default for MiddleTier<P, T> {
    fn default() -> Self {
        Self::new()
    }
}
