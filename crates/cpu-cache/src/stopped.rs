//! A CPU's cache in the hands of somebody who does not run there.
//!
//! The order: stop the slow paths; fence; take each header away by exchanging it with zero; fence; and whatever
//! header a section that was underway committed late is the newer one, taken away in turn, until a fence passes
//! with all headers zero. Then nobody but us can reach the slots: a section that finds a zero header commits
//! nothing. At the end headers are put back, or stay away, and the cache goes on.

use crate::{
    CpuCache, Fences, Header, RegionSize,
    cpu_state::CpuState,
    layout::{FIRST_SLOT, Layout, REGION_BYTES, REGION_SLOTS},
};
use core::ops::RangeInclusive;
use strata_os::{AddressRange, PageSource, Release, keeps_to_memory_calls};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::{
    atomic::{AtomicU64, Ordering},
    spin_hint,
};

/// Bytes of a slot: a pointer.
const SLOT_BYTES: usize = size_of::<*mut u8>();

/// Objects given at a time: at twice, who empties a cache where memory ran out takes 256 bytes of stack more.
const BATCH: usize = 32;

/// Why a CPU's cache was not stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StopRefusal {
    /// There is no such id, or the cache is not set up.
    NoSuchId,
    /// Another thread has stopped it.
    Busy,
    /// The kernel gave no way to stop the threads of that CPU, or is not to be asked: the process keeps to the
    /// calls of memory.
    NoFence,
}

/// A CPU's cache that only we may change. It goes on when this is dropped.
pub(crate) struct Stopped<'a> {
    cache: &'a CpuCache,
    pub(crate) state: &'a CpuState,
    pub(crate) table: &'static SizeClassTable,
    id: u32,
    /// How long the region is when the cache goes on.
    size: RegionSize,
    /// What was taken away, by class; what stands here is not in the region.
    headers: [Header; CLASS_SLOTS],
}

impl CpuCache {
    /// Stops the cache of `id`, takes its headers away, and has `work` done with them.
    ///
    /// They are a kibibyte of stack, and stay where they are made: handed from function to function they would be two.
    #[inline(always)]
    pub(crate) fn with_stopped<R>(
        &self,
        id: u32,
        work: impl FnOnce(&mut Stopped<'_>) -> R,
    ) -> Result<R, StopRefusal> {
        let (state, table, size) = self.begin_stop(id)?;
        let headers = [Header::default(); CLASS_SLOTS];
        let mut stopped = Stopped { cache: self, state, table, id, size, headers };
        stopped.take_headers();
        Ok(work(&mut stopped))
    }

    /// Stops the slow paths of the cache of `id`; says how long its region is. Headers may change still.
    fn begin_stop(
        &self,
        id: u32,
    ) -> Result<(&CpuState, &'static SizeClassTable, RegionSize), StopRefusal> {
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            return Err(StopRefusal::NoSuchId);
        };
        // Asked once: a stop that has begun needs its fences, whatever is decided meanwhile.
        if keeps_to_memory_calls() && self.fences() != Fences::Needless {
            return Err(StopRefusal::NoFence);
        }
        let size = state.stop().ok_or(StopRefusal::Busy)?;
        if !self.fence(id) {
            state.start(size);
            return Err(StopRefusal::NoFence);
        }
        Ok((state, table, size))
    }
}

