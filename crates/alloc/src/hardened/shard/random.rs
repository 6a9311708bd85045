//! Random bytes for the choice of slots.

use core::cell::Cell;

/// Random bytes, eight from each number of a generator.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Random {
    /// Those that were not used yet, the next one lowest; zero if none is left.
    bytes: Cell<u64>,
    pub(super) state: Cell<u64>,
}

impl Random {
    #[inline(always)]
    pub(super) fn is_used_up(&self) -> bool {
        self.bytes.get() == 0
    }

    /// The next byte. Of eight that are zeroes and the last of their number some are not seen: a 256th of each eighth.
    #[inline(always)]
    pub(super) fn byte(&self) -> u32 {
        let bytes = self.bytes.get();
        self.bytes.set(bytes >> u8::BITS);
        (bytes & 0xff) as u32
    }

    /// The next number of the generator (Wang Yi's wyrand: two halves of a product).
    #[inline(always)]
    pub(super) fn refill(&self) {
        let state = self.state.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.state.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        self.bytes.set((product >> 64) as u64 ^ product as u64);
    }
}
