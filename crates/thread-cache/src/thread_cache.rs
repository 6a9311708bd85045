//! One thread's cache.

use crate::{ThreadCaches, free_list::FreeList};
use core::marker::PhantomData;
use strata_size_classes::{CLASS_SLOTS, ObjectSource, PageSize, SizeClass};
use strata_sync::{
    atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    const_fn,
};

/// Most objects that one list may hold: TCMalloc's bound, 64 KiB of the smallest objects.
pub const MAX_LIST_LENGTH: u32 = 8192;

/// How often a list that is longer than a batch may get too long before it shrinks.
const MAX_OVERRUNS: u32 = 3;

/// Objects that move at once: 512 bytes of stack, and two refills of the longest batch of the standard tables.
const MOVE: usize = 64;

/// The free objects that one thread keeps, by class.
///
/// All zero bits are an empty cache that may hold nothing yet: a push asks for a flush at once, and is right
/// all the same. [`ThreadCaches::enter`] gives it its limit, [`ThreadCaches::leave`] takes it back.
///
/// One thread at a time owns it and calls the unsafe methods; figures may be read by any.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadCache<P: PageSize> {
    /// Mixed into links. Written by `enter` while the lists are empty.
    pub(crate) secret: AtomicUsize,
    /// Bytes of the objects on all lists. Written by the owner.
    held_bytes: AtomicU64,
    /// Bytes that it may hold. Written under the registry's lock, by other threads too.
    pub(crate) max_bytes: AtomicU64,
    /// The neighbours in the registry. Guarded by its lock.
    pub(crate) next: AtomicPtr<ThreadCache<P>>,
    pub(crate) previous: AtomicPtr<ThreadCache<P>>,
    /// Figures, written by the owner.
    refills: AtomicU64,
    flushes: AtomicU64,
    scavenges: AtomicU64,
    lists: [FreeList; CLASS_SLOTS],
    pages: PhantomData<P>,
}

/// What one cache holds and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ThreadCacheStats {
    /// Bytes of the objects that it holds.
    pub held_bytes: u64,
    /// Bytes that it may hold before it scavenges.
    pub max_bytes: u64,
    /// Times that a list was empty.
    pub refills: u64,
    /// Times that a list was too long.
    pub flushes: u64,
    /// Times that it held too many bytes.
    pub scavenges: u64,
}

impl<P: PageSize> ThreadCache<P> {
    const_fn! {
        /// An empty cache that may hold nothing yet.
        pub const fn new() -> Self {
            Self {
                secret: AtomicUsize::new(0),
                held_bytes: AtomicU64::new(0),
                max_bytes: AtomicU64::new(0),
                next: AtomicPtr::new(core::ptr::null_mut()),
                previous: AtomicPtr::new(core::ptr::null_mut()),
                refills: AtomicU64::new(0),
                flushes: AtomicU64::new(0),
                scavenges: AtomicU64::new(0),
                lists: strata_sync::const_array![FreeList::new(); CLASS_SLOTS],
                pages: PhantomData,
            }
        }
    }

    /// The object of `class`, whose size is `size`, that was put in last, or null: then [`refill`](Self::refill).
    ///
    /// # Safety
    ///
    /// The calling thread owns the cache.
    #[inline(always)]
    pub unsafe fn pop(&self, class: SizeClass, size: usize) -> *mut u8 {
        // SAFETY: the calling thread owns the cache, as it promises.
        let object = unsafe { self.pop_sound(class, size) };
        if object.is_null() {
            self.forget_damaged(class);
        }
        object
    }

    /// What [`pop`](Self::pop) answers, but null where it would tell of a misuse, too: in the few instructions that
    /// a path needs on which all others are called.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`].
    #[inline(always)]
    pub unsafe fn pop_sound(&self, class: SizeClass, size: usize) -> *mut u8 {
        // SAFETY: the caller owns the cache, whose secret is fixed while a list has objects.
        let object = unsafe { self.list(class).pop_sound(self.secret()) };
        if !object.is_null() {
            self.set_held_bytes(self.held_bytes().wrapping_sub(size as u64));
        }
        object
    }

    /// Puts in an object of `class`, whose size is `size`; says whether the cache has too much now: then
    /// [`flush`](Self::flush). Not to flush is allowed, and makes it hold more than it may.
    ///
    /// An object that was freed just before ends the process with a line that says so.
    ///
    /// # Safety
    ///
    /// The calling thread owns the cache. The object is of that class, comes from the source that refills and
    /// flushes name, and nobody uses it any more.
    #[inline(always)]
    #[must_use]
    pub unsafe fn push(&self, class: SizeClass, size: usize, object: *mut u8) -> bool {
        let list = self.list(class);
        // SAFETY: the caller gives the object up, and each class has room for a word.
        let length = unsafe { list.push(self.secret(), class, object) };
        let held = self.held_bytes().wrapping_add(size as u64);
        self.set_held_bytes(held);
        length > list.max_length() || held > self.max_bytes()
    }