impl Stopped<'_> {
    /// What the class has; without slots if it has none here.
    pub(crate) fn header(&self, class: SizeClass) -> Header {
        self.headers.get(class.index()).copied().unwrap_or_default()
    }

    pub(crate) fn set_header(&mut self, class: SizeClass, header: Header) {
        if let Some(place) = self.headers.get_mut(class.index()) {
            *place = header;
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.cache.layouts.of(self.size)
    }

    /// The layout of another length, which is prepared.
    pub(crate) fn layout_of(&self, size: RegionSize) -> &Layout {
        self.cache.layouts.of(size)
    }

    pub(crate) fn size(&self) -> RegionSize {
        self.size
    }

    /// Takes the objects of `class` away that stand lowest, and gives them to `source`; those above move down. Says
    /// how many went, and leaves the capacity as it is.
    pub(crate) fn give_lowest<O: ObjectSource>(
        &mut self,
        source: &O,
        class: SizeClass,
        count: u16,
    ) -> u16 {
        let (header, begin) = (self.header(class), self.layout().begin(class));
        let held = header.objects(begin);
        let count = count.min(held);
        if count == 0 {
            return 0;
        }
        self.give_slots(source, class, begin + 1..=begin + count);
        for place in 1..=held - count {
            self.move_slot(begin + count + place, begin + place);
        }
        self.set_header(class, header.without_objects(count));
        count
    }

    /// Gives all objects to `source` and takes all capacity; says how many bytes of objects went.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn empty<O: ObjectSource>(&mut self, source: &O) -> u64 {
        let mut bytes = 0;
        for class in self.table.classes() {
            let header = self.header(class);
            if !header.is_set_up() {
                continue;
            }
            let (begin, size) = (self.layout().begin(class), self.table.size(class));
            let held = header.objects(begin);
            if held != 0 {
                self.give_slots(source, class, begin + 1..=begin + held);
            }
            bytes += u64::from(held) * size as u64;
            self.state.unclaim(header.capacity(begin), size);
            self.set_header(class, header.without_slots());
        }
        self.state.revoke_earned();
        bytes
    }

    /// Copies what stands in one slot of the region into another.
    pub(crate) fn move_slot(&self, from: u16, to: u16) {
        self.set_slot(to, self.cache.object_in(self.id, from.into()));
    }

    /// Makes a slot the marker of a class.
    pub(crate) fn set_marker(&self, slot: u16) {
        self.set_slot(slot, core::ptr::null_mut());
    }

    /// Makes the region this long from now on. All headers are those of that length's layout.
    pub(crate) fn set_size(&mut self, size: RegionSize) {
        self.size = size;
    }

    /// Gives the memory of what lies behind the first `kept_bytes` of the region back to where it came from. No
    /// object stands there.
    pub(crate) fn release_behind<S: PageSource>(&self, pages: &S, kept_bytes: usize) {
        let kept = kept_bytes.next_multiple_of(pages.page_bytes().max(1)).min(REGION_BYTES);
        self.release(pages, kept, REGION_BYTES);
    }

    /// Gives the memory back that lies in the first `bytes` of the region, behind the headers, and on whose pages
    /// no marker and no object stands: what classes left there that moved up.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn release_between<S: PageSource>(&self, pages: &S, bytes: usize) {
        let granule = pages.page_bytes().max(1);
        let mut left = (FIRST_SLOT * SLOT_BYTES).next_multiple_of(granule);
        // Classes lie in their order, each behind the one before.
        for class in self.table.classes() {
            let (header, begin) = (self.header(class), self.layout().begin(class));
            if !header.is_set_up() {
                continue;
            }
            let first = usize::from(begin) * SLOT_BYTES;
            let used = usize::from(header.objects(begin)) + 1;
            self.release(pages, left, (first / granule * granule).min(bytes));
            left = left.max((first + used * SLOT_BYTES).next_multiple_of(granule));
        }
        self.release(pages, left, bytes);
    }

    /// Gives the memory between two offsets in the region back to where it came from. No object stands there.
    fn release<S: PageSource>(&self, pages: &S, from: usize, to: usize) {
        if from >= to || !pages.touchable() {
            return;
        }
        let range = AddressRange::new(self.cache.region_range(self.id).start + from, to - from);
        // SAFETY: the headers are with us, so that nobody looks at these slots before they are written again. Where it is
        // refused, the memory stays.
        let released = unsafe { pages.release(range, Release::Forced) };
        if released.is_err() {
            let refused = &self.cache.region_changes.refused_bytes;
            refused.fetch_add(range.bytes as u64, Ordering::Relaxed);
        }
    }

    fn set_slot(&self, slot: u16, object: *mut u8) {
        if let Some(place) = self.cache.slot(self.id, slot.into()) {
            place.store(object, Ordering::Relaxed);
        }
    }

    /// Takes all headers away; what is kept for each class is the last that was committed.
    #[inline(never)]
    fn take_headers(&mut self) {
        loop {
            let mut moved = false;
            for class in self.table.classes() {
                let Some(word) = self.cache.header_word(self.id, class) else { continue };
                let taken = take_header(word);
                if taken.is_set_up() {
                    self.set_header(class, taken);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
            while !self.cache.fence(self.id) {
                spin_hint();
            }
        }
    }

    /// Gives the objects in these slots to `source`.
    fn give_slots<O: ObjectSource>(
        &self,
        source: &O,
        class: SizeClass,
        slots: RangeInclusive<u16>,
    ) {
        let mut objects = [core::ptr::null_mut(); BATCH];
        let last = usize::from(*slots.end()).min(REGION_SLOTS - 1);
        let mut next = usize::from(*slots.start());
        while next <= last {
            let count = (last + 1 - next).min(BATCH);
            let Some(batch) = objects.get_mut(..count) else { return };
            for (place, slot) in batch.iter_mut().zip(next..) {
                *place = self.cache.object_in(self.id, slot);
            }
            next += count;
            self.cache.note_flushed(self.state, count, self.table.size(class));
            // SAFETY: the headers are with us, so these objects are ours alone.
            unsafe { source.give(class, batch) };
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        for class in self.table.classes() {
            let header = self.header(class);
            if header.is_set_up()
                && let Some(word) = self.cache.header_word(self.id, class)
            {
                // Release pairs with the loads of sections: slots and markers were written before.
                word.store(header.bits(), Ordering::Release);
            }
        }
        self.state.start(self.size);
    }
}

/// Takes the header in `word` away if its class is set up there; the count of pops stays. A section may commit at any
/// moment, so what is taken is what stood there, not what was seen before.
fn take_header(word: &AtomicU64) -> Header {
    let mut found = Header::from_bits(word.load(Ordering::Relaxed));
    while found.is_set_up() {
        let taken = found.without_slots().bits();
        match word.compare_exchange_weak(found.bits(), taken, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => return found,
            Err(now) => found = Header::from_bits(now),
        }
    }
    Header::default()
}
