//! The caches of all CPUs, and the four operations on them.

use crate::{
    CpuWords, Header, RegionSize,
    cpu_state::CpuState,
    fences::{FenceRecord, Fences},
    following::FOLLOWS,
    layout::{Layouts, REGION_BYTES},
    region::RegionChanges,
    rseq::{self, Slabs},
};
use core::ptr::NonNull;
use strata_os::{AddressRange, MapError, PageSource, Purpose, ReserveRequest};
use strata_size_classes::{SizeClass, SizeClassTable};
use strata_sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Which number of the kernel's picks a thread's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum IdKind {
    /// The concurrency id (`mm_cid`): below the number of threads that run at once, so that a process with few
    /// threads fills few caches.
    Concurrency = 1,
    /// The CPU's number.
    Cpu = 2,
}

/// What a cache is set up with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The classes.
    pub table: &'static SizeClassTable,
    /// How many ids there may be: the number of possible CPUs.
    pub ids: u32,
    /// Which number is the id.
    pub id_kind: IdKind,
    /// Where each registered thread has its rseq area, from its thread pointer.
    pub area: isize,
    /// Most bytes of free objects that one CPU's cache may hold.
    pub limit_bytes: usize,
}

/// Free objects in reach of each CPU, taken and given by restartable sequences.
///
/// An operation on a cached class is a handful of instructions: no lock, no atomic
/// read-modify-write. What is missing comes from an [`ObjectSource`](strata_size_classes::ObjectSource) in
/// batches, what is too much goes back to it; each CPU keeps at most the limit it was set up with.
///
/// All zero bits are a cache that is not set up: in it every pop finds nothing and every push no room, but
/// only a thread that [`CpuCache::is_set_up`] answered may call these at all.
#[derive(Debug)]
pub struct CpuCache {
    words: CpuWords,
    /// Written last by `set_up`; publishes everything else.
    ids: AtomicU32,
    id_kind: AtomicU8,
    table: AtomicPtr<SizeClassTable>,
    /// The usual limit, and in its highest bit whether it [follows the program](Self::let_limit_follow_program): see
    /// `following.rs`.
    pub(crate) limit_word: AtomicU64,
    /// What the usual limit was when it was let follow the program. Written once, before there is a second thread.
    pub(crate) followed_from: AtomicU64,
    /// What is left of the limits of CPUs that were never used. Written by slow paths of CPUs that come, or borrow;
    /// below zero for no longer than a new usual limit takes to be spread.
    pub(crate) unused_limit: AtomicI64,
    /// Bytes of the objects that the source handed out and has not got back, over all CPUs, but for what each CPU
    /// counts for itself until it is worth a write. Written by slow paths, read by them for a CPU's allowance.
    pub(crate) out_bytes: AtomicI64,
    /// One more than the greatest id that was ever used, or is about to be. Written by slow paths as CPUs come; read by those who look at all
    /// CPUs, so that nobody touches regions that were never used.
    used_ids: AtomicU32,
    /// How many CPUs were ever used. Written as they come.
    pub(crate) populated_ids: AtomicU32,
    /// The CPU that gives a part of its limit next.
    pub(crate) share_hand: AtomicU32,
    pub(crate) fence_record: FenceRecord,
    pub(crate) layouts: Layouts,
    pub(crate) region_changes: RegionChanges,
}

impl CpuCache {
    /// The limit of a CPU's cache if nobody says otherwise: 1.5 MiB, TCMalloc's since 2022; at half the misses
    /// of batches rise, at twice nothing was gained in the fleet.
    pub const DEFAULT_LIMIT_BYTES: usize = 3 << 19;

    /// What a limit above is taken for: 1 TiB, more than the slots of a region can hold.
    pub const GREATEST_LIMIT_BYTES: usize = 1 << 40;

    /// Whether a cache can be set up at all, for all that is known when compiling: under Linux on x86-64, unless
    /// built with `--cfg strata_no_rseq`.
    pub const IS_SUPPORTED: bool = rseq::IS_SUPPORTED;

    strata_sync::const_fn! {
        /// A cache that is not set up.
        pub const fn new() -> Self {
            Self {
                words: CpuWords::new(),
                ids: AtomicU32::new(0),
                id_kind: AtomicU8::new(0),
                table: AtomicPtr::new(core::ptr::null_mut()),
                limit_word: AtomicU64::new(0),
                followed_from: AtomicU64::new(0),
                unused_limit: AtomicI64::new(0),
                out_bytes: AtomicI64::new(0),
                used_ids: AtomicU32::new(0),
                populated_ids: AtomicU32::new(0),
                share_hand: AtomicU32::new(0),
                fence_record: FenceRecord::new(),
                layouts: Layouts::new(),
                region_changes: RegionChanges::new(),
            }
        }
    }

