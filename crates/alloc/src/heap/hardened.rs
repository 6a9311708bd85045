//! The closed path of a heap that is hardened, from where the thread's record said so. No question about that is on
//! any other path.

use super::Heap;
use crate::{
    HeapConfig,
    hardened::{self, Taken},
    observer::Said,
    threads::HardenedRecord,
};
use strata_size_classes::{SizeClass, SmallEntry};
use strata_sync::thread_block::{self, ThreadBlock};

impl<C: HeapConfig> Heap<C> {
    /// The same way for what has no short slot, apart from where each program's calls come by.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn allocate_hardened_above<const ZEROED: bool>(
        &self,
        size: usize,
        entry: SmallEntry,
        align: usize,
        record: HardenedRecord<'_>,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        match hardened::common_entry::<C>(size, align) {
            Some(slots) => {
                let own = thread_block::block();
                self.allocate_hardened::<false, ZEROED>(size, entry, slots, record, own, exhausted)
            }
            None => self.allocate_uncounted::<ZEROED>(self.slot(), size, align, exhausted),
        }
    }

    /// A block in a slot of `slots`, which are short, or looked through in a loop; `entry` was counted. All that
    /// this is told fits into registers.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn allocate_hardened<const IS_SHORT: bool, const ZEROED: bool>(
        &self,
        size: usize,
        entry: SmallEntry,
        slots: SmallEntry,
        record: HardenedRecord<'_>,
        own: &ThreadBlock,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let slot = self.slot();
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let user = record.user(own, unsafe { &*own.words(slot) });
        // SAFETY: the words are this heap's.
        let core = unsafe { record.core::<C>() };
        let taken = match user {
            Some(user) => {
                match core.allocate_hardened_commonly::<IS_SHORT>(user, slots, size, entry.size()) {
                    Ok(block) => return block.as_ptr(),
                    Err(taken) => taken,
                }
            }
            None => None,
        };
        match taken {
            Some(taken) => self.allocate_beside::<ZEROED>(size, taken, exhausted),
            // Aligned as all slots are: more was not asked for.
            None => self.allocate_uncounted::<ZEROED>(slot, size, 1, exhausted),
        }
    }

    /// A block in another slot than the one that was to be had.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn allocate_beside<const ZEROED: bool>(
        &self,
        size: usize,
        taken: Taken,
        exhausted: impl FnOnce(usize, usize) -> *mut u8,
    ) -> *mut u8 {
        let slot = self.slot();
        if let Some(core) = self.core() {
            core.leave_taken(slot, taken);
        }
        self.allocate_uncounted::<ZEROED>(slot, size, 1, exhausted)
    }

    /// Takes a block back; slots of its class, of `bytes` bytes, are short, or need a call to be cleared. What was
    /// `said` is compared if `SAYS`.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) unsafe fn deallocate_hardened<const IS_SHORT: bool, const SAYS: bool>(
        &self,
        pointer: *mut u8,
        class: SizeClass,
        bytes: usize,
        said: Said,
        record: HardenedRecord<'_>,
        own: &ThreadBlock,
    ) {
        let slot = self.slot();
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let user = record.user(own, unsafe { &*own.words(slot) });
        // SAFETY: the words are this heap's.
        let core = unsafe { record.core::<C>() };
        // SAFETY: a hardened heap takes any pointer: what is no block of it is told of.
        unsafe {
            core.deallocate_hardened_commonly::<IS_SHORT, SAYS>(
                pointer, slot, user, class, bytes, said,
            );
        };
    }
}
