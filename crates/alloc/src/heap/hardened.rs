//! The closed path of a heap that is hardened, from where the thread's record said so. No question about that is on any other path.

use super::Heap;
use crate::{HeapConfig, observer::Said, threads::HardenedRecord};
use strata_size_classes::{SizeClass, SmallEntry};
use strata_sync::thread_block::ThreadBlock;

impl<C: HeapConfig> Heap<C> {
    /// A block in a slot of `slots`, which are short, or looked through in a loop; `entry` was counted. All that this is told fits into
    /// registers.
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
        if let Some(user) = user
            && let Some(block) =
                core.allocate_hardened_commonly::<IS_SHORT>(user, slots, size, entry.size())
        {
            return block.as_ptr();
        }
        // Aligned as all slots are: more was not asked for.
        self.allocate_uncounted::<ZEROED>(slot, size, 1, exhausted)
    }

    /// Takes a block back; slots of its class are short, or need a call to be cleared. What was `said` is compared if `SAYS`.
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
        said: Said,
        record: HardenedRecord<'_>,
        own: &ThreadBlock,
    ) {
        let slot = self.slot();
        // SAFETY: the words are this thread's own, and it runs as long as the borrow is used.
        let user = record.user(own, unsafe { &*own.words(slot) });
        // SAFETY: the words are this heap's.
        let core = unsafe { record.core::<C>() };
        // SAFETY: the caller's promise, as far as it holds.
        unsafe {
            core.deallocate_hardened_commonly::<IS_SHORT, SAYS>(pointer, slot, user, class, said);
        };
    }
}
