//! Numbers that are the same in every simulation.

/// The generator xorshift64* (Vigna 2016).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `bound`.
    pub(super) const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((number as u128 * bound as u128) >> 64) as usize
    }

    /// A number from `least` on, each of `doublings` powers of two as likely as the others.
    pub(super) const fn size(&mut self, least: usize, doublings: usize) -> usize {
        let least = least << self.below(doublings);
        least + self.below(least)
    }
}
