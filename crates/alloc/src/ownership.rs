//! Whose memory an address is, and what a heap has handed out.

use crate::{Core, Heap, HeapConfig};
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

impl<C: HeapConfig> Core<C> {
    /// Calls `visit` for each span that is with the program or with a class, in order of addresses: where it is, and the size of its
    /// objects, which is its own for a large block. A span that comes or goes meanwhile may be seen or not.
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
}

#[cfg(test)]
mod tests;
