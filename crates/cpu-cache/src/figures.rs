//! What each CPU's cache holds and did.

use crate::{
    CpuCache, RegionSize,
    cpu_state::{CpuState, Tick},
    layout::Layout,
};
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

/// The figures of one CPU's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct CpuStats {
    /// Bytes of free objects in it.
    pub held_bytes: u64,
    /// Bytes of its limit that no class's capacity takes up.
    pub unallocated_bytes: u64,
    /// Bytes that its classes' capacities take up: held and empty.
    pub capacity_bytes: u64,
    /// Bytes that it may hold at most. Limits move between CPUs; those of all populated ones, and what
    /// [is left](crate::CpuCache::unused_limit_bytes) of the others', add up to as many times the usual limit.
    pub limit_bytes: u64,
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
    /// Misses of classes that had all slots that the region has for them.
    pub slot_misses: u64,
    /// Bytes of its region; those behind it are address space.
    pub region_bytes: u64,
    /// Times that its region became longer or shorter.
    pub region_resizes: u64,
    /// Objects taken from the source.
    pub refilled_objects: u64,
    /// Objects given to the source.
    pub flushed_objects: u64,
}

/// The misses of one class on one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassMisses {
    /// Misses with all the slots that the region had for the class, as a number modulo 2³².
    pub at_greatest_capacity: u32,
    /// How long ago the last underflow was, in nanoseconds, to 17 ms; none if there was none.
    pub underflow_age_ns: Option<u64>,
    /// How long ago the last overflow was.
    pub overflow_age_ns: Option<u64>,
}

impl CpuStats {
    /// Adds another CPU's figures.
    pub fn merge(&mut self, other: &Self) {
        self.held_bytes += other.held_bytes;
        self.unallocated_bytes += other.unallocated_bytes;
        self.capacity_bytes += other.capacity_bytes;
        self.limit_bytes += other.limit_bytes;
        self.granted_bytes += other.granted_bytes;
        self.available_bytes += other.available_bytes;
        self.populated |= other.populated;
        self.underflows += other.underflows;
        self.overflows += other.overflows;
        self.drains += other.drains;
        self.resizes += other.resizes;
        self.slot_misses += other.slot_misses;
        self.region_bytes += other.region_bytes;
        self.region_resizes += other.region_resizes;
        self.refilled_objects += other.refilled_objects;
        self.flushed_objects += other.flushed_objects;
    }
}

impl CpuCache {
    /// How many ids [`holds_near`](Self::holds_near) looks at: two or three cache lines each. At half, machines of
    /// 16 CPUs have caches that nobody looks at; at twice, the look takes several microseconds where there are as
    /// many.
    pub const NEARBY_IDS: u32 = 16;

