//! The state of a heap: its layers, side by side, and what finds them.

use crate::{
    Config, FrontEnd, HeapConfig, MisuseChoice, Observer,
    background::Background,
    fork::ForkEntry,
    front_end::{self, Registration},
    hardened::Hardened,
    large_stats::LargeCounters,
    mark::{self, MarkingBack},
    memory_limit::limits_of,
    recorder::Recorder,
    room_to_grow::GrowthHistory,
    slots,
    threads::{Standing, Threads},
    tuning::Tuning,
};
use core::{ffi::c_void, mem::offset_of, ptr::NonNull};
use strata_central::{MiddleSource, MiddleTier};
use strata_cpu_cache::CpuCache;
use strata_os::{AddressRange, OnMisuse, PageSource, Purpose, ReserveRequest, set_on_misuse};
use strata_page_heap::{MemoryLimits, PageHeap};
use strata_size_classes::PageSize;
use strata_span::{Address, MetadataArena, PageMap, Platform, SpanPool};
use strata_sync::{
    FIGURES_PATIENCE_NS, Mutex,
    atomic::{AtomicBool, Ordering},
    thread_block::Slot,
};
use strata_thread_cache::ThreadCaches;

/// What marks the beginning of a heap's state in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"strata\0\x01");

/// The layers of a heap, in memory of their own, found from a marked beginning.
///
/// A reader of the process's memory looks for the magic number at the start of a mapping named `strata metadata`.
///
/// What each program uses lies in front, the page heap's part of it first, so that a small one has it on few pages; and
/// where the background's part ends and the middle tier begins.
#[repr(C)]
pub struct Core<C: HeapConfig> {
    identity: Identity,
    arena: MetadataArena,
    map: PageMap<C::Pages>,
    spans: SpanPool,
    cpu: CpuCache,
    /// Held while a CPU's cache is stopped from outside, so that no fork finds one stopped. Rank: under the list of
    /// threads, above the layers.
    stops: Mutex<()>,
    pub(crate) fork_entry: ForkEntry,
    pub(crate) large: LargeCounters,
    pub(crate) tuning: Tuning,
    pub(crate) growth: GrowthHistory,
    /// Whether the heap is known to those who fork. Written by the first thread that finishes the set-up.
    finished: AtomicBool,
    pub(crate) threads: Threads<C::Pages>,
    page_heap: C::PageHeap,
    pub(crate) background: Background,
    middle: MiddleTier<C::Pages>,
    thread_caches: ThreadCaches<C::Pages>,
    pub(crate) hardened: Hardened,
    pub(crate) recorder: Recorder,
}

/// What a heap is from its first moment on; the only part of a core that is written before it is used.
#[repr(C)]
#[derive(Debug)]
struct Identity {
    magic: u64,
    /// Size of the core and of a page, for a reader of the process's memory.
    core_bytes: u64,
    page_bytes: u64,
    own_range: AddressRange,
    config: Config,
    slot: Slot,
    front_end: FrontEnd,
    registration: Registration,
}

// A reader of the process's memory finds these by their places.
static_assertions::const_assert_eq!(offset_of!(Core<crate::Standard>, identity), 0);
static_assertions::const_assert_eq!(offset_of!(Identity, magic), 0);
static_assertions::const_assert_eq!(offset_of!(Identity, core_bytes), 8);
static_assertions::const_assert_eq!(offset_of!(Identity, page_bytes), 16);
static_assertions::const_assert_eq!(offset_of!(Identity, own_range), 24);

/// What caches refill from.
pub(crate) type Middle<'a, C> = MiddleSource<'a, Core<C>, <C as HeapConfig>::PageHeap>;

/// The smallest pages that kernels have.
const FRONT_PAGE_BYTES: usize = 4096;

impl<C: HeapConfig> Core<C> {
    /// What the first span of each heap writes at the latest. Memory that was never touched faults twice where it is
    /// read before it is written: these pages are written first.
    const FRONT_BYTES: usize = 3 * FRONT_PAGE_BYTES;

