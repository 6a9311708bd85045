//! Finding the slot that an address is, and whether it is as it was left.

use super::record::{Record, State};
use crate::{Core, HeapConfig, observer::Said};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{Address, Platform, SpanHandle, SpanPlace};
use strata_sync::atomic::AtomicU64;

/// A slot, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub(super) span: SpanHandle,
    pub(super) class: SizeClass,
    pub(super) start: Address,
    pub(super) bytes: usize,
    pub(super) index: u32,
    pub(super) record: &'a AtomicU64,
}

impl<C: HeapConfig> Core<C> {
    /// The slot that begins at an address, or else the span that the address lies in.
    #[inline(always)]
    pub(super) fn locate_slot(&self, address: Address) -> Result<Located<'_>, Option<SpanHandle>> {
        let span = self.map().span_at(address.value()).ok_or(None)?;
        let class = span.class();
        if class.is_none() || span.place() != SpanPlace::InUse {
            return Err(Some(span));
        }
        let info = C::Pages::TABLE.info(class);
        let bytes = info.size as usize;
        let offset = address.offset_from(span.objects_start::<C::Pages>());
        let index = info.object_index(offset);
        if index >= span.object_capacity() || index as usize * bytes != offset {
            return Err(Some(span));
        }
        let first = Address::new(span.records()).non_null().ok_or(Some(span))?.cast::<AtomicU64>();
        // SAFETY: a span with a class has as many records as slots, in metadata, which stays mapped.
        let record = unsafe { first.add(index as usize) };
        // SAFETY: as above; zeroed words are records, shared only as atomics.
        let record = unsafe { record.as_ref() };
        Ok(Located { span, class, start: address, bytes, index, record })
    }

    /// Whether a block of `size` bytes that is given back is as it was handed out: its size, its canary, and that of the slot before it.
    #[inline(always)]
    pub(super) fn is_intact(&self, located: &Located<'_>, size: usize, said: Said) -> bool {
        let is_size = said.said().is_none_or(|(said, _)| said == size);
        let canary = self.hardened.canary(located.start);
        is_size
            // SAFETY: the slot is a block's, and as long as its class says.
            && unsafe { canary.is_whole(located.start, located.bytes, size) }
            && self.is_neighbour_whole(located)
    }

    /// Whether the last bytes of the slot before are canary still, if they ever were.
    #[inline(always)]
    pub(super) fn is_neighbour_whole(&self, located: &Located<'_>) -> bool {
        if located.index == 0 {
            return true;
        }
        // SAFETY: the records of a span lie one behind the other, as its slots do, and this slot is not the first.
        let record = unsafe { core::ptr::from_ref(located.record).sub(1) };
        // SAFETY: as above; records stay mapped, and are shared only as atomics.
        let record = unsafe { &*record };
        let start = Address::new(located.start.value().wrapping_sub(located.bytes));
        let canary = self.hardened.canary(start);
        Record::is_borne_out(record, |state| match state {
            State::New => true,
            // SAFETY: the slot before was handed out once, so that its end is canary since, and the span is in use.
            State::Live => unsafe { canary.is_end_whole(start, located.bytes) },
            // SAFETY: as above.
            State::Freed => unsafe { canary.is_free_end_whole(start, located.bytes) },
        })
    }
}
