//! Finding the slot that an address is, and whether it is as it was left.

use super::{
    canary::last_word,
    record::{Record, State},
};
use crate::{Core, HeapConfig, observer::Said};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{Address, Platform, SpanHandle, SpanPlace};
use strata_sync::atomic::AtomicU64;

/// A slot, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub(super) class: SizeClass,
    pub(super) start: Address,
    pub(super) bytes: usize,
    pub(super) index: u32,
    pub(super) record: &'a AtomicU64,
}

impl Located<'_> {
    /// The slot before this one in its span, unless this is the first.
    #[inline(always)]
    pub(super) fn before(&self) -> Option<Self> {
        let index = self.index.checked_sub(1)?;
        // SAFETY: the records of a span lie one behind the other, as its slots do, and this slot is not the first.
        let record = unsafe { core::ptr::from_ref(self.record).sub(1) };
        // SAFETY: the records of a span lie one behind the other, as its slots do, and this slot is not the first;
        // records stay mapped, and are shared only as atomics.
        let record = unsafe { &*record };
        let start = Address::new(self.start.value().wrapping_sub(self.bytes));
        Some(Self { start, index, record, ..*self })
    }
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
        // SAFETY: a span with a class has as many records as slots, in metadata, which stays mapped; zeroed words
        // are records, shared only as atomics.
        let record = unsafe { record.as_ref() };
        Ok(Located { class, start: address, bytes, index, record })
    }

    /// The slot that begins at an address, if it is of that class, whose size is `bytes`: less work than
    /// [`locate_slot`](Self::locate_slot) for who knows the class that it should be of.
    #[inline(always)]
    pub(super) fn locate_slot_of(
        &self,
        address: Address,
        class: SizeClass,
        bytes: usize,
    ) -> Option<Located<'_>> {
        let span = self.map().span_at(address.value())?;
        if !span.holds(class) {
            return None;
        }
        let offset = address.offset_from(span.objects_start::<C::Pages>());
        let index = self.hardened.numbers.get().divisors[class.index()].divide(offset)?;
        if index >= u64::from(span.object_capacity()) {
            return None;
        }
        let first = Address::new(span.records()).non_null()?.cast::<AtomicU64>();
        // SAFETY: a span with a class has as many records as slots, in metadata, which stays mapped.
        let record = unsafe { first.add(index as usize) };
        // SAFETY: a span with a class has as many records as slots, in metadata, which stays mapped; zeroed words
        // are records, shared only as atomics.
        let record = unsafe { record.as_ref() };
        Some(Located { class, start: address, bytes, index: index as u32, record })
    }

    /// Whether a block that is given back is as it was handed out, as far as the commonest case goes: the slot
    /// before it was handed out once, and its page stands. The size is compared with what was `said` if `SAYS`.
    #[inline(always)]
    pub(super) fn is_plainly_intact<const SAYS: bool>(
        &self,
        located: &Located<'_>,
        size: usize,
        said: Said,
    ) -> bool {
        let is_size = !SAYS || said.said().is_none_or(|(said, _)| said == size);
        let canary = self.hardened.canary(located.start);
        let before = Address::new(located.start.value().wrapping_sub(located.bytes));
        let before_canary = self.hardened.canary(before);
        is_size
            // SAFETY: the slot is a block's, and as long as its class says.
            && unsafe { canary.is_whole(located.start, located.bytes, size) }
            // SAFETY: a slot that is not the first has one before it in its span, which is in use.
            && (located.index == 0 || unsafe { before_canary.is_end_whole(before, located.bytes) })
    }

    /// Whether a block of `size` bytes that is given back is as it was handed out: its size, its canary, and that
    /// of the slot before it.
    #[inline(always)]
    pub(super) fn is_intact(&self, located: &Located<'_>, size: usize, said: Said) -> bool {
        let is_size = said.said().is_none_or(|(said, _)| said == size);
        let canary = self.hardened.canary(located.start);
        is_size
            // SAFETY: the slot is a block's, and as long as its class says.
            && unsafe { canary.is_whole(located.start, located.bytes, size) }
            && self.is_neighbour_whole(located)
    }

    /// Sees to it that canary lies before a slot that is going to be a block's, also where nobody had the slot before:
    /// so that a write before the block is seen.
    pub(super) fn close_end_before(&self, located: &Located<'_>) {
        let Some(before) = located.before() else { return };
        if Record::load(before.record).state() != State::New {
            return;
        }
        let canary = self.hardened.canary(before.start);
        // SAFETY: the slot before lies in a span that is in use for this one.
        let found = unsafe { last_word(before.start, before.bytes) };
        if !canary.may_end_with(found) {
            // SAFETY: the slot before lies in a span that is in use for this one. Nobody has it, or another thread writes a
            // canary of its own there meanwhile, which stays.
            unsafe { canary.mend_end(before.start, before.bytes, 0, found) };
        }
    }

    /// Whether the last bytes of the slot before are canary still.
    #[inline(always)]
    pub(super) fn is_neighbour_whole(&self, located: &Located<'_>) -> bool {
        let Some(before) = located.before() else { return true };
        let (start, bytes) = (before.start, before.bytes);
        let canary = self.hardened.canary(start);
        Record::is_borne_out(before.record, |state| match state {
            // SAFETY: the slot before was handed out once, so that its end is canary since, and the span is in use.
            State::Live => unsafe { canary.is_end_whole(start, bytes) },
            // SAFETY: the slot before was handed out once, or closed before this one was: its end is canary since, and
            // the span is in use.
            State::New | State::Freed => unsafe { canary.is_free_end_whole(start, bytes) },
        })
    }
}

/// What is multiplied with to divide by a class's size. All zero bits divide nothing.
pub(super) struct Divisor(u64);

impl Divisor {
    /// Divides by `size`.
    pub(super) fn of(size: usize) -> Self {
        Self(u64::MAX / size.max(2) as u64 + 1)
    }

    /// How many objects lie before `offset`, if one begins there. Exact for offsets below 2^32; of others some answer above
    /// any span's.
    ///
    /// With `c = ⌈2⁶⁴ / d⌉`, the quotient of `n` and `d` is `⌊n · c / 2⁶⁴⌋`, and there is no remainder just if
    /// `n · c mod 2⁶⁴ < c` (D. Lemire, O. Kaser, N. Kurz, "Faster Remainder by Direct Computation", 2019, section
    /// 3.2).
    #[inline(always)]
    fn divide(&self, offset: usize) -> Option<u64> {
        let product = u128::from(offset as u64) * u128::from(self.0);
        let (quotient, fraction) = ((product >> 64) as u64, product as u64);
        (fraction < self.0).then_some(quotient)
    }
}

#[cfg(test)]
mod tests;
