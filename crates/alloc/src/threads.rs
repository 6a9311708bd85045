//! The threads that use a heap: their words, their caches, and what they allocated and freed.

mod counts;
mod ends;
mod records;

use crate::{
    Core, FrontEnd, HeapConfig, front_end,
    hardened::{Holder, Shard},
    own_cache::OwnCache,
};
use core::{ffi::c_void, ptr::NonNull};
use ends::{end_thread, watch_this_thread};
use strata_os::{keeps_to_memory_calls, thread_id};
use strata_size_classes::PageSize;
use strata_span::{MetadataKind, Platform, Pool, PoolItem, PoolStats};
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
    owned::Token,
    thread_block::{self, Slot, SlotWords, ThreadBlock},
};
use strata_thread_cache::{Occupancy, ThreadCache};

/// Taken when a thread ends and when a heap does, so that neither misses the other; the outermost lock.
pub(crate) static ENDS: Mutex<()> = Mutex::new(());

/// The thread has ended as far as heaps are concerned: what it still allocates goes past all caches.
pub(crate) const ENDED: u32 = 1;

/// What a heap knows of one thread. Lies in the metadata arena; linked in the heap's list.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ThreadRecord {
    next: Option<NonNull<ThreadRecord>>,
    previous: Option<NonNull<ThreadRecord>>,
    /// The thread's words, readable until the record is unlinked.
    words: *const SlotWords,
    /// The thread's cache, a `CacheItem` of the heap's page size; null if the heap runs per CPU, and while the
    /// thread is idle. Written and read by the thread while it is inside of `occupancy`, and taken by who claimed
    /// that.
    pub(crate) cache: AtomicPtr<c_void>,
    /// Whether the thread is at its cache.
    pub(crate) occupancy: Occupancy,
    /// What `occupancy` showed when the background work last looked.
    pub(crate) steps_seen: AtomicU64,
    /// The heap, and how to tell it that the thread ends.
    core: *const c_void,
    end: Option<unsafe fn(*const c_void, NonNull<ThreadRecord>)>,
    /// The kernel's number of the thread, as a [`Holder`]; 0 before somebody wanted it. Written and read by the thread.
    thread_id: AtomicU64,
    /// The thread's shard of a hardened heap; null in others. Written before the thread knows the record.
    shard: *const Shard,
    /// The thread has a shard, and its number is known. Written and read by the thread.
    is_hardened_user: AtomicBool,
}

// SAFETY: 1. zeroed options, pointers and numbers are valid. 2. no drop; larger than a pointer.
unsafe impl PoolItem for ThreadRecord {
    const KIND: MetadataKind = MetadataKind::Threads;
}

/// A thread's cache, as the metadata arena has it.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct CacheItem<P: PageSize>(pub(crate) ThreadCache<P>);

// SAFETY: 1. all zero bits are an empty thread cache. 2. no drop; larger than a pointer.
unsafe impl<P: PageSize> PoolItem for CacheItem<P> {
    const KIND: MetadataKind = MetadataKind::Threads;
}

/// The threads of a heap. All zero bits are no threads.
#[derive(Debug)]
pub(crate) struct Threads<P: PageSize> {
    /// Guards the list. Rank: under [`ENDS`] and the background's schedule, above the layers' locks.
    pub(crate) records: Mutex<Records>,
    record_pool: Pool<ThreadRecord>,
    pub(crate) cache_pool: Pool<CacheItem<P>>,
    /// What threads allocated and freed that have no record: those that ended, and those that never had one. And
    /// what counters of others could not keep: see `move_counters_on`.
    past_allocated: AtomicU64,
    past_deallocated: AtomicU64,
    /// Threads that had a record and ended, in this process and since the heap last tried to make a thread. Raised
    /// under the list's lock; set back by who tried, or is the child of a fork: one that ends meanwhile may go
    /// uncounted.
    pub(crate) ended: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Records {
    first: Option<NonNull<ThreadRecord>>,
    count: u64,
}

// SAFETY: records are reached under the list's lock, or by the thread whose record it is.
unsafe impl Send for Records {}

/// What all threads of a heap did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ThreadStats {
    /// Threads with a record, now.
    pub threads: u64,
    /// Bytes that threads allocated, since the start.
    pub allocated_bytes: u64,
    /// Bytes that threads freed, since the start.
    pub deallocated_bytes: u64,
    /// Whether the list of threads could not be read: see [`Core::thread_stats`].
    pub is_unknown: bool,
    /// The records.
    pub records: PoolStats,
    /// The threads' caches.
    pub caches: PoolStats,
    /// The list's lock.
    pub lock: LockStats,
}

