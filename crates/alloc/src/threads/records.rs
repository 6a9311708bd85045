//! The list of the threads that a heap knows.

use super::{Records, ThreadRecord};
use core::ptr::NonNull;
use strata_os::read_own_memory;
use strata_sync::thread_block::{Counter, SlotWords};

impl Records {
    pub(super) fn push(&mut self, place: NonNull<ThreadRecord>) {
        let mut place = place;
        // SAFETY: the caller gives the record to the list, whose lock is held.
        let record = unsafe { place.as_mut() };
        record.previous = None;
        record.next = self.first;
        if let Some(mut second) = self.first {
            // SAFETY: linked records are valid; the lock is held.
            unsafe { second.as_mut() }.previous = Some(place);
        }
        self.first = Some(place);
        self.count += 1;
    }

    pub(super) fn remove(&mut self, place: NonNull<ThreadRecord>) {
        // SAFETY: the record is linked; the lock is held.
        let &ThreadRecord { next, previous, .. } = unsafe { place.as_ref() };
        match previous {
            // SAFETY: linked records are valid.
            Some(mut previous) => unsafe { previous.as_mut() }.next = next,
            None => self.first = next,
        }
        if let Some(mut next) = next {
            // SAFETY: its neighbour is linked too; the lock is held.
            unsafe { next.as_mut() }.previous = previous;
        }
        self.count -= 1;
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&ThreadRecord)) {
        let mut next = self.first;
        while let Some(place) = next {
            // SAFETY: linked records are valid; whoever has the list holds its lock.
            let record = unsafe { place.as_ref() };
            next = record.next;
            visit(record);
        }
    }
}

impl ThreadRecord {
    /// What the thread allocated and freed; none if it is gone without a word.
    ///
    /// A thread whose first call comes from the last round of its destructors is never reported as ended, and its words
    /// go with its stack. So another thread's words are read by way of the kernel, and believed only if they still
    /// name this record.
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn counts(&self) -> Option<(u64, u64)> {
        let mut words = [0; size_of::<SlotWords>() / size_of::<u64>()];
        match read_own_memory(self.words.expose_provenance(), &mut words) {
            Ok(()) => {}
            Err(EFAULT) => return None,
            Err(_) => {
                // The kernel does not let us ask.
                // SAFETY: a linked record's thread has not ended (or, in the child of a fork, its words are still
                // there), but for the threads described above.
                let words = unsafe { &*self.words };
                return Some(words_counts(words));
            }
        }
        let [allocated, deallocated, _, _, record] = words;
        let this = core::ptr::from_ref(self).expose_provenance();
        let bytes = |word| Counter::bytes_of(word);
        (record == this as u64).then(|| (bytes(allocated), bytes(deallocated)))
    }
}

/// `EFAULT`: the memory is not there.
const EFAULT: i32 = 14;

/// What a thread's words say that it allocated and freed.
pub(super) fn words_counts(words: &SlotWords) -> (u64, u64) {
    (words.allocated.bytes(), words.deallocated.bytes())
}
