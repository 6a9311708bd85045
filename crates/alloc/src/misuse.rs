//! The lines about pointers that a heap did not give out.

use crate::{Core, HeapConfig, observer::Said, own_cache::OwnCache};
use strata_central::Whereabouts;
use strata_page_heap::PageHeap;
use strata_size_classes::{Pages8K, SizeClass};
use strata_span::{
    Address, Function, LastOperation, Misuse, Offence, PageId, Platform, SpanHandle, SpanPlace,
};
use strata_sync::thread_block::{self, Slot};

/// A pointer was given back to a heap that has not had its first block.
#[cold]
#[inline(never)]
pub(crate) fn before_the_first_block(function: Function, pointer: *mut u8) {
    let address = Address::of(pointer);
    let (offence, last) = (Offence::NeverHandedOut, LastOperation::Unknown);
    // Of which page size does not matter: there is no span.
    Misuse { offence, function, address, span: None, last }.report::<Pages8K>();
}

impl<C: HeapConfig> Core<C> {
    /// Tells of a pointer that is no large block and in no span of a class.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn report_no_block(&self, function: Function, address: Address) {
        let span = self.span_around(address);
        let (offence, last) = match span {
            Some(span)
                if function == Function::SizedFree
                    && span.place() == SpanPlace::InUse
                    && (!span.class().is_none() || span.start::<C::Pages>() == address) =>
            {
                (Offence::WrongSize, LastOperation::Unknown)
            }
            Some(span) if span.place() == SpanPlace::InUse => {
                (Offence::InsideABlock, LastOperation::Unknown)
            }
            Some(_) if matches!(function, Function::Free | Function::SizedFree) => {
                (Offence::DoubleFree, LastOperation::Freed)
            }
            Some(_) => (Offence::UseOfFreedBlock, LastOperation::Freed),
            None if self.is_in_page_heap(address) => (Offence::FreeMemory, LastOperation::Unknown),
            None => (Offence::NeverHandedOut, LastOperation::Unknown),
        };
        self.report_misuse(offence, function, address, span, last);
    }

    /// Tells of an object of a class that was given back with the size of another one, or of what else is wrong with it.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(crate) fn report_wrong_size(&self, class: SizeClass, address: Address, said: Said) {
        if self.is_live(class, address, said.function()) {
            let span = self.map().span_at(address.value());
            let bytes = said.said().map_or(0, |(size, _)| size);
            let last = LastOperation::FreedWith { bytes };
            self.report_misuse(Offence::WrongSize, said.function(), address, span, last);
        }
    }

    /// Tells of an object from a cache that is not as `free` left it.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_unmarked(&self, class: SizeClass, address: Address) {
        let span = match self.middle().central(class).whereabouts(self, class, address) {
            Whereabouts::Elsewhere => self.map().span_at(address.value()),
            Whereabouts::Inside(span) | Whereabouts::Free(span) | Whereabouts::Out(span) => {
                Some(span)
            }
        };
        let (offence, last) = (Offence::FreedTwiceOrWritten, LastOperation::FreedIntoCache);
        self.report_misuse(offence, Function::Malloc, address, span, last);
    }

    /// Tells of the object that this thread freed last, and freed again.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(crate) fn report_freed_last(&self, function: Function, address: Address) {
        let span = self.map().span_at(address.value());
        let last = LastOperation::FreedIntoCache;
        self.report_misuse(Offence::DoubleFree, function, address, span, last);
    }

    /// Whether an address lies in an object of a class and does not begin it.
    pub(crate) fn is_inside(&self, class: SizeClass, address: Address) -> bool {
        let whereabouts = self.middle().central(class).whereabouts(self, class, address);
        matches!(whereabouts, Whereabouts::Inside(_))
    }

    /// Whether an object of a class is the program's; if it is not, that is told.
    pub(crate) fn is_live(&self, class: SizeClass, address: Address, function: Function) -> bool {
        let is_cached = |object| self.cpu_cache().holds(class, object);
        self.is_live_unless(is_cached, class, address, function)
    }

    /// The same for who asks often: what the cache of a CPU far from `id` has is not found
    /// ([`CpuCache::holds_near`](strata_cpu_cache::CpuCache::holds_near)).
    pub(crate) fn is_live_near(
        &self,
        id: u32,
        class: SizeClass,
        address: Address,
        function: Function,
    ) -> bool {
        let is_cached = |object| self.cpu_cache().holds_near(id, class, object);
        self.is_live_unless(is_cached, class, address, function)
    }

    #[unsafe(link_section = ".text_rarely")]
    fn is_live_unless(
        &self,
        is_cached: impl Fn(*mut u8) -> bool,
        class: SizeClass,
        address: Address,
        function: Function,
    ) -> bool {
        let freed = match function {
            Function::Free | Function::SizedFree => Offence::DoubleFree,
            _ => Offence::UseOfFreedBlock,
        };
        let (offence, span, last) =
            match self.middle().central(class).whereabouts(self, class, address) {
                Whereabouts::Elsewhere => {
                    self.report_no_block(function, address);
                    return false;
                }
                Whereabouts::Inside(span) => (Offence::InsideABlock, span, LastOperation::Unknown),
                Whereabouts::Free(span) => (freed, span, LastOperation::Freed),
                Whereabouts::Out(span) => {
                    let object = address.pointer();
                    if !is_cached(object)
                        && !self.middle().transfer(class).holds(object)
                        && !self.has_own_last(class, object)
                    {
                        return true;
                    }
                    (freed, span, LastOperation::FreedIntoCache)
                }
            };
        self.report_misuse(offence, function, address, Some(span), last);
        false
    }

    /// Whether an object was the last of its class that this thread put into its own cache, if it has one.
    pub(crate) fn has_own_last(&self, class: SizeClass, object: *mut u8) -> bool {
        let slot = self.slot();
        if slot == Slot::UNBOUND {
            return false;
        }
        let own = thread_block::block();
        // SAFETY: the words are this thread's own.
        let words = unsafe { &*own.words(slot) };
        OwnCache::<C::Pages>::at_hand(own, words)
            .is_some_and(|cache| cache.is_last_in(class, object))
    }

    /// Whether an address lies in what the page heap reserved.
    fn is_in_page_heap(&self, address: Address) -> bool {
        let mut is_reserved = false;
        self.page_heap()
            .for_each_reservation(|range| is_reserved |= range.contains(address.value()));
        is_reserved
    }

    /// The span that an address lies in, also where the page map has its ends alone: for those who have time.
    fn span_around(&self, address: Address) -> Option<SpanHandle> {
        /// How far back a span may begin: 2 GiB, with pages of 8 KiB.
        const MOST_PAGES: usize = 1 << 18;
        let page = PageId::<C::Pages>::from_address(address.value());
        (0..MOST_PAGES)
            .map_while(|back| page.number().checked_sub(back))
            .find_map(|number| self.map().span_of(PageId::new(number)))
            .filter(|span| page < span.end::<C::Pages>())
    }

    /// Tells of a misuse, and ends the program unless it is to go on.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_misuse(
        &self,
        offence: Offence,
        function: Function,
        address: Address,
        span: Option<SpanHandle>,
        last: LastOperation,
    ) {
        let span = span.as_deref();
        Misuse { offence, function, address, span, last }.report::<C::Pages>();
    }
}