/// A thread of a hardened heap.
#[derive(Clone, Copy)]
pub(crate) struct HardenedUser<'a> {
    pub(crate) words: &'a SlotWords,
    pub(crate) shard: &'a Shard,
    pub(crate) holder: Holder,
    pub(crate) token: Token,
}

/// The record of a thread of a hardened heap.
#[derive(Clone, Copy)]
pub(crate) struct HardenedRecord<'a>(&'a ThreadRecord);

impl<'a> HardenedRecord<'a> {
    /// The record that these words name, of the thread which asks, if their heap is hardened and knows the thread
    /// and its number.
    #[inline(always)]
    pub(crate) fn of(words: &'a SlotWords) -> Option<Self> {
        let record = NonNull::new(words.record.load(Ordering::Relaxed).cast::<ThreadRecord>())?;
        // SAFETY: the record is this thread's, and stays until the thread ends.
        let record = unsafe { record.as_ref() };
        record.is_hardened_user.load(Ordering::Relaxed).then_some(Self(record))
    }

    /// The heap's state.
    ///
    /// # Safety
    ///
    /// The words are those of a heap of this configuration.
    #[inline(always)]
    pub(crate) unsafe fn core<C: HeapConfig>(self) -> &'a Core<C> {
        // SAFETY: a heap's words name records of its own, and it stands as long as a thread has one.
        unsafe { Core::of_raw(self.0.core) }
    }

    /// The thread, if it has these words of its block to itself.
    #[inline(always)]
    pub(crate) fn user(
        self,
        block: &ThreadBlock,
        words: &'a SlotWords,
    ) -> Option<HardenedUser<'a>> {
        if block.reentry.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let holder = Holder::of_word(&self.0.thread_id);
        // SAFETY: not null, as the thread's record says that `of` saw: a shard of the heap, which stays.
        let shard = unsafe { &*self.0.shard };
        Some(HardenedUser { words, shard, holder, token: Token::of(block) })
    }
}

