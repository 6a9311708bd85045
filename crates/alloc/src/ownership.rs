//! Whose memory an address is, and what a heap has handed out.

use crate::{Core, Heap, HeapConfig, Observer};
use strata_central::Whereabouts;
use strata_os::AddressRange;
use strata_size_classes::PageSize;
use strata_span::{Address, Platform, SpanPlace};

/// Whether an address lies in memory that a heap has handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// In a large block, or in a span of small ones, whether that very object is free or not.
    Owned,
    /// Not.
    NotOwned,
}

impl<C: HeapConfig> Heap<C> {
    /// Whether `pointer` is a block of this heap. Only the first page and the last of a large block are known to be its.
    ///
    /// Any thread may ask at any time, about any address; nothing behind it is read. Costs a look into the page map.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap, Ownership};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// let block = heap.allocate(100);
    /// assert_eq!(heap.ownership(block), Ownership::Owned);
    /// let local = 0_u8;
    /// assert_eq!(heap.ownership(&raw const local), Ownership::NotOwned);
    /// // SAFETY: the block is ours.
    /// unsafe { heap.deallocate(block) };
    /// ```
    pub fn ownership(&self, pointer: *const u8) -> Ownership {
        let address = Address::of(pointer.cast_mut()).value();
        let span = self.core().and_then(|core| core.map().span_at(address));
        match span {
            Some(span) if span.place() == SpanPlace::InUse => Ownership::Owned,
            _ => Ownership::NotOwned,
        }
    }
}

impl<C: HeapConfig> Heap<C> {
    /// Whether `pointer` is where a block of the program's begins. Any thread may ask about any address; nothing
    /// behind it is read. What thread caches hold, and what waits in a hardened heap's quarantine, is not told from
    /// what the program has.
    ///
    /// Costs a look into the page map, two locks, and a look at what caches hold of the block's class.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// let block = heap.allocate(100);
    /// assert!(heap.is_block(block));
    /// assert!(!heap.is_block(block.wrapping_add(16)));
    /// // SAFETY: the block is ours.
    /// unsafe { heap.deallocate(block) };
    /// assert!(!heap.is_block(block));
    /// ```
    pub fn is_block(&self, pointer: *const u8) -> bool {
        self.core().is_some_and(|core| core.is_block(Address::of(pointer.cast_mut())))
    }

    /// Whether what is noted of every span that is in use adds up (see
    /// [`CentralFreeList::is_sound`](strata_central::CentralFreeList::is_sound)). Nobody writes there but the heap, so that
    /// a span which does not was written over by a stray pointer. What blocks hold is not looked at.
    ///
    /// Any thread may ask at any time. Costs a look at each page and a lock for each span.
    pub fn spans_are_sound(&self) -> bool {
        let Some(core) = self.core() else { return true };
        let mut sound = true;
        core.map().for_each_span(|span| {
            let class = span.class();
            if span.place() == SpanPlace::InUse && !class.is_none() {
                sound &= core.middle().central(class).is_sound(class, &span);
            }
        });
        sound
    }
}

impl<C: HeapConfig> Core<C> {
    fn is_block(&self, address: Address) -> bool {
        let Some(span) = self.map().span_at(address.value()) else { return false };
        if span.place() != SpanPlace::InUse {
            return false;
        }
        let class = span.class();
        if class.is_none() {
            // Before a block of a hardened heap lies its guard.
            return match self.observer() {
                Some(Observer::Hardened) => span.object_map() == address.value(),
                _ => span.start::<C::Pages>() == address,
            };
        }
        let central = self.middle().central(class);
        matches!(central.whereabouts(self, class, address), Whereabouts::Out(_))
            && !self.cpu_cache().holds(class, address.pointer())
            && !self.middle().transfer(class).holds(address.pointer())
    }

    /// Calls `visit` for each span that is with the program or with a class, in order of addresses: where it is,
    /// and the size of its objects, which is its own for a large block. A span that comes or goes meanwhile may be
    /// seen or not.
    ///
    /// Takes no lock: `visit` may allocate and free. Costs a look at each page.
    pub fn for_each_live_span(&self, mut visit: impl FnMut(AddressRange, usize)) {
        self.map().for_each_span(|span| {
            if span.place() != SpanPlace::InUse {
                return;
            }
            let range = AddressRange::new(
                span.first::<C::Pages>().address().value(),
                span.pages() << C::Pages::SHIFT,
            );
            let class = span.class();
            let size = C::Pages::TABLE.size(class);
            visit(range, if class.is_none() { range.bytes } else { size });
        });
    }

    /// Calls `visit` for each span that is a block by itself, in order of addresses. As above.
    pub fn for_each_large_block(&self, mut visit: impl FnMut(AddressRange)) {
        self.map().for_each_span(|span| {
            if span.place() == SpanPlace::InUse && span.class().is_none() {
                visit(span.range::<C::Pages>());
            }
        });
    }
}

#[cfg(test)]
mod tests;
