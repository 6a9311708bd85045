//! The threads that use a heap: their words, their caches, and what they allocated and freed.

use crate::{
    Core, FrontEnd, HeapConfig, front_end,
    hardened::{Shard, Token},
    own_cache::OwnCache,
};
use core::{ffi::c_void, ptr::NonNull};
use strata_os::{ExitKey, keeps_to_memory_calls, read_own_memory, thread_id, thread_pointer};
use strata_size_classes::PageSize;
use strata_span::{MetadataKind, Platform, Pool, PoolItem, PoolStats};
use strata_sync::{
    FIGURES_PATIENCE_NS, LockStats, Mutex,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    thread_block::{self, Counter, Slot, SlotWords},
};
use strata_thread_cache::{Occupancy, ThreadCache};

/// Taken when a thread ends and when a heap does, so that neither misses the other; the outermost lock.
pub(crate) static ENDS: Mutex<()> = Mutex::new(());

/// The key whose destructor tells that a thread ends, plus one; 0 before there is one.
static EXIT_KEY: AtomicU32 = AtomicU32::new(0);

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
    /// The thread's cache, a `CacheItem` of the heap's page size; null if the heap runs per CPU, and while the thread is idle.
    /// Written and read by the thread while it is inside of `occupancy`, and taken by who claimed that.
    pub(crate) cache: AtomicPtr<c_void>,
    /// Whether the thread is at its cache.
    pub(crate) occupancy: Occupancy,
    /// What `occupancy` showed when the background work last looked.
    pub(crate) steps_seen: AtomicU64,
    /// The heap, and how to tell it that the thread ends.
    core: *const c_void,
    end: Option<unsafe fn(*const c_void, NonNull<ThreadRecord>)>,
    /// The kernel's number of the thread; 0 before somebody wanted it. Written and read by the thread.
    thread_id: AtomicU32,
    /// The thread's shard of a hardened heap; null in others. Written before the thread knows the record.
    shard: *const Shard,
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
    /// What threads allocated and freed that have no record: those that ended, and those that never had one. And what counters of
    /// others could not keep: see `move_counters_on`.
    past_allocated: AtomicU64,
    past_deallocated: AtomicU64,
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
    /// The kernel's number.
    pub(crate) thread: u32,
    pub(crate) token: Token,
}