/// How a thread stands to a heap.
pub(crate) enum Standing<'a, P: PageSize> {
    /// Registered: it uses the caches of its CPU.
    PerCpu(&'a SlotWords),
    /// It has a cache of its own.
    Cached(&'a SlotWords, OwnCache<'a, P>),
    /// Its heap is observed and has no caches: it is counted, and served from behind them.
    Observed(&'a SlotWords),
    /// Neither: it ended, is just beginning, stands between vfork and exec, found no memory, or is losing its cache
    /// because it was idle.
    Alone,
}

impl<C: HeapConfig> Core<C> {
    /// How this thread stands to the heap; a new thread is made known.
    #[inline(always)]
    pub(crate) fn standing(&self, slot: Slot) -> Standing<'_, C::Pages> {
        if slot == Slot::UNBOUND {
            return Standing::Alone;
        }
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let words = unsafe { &*thread_block::words(slot) };
        if words.record.load(Ordering::Relaxed).is_null() && !self.bind(slot, words) {
            return Standing::Alone;
        }
        if words.allocated.is_near_end() || words.deallocated.is_near_end() {
            self.move_counters_on(words);
        }
        match self.front_end() {
            FrontEnd::PerCpu(_) if words.allocated.is_open() && words.deallocated.is_open() => {
                Standing::PerCpu(words)
            }
            FrontEnd::PerCpu(_) => {
                self.reopen_used_up(words);
                // Closed with a record: somebody closed it, and no sequence may run.
                if words.allocated.is_open() { Standing::PerCpu(words) } else { Standing::Alone }
            }
            FrontEnd::Observed(_) => Standing::Observed(words),
            // Somebody else runs with these words.
            FrontEnd::PerThread(_)
                if thread_block::block().reentry.load(Ordering::Relaxed) != 0 =>
            {
                Standing::Alone
            }
            FrontEnd::PerThread(_) => {
                let record = words.record.load(Ordering::Relaxed).cast::<ThreadRecord>();
                // SAFETY: the record is this thread's, not null, and stays until the thread ends.
                match self.own_cache(unsafe { &*record }) {
                    Some(cache) => Standing::Cached(words, cache),
                    None => Standing::Alone,
                }
            }
        }
    }

    /// The kernel's number of this thread, as its record has it; 0 if it has none, or the kernel is not to be asked
    /// any more.
    pub(crate) fn thread_number(&self, slot: Slot) -> u32 {
        if slot == Slot::UNBOUND {
            return 0;
        }
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        if words.record.load(Ordering::Relaxed).is_null() && !self.bind(slot, words) {
            return 0;
        }
        let record = words.record.load(Ordering::Relaxed).cast::<ThreadRecord>();
        // SAFETY: the record is this thread's, not null, and stays until the thread ends.
        let record = unsafe { &*record };
        match Holder::load(&record.thread_id) {
            Some(holder) => holder.thread(),
            None if keeps_to_memory_calls() => 0,
            None => {
                let found = thread_id();
                Holder::of_thread(found).store(&record.thread_id);
                record.is_hardened_user.store(!record.shard.is_null(), Ordering::Relaxed);
                found
            }
        }
    }

    /// The thread of a hardened heap, if it is known and has its words to itself.
    #[inline(always)]
    pub(crate) fn hardened_user(&self, slot: Slot) -> Option<HardenedUser<'_>> {
        let block = thread_block::block();
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let words = unsafe { &*block.words(slot) };
        HardenedRecord::of(words)?.user(block, words)
    }

    /// What all threads did. Takes the list's lock; costs a few loads a thread. In a signal handler that interrupted the
    /// holder of the lock, only what threads did that are gone is counted, and the figures say so.
    pub fn thread_stats(&self) -> ThreadStats {
        let threads = &self.threads;
        let records = threads.records.lock_for_figures();
        let mut stats = ThreadStats {
            threads: records.as_ref().map_or(0, |records| records.count),
            is_unknown: records.is_none(),
            allocated_bytes: threads.past_allocated.load(Ordering::Relaxed),
            deallocated_bytes: threads.past_deallocated.load(Ordering::Relaxed),
            records: threads.record_pool.stats(),
            caches: threads.cache_pool.stats(),
            lock: threads.records.stats(),
        };
        let Some(records) = records else { return stats };
        records.for_each(|record| {
            let Some((allocated, deallocated)) = record.counts() else {
                stats.threads -= 1;
                return;
            };
            stats.allocated_bytes = stats.allocated_bytes.wrapping_add(allocated);
            stats.deallocated_bytes = stats.deallocated_bytes.wrapping_add(deallocated);
        });
        stats
    }

    /// Makes this thread known: a record, a cache if the heap runs per thread, and an open common
    /// path if it runs per CPU. False if the thread has to do without for now.
    #[cold]
    #[inline(never)]
    fn bind(&self, slot: Slot, words: &SlotWords) -> bool {
        let block = thread_block::block();
        if block.state.load(Ordering::Relaxed) & ENDED != 0
            || block.reentry.load(Ordering::Relaxed) != 0
        {
            return false;
        }
        // What is called here may allocate, which must not come here again.
        block.reentry.store(1, Ordering::Relaxed);
        let bound = self.bind_unguarded(slot, words);
        block.reentry.store(0, Ordering::Relaxed);
        bound
    }

    fn bind_unguarded(&self, slot: Slot, words: &SlotWords) -> bool {
        let per_cpu = matches!(self.front_end(), FrontEnd::PerCpu(_));
        // An area is taken back when the thread ends: that comes first.
        if !watch_this_thread() {
            return false;
        }
        if per_cpu && !front_end::is_registered(self.registration()) {
            return false;
        }
        let cache = match self.front_end() {
            FrontEnd::PerCpu(_) | FrontEnd::Observed(_) => core::ptr::null_mut(),
            FrontEnd::PerThread(_) => match self.new_cache() {
                Some(cache) => cache.as_ptr().cast(),
                None => return false,
            },
        };
        let Some(record) = self.threads.record_pool.allocate(self.arena(), self.metadata()) else {
            self.end_cache(cache);
            return false;
        };
        let value = ThreadRecord {
            next: None,
            previous: None,
            words: thread_block::words(slot),
            cache: AtomicPtr::new(cache),
            occupancy: Occupancy::new(),
            steps_seen: AtomicU64::new(u64::MAX),
            core: core::ptr::from_ref(self).cast(),
            end: Some(end_thread::<C>),
            thread_id: AtomicU64::new(0),
            shard: self.hardened.new_users_shard(),
            is_hardened_user: AtomicBool::new(false),
        };
        // SAFETY: the pool gave the record to this call alone.
        unsafe { record.write(value) };
        self.threads.records.lock().push(record);
        words.record.store(record.as_ptr().cast(), Ordering::Relaxed);
        if per_cpu {
            words.allocated.open();
            words.deallocated.open();
        }
        true
    }
}

