//! Emptying a CPU's cache from outside.

use crate::{CpuCache, Header, layout::REGION_SLOTS};
use core::ptr::NonNull;
use strata_os::membarrier;
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass};
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    spin_hint,
};

/// Objects moved at a time.
const BATCH: usize = 64;

/// Why a CPU's cache was not emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DrainRefusal {
    /// There is no such id, or the cache is not set up.
    NoSuchId,
    /// Another thread is emptying it.
    Busy,
    /// The kernel gave no way to stop the threads of that CPU.
    NoFence,
}

impl CpuCache {
    /// Gives all objects in `id`'s cache back to `source`, and their capacity to the CPU's limit; says how many
    /// bytes went.
    ///
    /// Any thread may ask, registered or not, for any id; threads that run there meanwhile find the cache empty
    /// and full at once and take their slow paths, which leave a stopped cache alone. Costs a system call that
    /// interrupts the CPUs of this process, at least twice.
    ///
    /// The order: stop the slow paths; fence; take each header away by exchanging it with zero; fence; and whatever
    /// header a section that was underway committed late is the newer one, taken away in turn, until
    /// a fence passes with all headers zero. Then nobody but us can reach the slots.
    pub fn drain<O: ObjectSource>(&self, source: &O, id: u32) -> Result<u64, DrainRefusal> {
        let (Some(state), Some(table)) = (self.state(id), self.table()) else {
            return Err(DrainRefusal::NoSuchId);
        };
        if !state.populated.load(Ordering::Relaxed) {
            return Ok(0);
        }
        // Acquire pairs with the release at the end: the last drain is over.
        if state.stopped.swap(1, Ordering::Acquire) != 0 {
            return Err(DrainRefusal::Busy);
        }
        if !fence() {
            state.stopped.store(0, Ordering::Release);
            return Err(DrainRefusal::NoFence);
        }
        let headers = self.take_headers(id);
        let mut bytes = 0;
        for class in table.classes() {
            let Some(header) = headers.get(class.index()).copied() else { continue };
            if !header.is_set_up() {
                continue;
            }
            let size = table.size(class);
            let given = self.give_slots(source, id, class, header);
            self.note_flushed(state, given, size);
            bytes += (given * size) as u64;
            state.unclaim(header.capacity(self.layout.begin(class)), size);
        }
        state.drains.fetch_add(1, Ordering::Relaxed);
        // Release: what we read from the slots is read before anyone writes them again.
        state.stopped.store(0, Ordering::Release);
        Ok(bytes)
    }

    /// Takes all headers of `id` away; what is returned for each class is the last that was committed.
    fn take_headers(&self, id: u32) -> [Header; CLASS_SLOTS] {
        let mut last = [Header::default(); CLASS_SLOTS];
        loop {
            let mut moved = false;
            for (index, last) in last.iter_mut().enumerate().skip(1) {
                let Some(word) =
                    SizeClass::from_index(index).and_then(|class| self.header_word(id, class))
                else {
                    continue;
                };
                let found = Header::from_bits(word.load(Ordering::Relaxed));
                if found.is_set_up() {
                    // A section may commit between the load and the swap: what the swap returns counts.
                    // The count of pops stays in the word.
                    let pops = u64::from(found.pops()) << 32;
                    let taken = Header::from_bits(word.swap(pops, Ordering::Relaxed));
                    if taken.is_set_up() {
                        *last = taken;
                    }
                    moved = true;
                }
            }
            if !moved {
                return last;
            }
            while !fence() {
                spin_hint();
            }
        }
    }

    /// Gives the objects that `header` covers to `source`; says how many.
    fn give_slots<O: ObjectSource>(
        &self,
        source: &O,
        id: u32,
        class: SizeClass,
        header: Header,
    ) -> usize {
        let (Some(region), begin) = (self.region(id), self.layout.begin(class)) else { return 0 };
        let slots: NonNull<AtomicPtr<u8>> = region.cast();
        let mut objects = [core::ptr::null_mut(); BATCH];
        let (mut given, mut filled) = (0, 0);
        for index in usize::from(begin) + 1..=usize::from(header.current()).min(REGION_SLOTS - 1) {
            // SAFETY: the index is below the region's number of slots.
            let slot = unsafe { slots.add(index) };
            // SAFETY: slots are aligned words of the region, which stays.
            let object = unsafe { slot.as_ref() }.load(Ordering::Relaxed);
            if let Some(place) = objects.get_mut(filled) {
                *place = object;
                filled += 1;
            }
            if filled == BATCH {
                // SAFETY: the headers are gone, so these objects are ours alone.
                unsafe { source.give(class, &mut objects) };
                given += filled;
                filled = 0;
            }
        }
        if let Some(objects) = objects.get_mut(..filled)
            && filled != 0
        {
            // SAFETY: as above.
            unsafe { source.give(class, objects) };
            given += filled;
        }
        given
    }
}

/// Lets every section of this process that is underway end, by commit or abort. The process is announced to
/// the kernel at the first time that it matters: most programs never empty a cache from outside.
fn fence() -> bool {
    membarrier::fence_rseq(None).is_ok()
        || membarrier::register_rseq() && membarrier::fence_rseq(None).is_ok()
        || membarrier::visit_every_cpu(|_| ()).is_ok()
}