    /// Reserves a region for each id and makes the cache ready. Called once; nothing is touched yet, a CPU's
    /// first use pays for its own pages.
    ///
    /// # Errors
    ///
    /// The source's, where it has no address space or memory; `ENOSYS` where caches are not supported.
    ///
    /// # Safety
    ///
    /// `setup.area` is where every thread that will call the operations has a registered rseq
    /// area, whose id is always below `setup.ids`. Nobody uses the cache before this returns.
    pub unsafe fn set_up<S: PageSource>(&self, source: &S, setup: Setup) -> Result<(), MapError> {
        self.prepare(source, &setup)?;
        self.fence_record.note(self.slabs().announce_fences());
        // Release pairs with the acquire in `ids`.
        self.ids.store(setup.ids, Ordering::Release);
        Ok(())
    }

    /// The same for caches that one thread uses for all ids, as a simulation does: nobody has to be kept out of a
    /// cache that is stopped, so that no kernel is asked for fences.
    ///
    /// # Errors
    ///
    /// As for [`set_up`](Self::set_up).
    ///
    /// # Safety
    ///
    /// As for [`set_up`](Self::set_up), but that the area needs to be registered with nobody; and only one thread
    /// calls any method that takes objects, gives them, or stops caches.
    pub unsafe fn set_up_for_one_thread<S: PageSource>(
        &self,
        source: &S,
        setup: Setup,
    ) -> Result<(), MapError> {
        self.prepare(source, &setup)?;
        self.fence_record.note(Fences::Needless);
        // Release pairs with the acquire in `ids`.
        self.ids.store(setup.ids, Ordering::Release);
        Ok(())
    }

    /// All of it but the last word, which says that it is ready.
    fn prepare<S: PageSource>(&self, source: &S, setup: &Setup) -> Result<(), MapError> {
        let bytes = (setup.ids as usize).saturating_mul(REGION_BYTES);
        if !Self::IS_SUPPORTED {
            return Err(MapError::unsupported(bytes));
        }
        let align = source.page_bytes();
        let reservation =
            source.reserve(ReserveRequest { bytes, align, purpose: Purpose::Slabs })?;
        if !reservation.committed
            && let Err(error) = source.commit(reservation.range)
        {
            // SAFETY: the range was just reserved and nobody knows it.
            let _ = unsafe { source.unreserve(reservation.range) };
            return Err(error);
        }
        self.layouts.prepare(RegionSize::LEAST, setup.table);
        let id_offset = match setup.id_kind {
            IdKind::Concurrency => strata_os::rseq::MM_CID,
            IdKind::Cpu => strata_os::rseq::CPU_ID,
        };
        self.id_kind.store(setup.id_kind as u8, Ordering::Relaxed);
        self.table.store(core::ptr::from_ref(setup.table).cast_mut(), Ordering::Relaxed);
        let limit_bytes = setup.limit_bytes.min(Self::GREATEST_LIMIT_BYTES);
        self.limit_word.store(limit_bytes as u64, Ordering::Relaxed);
        let all = self.usual_limit() * i64::from(setup.ids);
        self.unused_limit.store(all, Ordering::Relaxed);
        let base = core::ptr::with_exposed_provenance_mut(reservation.range.start);
        self.slabs().set_up(base, setup.ids, setup.area, id_offset);
        Ok(())
    }

    /// Whether the cache is ready.
    pub fn is_set_up(&self) -> bool {
        self.ids() != 0
    }

    /// The words that its operations read.
    pub fn words(&self) -> &CpuWords {
        &self.words
    }

    /// Takes a free object of `class`; null if this CPU has none.
    ///
    /// # Safety
    ///
    /// The cache is set up, and this thread's rseq area is registered where `set_up` was told.
    #[inline(always)]
    pub unsafe fn pop(&self, class: SizeClass) -> *mut u8 {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        unsafe { self.words.pop(class) }
    }

    /// Gives a free object of `class` to this CPU; false if it has no room.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`]; and `object` is the caller's to give, an object of that class.
    #[inline(always)]
    pub unsafe fn push(&self, class: SizeClass, object: *mut u8) -> bool {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq; the object is free, of
        // this class, and nobody else has it.
        unsafe { self.words.push(class, object) }
    }

    /// Takes up to `out.len()` objects of `class` from this CPU, in the order in which [`pop`](Self::pop) would;
    /// says how many.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`].
    pub unsafe fn pop_batch(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        // SAFETY: the cache is set up and this thread registered, as the caller promises; the buffer is as long as
        // said.
        unsafe { rseq::pop_batch(self.slabs(), class.index(), out.as_mut_ptr(), out.len()) }
    }

