//! What each CPU's cache holds and did.

use crate::CpuCache;
use strata_size_classes::SizeClass;
use strata_sync::atomic::Ordering;

/// The figures of one CPU's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CpuStats {
    /// Bytes of free objects in it.
    pub held_bytes: u64,
    /// Bytes of its limit that no class's capacity takes up.
    pub unallocated_bytes: u64,
    /// Bytes that its classes' capacities take up: held and empty.
    pub capacity_bytes: u64,
    /// Bytes that its capacities may take up now: `capacity + available`, at rest exactly.
    pub granted_bytes: u64,
    /// Of these, bytes that no capacity takes up.
    pub available_bytes: u64,
    /// Whether it was ever used.
    pub populated: bool,
    /// Pops that found nothing.
    pub underflows: u64,
    /// Pushes that found no room.
    pub overflows: u64,
    /// Times that it was emptied from outside.
    pub drains: u64,
    /// Times that capacity moved between its classes.
    pub resizes: u64,
    /// Objects taken from the source.
    pub refilled_objects: u64,
    /// Objects given to the source.
    pub flushed_objects: u64,
}

impl CpuStats {
    /// Adds another CPU's figures.
    pub fn merge(&mut self, other: &Self) {
        self.held_bytes += other.held_bytes;
        self.unallocated_bytes += other.unallocated_bytes;
        self.capacity_bytes += other.capacity_bytes;
        self.granted_bytes += other.granted_bytes;
        self.available_bytes += other.available_bytes;
        self.populated |= other.populated;
        self.underflows += other.underflows;
        self.overflows += other.overflows;
        self.drains += other.drains;
        self.resizes += other.resizes;
        self.refilled_objects += other.refilled_objects;
        self.flushed_objects += other.flushed_objects;
    }
}

impl CpuCache {
    /// The figures of `id`'s cache, each as it is at some moment; zeros if there is no such id. Costs a load per
    /// class, and touches nothing of a cache that was never used.
    pub fn cpu_stats(&self, id: u32) -> CpuStats {
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            return CpuStats::default();
        };
        let load = |counter: &strata_sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = CpuStats {
            unallocated_bytes: u64::try_from(state.available_bytes.load(Ordering::Relaxed))
                .unwrap_or(0),
            populated: state.populated.load(Ordering::Relaxed),
            underflows: load(&state.underflows),
            overflows: load(&state.overflows),
            drains: load(&state.drains),
            resizes: load(&state.resizes),
            refilled_objects: state.refilled_objects(),
            flushed_objects: state.flushed_objects(),
            granted_bytes: u64::try_from(state.granted_bytes.load(Ordering::Relaxed)).unwrap_or(0),
            available_bytes: u64::try_from(state.available_bytes.load(Ordering::Relaxed))
                .unwrap_or(0),
            ..CpuStats::default()
        };
        for class in table.classes() {
            let header = self.header(id, class);
            let (begin, size) = (self.layout.begin(class), table.size(class) as u64);
            stats.held_bytes += u64::from(header.objects(begin)) * size;
            stats.capacity_bytes += u64::from(header.capacity(begin)) * size;
        }
        if stats.populated {
            stats.unallocated_bytes = self.limit_bytes().saturating_sub(stats.capacity_bytes);
        }
        stats
    }

    /// Whether `id`'s cache was ever used.
    pub fn is_populated(&self, id: u32) -> bool {
        self.state(id).is_some_and(|state| state.populated.load(Ordering::Relaxed))
    }

    /// How many objects of `class` stand in `id`'s cache.
    pub fn objects(&self, id: u32, class: SizeClass) -> u64 {
        self.header(id, class).objects(self.layout.begin(class)).into()
    }

    /// How many objects of `class` fit into `id`'s cache now.
    pub fn capacity(&self, id: u32, class: SizeClass) -> u64 {
        self.header(id, class).capacity(self.layout.begin(class)).into()
    }

    /// Most objects of `class` that a cache's capacity may become.
    pub fn greatest_capacity(&self, class: SizeClass) -> u64 {
        self.layout.greatest(class).into()
    }

    /// How many objects of `class` were popped on `id`, modulo 2³².
    pub fn pops(&self, id: u32, class: SizeClass) -> u32 {
        self.header(id, class).pops()
    }
}
