//! Regions that get longer and shorter while their CPUs run.

use crate::{CpuCache, RegionSize, StopRefusal, cpu_state::CpuState, stopped::Stopped};
use strata_os::PageSource;
use strata_size_classes::{ObjectSource, SizeClass};
use strata_sync::atomic::{AtomicU64, Ordering};

/// Misses of classes at their greatest capacity after which a region gets longer, if they are also a tenth of all. At half,
/// a single burst does it; at twice, one that goes on pays for twice as many trips to the layer below first.
const SLOT_MISSES: u64 = 64;

/// Looks in a row at which a region was too long before it gets shorter.
const ROOMY_LOOKS: u8 = 4;

/// How often regions changed, over all ids. Written by those who change them, read by figures.
#[derive(Debug)]
pub(crate) struct RegionChanges {
    growths: [AtomicU64; RegionSize::COUNT],
    shrinkages: [AtomicU64; RegionSize::COUNT],
    /// Bytes behind regions that the kernel did not take back.
    pub(crate) refused_bytes: AtomicU64,
}

impl RegionChanges {
    strata_sync::const_fn! {
        pub(crate) const fn new() -> Self {
            Self {
                growths: strata_sync::const_array![AtomicU64::new(0); RegionSize::COUNT],
                shrinkages: strata_sync::const_array![AtomicU64::new(0); RegionSize::COUNT],
                refused_bytes: AtomicU64::new(0),
            }
        }
    }
}

/// How often regions came to have one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RegionStats {
    /// The length, in bytes.
    pub bytes: u64,
    /// Times that a shorter one became so long.
    pub growths: u64,
    /// Times that a longer one became so short.
    pub shrinkages: u64,
}

impl CpuCache {
    /// How often regions came to have each length, the shortest first.
    pub fn region_stats(&self) -> [RegionStats; RegionSize::COUNT] {
        let mut size = Some(RegionSize::LEAST);
        [(); RegionSize::COUNT].map(|()| {
            let Some(this) = size else { return RegionStats::default() };
            size = this.larger();
            let count = |counts: &[AtomicU64; RegionSize::COUNT]| {
                counts
                    .get(usize::from(this.number()))
                    .map_or(0, |count| count.load(Ordering::Relaxed))
            };
            RegionStats {
                bytes: this.bytes() as u64,
                growths: count(&self.region_changes.growths),
                shrinkages: count(&self.region_changes.shrinkages),
            }
        })
    }

    /// Bytes behind shortened and drained regions that the kernel did not take back.
    pub fn refused_bytes(&self) -> u64 {
        self.region_changes.refused_bytes.load(Ordering::Relaxed)
    }

    /// Whether the region of `id` should be longer: of the misses since it was last thought about, those of classes that
    /// have all the slots they can have are 64 and a tenth. Costs a few loads.
    pub fn is_short(&self, id: u32) -> bool {
        let Some(state) = self.state(id) else { return false };
        let (misses, slot_misses) = since_last_thought(state);
        slot_misses >= SLOT_MISSES
            && slot_misses >= misses / 10
            && state.region().size().larger().is_some()
    }

    /// Makes the region of `id` longer by a step; the objects in it stay. Memory where none stands any more goes
    /// back to `pages`. `Ok(false)` if it is as long as can be.
    ///
    /// Any thread may ask, for any id, at any time. Costs a system call that interrupts the CPU, or all CPUs of
    /// this process where concurrency ids pick the caches, at least twice, a copy of what stands in the region, and
    /// a call for each stretch of memory that goes.
    #[inline(never)]
    pub fn lengthen<S: PageSource>(&self, pages: &S, id: u32) -> Result<bool, StopRefusal> {
        if let Some(state) = self.state(id) {
            // Whatever comes of it: where the kernel refuses, nobody asks at each miss.
            think_again(state);
        }
        self.with_stopped(id, |stopped| {
            let before = stopped.size();
            let Some(larger) = before.larger() else { return false };
            self.layouts.prepare(larger, stopped.table);
            stopped.spread(larger);
            stopped.release_between(pages, before.bytes());
            stopped.state.note_resize();
            count_change(&self.region_changes.growths, larger);
            true
        })
    }

    /// Makes the region of `id` shorter by a step; objects for which there is no slot then go to `source`, and the memory
    /// behind it to `pages`. `Ok(false)` if it is as short as can be.
    ///
    /// Who may ask, and what it costs: as for [`lengthen`](Self::lengthen).
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub fn shorten<O, S>(&self, source: &O, pages: &S, id: u32) -> Result<bool, StopRefusal>
    where
        O: ObjectSource,
        S: PageSource,
    {
        self.with_stopped(id, |stopped| {
            think_again(stopped.state);
            let Some(smaller) = stopped.size().smaller() else { return false };
            self.layouts.prepare(smaller, stopped.table);
            stopped.gather(source, smaller);
            stopped.release_behind(pages, smaller.bytes());
            stopped.state.note_resize();
            count_change(&self.region_changes.shrinkages, smaller);
            true
        })
    }