    /// What [`push`](Self::push) does and answers; none where that would tell of a misuse, and nothing is done.
    ///
    /// # Safety
    ///
    /// As for [`Self::push`].
    #[inline(always)]
    #[must_use]
    pub unsafe fn push_sound(
        &self,
        class: SizeClass,
        size: usize,
        object: *mut u8,
    ) -> Option<bool> {
        let list = self.list(class);
        // SAFETY: the caller gives the object up, and each class has room for a word.
        let length = unsafe { list.push_unless_first(self.secret(), object) }?;
        let held = self.held_bytes().wrapping_add(size as u64);
        self.set_held_bytes(held);
        Some(length > list.max_length() || held > self.max_bytes())
    }

    /// Whether an object of `class` is the one that was put in last. Costs a load.
    pub fn is_last_in(&self, class: SizeClass, object: *mut u8) -> bool {
        self.list(class).is_first(object)
    }

    /// Takes objects of `class` from `source`, and answers with one of them; null when it has no more. The
    /// others stay in the cache, and the list may get longer from now on.
    ///
    /// # Safety
    ///
    /// The calling thread owns the cache.
    #[cold]
    pub unsafe fn refill<S: ObjectSource>(&self, source: &S, class: SizeClass) -> *mut u8 {
        let list = self.list(class);
        let info = P::TABLE.info(class);
        let batch = u32::from(info.batch);
        let wanted = list.max_length().clamp(1, batch.max(1)) as usize;
        let mut objects = [core::ptr::null_mut(); MOVE];
        let taken = match objects.get_mut(..wanted.min(MOVE)) {
            Some(out) => source.take(class, out),
            None => 0,
        };
        add(&self.refills, 1);
        grow_after_refill(list, batch);
        let Some((first, rest)) = objects.get(..taken).and_then(<[_]>::split_first) else {
            return core::ptr::null_mut();
        };
        // Back to front, so that they leave in the source's order.
        for &object in rest.iter().rev() {
            // SAFETY: the source has just handed the object out, to us alone.
            unsafe { list.push(self.secret(), class, object) };
        }
        add(&self.held_bytes, rest.len() as u64 * u64::from(info.size));
        *first
    }

    /// Gives back what is too much after a [`push`](Self::push) of `class`: a batch of the class's objects if
    /// there are too many of them, and if the cache holds too many bytes, half of what no list needed
    /// lately.
    ///
    /// # Safety
    ///
    /// The calling thread owns the cache; `source` is where the objects are from.
    #[cold]
    pub unsafe fn flush<S: ObjectSource>(
        &self,
        caches: &ThreadCaches<P>,
        source: &S,
        class: SizeClass,
    ) {
        let list = self.list(class);
        let batch = u32::from(P::TABLE.info(class).batch);
        if list.max_length() == 0 {
            list.set_max_length(1);
        }
        if list.length() > list.max_length() {
            add(&self.flushes, 1);
            // SAFETY: the caller owns the cache, and the objects are from this source.
            unsafe { self.give_back(source, class, batch) };
            adapt_after_overrun(list, batch);
        }
        if self.held_bytes() > self.max_bytes() {
            // SAFETY: the caller owns the cache, and `source` is where its objects came from.
            unsafe { self.scavenge(source) };
            caches.raise_limit(self);
        }
    }

    /// Gives all objects back: for a thread that ends, or is idle.
    ///
    /// # Safety
    ///
    /// The calling thread owns the cache, or its owner is gone; `source` is where the objects are from.
    pub unsafe fn release_all<S: ObjectSource>(&self, source: &S) {
        for class in P::TABLE.classes() {
            let list = self.list(class);
            // SAFETY: nobody else is in the cache: its owner is this thread, or gone. The list has so many objects.
            unsafe { self.give_back(source, class, list.length()) };
            list.clear_low_water();
            // It starts slowly again.
            list.set_max_length(0);
            list.set_overruns(0);
        }
    }

    /// Bytes of the objects that it holds. Any thread may ask.
    #[inline(always)]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it may hold before it scavenges. Any thread may ask.
    #[inline(always)]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// How many objects of `class` it holds. Any thread may ask.
    pub fn length(&self, class: SizeClass) -> u32 {
        self.list(class).length()
    }