    /// Makes the state of a heap; none when there is no memory for it.
    pub(crate) fn create(config: Config) -> Option<NonNull<Self>> {
        const { assert!(align_of::<Self>() <= 4096, "a core begins at a page") };
        const { assert!(size_of::<Self>() >= Self::FRONT_BYTES, "a core has its front") };
        let source = C::source();
        let granule = source.page_bytes();
        let bytes = size_of::<Self>().checked_next_multiple_of(granule)?;
        let request = ReserveRequest { bytes, align: granule, purpose: Purpose::Metadata };
        let reservation = source.reserve(request).ok()?;
        if !reservation.committed && source.commit(reservation.range).is_err() {
            // SAFETY: the range was just reserved and nobody knows it.
            let _ = unsafe { source.unreserve(reservation.range) };
            return None;
        }
        let place = Address::new(reservation.range.start).non_null()?.cast::<Self>();
        // SAFETY: the reservation is zeroed memory of our own, as large and as aligned as a core.
        if !unsafe { Self::write_to(place, config, reservation.range) } {
            // SAFETY: nobody knows the range.
            let _ = unsafe { source.unreserve(reservation.range) };
            return None;
        }
        // SAFETY: the core was written above.
        let core = unsafe { place.as_ref() };
        if !core.map.prepare(&core.arena, source) || !core.prepare_observer() {
            // SAFETY: nobody else knows the core.
            unsafe { Self::destroy(place) };
            return None;
        }
        Some(place)
    }

    /// Writes what is not zero into the zeroed memory at `place`, so that most of it is not touched. False if
    /// threads' words belong to another heap already, which the configuration says there is none.
    ///
    /// # Safety
    ///
    /// `place` is zeroed, writable, sized and aligned for a core, and known to nobody else.
    unsafe fn write_to(place: NonNull<Self>, config: Config, range: AddressRange) -> bool {
        let at = |offset: usize| {
            // SAFETY: the offset is a field's, within the core.
            unsafe { place.byte_add(offset) }
        };
        for page in (0..Self::FRONT_BYTES).step_by(FRONT_PAGE_BYTES) {
            // SAFETY: within the core, which is zeroed and known to nobody else.
            unsafe { at(page).cast::<u8>().write_volatile(0) };
        }
        if !C::PageHeap::EMPTY_IS_ZERO {
            let page_heap = at(offset_of!(Self, page_heap)).cast::<C::PageHeap>();
            // SAFETY: the field is within the caller's memory. The other layers are valid when zeroed, as their types
            // say.
            unsafe { page_heap.write(C::PageHeap::EMPTY) };
        }
        // SAFETY: zeroed bits are a cache that is not set up.
        let cpu = unsafe { at(offset_of!(Self, cpu)).cast::<CpuCache>().as_ref() };
        let slot = slots::acquire(place.cast());
        if C::IS_ONLY_HEAP && slot != Slot::FIRST {
            slots::release(place.cast());
            return false;
        }
        let (front_end, registration) =
            front_end::choose(&config, slot, C::source(), C::Pages::TABLE, cpu);
        let identity = Identity {
            magic: MAGIC,
            core_bytes: size_of::<Self>() as u64,
            page_bytes: C::Pages::BYTES as u64,
            own_range: range,
            config,
            slot,
            front_end,
            registration,
        };
        // SAFETY: the identity is a core's first field.
        unsafe { place.cast::<Identity>().write(identity) };
        // SAFETY: every field is valid now.
        let core = unsafe { place.as_ref() };
        core.begin_in_process();
        if C::MARKS_FREE_BLOCKS && mark::LOOKS && core.observer().is_none() {
            core.middle.object_maps().begin_objects_with(mark::MARK, mark::LARGEST_MARKED);
        }
        C::configure(&core.page_heap, &core.identity.config);
        let limits = limits_of(&core.identity.config);
        if limits != MemoryLimits::NONE {
            core.tuning.set_limits(limits);
            core.page_heap.set_limits(limits);
        }
        // Caches that nobody is going to make stay untouched.
        let thread_caches_limit = config.max_total_thread_cache_bytes as u64;
        if thread_caches_limit != strata_thread_cache::DEFAULT_LIMIT_BYTES {
            core.thread_caches.set_limit(thread_caches_limit);
        }
        if config.misuse == MisuseChoice::Report {
            set_on_misuse(OnMisuse::Report);
        }
        true
    }

