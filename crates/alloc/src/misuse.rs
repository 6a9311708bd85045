//! The lines about pointers that a heap did not give out.

use crate::{Core, HeapConfig};
use strata_size_classes::Pages8K;
use strata_span::{
    Address, Function, LastOperation, Misuse, Offence, PageId, Platform, SpanHandle, SpanPlace,
};

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
    pub(crate) fn report_no_block(&self, function: Function, address: Address) {
        let span = self.span_around(address);
        let (offence, last) = match span {
            Some(span) if span.place() == SpanPlace::InUse => {
                (Offence::InsideABlock, LastOperation::Unknown)
            }
            Some(_) if matches!(function, Function::Free | Function::SizedFree) => {
                (Offence::DoubleFree, LastOperation::Freed)
            }
            Some(_) => (Offence::UseOfFreedBlock, LastOperation::Freed),
            None => (Offence::NeverHandedOut, LastOperation::Unknown),
        };
        self.report_misuse(offence, function, address, span, last);
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
