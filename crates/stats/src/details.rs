//! What only the newer form of the report has lines for: how each class's spans, transfer cache and capacities are
//! used, and how often each CPU's cache missed.

use crate::{Backing, CpuTable};
use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_central::{
    OCCUPANCY_LISTS, SAME_SPAN_BUCKETS, SPANS_A_BATCH_BUCKETS, SpanCounts, TransferStats,
    UTILIZATION_BUCKETS,
};
use strata_cpu_cache::RegionSize;
use strata_os::{Clock, NodeMemory, for_each_node};
use strata_page_heap::{LIFETIME_BUCKETS, Temperature, count_lifetime};
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};
use strata_span::{HUGEPAGE_BYTES, Platform, SpanPlace};

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
    /// How long spans have had their objects, and how objects come back to them; none in what was written before
    /// this was kept.
    #[serde(default)]
    pub spans: Option<SpanDetails>,
    /// How the class missed in per-CPU caches; none in what was written before this was kept.
    #[serde(default)]
    pub misses: Option<ClassMissDetails>,
}

/// How long the spans of a class live, and how objects come back to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SpanDetails {
    /// Spans that hold objects now, by how long they have: see
    /// [`LIFETIME_BOUNDS_MS`](strata_page_heap::LIFETIME_BOUNDS_MS).
    pub live_lifetimes: [u32; LIFETIME_BUCKETS],
    /// Spans that went back to the page heap, by how long they had.
    pub completed_lifetimes: [u32; LIFETIME_BUCKETS],
    /// Objects that came back to one span in a row, by how many these were: runs of 1, 2, up to 32.
    pub same_span_returns: [u32; SAME_SPAN_BUCKETS],
}

/// How a class missed in per-CPU caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ClassMissDetails {
    /// Misses on CPUs that had all the slots for the class that their region has.
    pub at_greatest_capacity: u64,
    /// When it last underflowed, on the CPUs on which it ever did; none if it never did.
    pub underflow: Option<MissAges>,
    /// When it last overflowed, on the CPUs on which it ever did; none if it never did.
    pub overflow: Option<MissAges>,
}

/// On which CPU something was last, and on which its last time is longest ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MissAges {
    /// How long ago it was, to 17 ms.
    pub latest_ns: u64,
    /// The cache's id.
    pub latest_id: u32,
    /// How long ago it was on the CPU on which it is longest ago.
    pub earliest_ns: u64,
    /// The cache's id.
    pub earliest_id: u32,
}

impl MissAges {
    /// Takes in how long ago it was on another CPU.
    fn add(ages: &mut Option<Self>, age_ns: Option<u64>, id: u32) {
        let Some(age_ns) = age_ns else { return };
        let first = Self { latest_ns: age_ns, latest_id: id, earliest_ns: age_ns, earliest_id: id };
        let ages = ages.get_or_insert(first);
        if age_ns < ages.latest_ns {
            (ages.latest_ns, ages.latest_id) = (age_ns, id);
        }
        if age_ns > ages.earliest_ns {
            (ages.earliest_ns, ages.earliest_id) = (age_ns, id);
        }
    }
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
        spans: None,
        misses: None,
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

/// The details of a heap: some 85 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// What the kernel has of the hugepages that spans share; none where it does not tell.
    #[serde(default)]
    pub backing: Option<Backing>,
    /// Free memory of the machine, by NUMA node: the first [`Details::NODES`].
    #[serde(default, with = "strata_page_heap::sparse")]
    nodes: [NodeMemory; Details::NODES],
    #[serde(default)]
    node_count: usize,
}

impl Details {
    /// NUMA nodes that are told of.
    pub const NODES: usize = 16;

    /// No details.
    pub const EMPTY: Self = Self {
        classes: [ClassDetails::NONE; CLASS_SLOTS],
        class_count: 0,
        cpus: [CpuMisses::NONE; CpuTable::LINES],
        cpu_count: 0,
        slabs: [SlabChanges { region_bytes: 0, growths: 0, shrinkages: 0 }; RegionSize::COUNT],
        slab_refused_bytes: 0,
        backing: None,
        nodes: [NodeMemory { node: 0, free_bytes: 0, whole_bytes: 0 }; Self::NODES],
        node_count: 0,
    };

    /// Reads a heap's, from any thread, without allocation. Costs two locks a class, held for a few instructions,
    /// some loads for each class and CPU, a look at each span, a question to the kernel for each hugepage that
    /// spans share (some microseconds), and a file of the kernel's. Not from a signal handler: it may have
    /// interrupted the holder of one of the locks.
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

    /// Whether it is known how long spans have had their objects.
    pub(crate) fn has_spans(&self) -> bool {
        self.classes().any(|(_, class)| class.spans.is_some())
    }

    /// Free memory of the machine's NUMA nodes; of none where the kernel does not tell.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeMemory> {
        self.nodes.iter().take(self.node_count)
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
    #[inline(never)]
    pub(crate) fn read<C: HeapConfig>(&mut self, core: &Core<C>) {
        for class in C::Pages::TABLE.classes() {
            self.set_class(class, read_class(core, class));
        }
        self.read_live_spans(core);
        Backing::read(&mut self.backing, core, Temperature::Normal);
        // Where the kernel does not tell, there are no lines about it.
        let _ = for_each_node(HUGEPAGE_BYTES, |node| {
            if let Some(place) = self.nodes.get_mut(self.node_count) {
                *place = node;
                self.node_count += 1;
            }
        });
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

impl Details {
    /// Counts the spans that hold objects, by how long they have.
    fn read_live_spans<C: HeapConfig>(&mut self, core: &Core<C>) {
        let now_ns = core.clock().now_ns();
        core.map().for_each_span(|span| {
            let class = span.class();
            if class.is_none() || span.place() != SpanPlace::InUse {
                return;
            }
            let details = self.classes.get_mut(class.index());
            if let Some(spans) = details.and_then(|details| details.spans.as_mut()) {
                count_lifetime(&mut spans.live_lifetimes, span.age_ms(now_ns));
            }
        });
    }
}

fn read_class<C: HeapConfig>(core: &Core<C>, class: SizeClass) -> ClassDetails {
    let stats = core.middle().class_stats(class);
    let SpanCounts {
        occupancy,
        utilization,
        spans_a_batch,
        completed_lifetimes,
        same_span_returns,
    } = core.middle().central(class).span_counts();
    let live_lifetimes = [0; LIFETIME_BUCKETS];
    let mut details = ClassDetails {
        objects_per_span: stats.central.objects_per_span,
        transfer: transfer_details(&stats.transfer),
        occupancy: occupancy.map(|spans| u32::try_from(spans).unwrap_or(u32::MAX)),
        utilization,
        spans_a_batch,
        spans: Some(SpanDetails { live_lifetimes, completed_lifetimes, same_span_returns }),
        ..ClassDetails::NONE
    };
    let cache = core.cpu_cache();
    let misses = details.misses.insert(ClassMissDetails::default());
    details.capacity.allowed = cache.greatest_capacity(class);
    for id in 0..cache.ids() {
        if cache.is_populated(id) {
            details.capacity.add(cache.capacity(id, class));
            details.popped_objects += u64::from(cache.pops(id, class));
            let on_this = cache.class_misses(id, class);
            misses.at_greatest_capacity += u64::from(on_this.at_greatest_capacity);
            MissAges::add(&mut misses.underflow, on_this.underflow_age_ns, id);
            MissAges::add(&mut misses.overflow, on_this.overflow_age_ns, id);
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