/// How a thread stands to a heap.
pub(crate) enum Standing<'a, P: PageSize> {
    /// Registered: it uses the caches of its CPU.
    PerCpu(&'a SlotWords),
    /// It has a cache of its own.
    Cached(&'a SlotWords, OwnCache<'a, P>),
    /// Its heap is observed and has no caches: it is counted, and served from behind them.
    Observed(&'a SlotWords),
    /// Neither: it ended, is just beginning, stands between vfork and exec, found no memory, or is losing its cache because it
    /// was idle.
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

    /// The kernel's number of this thread, as its record has it; 0 if it has none, or the kernel is not to be asked any more.
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
        let number = unsafe { &(*record).thread_id };
        match number.load(Ordering::Relaxed) {
            0 if keeps_to_memory_calls() => 0,
            0 => {
                let found = thread_id();
                number.store(found, Ordering::Relaxed);
                found
            }
            known => known,
        }
    }

    /// The thread of a hardened heap, if it is known and has its words to itself.
    #[inline(always)]
    pub(crate) fn hardened_user(&self, slot: Slot) -> Option<HardenedUser<'_>> {
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let words = unsafe { &*thread_block::words(slot) };
        let record = words.record.load(Ordering::Relaxed).cast::<ThreadRecord>();
        let is_one = thread_block::block().reentry.load(Ordering::Relaxed) == 0;
        if record.is_null() || !is_one {
            return None;
        }
        // SAFETY: the record is this thread's, not null, and stays until the thread ends.
        let record = unsafe { &*record };
        let thread = record.thread_id.load(Ordering::Relaxed);
        if thread == 0 {
            return None;
        }
        // SAFETY: a hardened heap's records have a shard, which stays.
        let shard = unsafe { &*record.shard };
        Some(HardenedUser { words, shard, thread, token: Token::of_thread(thread_pointer()) })
    }

    /// Sees to counters that have counted half of what they can count.
    #[cold]
    #[inline(never)]
    pub(crate) fn see_to_counters(&self, slot: Slot) {
        let _ = self.standing(slot);
    }

    /// Counts what this thread allocated past the caches.
    pub(crate) fn count_allocated(&self, slot: Slot, bytes: usize) {
        match self.standing(slot) {
            Standing::PerCpu(words) | Standing::Cached(words, _) | Standing::Observed(words) => {
                words.allocated.count(bytes as u64);
            }
            Standing::Alone => self.count_allocated_alone(bytes),
        }
    }

    /// Counts what this thread freed past the caches.
    pub(crate) fn count_deallocated(&self, slot: Slot, bytes: usize) {
        match self.standing(slot) {
            Standing::PerCpu(words) | Standing::Cached(words, _) | Standing::Observed(words) => {
                words.deallocated.count(bytes as u64);
            }
            Standing::Alone => self.count_deallocated_alone(bytes),
        }
    }

    /// Counts what a thread allocated past the words of [`Standing`].
    pub(crate) fn count_allocated_alone(&self, bytes: usize) {
        self.threads.past_allocated.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what a thread freed past the words of [`Standing`].
    pub(crate) fn count_deallocated_alone(&self, bytes: usize) {
        self.threads.past_deallocated.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes back what some thread counted as freed, and was not.
    #[cold]
    pub(crate) fn take_back_deallocated(&self, bytes: usize) {
        self.threads.past_deallocated.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Moves half of what this thread's counters can count to what threads did that are gone, so that they never come to their
    /// end: more than 2^61 bytes were allocated or freed. The list's lock keeps readers from seeing it twice; who interrupted the
    /// holder leaves it to the next call.
    ///
    /// Not those of a thread that has two lives: what these lose of a counter between them may look as if it had come so far, and each
    /// step brings it nearer to being open.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn move_counters_on(&self, words: &SlotWords) {
        let threads = &self.threads;
        if thread_block::block().reentry.load(Ordering::Relaxed) != 0 {
            return;
        }
        let Some(_records) = threads.records.lock_unless_held(FIGURES_PATIENCE_NS) else { return };
        let sums = [
            (&words.allocated, &threads.past_allocated),
            (&words.deallocated, &threads.past_deallocated),
        ];
        for (counter, past) in sums {
            if counter.is_near_end() {
                past.fetch_add(Counter::STEP, Ordering::Relaxed);
                counter.move_on(Counter::STEP);
            }
        }
    }

    /// Opens counters again of a thread of per-CPU caches that counted all they could, 2^61 bytes and more in one go past this
    /// place: not those of a thread that is just being made known, or has two lives.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    fn reopen_used_up(&self, words: &SlotWords) {
        let threads = &self.threads;
        if thread_block::block().reentry.load(Ordering::Relaxed) != 0 {
            return;
        }
        let Some(_records) = threads.records.lock_unless_held(FIGURES_PATIENCE_NS) else { return };
        let sums = [
            (&words.allocated, &threads.past_allocated),
            (&words.deallocated, &threads.past_deallocated),
        ];
        for (counter, past) in sums {
            if counter.is_used_up() {
                past.fetch_add(Counter::OPEN, Ordering::Relaxed);
                counter.move_on(Counter::OPEN);
            }
        }
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
            thread_id: AtomicU32::new(0),
            shard: self.hardened.new_users_shard(),
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
        // SAFETY: as above.
        unsafe { self.record_pool.release() };
        // SAFETY: as above.
        unsafe { self.records.release() };
    }

    /// In the child of a fork: keeps what vanished threads allocated and freed, and forgets them. What their caches
    /// hold stays with the caches, which nobody empties: a thread may have vanished in the middle of a push. Answers the shard of this
    /// thread; null where it has none.
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

impl ThreadRecord {
    /// What the thread allocated and freed; none if it is gone without a word.
    ///
    /// A thread whose first call comes from the last round of its destructors is never reported as ended, and its words
    /// go with its stack. So another thread's words are read by way of the kernel, and believed only if they still
    /// name this record.
    fn counts(&self) -> Option<(u64, u64)> {
        let mut words = [0; size_of::<SlotWords>() / size_of::<u64>()];
        match read_own_memory(self.words.expose_provenance(), &mut words) {
            Ok(()) => {}
            Err(EFAULT) => return None,
            Err(_) => {
                // The kernel does not let us ask.
                // SAFETY: a linked record's thread has not ended (or, in the child of a fork, its words are still
                // there), but for the threads described above.
                let words = unsafe { &*self.words };
                return Some(words_counts(words));
            }
        }
        let [allocated, deallocated, _, _, record] = words;
        let this = core::ptr::from_ref(self).expose_provenance();
        let bytes = |word| Counter::bytes_of(word);
        (record == this as u64).then(|| (bytes(allocated), bytes(deallocated)))
    }
}

/// `EFAULT`: the memory is not there.
const EFAULT: i32 = 14;

/// What a thread's words say that it allocated and freed.
fn words_counts(words: &SlotWords) -> (u64, u64) {
    (words.allocated.bytes(), words.deallocated.bytes())
}

impl Records {
    fn push(&mut self, place: NonNull<ThreadRecord>) {
        let mut place = place;
        // SAFETY: the caller gives the record to the list, whose lock is held.
        let record = unsafe { place.as_mut() };
        record.previous = None;
        record.next = self.first;
        if let Some(mut second) = self.first {
            // SAFETY: linked records are valid; the lock is held.
            unsafe { second.as_mut() }.previous = Some(place);
        }
        self.first = Some(place);
        self.count += 1;
    }

    fn remove(&mut self, place: NonNull<ThreadRecord>) {
        // SAFETY: the record is linked; the lock is held.
        let &ThreadRecord { next, previous, .. } = unsafe { place.as_ref() };
        match previous {
            // SAFETY: linked records are valid.
            Some(mut previous) => unsafe { previous.as_mut() }.next = next,
            None => self.first = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.previous = previous;
        }
        self.count -= 1;
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&ThreadRecord)) {
        let mut next = self.first;
        while let Some(place) = next {
            // SAFETY: linked records are valid; whoever has the list holds its lock.
            let record = unsafe { place.as_ref() };
            next = record.next;
            visit(record);
        }
    }
}