    /// The figures of `id`'s cache, each as it is at some moment; zeros if there is no such id. Costs a load per
    /// class, and touches nothing of a cache that was never used.
    #[unsafe(link_section = ".text_rarely")]
    pub fn cpu_stats(&self, id: u32) -> CpuStats {
        if !self.is_populated(id) {
            return CpuStats::default();
        }
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            return CpuStats::default();
        };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bytes =
            |counter: &AtomicI64| u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0);
        let size = state.region().size();
        let mut stats = CpuStats {
            limit_bytes: u64::try_from(state.limit_bytes()).unwrap_or(0),
            granted_bytes: bytes(&state.granted_bytes),
            available_bytes: bytes(&state.available_bytes),
            populated: true,
            underflows: load(&state.underflows),
            overflows: load(&state.overflows),
            drains: load(&state.drains),
            resizes: load(&state.resizes),
            slot_misses: load(&state.slot_misses),
            region_bytes: size.bytes() as u64,
            region_resizes: load(&state.region_resizes),
            refilled_objects: state.refilled_objects(),
            flushed_objects: state.flushed_objects(),
            ..CpuStats::default()
        };
        let layout = self.layouts.of(size);
        for class in table.classes() {
            let header = self.header(id, class);
            let (begin, size) = (layout.begin(class), table.size(class) as u64);
            stats.held_bytes += u64::from(header.objects(begin)) * size;
            stats.capacity_bytes += u64::from(header.capacity(begin)) * size;
        }
        stats.unallocated_bytes = stats.limit_bytes.saturating_sub(stats.capacity_bytes);
        stats
    }

    /// Whether `id`'s cache was ever used.
    pub fn is_populated(&self, id: u32) -> bool {
        id < self.used_ids() && self.state(id).is_some_and(CpuState::is_populated)
    }

    /// How many objects of `class` stand in `id`'s cache.
    pub fn objects(&self, id: u32, class: SizeClass) -> u64 {
        let objects = |layout: &Layout| self.header(id, class).objects(layout.begin(class));
        self.layout_of(id).map_or(0, objects).into()
    }

    /// How many objects of `class` stand in the cache of this thread's CPU.
    ///
    /// # Safety
    ///
    /// As for [`CpuCache::pop`].
    pub unsafe fn objects_here(&self, class: SizeClass) -> u64 {
        // SAFETY: the cache is set up and this thread registered, as the caller promises.
        self.objects(unsafe { self.current_id() }, class)
    }

    /// Whether an object of `class` stands in a cache. One that others push or pop meanwhile may be found or not,
    /// and one in a cache that somebody stops meanwhile may be missed; what is in no cache all the time is never
    /// found. For those who have time: looks at every slot in use of every id that was ever used.
    pub fn holds(&self, class: SizeClass, object: *mut u8) -> bool {
        (0..self.used_ids()).any(|id| self.is_held_by(id, class, object))
    }

    /// The same, asked of `id` and of the ids behind it alone, [`Self::NEARBY_IDS`] together, so that the cost does
    /// not grow with the machine.
    pub fn holds_near(&self, id: u32, class: SizeClass, object: *mut u8) -> bool {
        let used = self.used_ids();
        (0..used.min(Self::NEARBY_IDS))
            .map(|step| id.wrapping_add(step) % used.max(1))
            .any(|id| self.is_held_by(id, class, object))
    }

    fn is_held_by(&self, id: u32, class: SizeClass, object: *mut u8) -> bool {
        let Some(state) = self.state(id).filter(|state| state.is_populated()) else {
            return false;
        };
        // A header is read by the layout that it is of, or not believed: one of a longer region says of the old
        // layout's slots that they are in use, where there may stand still what was popped long ago. Acquire pairs
        // with the release in `note_resize`: the headers of the layouts before are not seen any more.
        let shape = || (state.region(), state.region_resizes.load(Ordering::Acquire));
        let before = shape();
        let begin = self.layouts.of(before.0.size()).begin(class);
        let objects = usize::from(self.header(id, class).objects(begin));
        let slot = |number| usize::from(begin) + number;
        let found = (1..=objects).any(|number| self.object_in(id, slot(number)) == object);
        // Pairs with the release of headers that are put back: behind one of another layout the stop that moved it is seen.
        fence(Ordering::Acquire);
        found && !before.0.is_stopped() && shape() == before
    }

    /// How many objects of `class` fit into `id`'s cache now.
    pub fn capacity(&self, id: u32, class: SizeClass) -> u64 {
        let capacity = |layout: &Layout| self.header(id, class).capacity(layout.begin(class));
        self.layout_of(id).map_or(0, capacity).into()
    }

    /// The misses of `class` on `id`; none if that was never used. Costs some loads and a look at the clock.
    pub fn class_misses(&self, id: u32, class: SizeClass) -> ClassMisses {
        let Some(state) = self.state(id).filter(|_| self.is_populated(id)) else {
            return ClassMisses::default();
        };
        let last = state.last_misses(class);
        let now = Tick::of(strata_os::coarse_now_ns());
        let [underflow_age_ns, overflow_age_ns] = last.map(|tick| Some(tick?.age_ns(now)));
        let at_greatest_capacity = state.slot_misses_of(class);
        ClassMisses { at_greatest_capacity, underflow_age_ns, overflow_age_ns }
    }

    /// Most objects of `class` that a cache's capacity may become, in a region of the greatest length.
    pub fn greatest_capacity(&self, class: SizeClass) -> u64 {
        let Some(table) = self.table() else { return 0 };
        let layout = self.layouts.of(RegionSize::GREATEST);
        if layout.greatest(class) == 0 {
            self.layouts.prepare(RegionSize::GREATEST, table);
        }
        layout.greatest(class).into()
    }

    /// The layout of `id`'s region; none if it was never used.
    fn layout_of(&self, id: u32) -> Option<&Layout> {
        let state = self.state(id).filter(|_| self.is_populated(id))?;
        Some(self.layouts.of(state.region().size()))
    }

    /// How many objects of `class` were popped on `id`, modulo 2³².
    pub fn pops(&self, id: u32, class: SizeClass) -> u32 {
        self.header(id, class).pops()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
