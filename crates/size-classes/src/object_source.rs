//! The seam between a cache of objects and the one who makes them.

use crate::SizeClass;

/// Where objects of a class come from and go back to, in batches.
///
/// A cache refills and flushes through it and knows nothing of spans; the middle tier of a heap is
/// one implementation, a pool of one's own another. A cache does not own its source: each refill
/// and flush names it. Both operations may be called from several threads at the same time.
///
/// # Safety
///
/// An implementation answers by number:
///
/// 1. `take` writes as many pointers as it returns, into the front of `out`, and no others; it
///    returns no more than `out.len()`.
/// 2. Each pointer that `take` wrote is to memory of at least the class's size, aligned as the
///    class is, writable, and used by nobody else until it is given back.
/// 3. Neither operation unwinds, nor enters the cache that called it.
///
/// ```
/// use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
///
/// /// A pool that asks the system for each object.
/// struct FromSystem;
///
/// fn layout(class: SizeClass) -> std::alloc::Layout {
///     let size = Pages8K::TABLE.size(class);
///     std::alloc::Layout::from_size_align(size, 8).expect("a class size is a layout")
/// }
///
/// // SAFETY: 1. the count is of the slots written. 2. the system allocator hands out what is free,
/// // in the class's own size. 3. it neither unwinds nor knows of caches.
/// unsafe impl ObjectSource for FromSystem {
///     fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
///         let mut taken = 0;
///         for slot in out {
///             // SAFETY: no class but NONE, which nobody takes from, has size 0.
///             *slot = unsafe { std::alloc::alloc(layout(class)) };
///             if slot.is_null() {
///                 break;
///             }
///             taken += 1;
///         }
///         taken
///     }
///     unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
///         for &mut object in objects {
///             // SAFETY: the caller gives what `take` allocated with this layout.
///             unsafe { std::alloc::dealloc(object, layout(class)) };
///         }
///     }
/// }
///
/// let class = Pages8K::TABLE.entry(100).expect("small enough for a class").class();
/// let mut batch = [core::ptr::null_mut(); 32];
/// let taken = FromSystem.take(class, &mut batch);
/// assert_eq!(taken, 32);
/// // SAFETY: they were taken above, from the same source and class, and nobody else has them.
/// unsafe { FromSystem.give(class, &mut batch[..taken]) };
/// ```
pub unsafe trait ObjectSource {
    /// Fills `out` from the front with objects of `class` and returns how many; 0 when memory is
    /// exhausted, fewer than asked for at any time.
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize;

    /// Takes back objects of `class`; may reorder the slice, whose pointers are dead afterwards.
    ///
    /// # Safety
    ///
    /// Each pointer came from [`take`](Self::take) of this source with the same class, was not
    /// given back since, is in the slice once, and nobody uses it any more.
    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]);
}
