//! Emptying a CPU's cache from outside.

use crate::{CpuCache, Header, layout::REGION_SLOTS};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass};
use strata_sync::{
    atomic::{AtomicU64, Ordering},
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
        if state.stopped.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(DrainRefusal::Busy);
        }
        if !self.slabs().fence() {
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
                let taken = take_header(word);
                if taken.is_set_up() {
                    *last = taken;
                    moved = true;
                }
            }
            if !moved {
                return last;
            }
            while !self.slabs().fence() {
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
        let begin = self.layout.begin(class);
        let mut objects = [core::ptr::null_mut(); BATCH];
        let (mut given, mut filled) = (0, 0);
        for index in usize::from(begin) + 1..=usize::from(header.current()).min(REGION_SLOTS - 1) {
            let object = self.object_in(id, index);
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