/// Has the end of this thread told to the heaps. False where that cannot be.
fn watch_this_thread() -> bool {
    let key = match EXIT_KEY.load(Ordering::Acquire) {
        0 => {
            let Some(key) = ExitKey::create(thread_ends) else { return false };
            let bits = key.to_bits() + 1;
            // Two threads may make a key at once: the second stays unused.
            match EXIT_KEY.compare_exchange(0, bits, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => key,
                // SAFETY: the bits are another thread's key, plus one.
                Err(other) => unsafe { ExitKey::from_bits(other - 1) },
            }
        }
        // SAFETY: the bits are a key's, plus one.
        bits => unsafe { ExitKey::from_bits(bits - 1) },
    };
    key.set(core::ptr::dangling_mut())
}

/// This thread ends: closes its common paths and has each heap take its record and cache back.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    let block = thread_block::block();
    block.state.store(block.state.load(Ordering::Relaxed) | ENDED, Ordering::Relaxed);
    let _ends = ENDS.lock();
    for slot in [Slot::FIRST, Slot::SECOND] {
        if slot == Slot::SECOND && strata_os::rseq::glibc_area().is_none() {
            // Our own rseq area stands there.
            continue;
        }
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*thread_block::words(slot) };
        let Some(record) =
            NonNull::new(words.record.load(Ordering::Relaxed).cast::<ThreadRecord>())
        else {
            continue;
        };
        // SAFETY: the record is this thread's; a heap that ended has taken it out of the words under `ENDS`.
        let &ThreadRecord { core, end, .. } = unsafe { record.as_ref() };
        if let Some(end) = end {
            // SAFETY: the record names its own heap, which stands, since `ENDS` is held.
            unsafe { end(core, record) };
        }
    }
    front_end::unregister_own();
}

/// # Safety
///
/// `core` points to the core of this configuration that `record`, this thread's, belongs to.
unsafe fn end_thread<C: HeapConfig>(core: *const c_void, record: NonNull<ThreadRecord>) {
    // SAFETY: the core stands as long as a thread has a record of it, as this one has.
    let core = unsafe { Core::<C>::of_raw(core) };
    // SAFETY: the record is this thread's and linked.
    let ThreadRecord { words, cache, shard, .. } = unsafe { record.as_ref() };
    let (words, cache) = (*words, cache.swap(core::ptr::null_mut(), Ordering::Relaxed));
    // SAFETY: null, or a shard of this heap, which stays.
    if let Some(shard) = unsafe { shard.as_ref() } {
        shard.remove_user(Token::of_thread(thread_pointer()));
    }
    // SAFETY: the words are this thread's, which has not ended yet.
    let words = unsafe { &*words };
    core.end_cache(cache);
    let mut records = core.threads.records.lock();
    let (allocated, deallocated) = words_counts(words);
    core.threads.past_allocated.fetch_add(allocated, Ordering::Relaxed);
    core.threads.past_deallocated.fetch_add(deallocated, Ordering::Relaxed);
    close(words);
    records.remove(record);
    drop(records);
    // SAFETY: the record came from this pool and is in no list.
    unsafe { core.threads.record_pool.deallocate(record) };
}

/// Makes a thread's words of a heap as they were before it knew the heap.
fn close(words: &SlotWords) {
    words.allocated.clear();
    words.deallocated.clear();
    words.record.store(core::ptr::null_mut(), Ordering::Relaxed);
}