    /// How many objects of `class` it may hold. Any thread may ask.
    pub fn max_length(&self, class: SizeClass) -> u32 {
        self.list(class).max_length()
    }

    /// The figures. Any thread may ask.
    pub fn stats(&self) -> ThreadCacheStats {
        ThreadCacheStats {
            held_bytes: self.held_bytes(),
            max_bytes: self.max_bytes(),
            refills: self.refills.load(Ordering::Relaxed),
            flushes: self.flushes.load(Ordering::Relaxed),
            scavenges: self.scavenges.load(Ordering::Relaxed),
        }
    }

    /// Is as a cache that never entered: another thread may get it.
    pub(crate) fn forget_the_registry(&self) {
        for counter in [&self.refills, &self.flushes, &self.scavenges, &self.max_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
        for link in [&self.next, &self.previous] {
            link.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    }

    /// Gives back half of what no list needed since the last time, and lets lists that were not used up get
    /// shorter, down to a batch: who had a longer list will soon have it again.
    ///
    /// # Safety
    ///
    /// As for [`flush`](Self::flush).
    unsafe fn scavenge<S: ObjectSource>(&self, source: &S) {
        add(&self.scavenges, 1);
        for class in P::TABLE.classes() {
            let list = self.list(class);
            let unused = list.low_water();
            if unused > 0 {
                // SAFETY: the cache is this thread's. The list has at least as many objects as were never used.
                unsafe { self.give_back(source, class, unused.div_ceil(2)) };
                let batch = u32::from(P::TABLE.info(class).batch);
                if list.max_length() > batch {
                    list.set_max_length(list.max_length().saturating_sub(batch).max(batch));
                }
            }
            list.clear_low_water();
        }
    }

    /// Tells of a class's first object, if there is one, as one that was written to since it was freed, and holds
    /// the class's objects no more.
    #[cold]
    #[inline(never)]
    fn forget_damaged(&self, class: SizeClass) {
        let lost = self.list(class).forget_damaged(class);
        let bytes = u64::from(lost) * P::TABLE.size(class) as u64;
        self.set_held_bytes(self.held_bytes().wrapping_sub(bytes));
    }

    /// Gives back up to `count` objects of `class`.
    ///
    /// # Safety
    ///
    /// As for [`flush`](Self::flush).
    unsafe fn give_back<S: ObjectSource>(&self, source: &S, class: SizeClass, count: u32) {
        let list = self.list(class);
        let mut left = count.min(list.length()) as usize;
        let mut objects = [core::ptr::null_mut(); MOVE];
        while left > 0 {
            let mut filled = 0;
            for slot in objects.iter_mut().take(left) {
                // SAFETY: the caller owns the cache.
                *slot = unsafe { list.pop_sound(self.secret()) };
                if slot.is_null() {
                    self.forget_damaged(class);
                    break;
                }
                filled += 1;
            }
            let Some(batch) = objects.get_mut(..filled) else { return };
            if batch.is_empty() {
                return;
            }
            let bytes = P::TABLE.size(class) * filled;
            self.set_held_bytes(self.held_bytes().wrapping_sub(bytes as u64));
            // SAFETY: the objects are from this source, as the caller promises, and have just left the list.
            unsafe { source.give(class, batch) };
            left -= filled;
        }
    }

    #[inline(always)]
    fn list(&self, class: SizeClass) -> &FreeList {
        // A class's index is below the array's length, by a mask, so that this has no check.
        &self.lists[class.index()]
    }

    #[inline(always)]
    fn secret(&self) -> usize {
        self.secret.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_held_bytes(&self, bytes: u64) {
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl<P: PageSize> Default for ThreadCache<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Slow start: by one up to a batch, then by batches.
fn grow_after_refill(list: &FreeList, batch: u32) {
    let length = list.max_length();
    if length < batch {
        list.set_max_length(length + 1);
    } else {
        let longer = length.saturating_add(batch).min(MAX_LIST_LENGTH);
        list.set_max_length(longer - longer % batch.max(1));
    }
}

/// A list that gets too long approaches a batch: from below by one, from above by a batch each
/// time that it was too long more than three times.
fn adapt_after_overrun(list: &FreeList, batch: u32) {
    let length = list.max_length();
    if length < batch {
        list.set_max_length(length + 1);
    } else if length > batch {
        let overruns = list.overruns() + 1;
        if overruns > MAX_OVERRUNS {
            list.set_max_length(length.saturating_sub(batch).max(batch));
            list.set_overruns(0);
        } else {
            list.set_overruns(overruns);
        }
    }
}

/// Adds to a counter that the owner alone writes.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