impl<P: PageSize> Threads<P> {
    /// Closes the common path for all threads and forgets them: the heap ends. (Its memory goes as a whole.)
    pub(crate) fn forget_all(&self, slot: Slot) {
        if slot == Slot::UNBOUND {
            return;
        }
        let _ends = ENDS.lock();
        let records = self.records.lock();
        records.for_each(|record| {
            if record.counts().is_some() {
                // SAFETY: the thread has not ended, since `ENDS` is held and its words name the record.
                let words = unsafe { &*record.words };
                close(words);
            }
        });
    }

    /// Takes the locks, so that a fork finds the lists at rest.
    pub(crate) fn acquire(&self) {
        self.records.acquire();
        self.record_pool.acquire();
        self.cache_pool.acquire();
    }

    /// Gives them back.
    ///
    /// # Safety
    ///
    /// This thread took them with [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the locks, in this thread or in the one that forked it, and no guard of any lives.
        unsafe { self.cache_pool.release() };
        // SAFETY: the second of `acquire`'s locks.
        unsafe { self.record_pool.release() };
        // SAFETY: the first of `acquire`'s locks.
        unsafe { self.records.release() };
    }

    /// In the child of a fork: keeps what vanished threads allocated and freed, and forgets them. What their caches
    /// hold stays with the caches, which nobody empties: a thread may have vanished in the middle of a push.
    /// Answers the shard of this thread; null where it has none.
    pub(crate) fn forget_vanished(&self, slot: Slot) -> *const Shard {
        let mut shard = core::ptr::null();
        if slot == Slot::UNBOUND {
            return shard;
        }
        let own = thread_block::words(slot);
        let mut records = self.records.lock();
        let mut next = records.first;
        while let Some(place) = next {
            // SAFETY: linked records are valid; the lock is held.
            let record = unsafe { place.as_ref() };
            next = record.next;
            if core::ptr::eq(record.words, own) {
                // Another process's thread now.
                record.thread_id.store(0, Ordering::Relaxed);
                record.is_hardened_user.store(false, Ordering::Relaxed);
                shard = record.shard;
                continue;
            }
            let (allocated, deallocated) = record.counts().unwrap_or((0, 0));
            self.past_allocated.fetch_add(allocated, Ordering::Relaxed);
            self.past_deallocated.fetch_add(deallocated, Ordering::Relaxed);
            records.remove(place);
            // SAFETY: the record came from this pool and is in no list.
            unsafe { self.record_pool.deallocate(place) };
        }
        shard
    }
}

/// Makes a thread's words of a heap as they were before it knew the heap.
fn close(words: &SlotWords) {
    words.allocated.clear();
    words.deallocated.clear();
    words.record.store(core::ptr::null_mut(), Ordering::Relaxed);
}