    /// What has to wait until the heap can serve: registrations with the C library, which may allocate.
    pub(crate) fn finish_set_up(&self) {
        if !self.finished.load(Ordering::Relaxed) && !self.finished.swap(true, Ordering::Relaxed) {
            crate::fork::register(self);
        }
    }

    /// Gives all memory of a heap back to its source.
    ///
    /// # Safety
    ///
    /// `core` came from `create`, and nobody uses the heap or any of its blocks.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) unsafe fn destroy(core: NonNull<Self>) {
        // SAFETY: `create` made it, and it stands until the end of this function.
        let this = unsafe { core.as_ref() };
        this.end_thread();
        this.assert_ledger();
        crate::fork::unregister(&this.fork_entry);
        this.threads.forget_all(this.slot());
        slots::release(core.cast());
        let source = C::source();
        let own_range = this.identity.own_range;
        let give_back = |range: AddressRange| {
            if !range.is_empty() {
                // SAFETY: the caller's promise: nobody uses anything of the heap.
                let _ = unsafe { source.unreserve(range) };
            }
        };
        give_back(this.cpu.slab_range());
        this.page_heap.for_each_reservation(give_back);
        // Last what the notes of all ranges stand in; each note is read before its range goes.
        this.arena.for_each_range(give_back);
        give_back(own_range);
    }

    /// Where assertions are on, sees that the ledger of a heap that is about to go adds up: so every test that has
    /// a heap ends with this one. (Nobody uses the heap, so that nothing else is on its way.)
    fn assert_ledger(&self) {
        if cfg!(debug_assertions) {
            // Threads that have used the heap may just be ending, and giving their caches back.
            let ends = crate::threads::ENDS.lock();
            let figures = self.figures();
            drop(ends);
            debug_assert_eq!(
                figures.unexplained_bytes(),
                0,
                "mapped bytes in no layer: {figures:?}"
            );
            debug_assert_eq!(
                figures.in_use_difference(),
                0,
                "layers and threads differ about what is in use: {figures:?}"
            );
        }
    }

    /// The options in force, those that changed while the heap ran included.
    pub fn config(&self) -> Config {
        self.tuning.applied_to(self.identity.config)
    }

    /// Which caches stand in front, and why.
    pub fn front_end(&self) -> FrontEnd {
        self.identity.front_end
    }

    /// Who observes the heap's calls, if somebody does.
    #[inline]
    pub fn observer(&self) -> Option<Observer> {
        match self.identity.front_end {
            FrontEnd::Observed(observer) => Some(observer),
            FrontEnd::PerCpu(_) | FrontEnd::PerThread(_) => None,
        }
    }

    /// Makes what the observer needs before the first block. False when there is no memory for it.
    fn prepare_observer(&self) -> bool {
        match self.observer() {
            Some(Observer::Hardened) => self.prepare_hardened(),
            Some(Observer::Recording) => self.prepare_recorder(),
            None => true,
        }
    }

    /// The page heap.
    pub fn page_heap(&self) -> &C::PageHeap {
        &self.page_heap
    }

    /// The transfer caches and central free lists.
    pub fn middle(&self) -> &MiddleTier<C::Pages> {
        &self.middle
    }

    /// The per-CPU caches; not set up if the heap runs per thread.
    pub fn cpu_cache(&self) -> &CpuCache {
        &self.cpu
    }

    /// What the threads' caches share.
    pub fn thread_caches(&self) -> &ThreadCaches<C::Pages> {
        &self.thread_caches
    }

    /// The memory that this structure lies in.
    pub fn own_range(&self) -> AddressRange {
        self.identity.own_range
    }

    /// Who registers threads for restartable sequences.
    pub(crate) fn registration(&self) -> Registration {
        self.identity.registration
    }

    /// Gives what this thread's cache, the CPUs' caches and the transfer caches hold back to the spans, so that
    /// spans of which every object is free go to the page heap; says how many bytes went. What cannot be emptied is
    /// kept; a thread that stops CPUs' caches is waited for, a second at most.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn empty_caches(&self, slot: Slot) -> u64 {
        let middle = self.source_of_objects();
        let mut bytes = 0;
        if let Standing::Cached(_, cache) = self.standing(slot) {
            bytes += cache.held_bytes();
            // SAFETY: the cache is this thread's own.
            unsafe { cache.release_all(&MarkingBack::<C>(self.source_of_objects())) };
        }
        let drain_all = |cpu: &CpuCache| {
            (0..cpu.used_ids()).filter_map(|id| cpu.drain(&middle, id).ok()).sum::<u64>()
        };
        if let Some(_stops) = self.stops.lock_unless_held(FIGURES_PATIENCE_NS) {
            bytes += drain_all(&self.cpu);
        }
        for shard in self.hardened.shards() {
            bytes += shard.empty(&middle, C::Pages::TABLE);
        }
        bytes += self.empty_large_quarantine();
        bytes + middle.drain_all_transfers() as u64
    }

    /// Runs what stops CPUs' caches, where no fork can find one stopped. None if another thread is at it.
    pub(crate) fn with_cpu_cache_stops<R>(&self, work: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let _stops = self.stops.try_lock()?;
        Some(work(&self.cpu))
    }

    /// Waits until nobody stops CPUs' caches: a second at most, and not at all where this thread, in a signal
    /// handler, interrupted itself at it.
    pub(crate) fn await_cpu_cache_stops(&self) {
        drop(self.stops.lock_unless_held(FIGURES_PATIENCE_NS));
    }

    /// Which words of a thread are the heap's.
    pub(crate) fn slot(&self) -> Slot {
        self.identity.slot
    }

    /// The per-CPU caches, if they stand in front.
    pub(crate) fn per_cpu(&self) -> Option<&CpuCache> {
        matches!(self.identity.front_end, FrontEnd::PerCpu(_)).then_some(&self.cpu)
    }

    pub(crate) fn map_ref(&self) -> &PageMap<C::Pages> {
        &self.map
    }

    /// What caches refill from.
    pub(crate) fn source_of_objects(&self) -> Middle<'_, C> {
        let out_bytes = usize::try_from(self.cpu.out_bytes()).unwrap_or(usize::MAX);
        let source = self.middle.with(self, &self.page_heap);
        source.for_one_cache(self.cpu.used_ids() == 1).for_program_of(out_bytes)
    }

    /// Takes every lock, the outermost first: see `docs/ARCHITECTURE.md` for the ranks.
    pub(crate) fn acquire_all(&self) {
        self.recorder.acquire();
        self.background.acquire();
        self.threads.acquire();
        self.stops.acquire();
        self.hardened.acquire();
        self.thread_caches.acquire();
        self.middle.acquire();
        self.page_heap.acquire();
        self.spans.acquire();
        self.arena.acquire();
    }

    /// Gives every lock back.
    ///
    /// # Safety
    ///
    /// This thread took them with [`Self::acquire_all`], or is the child of the thread that did.
    pub(crate) unsafe fn release_all(&self) {
        // SAFETY: `acquire_all` took every lock, in this thread or in the one that forked it, and no guard of any
        // lives.
        unsafe { self.arena.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.spans.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.page_heap.release_lock() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.middle.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.thread_caches.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.hardened.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.stops.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.threads.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.background.release() };
        // SAFETY: `acquire_all` took it.
        unsafe { self.recorder.release() };
    }

    /// The core that an entry of the fork list is part of.
    ///
    /// # Safety
    ///
    /// `core` points to a core of this configuration that stands.
    pub(crate) unsafe fn of_raw<'a>(core: *const c_void) -> &'a Self {
        // SAFETY: the core stands, and is of this configuration, whose layout is therefore its own.
        unsafe { &*core.cast::<Self>() }
    }
}

impl<C: HeapConfig> Platform for Core<C> {
    type Pages = C::Pages;
    type Source = C::Source;
    type Metadata = C::Source;
    type Clock = C::Clock;

    fn source(&self) -> &C::Source {
        C::source()
    }
    fn metadata(&self) -> &C::Source {
        C::source()
    }
    fn clock(&self) -> &C::Clock {
        C::clock()
    }
    fn arena(&self) -> &MetadataArena {
        &self.arena
    }
    fn map(&self) -> &PageMap<C::Pages> {
        &self.map
    }
    fn spans(&self) -> &SpanPool {
        &self.spans
    }
    fn note_left_alone(&self, bytes: usize) {
        self.take_back_deallocated(bytes);
    }
}

impl<C: HeapConfig> core::fmt::Debug for Core<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Core").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
