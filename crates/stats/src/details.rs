//! What only the newer form of the report has lines for: how each class's spans, transfer cache and capacities are used, and
//! how often each CPU's cache missed.

use crate::CpuTable;
use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_central::{
    OCCUPANCY_LISTS, SPANS_A_BATCH_BUCKETS, SpanCounts, TransferStats, UTILIZATION_BUCKETS,
};
use strata_cpu_cache::RegionSize;
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};

/// How the layers of one size class are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClassDetails {
    /// Objects that one span is cut into.
    pub objects_per_span: u64,
    /// The transfer cache.
    pub transfer: TransferDetails,
    /// The capacities of the class in per-CPU caches.
    pub capacity: CapacityDetails,
    /// Objects that were popped from per-CPU caches.
    pub popped_objects: u64,
    /// Spans with free objects and objects out, by the list that they are on, the fullest spans first.
    pub occupancy: [u32; OCCUPANCY_LISTS],
    /// Spans with objects out: entry `i` counts those with at least `2^i` out and fewer than `2^(i+1)`.
    pub utilization: [u32; UTILIZATION_BUCKETS],
    /// Batches by the spans that filled them: 1, 2, up to 4, 8, 16, 32, 64, and more.
    pub spans_a_batch: [u32; SPANS_A_BATCH_BUCKETS],
}

/// What a transfer cache may hold, and how often that was enough; counts of calls unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TransferDetails {
    /// Objects that it may hold now.
    pub capacity_objects: u64,
    /// Objects that its capacity may become; 0 before its first use.
    pub greatest_capacity_objects: u64,
    /// Put in all they brought.
    pub insert_hits: u64,
    /// Did not.
    pub insert_misses: u64,
    /// Objects for which there was no room.
    pub insert_missed_objects: u64,
    /// Took all they wanted.
    pub remove_hits: u64,
    /// Did not.
    pub remove_misses: u64,
    /// Objects that were wanted and there.
    #[serde(default)]
    pub removed_objects: u64,
    /// Objects that were wanted and not there.
    pub remove_missed_objects: u64,
}

/// The capacities that a class has in the caches of the CPUs that were used; in objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CapacityDetails {
    /// How many caches these are.
    pub caches: u64,
    /// The least.
    pub least: u64,
    /// All of them together.
    pub sum: u64,
    /// The greatest.
    pub greatest: u64,
    /// Most that one may become.
    pub allowed: u64,
}

impl CapacityDetails {
    /// The mean capacity; 0 where no cache was used.
    pub fn mean(&self) -> f64 {
        if self.caches == 0 { 0.0 } else { self.sum as f64 / self.caches as f64 }
    }

    fn add(&mut self, capacity: u64) {
        self.least = if self.caches == 0 { capacity } else { self.least.min(capacity) };
        self.greatest = self.greatest.max(capacity);
        self.sum += capacity;
        self.caches += 1;
    }
}

impl ClassDetails {
    const NONE: Self = Self {
        objects_per_span: 0,
        transfer: TransferDetails {
            capacity_objects: 0,
            greatest_capacity_objects: 0,
            insert_hits: 0,
            insert_misses: 0,
            insert_missed_objects: 0,
            remove_hits: 0,
            remove_misses: 0,
            removed_objects: 0,
            remove_missed_objects: 0,
        },
        capacity: CapacityDetails { caches: 0, least: 0, sum: 0, greatest: 0, allowed: 0 },
        popped_objects: 0,
        occupancy: [0; OCCUPANCY_LISTS],
        utilization: [0; UTILIZATION_BUCKETS],
        spans_a_batch: [0; SPANS_A_BATCH_BUCKETS],
    };

    /// The share of pops that needed nobody behind the per-CPU caches; 0 before the first.
    pub fn front_end_hit_rate(&self) -> f64 {
        let asked = self.transfer.remove_hits.wrapping_add(self.transfer.remove_misses);
        if self.popped_objects == 0 {
            return 0.0;
        }
        self.popped_objects.saturating_sub(asked) as f64 / self.popped_objects as f64
    }
}

/// How often one CPU's cache missed, and what was done about it; counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CpuMisses {
    /// Pops that found nothing.
    pub underflows: u64,
    /// Pushes that found no room.
    pub overflows: u64,
    /// Times that it was emptied from outside.
    pub drains: u64,
    /// Times that capacity moved between its classes.
    pub resizes: u64,
    /// Bytes of its region; 0 if it was never used.
    pub region_bytes: u64,
    /// Times that its region became longer or shorter.
    pub region_resizes: u64,
}

impl CpuMisses {
    const NONE: Self = Self {
        underflows: 0,
        overflows: 0,
        drains: 0,
        resizes: 0,
        region_bytes: 0,
        region_resizes: 0,
    };
}

/// How often regions of per-CPU caches came to have one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SlabChanges {
    /// The length, in bytes.
    pub region_bytes: u64,
    /// Times that a shorter one became so long.
    pub growths: u64,
    /// Times that a longer one became so short.
    pub shrinkages: u64,
}