    /// Gives objects of `class` to this CPU, from the front, as far as it has room; says how many. They are taken in the
    /// order in which they stand there: neighbours in memory that a source lists upwards are handed out upwards.
    ///
    /// # Safety
    ///
    /// As for [`Self::push`].
    pub unsafe fn push_batch(&self, class: SizeClass, objects: &[*mut u8]) -> usize {
        // SAFETY: set up and registered, and the objects are the caller's to give; the buffer is as long as said.
        unsafe { rseq::push_batch(self.slabs(), class.index(), objects.as_ptr(), objects.len()) }
    }

    /// Which id this thread has at the moment.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`].
    pub unsafe fn current_id(&self) -> u32 {
        // SAFETY: the regions stand since `set_up`, and this thread is registered for rseq, which it stays until it
        // ends.
        unsafe { rseq::current_id(self.slabs()) }
    }

    /// How many ids there may be; 0 before the cache is set up.
    pub fn ids(&self) -> u32 {
        // Acquire pairs with the release in `set_up`.
        self.ids.load(Ordering::Acquire)
    }

    /// Which number is the id; none before the cache is set up.
    pub fn id_kind(&self) -> Option<IdKind> {
        match self.id_kind.load(Ordering::Relaxed) {
            1 => Some(IdKind::Concurrency),
            2 => Some(IdKind::Cpu),
            _ => None,
        }
    }

    /// Most bytes that one CPU's cache may hold, unless limits moved between CPUs: the usual limit, as it is now.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_word.load(Ordering::Relaxed) & !FOLLOWS
    }

    /// The regions of all ids; empty before the cache is set up.
    pub fn slab_range(&self) -> AddressRange {
        let start = self.slabs().base().expose_provenance();
        AddressRange::new(start, self.ids() as usize * REGION_BYTES)
    }

    pub(crate) fn slabs(&self) -> &Slabs {
        &self.words.0
    }

    /// Lets every section that is underway on `id` end.
    pub(crate) fn fence(&self, id: u32) -> bool {
        if self.fences() == Fences::Needless {
            return true;
        }
        let cpu = (self.id_kind() == Some(IdKind::Cpu)).then_some(id);
        let fences = self.slabs().fence(cpu);
        self.fence_record.note(fences);
        fences != Fences::Refused
    }

    /// One more than the greatest id that was ever used.
    pub fn used_ids(&self) -> u32 {
        self.used_ids.load(Ordering::Relaxed)
    }

    /// Notes that a CPU is used.
    pub(crate) fn populate(&self, state: &CpuState, id: u32) {
        if !state.is_populated() {
            // First: in the child of a fork no thread may be there to do it, and nobody would look at the CPU.
            self.used_ids.fetch_max(id.saturating_add(1), Ordering::Relaxed);
            self.add_limit(state);
        }
    }

    /// Where the region of `id` lies; empty if there is no such id.
    pub(crate) fn region_range(&self, id: u32) -> AddressRange {
        if id >= self.ids() {
            return AddressRange::new(0, 0);
        }
        AddressRange::new(self.slab_range().start + id as usize * REGION_BYTES, REGION_BYTES)
    }

    pub(crate) fn table(&self) -> Option<&'static SizeClassTable> {
        let table = NonNull::new(self.table.load(Ordering::Relaxed))?;
        // SAFETY: `set_up` stored a `&'static` here.
        Some(unsafe { table.as_ref() })
    }

    /// The state of `id`'s cache; none if there is no such id.
    pub(crate) fn state(&self, id: u32) -> Option<&CpuState> {
        if id >= self.ids() {
            return None;
        }
        // SAFETY: there are as many regions as ids.
        unsafe { self.slabs().state(id) }
    }

    /// The header of `class` on `id`; none if there is no such id.
    pub(crate) fn header_word(&self, id: u32, class: SizeClass) -> Option<&AtomicU64> {
        if id >= self.ids() {
            return None;
        }
        // SAFETY: there are as many regions as ids.
        unsafe { self.slabs().header_word(id, class) }
    }

    /// The header of `class` on `id`, as it is at some moment.
    pub(crate) fn header(&self, id: u32, class: SizeClass) -> Header {
        self.header_word(id, class)
            .map_or(Header::default(), |word| Header::from_bits(word.load(Ordering::Relaxed)))
    }

    /// The slot `index` of `id`'s region; none if there is no such id or slot.
    pub(crate) fn slot(&self, id: u32, index: usize) -> Option<&AtomicPtr<u8>> {
        if id >= self.ids() {
            return None;
        }
        // SAFETY: there are as many regions as ids.
        unsafe { self.slabs().slot(id, index) }
    }

    /// What stands in the slot `index` of `id`'s region; null if there is no such id or slot.
    pub(crate) fn object_in(&self, id: u32, index: usize) -> *mut u8 {
        self.slot(id, index).map_or(core::ptr::null_mut(), |slot| slot.load(Ordering::Relaxed))
    }
}

impl Default for CpuCache {
    fn default() -> Self {
        Self::new()
    }
}