    /// Shortens regions that are longer than their CPUs use: hardly a miss was for want of slots, and half the
    /// slots of one that is shorter by a step would do for all capacities, four times in a row. At most `most` a
    /// call; says how many.
    ///
    /// For the background, each few seconds. Costs a load for each class and CPU that was ever used.
    pub fn shorten_roomy<O, S>(&self, source: &O, pages: &S, most: u32) -> u32
    where
        O: ObjectSource,
        S: PageSource,
    {
        let mut shortened = 0;
        for id in 0..self.used_ids() {
            if shortened == most {
                break;
            }
            if self.was_roomy(id) && self.shorten(source, pages, id) == Ok(true) {
                shortened += 1;
            }
        }
        shortened
    }

    /// How long the region of `id` is, in bytes; 0 if there is no such id.
    pub fn region_bytes(&self, id: u32) -> usize {
        self.state(id).map_or(0, |state| state.region().size().bytes())
    }

    /// Whether the region of `id` was too long at this look and the ones before.
    fn was_roomy(&self, id: u32) -> bool {
        let (Some(state), Some(table)) = (self.state(id), self.table()) else { return false };
        let size = state.region().size();
        let Some(smaller) = size.smaller().filter(|_| state.is_populated()) else { return false };
        let layout = self.layouts.of(size);
        let slots =
            |class: SizeClass| usize::from(self.header(id, class).capacity(layout.begin(class)));
        let used: usize = table.classes().map(slots).sum();
        let (misses, slot_misses) = since_last_thought(state);
        think_again(state);
        let roomy = slot_misses <= misses / 100 && used <= smaller.slots() / 2;
        let looks = if roomy { state.seen.roomy_looks.load(Ordering::Relaxed) + 1 } else { 0 };
        let enough = looks >= ROOMY_LOOKS;
        state.seen.roomy_looks.store(if enough { 0 } else { looks }, Ordering::Relaxed);
        enough
    }
}

fn count_change(counts: &[AtomicU64; RegionSize::COUNT], size: RegionSize) {
    if let Some(count) = counts.get(usize::from(size.number())) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Misses, and those for want of slots, since the region's length was last thought about.
fn since_last_thought(state: &CpuState) -> (u64, u64) {
    let slot_misses = state.slot_misses.load(Ordering::Relaxed);
    (
        state.misses().wrapping_sub(state.seen.misses_at_resize.load(Ordering::Relaxed)),
        slot_misses.wrapping_sub(state.seen.slot_misses_at_resize.load(Ordering::Relaxed)),
    )
}

fn think_again(state: &CpuState) {
    state.seen.misses_at_resize.store(state.misses(), Ordering::Relaxed);
    let slot_misses = state.slot_misses.load(Ordering::Relaxed);
    state.seen.slot_misses_at_resize.store(slot_misses, Ordering::Relaxed);
}

impl Stopped<'_> {
    /// Moves what stands in the region to where a longer one has it. From the last class to the first: each moves up, into
    /// what the ones behind it have left.
    fn spread(&mut self, larger: RegionSize) {
        for class in self.table.classes().rev() {
            let (from, to) = self.begins(class, larger);
            let header = self.header(class);
            if !header.is_set_up() {
                continue;
            }
            for place in (1..=header.objects(from)).rev() {
                self.move_slot(from + place, to + place);
            }
            self.set_marker(to);
            self.set_header(class, header.moved(from, to));
        }
        self.set_size(larger);
    }

    /// Moves what stands in the region to where a shorter one has it. From the first class to the last: each moves
    /// down. What has no slot there goes to `source`.
    fn gather<O: ObjectSource>(&mut self, source: &O, smaller: RegionSize) {
        for class in self.table.classes() {
            let (from, to) = self.begins(class, smaller);
            let greatest = self.layout_of(smaller).greatest(class);
            if !self.header(class).is_set_up() {
                continue;
            }
            let held = self.header(class).objects(from);
            self.give_lowest(source, class, held.saturating_sub(greatest));
            let header = self.header(class);
            for place in 1..=header.objects(from) {
                self.move_slot(from + place, to + place);
            }
            self.set_marker(to);
            let capacity = header.capacity(from);
            let kept = capacity.min(greatest);
            self.state.unclaim(capacity - kept, self.table.size(class));
            self.set_header(class, header.moved(from, to).with_end(to + kept));
        }
        self.set_size(smaller);
    }

    /// Where the class begins now, and in a region of `size`.
    fn begins(&self, class: SizeClass, size: RegionSize) -> (u16, u16) {
        (self.layout().begin(class), self.layout_of(size).begin(class))
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
