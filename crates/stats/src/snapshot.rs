//! The figures of all layers of a heap at about one moment.

use crate::{ClassTable, CpuTable};
use serde::{Deserialize, Serialize};
use strata_alloc::{Config, Core, FrontEnd, HeapConfig, HeapFigures, WhyPerThread};
use strata_cpu_cache::Fences;
use strata_os::{AddressRange, Clock, PageSource, ProcessMemory, process_memory};
use strata_page_heap::copy_into_place;
use strata_span::Platform;

/// The figures of all layers of a heap, those of single classes and CPUs included; 20 KiB.
/// [`with_snapshot`](crate::with_snapshot) keeps it off the stack.
///
/// Each layer's part is consistent in itself; the parts are read one after the other, so that what moves
/// between layers meanwhile may be counted twice or not at all. At rest the sum is exact. Sums
/// over classes and CPUs are those of the tables, always.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::Snapshot;
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// let block = heap.allocate(48);
/// let snapshot = Snapshot::take(heap.core().expect("the first block set it up"));
/// let (_, class) = snapshot.classes.iter().find(|(_, class)| class.object_bytes == 48).expect("a class");
/// assert_eq!(class.objects_in_use(), 1);
/// # // SAFETY: the block is ours.
/// # unsafe { heap.deallocate(block) };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The form of the snapshot: [`Self::VERSION`].
    pub version: u32,
    /// When it was taken, by the heap's clock, in nanoseconds.
    pub taken_ns: u64,
    /// What the heap was configured with.
    pub config: Config,
    /// Every layer.
    pub heap: HeapFigures,
    /// Every size class.
    pub classes: ClassTable,
    /// Every per-CPU cache.
    pub cpus: CpuTable,
    /// Bytes of the per-CPU slabs that stand in memory or swap.
    pub slab_resident_bytes: u64,
    /// Bytes of the heap's own structure that stand in memory or swap.
    pub core_resident_bytes: u64,
    /// CPUs that the thread which took it may run on, as a number.
    pub allowed_cpus: u32,
    /// What the kernel counts as the process's; none where it does not tell.
    pub process: Option<ProcessMemory>,
}

impl Snapshot {
    /// The present form; it changes when a field changes its meaning.
    pub const VERSION: u32 = 1;

    /// No figures: to be [read](Self::read) in place.
    pub const EMPTY: Self = Self {
        version: Self::VERSION,
        taken_ns: 0,
        config: Config::DEFAULT,
        heap: NO_FIGURES,
        classes: ClassTable::EMPTY,
        cpus: CpuTable::EMPTY,
        slab_resident_bytes: 0,
        core_resident_bytes: 0,
        allowed_cpus: 0,
        process: None,
    };

    /// Reads every layer of a heap, without stopping threads and without allocation, from any thread, and from a
    /// signal handler whatever it interrupted (see [`is_complete`](Self::is_complete); where that made another
    /// thread wait with a lock, it takes a second longer, however many locks that keeps from it).
    ///
    /// Costs some locks a class, held for a few instructions, a load for each class and CPU, and some ten system calls.
    pub fn take<C: HeapConfig>(core: &Core<C>) -> Self {
        let mut snapshot = Self::EMPTY;
        snapshot.read(core);
        snapshot
    }

    /// The same in place, whatever stands there: for who has little stack, of which this needs some 4 KiB.
    ///
    /// The background work stands still meanwhile, so that it moves nothing from what was read to what will be. The
    /// kernel is asked first: reading figures of CPUs that were never used maps the page of zeros there, which some
    /// kernels count.
    #[inline(never)]
    pub fn read<C: HeapConfig>(&mut self, core: &Core<C>) {
        let _still = core.hold_background();
        let own_range = core.own_range();
        let slab_bytes = resident_bytes(core, core.cpu_cache().slab_range());
        self.version = Self::VERSION;
        self.core_resident_bytes =
            resident_bytes(core, own_range).unwrap_or(own_range.bytes as u64);
        self.taken_ns = core.clock().now_ns();
        self.config = core.config();
        self.process = process_memory();
        self.allowed_cpus = strata_os::allowed_cpus();
        self.heap = core.figures_without_cpu_caches();
        self.read_tables(core);
        self.slab_resident_bytes = slab_bytes.unwrap_or(self.heap.cpu.region_bytes);
    }

