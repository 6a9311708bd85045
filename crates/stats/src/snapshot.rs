//! The figures of all layers of a heap at about one moment.

use crate::{ClassTable, CpuTable};
use strata_alloc::{Config, Core, HeapConfig, HeapFigures};
use strata_cpu_cache::REGION_BYTES;
use strata_os::{AddressRange, Clock, PageSource, ProcessMemory, process_memory};
use strata_span::Platform;

/// The figures of all layers of a heap, those of single classes and CPUs included; 20 KiB, on the stack.
///
/// Each layer's part is consistent in itself; the parts are read one after the other, so that what moves
/// between layers meanwhile may be counted twice or not at all. At rest the sum is exact. Sums
/// over classes and CPUs are those of the tables, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// What the kernel counts as the process's; none where it does not tell.
    pub process: Option<ProcessMemory>,
}

impl Snapshot {
    /// The present form; it changes when a field changes its meaning.
    pub const VERSION: u32 = 1;

    /// Reads every layer of a heap, without stopping threads and without allocation, from any thread.
    ///
    /// Costs some locks a class, held for a few instructions, a load for each class and CPU, and some ten system calls.
    pub fn take<C: HeapConfig>(core: &Core<C>) -> Self {
        // The kernel first: reading figures of CPUs that were never used maps the page of zeros there, which
        // some kernels count.
        let slab_resident_bytes = resident_bytes(core, core.cpu_cache().slab_range());
        let core_resident_bytes = resident_bytes(core, core.own_range());
        let process = process_memory();
        let mut heap = core.figures();
        let cpus = CpuTable::read(core, heap.threads.threads, &mut heap.cpu);
        let classes = ClassTable::read(core);
        classes.sum_into(&mut heap.middle, heap.page_bytes);
        heap.thread_caches.held_bytes = classes.bytes_of(|class| class.thread_objects);
        Self {
            version: Self::VERSION,
            taken_ns: core.clock().now_ns(),
            config: core.config(),
            heap,
            classes,
            cpus,
            slab_resident_bytes: slab_resident_bytes.unwrap_or_else(|| used_slab_bytes(&cpus)),
            core_resident_bytes: core_resident_bytes.unwrap_or(heap.core_bytes),
            process,
        }
    }
}

/// Bytes of `range` in memory or swap, if the source can tell.
fn resident_bytes<C: HeapConfig>(core: &Core<C>, range: AddressRange) -> Option<u64> {
    if range.is_empty() {
        return Some(0);
    }
    let residency = core.source().residency(range).ok()?;
    let bytes = residency.resident_bytes.saturating_add(residency.swapped_bytes);
    Some(bytes.min(range.bytes) as u64)
}

/// The most that the slabs can have touched: the regions of all CPUs that were used.
pub(crate) fn used_slab_bytes(cpus: &CpuTable) -> u64 {
    (cpus.populated() as u64 + cpus.more.caches) * REGION_BYTES as u64
}