/// The details of a heap: 37 KiB, on the stack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Details {
    #[serde(with = "strata_page_heap::sparse")]
    classes: [ClassDetails; CLASS_SLOTS],
    class_count: usize,
    #[serde(with = "strata_page_heap::sparse")]
    cpus: [CpuMisses; CpuTable::LINES],
    cpu_count: usize,
    /// The lengths that regions of per-CPU caches can have, the shortest first.
    #[serde(default)]
    pub slabs: [SlabChanges; RegionSize::COUNT],
    /// Bytes behind such regions that the kernel did not take back.
    #[serde(default)]
    pub slab_refused_bytes: u64,
}

impl Details {
    /// No details.
    pub const EMPTY: Self = Self {
        classes: [ClassDetails::NONE; CLASS_SLOTS],
        class_count: 0,
        cpus: [CpuMisses::NONE; CpuTable::LINES],
        cpu_count: 0,
        slabs: [SlabChanges { region_bytes: 0, growths: 0, shrinkages: 0 }; RegionSize::COUNT],
        slab_refused_bytes: 0,
    };

    /// Reads a heap's, from any thread, without allocation. Costs two locks a class, held for a few instructions, and a load for
    /// each class and CPU. Not from a signal handler: it may have interrupted the holder of one of the locks.
    pub fn take<C: HeapConfig>(core: &Core<C>) -> Self {
        let mut details = Self::EMPTY;
        details.read(core);
        details
    }

    /// The classes with their numbers, from 1 on.
    pub fn classes(&self) -> impl Iterator<Item = (usize, &ClassDetails)> {
        self.classes.iter().enumerate().take(self.class_count).skip(1)
    }

    /// The first [`CpuTable::LINES`] caches, by id.
    pub fn cpus(&self) -> impl Iterator<Item = (usize, &CpuMisses)> {
        self.cpus.iter().enumerate().take(self.cpu_count)
    }

    /// Enters the details of a class. (For snapshots that are made by hand.)
    pub fn set_class(&mut self, class: SizeClass, details: ClassDetails) {
        if let Some(place) = self.classes.get_mut(class.index()) {
            *place = details;
            self.class_count = self.class_count.max(class.index() + 1);
        }
    }

    /// Adds the cache of the next id; those behind the last line are left out.
    pub fn push_cpu(&mut self, misses: CpuMisses) {
        if let Some(line) = self.cpus.get_mut(self.cpu_count) {
            *line = misses;
            self.cpu_count += 1;
        }
    }

    /// Reads a heap's details in place.
    pub(crate) fn read<C: HeapConfig>(&mut self, core: &Core<C>) {
        for class in C::Pages::TABLE.classes() {
            self.set_class(class, read_class(core, class));
        }
        let regions = core.cpu_cache().region_stats();
        self.slabs = regions.map(|region| SlabChanges {
            region_bytes: region.bytes,
            growths: region.growths,
            shrinkages: region.shrinkages,
        });
        self.slab_refused_bytes = core.cpu_cache().refused_bytes();
        for id in 0..core.cpu_cache().ids() {
            let stats = core.cpu_cache().cpu_stats(id);
            self.push_cpu(CpuMisses {
                underflows: stats.underflows,
                overflows: stats.overflows,
                drains: stats.drains,
                resizes: stats.resizes,
                region_bytes: stats.region_bytes,
                region_resizes: stats.region_resizes,
            });
        }
    }
}

fn read_class<C: HeapConfig>(core: &Core<C>, class: SizeClass) -> ClassDetails {
    let stats = core.middle().class_stats(class);
    let SpanCounts { occupancy, utilization, spans_a_batch } =
        core.middle().central(class).span_counts();
    let mut details = ClassDetails {
        objects_per_span: stats.central.objects_per_span,
        transfer: transfer_details(&stats.transfer),
        occupancy: occupancy.map(|spans| u32::try_from(spans).unwrap_or(u32::MAX)),
        utilization,
        spans_a_batch,
        ..ClassDetails::NONE
    };
    let cache = core.cpu_cache();
    details.capacity.allowed = cache.greatest_capacity(class);
    for id in 0..cache.ids() {
        if cache.is_populated(id) {
            details.capacity.add(cache.capacity(id, class));
            details.popped_objects += u64::from(cache.pops(id, class));
        }
    }
    details
}

fn transfer_details(stats: &TransferStats) -> TransferDetails {
    TransferDetails {
        capacity_objects: stats.capacity,
        greatest_capacity_objects: stats.max_capacity,
        insert_hits: stats.insert_hits,
        insert_misses: stats.insert_misses,
        insert_missed_objects: stats.insert_object_misses,
        remove_hits: stats.remove_hits,
        remove_misses: stats.remove_misses,
        removed_objects: stats.remove_object_hits,
        remove_missed_objects: stats.remove_object_misses,
    }
}
