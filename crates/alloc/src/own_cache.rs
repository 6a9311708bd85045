//! Threads' own caches: how a thread gets at its cache, and how it loses it.

use crate::{
    Core, HeapConfig,
    mark::MarkingBack,
    threads::{CacheItem, ThreadRecord},
};
use core::{ffi::c_void, ops::Deref, ptr::NonNull};
use strata_size_classes::PageSize;
use strata_span::Platform;
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    thread_block::{self, Slot, SlotWords, ThreadBlock},
};
use strata_thread_cache::{Claim, Inside, Occupancy, ThreadCache};
use strata_upkeep::TakenCaches;

/// Threads that a look takes the caches of at most: what they hold goes to other layers.
const MOST_TAKEN: usize = 16;

/// A thread's cache, while the thread is at it.
pub(crate) struct OwnCache<'a, P: PageSize> {
    cache: &'a ThreadCache<P>,
    /// As long as it lives nobody takes the cache.
    _inside: Inside<'a>,
}

impl<P: PageSize> Deref for OwnCache<'_, P> {
    type Target = ThreadCache<P>;

    #[inline(always)]
    fn deref(&self) -> &ThreadCache<P> {
        self.cache
    }
}

impl<P: PageSize> OwnCache<'_, P> {
    /// This thread's cache, if it has one of its own and nothing has to be looked at first: no cache has to be
    /// made, nobody takes it just now, and nobody else runs with the thread's words. `words` are of `block`, in a
    /// heap of that page size.
    #[inline(always)]
    pub(crate) fn at_hand(block: &ThreadBlock, words: &SlotWords) -> Option<Self> {
        let record = words.record.load(Ordering::Relaxed).cast::<ThreadRecord>();
        if record.is_null() || block.reentry.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // SAFETY: the record is this thread's, not null, and stays until the thread ends.
        let record = unsafe { &*record };
        // Of a heap that has no such caches there is never one: its threads are not kept.
        if record.cache.load(Ordering::Relaxed).is_null() {
            return None;
        }
        let inside = record.occupancy.enter()?;
        let item = record.cache.load(Ordering::Relaxed).cast::<CacheItem<P>>();
        // SAFETY: what stands there is null, or a cache of this heap, which stays as long as the thread is inside.
        let item = unsafe { item.as_ref() }?;
        Some(Self { cache: &item.0, _inside: inside })
    }
}

impl<C: HeapConfig> Core<C> {
    /// This thread's cache; a new one if it has none. None if there is no memory for one, or somebody takes it just now.
    #[inline(always)]
    pub(crate) fn own_cache<'a>(
        &'a self,
        record: &'a ThreadRecord,
    ) -> Option<OwnCache<'a, C::Pages>> {
        let inside = record.occupancy.enter()?;
        let cache = self.cache_in(&record.cache)?;
        // SAFETY: the cache stays as long as the thread is inside.
        let cache = unsafe { &cache.as_ref().0 };
        Some(OwnCache { cache, _inside: inside })
    }

    #[inline(always)]
    fn cache_in(&self, place: &AtomicPtr<c_void>) -> Option<NonNull<CacheItem<C::Pages>>> {
        let cache = NonNull::new(place.load(Ordering::Relaxed).cast());
        if cache.is_some() {
            return cache;
        }
        self.begin_cache(place)
    }

    #[cold]
    #[inline(never)]
    fn begin_cache(&self, place: &AtomicPtr<c_void>) -> Option<NonNull<CacheItem<C::Pages>>> {
        let fresh = self.new_cache()?;
        place.store(fresh.as_ptr().cast(), Ordering::Relaxed);
        Some(fresh)
    }

    /// Gives this thread's cache back, with all that it holds, if it has one.
    pub(crate) fn end_own_cache(&self, slot: Slot) {
        if slot == Slot::UNBOUND {
            return;
        }
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        let record = words.record.load(Ordering::Relaxed).cast::<ThreadRecord>();
        if let Some(record) = NonNull::new(record) {
            // SAFETY: the record is this thread's and stays until it ends.
            let record = unsafe { record.as_ref() };
            // Who claims it takes it.
            let Some(_inside) = record.occupancy.enter() else { return };
            self.end_cache(record.cache.swap(core::ptr::null_mut(), Ordering::Relaxed));
        }
    }

    /// Takes the caches of threads that did not use theirs since the last such look, some of them at most, and
    /// gives back what they hold: such a thread begins anew with its next block. Where the kernel has no fence for
    /// other threads, none is taken.
    ///
    /// One thread at a time: in a step of the background work.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn take_idle_caches(&self) -> TakenCaches {
        let mut taken = [core::ptr::null_mut::<c_void>(); MOST_TAKEN];
        let mut caches = 0;
        {
            // Held across the fence: records, and threads that end, wait for microseconds.
            let records = self.threads.records.lock();
            let mut claims: [Option<(Claim<'_>, &AtomicPtr<c_void>)>; MOST_TAKEN] =
                [const { None }; MOST_TAKEN];
            let mut free = claims.iter_mut();
            records.for_each(|record| {
                if record.cache.load(Ordering::Relaxed).is_null() {
                    return;
                }
                caches += 1;
                let steps = record.occupancy.steps();
                if record.steps_seen.swap(steps, Ordering::Relaxed) == steps
                    && let Some(place) = free.next()
                {
                    // SAFETY: linked records stay as long as the list's lock is held, which the claims do not outlive.
                    let record = unsafe { &*core::ptr::from_ref(record) };
                    *place = Some((record.occupancy.claim(), &record.cache));
                }
            });
            if matches!(claims.first(), Some(Some(_))) && Occupancy::fence() {
                for (place, claimed) in taken.iter_mut().zip(&claims) {
                    if let Some((claim, cache)) = claimed
                        && claim.is_vacant()
                    {
                        *place = cache.swap(core::ptr::null_mut(), Ordering::Relaxed);
                    }
                }
            }
        }
        let mut bytes = 0;
        for cache in taken.into_iter().filter(|cache| !cache.is_null()) {
            caches -= 1;
            bytes += self.end_cache(cache);
        }
        TakenCaches { bytes, left: caches }
    }

    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn new_cache(&self) -> Option<NonNull<CacheItem<C::Pages>>> {
        let cache = self.threads.cache_pool.allocate(self.arena(), self.metadata())?;
        // SAFETY: zeroed memory from the pool is an empty cache.
        let thread_cache = unsafe { &cache.as_ref().0 };
        // SAFETY: it is empty, in no registry, and stays until `end_cache`.
        unsafe { self.thread_caches().enter(thread_cache) };
        Some(cache)
    }

    /// Gives what a thread's cache holds back, and the cache too; null is none. Says how many bytes it held.
    pub(crate) fn end_cache(&self, cache: *mut c_void) -> u64 {
        let Some(item) = NonNull::new(cache.cast::<CacheItem<C::Pages>>()) else { return 0 };
        // SAFETY: the cache came from `new_cache` and was not ended before.
        let thread_cache = unsafe { &item.as_ref().0 };
        let bytes = thread_cache.held_bytes();
        // SAFETY: its thread calls this, or has ended, or lost it while it was idle.
        unsafe { thread_cache.release_all(&MarkingBack::<C>(self.source_of_objects())) };
        // SAFETY: it entered in `new_cache`.
        unsafe { self.thread_caches().leave(thread_cache) };
        // SAFETY: it came from this pool, and left all lists.
        unsafe { self.threads.cache_pool.deallocate(item) };
        bytes
    }
}
