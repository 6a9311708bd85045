//! How a block comes back: the common path of one whose class is known, the ways past it, and those of what may be
//! no block.

use super::{Heap, own_words};
use crate::{
    FrontEnd, HeapConfig, Observer, hardened, mark, observer::Said, own_cache::OwnCache,
    threads::HardenedRecord,
};
use strata_cpu_cache::Pushed;
use strata_size_classes::{ClassEntry, PageSize, SizeClass, SmallEntry};
use strata_span::{Address, Function};
use strata_sync::thread_block::{self, Slot, ThreadBlock};

/// How much a free that knows the size looks at: nothing, as of a Rust program's layouts.
pub(crate) const TRUSTS: u8 = 0;
/// Whether the page map's window shows the size's class, and the block that was freed last.
const LOOKS_AT_SIZE: u8 = 1;
/// And whether an object can begin at the address: five instructions more, of which two load.
const LOOKS_AT_PLACE: u8 = 2;

impl<C: HeapConfig> Heap<C> {
    /// Takes a block back. Null is no block and nothing happens. A pointer that is no block of this heap ends
    /// the program with one line, at once or when it leaves the caches.
    ///
    /// # Safety
    ///
    /// `pointer` is null or a block of this heap that nobody uses any more.
    #[inline(always)]
    pub unsafe fn deallocate(&self, pointer: *mut u8) {
        let Some(class) = self.near.class_at(Address::of(pointer).value()) else {
            // SAFETY: the block is null or its owner gave it up; which of them is looked up there.
            return unsafe { self.deallocate_uncertain(pointer, SizeClass::NONE) };
        };
        let (is_no_beginning, bytes) =
            C::Pages::TABLE.is_no_beginning_of(class, Address::of(pointer).value());
        // Of no class nothing begins anywhere.
        if if mark::LOOKS { is_no_beginning } else { class.is_none() } {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_uncertain(pointer, class) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe {
            self.deallocate_class::<LOOKS_AT_PLACE, false>(class, bytes, pointer, Said::NOTHING)
        };
    }

    /// Takes a block back whose size and alignment are known, for an interface whose callers may be wrong: a block
    /// of another size, and what is no block, end the program with one line before a cache has them, as the block
    /// does that was freed last. Null is no block. Costs a load of the page map's window.
    ///
    /// # Safety
    ///
    /// `pointer` is null, or a block of this heap that nobody uses any more; it was asked for with this alignment,
    /// and with a size that is rounded to the same as `size`.
    #[inline(always)]
    pub unsafe fn deallocate_sized(&self, pointer: *mut u8, size: usize, align: usize) {
        if !mark::LOOKS && pointer.is_null() {
            return;
        }
        // SAFETY: null, which is looked for there, or a block that was handed out by this heap, and its owner gave it up.
        unsafe { self.deallocate_layout::<LOOKS_AT_SIZE>(pointer, size, align) };
    }

    /// The same; a pointer into a block of that size is told of as well, as far as [`deallocate`](Self::deallocate)
    /// sees it.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(always)]
    pub unsafe fn deallocate_compared(&self, pointer: *mut u8, size: usize, align: usize) {
        if !mark::LOOKS && pointer.is_null() {
            return;
        }
        // SAFETY: null, which is looked for there, or a block that was handed out by this heap, and its owner gave it up.
        unsafe { self.deallocate_layout::<LOOKS_AT_PLACE>(pointer, size, align) };
    }

    /// The same for what is large or aligned, what the page map's window does not show, and what is no block as it
    /// was said.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_compared_at_leisure(&self, pointer: *mut u8, size: usize, align: usize) {
        let said = Said::layout(size, align);
        let address = Address::of(pointer).value();
        // As in `deallocate`: what the page map's window shows costs a load; the radix tree knows the rest.
        let near = self.near.class_at(address).filter(|class| !class.is_none());
        let class = near.unwrap_or_else(|| self.map.class_at(address));
        if near.is_none() && self.is_inside(class, pointer) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, said) };
        }
        if class.is_none() {
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            return unsafe { self.deallocate_unlisted(pointer, said) };
        }
        let may_be_of = |class| Self::may_be_of(class, size, align);
        let asked_for = || self.core()?.asked_for(class, Address::of(pointer));
        if !may_be_of(class) && !asked_for().is_some_and(may_be_of) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_mismatched(class, pointer, said) };
        }
        let (is_no_beginning, bytes) = C::Pages::TABLE.is_no_beginning_of(class, address);
        // SAFETY: the page is one of a class's, and followed by the rest of its span or another page of the source's.
        if is_no_beginning || unsafe { mark::is_set(pointer) } {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, said) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe { self.deallocate_class::<LOOKS_AT_PLACE, true>(class, bytes, pointer, said) };
    }

    /// Whether a request of that size has that class, with the alignment that is said or with one that programs mix
    /// up with it: a block that was asked for with an alignment, and given back without one, or the other way
    /// about, does no harm.
    fn may_be_of(class: SizeClass, size: usize, align: usize) -> bool {
        /// From what `malloc` has for all to a line of the processor's caches.
        const MIXED_UP: [usize; 4] = [1, 16, 32, 64];
        let is_of = |align| Self::entry(size, align).map(ClassEntry::class) == Some(class);
        is_of(align) || MIXED_UP.into_iter().any(is_of)
    }

    /// The same; `LOOKS` says how much is looked at. Who [trusts](TRUSTS) asks no page map, and has no null.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(always)]
    pub(crate) unsafe fn deallocate_layout<const LOOKS: u8>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::small_entry(size, align) {
            Some(entry) => {
                // SAFETY: the caller's promise.
                unsafe { self.deallocate_as_said::<LOOKS>(entry, pointer, size, align) }
            }
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_uncommon::<LOOKS>(pointer, size, align) },
        }
    }

    /// The same where the class of the size is known.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`]; `entry` is of that size and alignment.
    #[inline(always)]
    unsafe fn deallocate_as_said<const LOOKS: u8>(
        &self,
        entry: SmallEntry,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        let class = entry.class();
        if LOOKS != TRUSTS && mark::LOOKS && !self.is_of::<LOOKS>(class, pointer) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_compared_at_leisure(pointer, size, align) };
        }
        let said = Said::layout(size, align);
        // SAFETY: the caller's promise; equal requests have equal classes.
        unsafe { self.deallocate_class::<LOOKS, true>(class, entry.size(), pointer, said) };
    }

    /// Whether the page map's window shows that class where the pointer leads, and, if that is looked at, an object
    /// of it may begin there.
    #[inline(always)]
    fn is_of<const LOOKS: u8>(&self, class: SizeClass, pointer: *mut u8) -> bool {
        let address = Address::of(pointer).value();
        self.near.class_at(address) == Some(class)
            && (LOOKS != LOOKS_AT_PLACE || !C::Pages::TABLE.is_no_beginning(class, address))
    }

    /// The common path: count, push. `SAYS`: the caller said something of the block.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller.
    #[inline(always)]
    unsafe fn deallocate_class<const LOOKS: u8, const SAYS: bool>(
        &self,
        class: SizeClass,
        bytes: usize,
        pointer: *mut u8,
        said: Said,
    ) {
        let slot = self.slot();
        let is_closed = if C::IS_ONLY_HEAP {
            thread_block::count_deallocated_in_first(bytes as u64)
        } else {
            thread_block::count_deallocated(slot, bytes as u64)
        };
        if is_closed {
            return if SAYS {
                // SAFETY: the block was handed out by this heap, and its owner gave it up.
                unsafe { self.deallocate_closed::<true>(pointer, slot, class, bytes, said) }
            } else {
                // SAFETY: the block was handed out by this heap, and its owner gave it up.
                unsafe {
                    self.deallocate_closed::<false>(pointer, slot, class, bytes, Said::NOTHING)
                }
            };
        }
        if C::MARKS_FREE_BLOCKS && mark::LOOKS {
            // SAFETY: the block is the caller's to give, until it is pushed.
            unsafe { mark::set(pointer) };
        }
        let pushed = if LOOKS != TRUSTS && mark::LOOKS {
            // SAFETY: the slot is open, so that the caches are set up and the thread is registered for them; and
            // the block is the caller's to give, or was given before.
            unsafe { self.cpu.push_unless_top(class, pointer) }
        // SAFETY: the slot is open, so that the caches are set up and the thread is registered for them; and the
        // block is the caller's.
        } else if unsafe { self.cpu.push(class, pointer) } {
            Pushed::Done
        } else {
            Pushed::Full
        };
        match pushed {
            Pushed::Done => {}
            // SAFETY: the block is of this class and given up, and no cache took it.
            Pushed::Full => unsafe { self.deallocate_overflowed(pointer, slot, class) },
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            Pushed::Again => unsafe { self.deallocate_again(pointer, slot, class, said) },
        }
    }

    /// The same for blocks that come back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_uncommon<const LOOKS: u8>(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
        match Self::entry_above_1k(size, align) {
            // SAFETY: the caller's promise.
            Some(entry) => unsafe { self.deallocate_as_said::<LOOKS>(entry, pointer, size, align) },
            // SAFETY: the block was asked for with this layout, and its owner gave it up.
            None => unsafe { self.deallocate_rare::<LOOKS>(pointer, size, align) },
        }
    }

    /// The same for what [`Self::allocate_rare`] had.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    unsafe fn deallocate_rare<const LOOKS: u8>(&self, pointer: *mut u8, size: usize, align: usize) {
        if LOOKS != TRUSTS && mark::LOOKS {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_compared_at_leisure(pointer, size, align) };
        }
        let said = Said::layout(size, align);
        match Self::entry(size, align) {
            Some(entry) => {
                let entry = SmallEntry::of_entry(entry);
                // SAFETY: the caller's promise; equal requests have equal classes.
                unsafe {
                    self.deallocate_class::<LOOKS, true>(entry.class(), entry.size(), pointer, said)
                }
            }
            // SAFETY: the block was handed out by this heap, and its owner gave it up.
            None => unsafe { self.deallocate_unlisted(pointer, said) },
        }
    }

    /// The path is closed to this thread. The block of one that has a cache of its own goes there: what was counted
    /// stays counted.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(never)]
    // The pointer comes first in these: it stays in the register that it came in.
    unsafe fn deallocate_closed<const SAYS: bool>(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
        bytes: usize,
        said: Said,
    ) {
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        if let Some(record) = HardenedRecord::of(unsafe { &*own.words(slot) }) {
            if bytes <= const { hardened::short_slot::<C::Pages>() } {
                // SAFETY: the caller's promise, as far as it holds.
                return unsafe {
                    self.deallocate_hardened::<true, SAYS>(pointer, class, bytes, said, record, own)
                };
            }
            // SAFETY: the caller's promise, as far as it holds.
            return unsafe {
                self.deallocate_hardened::<false, SAYS>(pointer, class, bytes, said, record, own)
            };
        }
        // SAFETY: the block is of this class, and its owner gave it up.
        unsafe { self.deallocate_to_own(pointer, slot, class, said, own) };
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(never)]
    unsafe fn deallocate_to_own(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
        said: Said,
        own: &ThreadBlock,
    ) {
        // SAFETY: the block is of this class, and its owner gave it up.
        match unsafe { Self::push_own(pointer, own, slot, class) } {
            Some(false) => {}
            Some(true) => self.flush_own(slot, class),
            // SAFETY: the block is of this class, its owner gave it up, and no cache took it.
            None => unsafe { self.deallocate_uncounted(pointer, slot, class, said) },
        }
    }

    /// Gives a block to this thread's own cache, where it has one and all is as usual; says whether that has too much then.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[inline(always)]
    unsafe fn push_own(
        pointer: *mut u8,
        own: &ThreadBlock,
        slot: Slot,
        class: SizeClass,
    ) -> Option<bool> {
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        if words.deallocated.has_come_near_end() {
            return None;
        }
        let cache = OwnCache::<C::Pages>::at_hand(own, words)?;
        // SAFETY: the heap is not observed, since this thread has a cache; and a page of a class's is followed by
        // the rest of its span or another page of the source's.
        if unsafe { mark::is_set(pointer) } {
            return None;
        }
        // SAFETY: the cache is this thread's own; the block is the caller's to give.
        unsafe { cache.push_sound(class, C::Pages::TABLE.size(class), pointer) }
    }

    #[cold]
    #[inline(never)]
    fn flush_own(&self, slot: Slot, class: SizeClass) {
        if let Some(core) = self.core() {
            core.flush_own(slot, class);
        }
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_uncounted(
        &self,
        pointer: *mut u8,
        counted_in: Slot,
        class: SizeClass,
        said: Said,
    ) {
        own_words(counted_in).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        match self.core() {
            Some(core) if core.observer() == Some(Observer::Hardened) => {
                // SAFETY: the caller's promise, as far as it holds.
                unsafe { core.deallocate_hardened(self.slot(), pointer, said) }
            }
            // SAFETY: the block is of this class, and its owner gave it up.
            _ => unsafe { self.deallocate_uncommonly(class, pointer, said) },
        }
    }

    /// What is not counted yet goes off the common path.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    unsafe fn deallocate_uncommonly(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        let Some(core) = self.core() else {
            return crate::misuse::before_the_first_block(said.function(), pointer);
        };
        let slot = self.slot();
        match core.front_end() {
            // SAFETY: its owner gave the block up, which the observer looks at before anything else.
            FrontEnd::Observed(observer) => unsafe {
                core.deallocate_observed(slot, observer, pointer, said)
            },
            FrontEnd::PerThread(_) if !self.is_unmarked_or_live(class, pointer, said) => {}
            // SAFETY: the block is of this class, and its owner gave it up.
            FrontEnd::PerCpu(_) | FrontEnd::PerThread(_) => unsafe {
                core.deallocate_uncounted(slot, class, pointer)
            },
        }
    }

    /// Whether an object has no mark, or is the program's all the same; if it is not, that is told.
    fn is_unmarked_or_live(&self, class: SizeClass, pointer: *mut u8, said: Said) -> bool {
        // SAFETY: a page of a class's is followed by the rest of its span or another page of the source's.
        let is_marked = unsafe { mark::is_set(pointer) };
        !is_marked || self.is_live(class, pointer, said.function())
    }

    /// The page map's window shows no class for the page, or one of which no block begins there: who has the time looks.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_uncertain(&self, pointer: *mut u8, class: SizeClass) {
        if !class.is_none() {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, Said::NOTHING) };
        }
        let class = self.map.class_at(Address::of(pointer).value());
        if class.is_none() {
            // SAFETY: the page map has no class for it: null, or a block of a span of its own, given up by its
            // owner.
            return unsafe { self.deallocate_unlisted(pointer, Said::NOTHING) };
        }
        let (is_no_beginning, bytes) =
            C::Pages::TABLE.is_no_beginning_of(class, Address::of(pointer).value());
        if mark::LOOKS && (is_no_beginning || self.is_inside(class, pointer)) {
            // SAFETY: whether its owner may give the block is looked up there, before it is touched.
            return unsafe { self.deallocate_suspect(class, pointer, Said::NOTHING) };
        }
        // SAFETY: the caller's promise; the page map knows the block's class.
        unsafe {
            self.deallocate_class::<LOOKS_AT_PLACE, false>(class, bytes, pointer, Said::NOTHING)
        };
    }

    /// Whether a pointer of which the window shows no class lies in an object longer than a page. (Of pages on
    /// which none begins the window shows none, so that such pointers come here; and so does what is far away.)
    #[cold]
    #[inline(never)]
    fn is_inside(&self, class: SizeClass, pointer: *mut u8) -> bool {
        C::Pages::TABLE.size(class) > C::Pages::BYTES
            && self.core().is_some_and(|core| core.is_inside(class, Address::of(pointer)))
    }

    /// The pointer begins no block, or the block says that it is free: who has the time looks.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of that class, given up by the caller, or it is found that it is not.
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_suspect(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        let is_observed = self.core().is_some_and(|core| core.observer().is_some());
        if is_observed || self.is_live(class, pointer, said.function()) {
            // SAFETY: nothing spoke against it: it is of this class, and its owner gave it up.
            unsafe { self.deallocate_uncommonly(class, pointer, said) };
        }
    }

    /// The caller says another class than the page map: an observer knows more, and else that is told.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_suspect`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_mismatched(&self, class: SizeClass, pointer: *mut u8, said: Said) {
        match self.core() {
            Some(core) if core.observer().is_none() => {
                core.report_wrong_size(class, Address::of(pointer), said);
            }
            // SAFETY: an observer looks at the block before anything else; without a core no block was ever handed out.
            _ => unsafe { self.deallocate_uncommonly(class, pointer, said) },
        }
    }

    /// Whether an object is the program's; if it is not, that is told.
    #[cold]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn is_live(&self, class: SizeClass, pointer: *mut u8, function: Function) -> bool {
        self.core().is_none_or(|core| core.is_live(class, Address::of(pointer), function))
    }

    /// # Safety
    ///
    /// As for [`Self::deallocate_class`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_overflowed(&self, pointer: *mut u8, slot: Slot, class: SizeClass) {
        own_words(slot).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        if let Some(core) = self.core() {
            // SAFETY: the block is of this class and given up, and this CPU's cache did not take it.
            unsafe { core.deallocate_overflowed(slot, class, pointer) };
        }
    }

    /// The block that was freed last, once more. What was counted is taken back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_suspect`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_again(&self, pointer: *mut u8, slot: Slot, class: SizeClass, said: Said) {
        own_words(slot).deallocated.take_back(C::Pages::TABLE.size(class) as u64);
        // SAFETY: whether its owner may give the block is looked up there, before it is touched.
        unsafe { self.deallocate_suspect(class, pointer, said) };
    }

    /// The page map has no class for it: a large block, null, or no block at all.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate`].
    #[cold]
    #[inline(never)]
    unsafe fn deallocate_unlisted(&self, pointer: *mut u8, said: Said) {
        if pointer.is_null() {
            return;
        }
        let Some(core) = self.core() else {
            return crate::misuse::before_the_first_block(said.function(), pointer);
        };
        let slot = self.slot();
        match core.observer() {
            // SAFETY: its owner gave the block up, which the observer looks at before anything else.
            Some(observer) => unsafe { core.deallocate_observed(slot, observer, pointer, said) },
            // SAFETY: no class is known for the block, and its owner gave it up; its span is looked up there.
            None => unsafe { core.deallocate_unlisted(slot, pointer, said) },
        }
    }
}