    /// Whether every list could be read. Otherwise it was taken in a signal handler that interrupted the holder of
    /// a lock, and `is_unknown` stands with what could not: then what thread caches or a hardened heap's quarantine
    /// hold counts as in use, or the threads' count of what is in use is too low, or what the metadata arena has
    /// not handed out is unexplained, or the figures of a class are of no one moment.
    pub const fn is_complete(&self) -> bool {
        self.heap.is_complete()
    }

    /// Objects of size classes that the application has.
    pub fn objects_in_use(&self) -> u64 {
        self.classes.iter().fold(0, |sum, (_, class)| sum.wrapping_add(class.objects_in_use()))
    }

    /// Blocks of the application that are spans of their own.
    pub fn large_blocks(&self) -> u64 {
        self.heap.page_heap.spans_in_use.saturating_sub(self.heap.middle.spans_in_use)
    }

    /// How much of what the application has is padding that it did not ask for, inside of in use: an estimate.
    ///
    /// What programs ask for is not recorded; taken is that sizes are spread evenly between one class and the next smaller
    /// one, and ends of large blocks over their last pages.
    pub fn slack_estimate_bytes(&self) -> u64 {
        let mut smaller = 0;
        let small: u64 = self
            .classes
            .iter()
            .map(|(_, class)| {
                let most = class.object_bytes.saturating_sub(smaller).saturating_sub(1);
                smaller = class.object_bytes;
                class.objects_in_use().saturating_mul(most) / 2
            })
            .fold(0, u64::saturating_add);
        small.saturating_add(self.large_blocks().saturating_mul(self.heap.page_bytes) / 2)
    }

    fn read_tables<C: HeapConfig>(&mut self, core: &Core<C>) {
        let Self { heap, classes, cpus, .. } = self;
        copy_into_place(classes, &ClassTable::EMPTY);
        heap.middle.is_unknown |= !classes.read(core);
        copy_into_place(cpus, &CpuTable::EMPTY);
        cpus.read(core, heap.threads.threads, &mut heap.cpu, classes);
        classes.sum_into(&mut heap.middle, heap.page_bytes);
        heap.thread_caches.held_bytes = classes.bytes_of(|class| class.thread_objects);
    }
}

macro_rules! zeros {
    () => {
        // SAFETY: plain figures, each of which may be 0. In a constant: one with an invalid value would not compile.
        unsafe { core::mem::zeroed() }
    };
}

/// What stands in a snapshot that was not read.
const NO_FIGURES: HeapFigures = HeapFigures {
    front_end: FrontEnd::PerThread(WhyPerThread::Asked),
    fences: Fences::Unknown,
    mapped_anew: 0,
    page_bytes: 0,
    page_heap: zeros!(),
    middle: zeros!(),
    cpu: zeros!(),
    slab_reserved_bytes: 0,
    thread_caches: zeros!(),
    hardened_bytes: 0,
    hardened_is_unknown: false,
    threads: zeros!(),
    large: zeros!(),
    arena: zeros!(),
    map: zeros!(),
    spans: zeros!(),
    core_bytes: 0,
    background: zeros!(),
};

/// Bytes of `range` in memory or swap, if the source can tell.
fn resident_bytes<C: HeapConfig>(core: &Core<C>, range: AddressRange) -> Option<u64> {
    if range.is_empty() {
        return Some(0);
    }
    let residency = core.source().residency(range).ok()?;
    let bytes = residency.resident_bytes.saturating_add(residency.swapped_bytes);
    Some(bytes.min(range.bytes) as u64)
}
