//! How a block comes back of which it has to be found out what it is: those of what may be no block.

use super::LOOKS_AT_PLACE;
use crate::{Heap, HeapConfig, heap::own_words, mark, observer::Said};
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
use strata_span::{Address, Function};
use strata_sync::thread_block::Slot;

impl<C: HeapConfig> Heap<C> {
    /// The same for what is large or aligned, what the page map's window does not show, and what is no block as it
    /// was said.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_sized`].
    #[inline(never)]
    pub(super) unsafe fn deallocate_compared_at_leisure(
        &self,
        pointer: *mut u8,
        size: usize,
        align: usize,
    ) {
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
        // SAFETY: its owner gave the block up; the page map knows its class.
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

    /// The page map's window shows no class for the page, or one of which no block begins there: who has the time looks.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn deallocate_uncertain(&self, pointer: *mut u8, class: SizeClass) {
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
        // SAFETY: its owner gave the block up; the page map knows its class.
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

    /// The block that was freed last, once more. What was counted is taken back.
    ///
    /// # Safety
    ///
    /// As for [`Self::deallocate_suspect`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn deallocate_again(
        &self,
        pointer: *mut u8,
        slot: Slot,
        class: SizeClass,
        said: Said,
    ) {
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
    pub(super) unsafe fn deallocate_unlisted(&self, pointer: *mut u8, said: Said) {
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
