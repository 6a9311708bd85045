//! Random numbers that are the same in every run.

/// The generator xorshift64* (Vigna 2016): three shifts and a multiplication.
///
/// ```
/// let mut random = strata_workloads::Random::new(7);
/// assert!(random.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        // The state must not be 0; odd multiples of an odd constant never are.
        Self((seed << 1 | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next number.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Has the numbers to come depend on `word` too.
    #[inline]
    pub const fn stir(&mut self, word: u64) {
        // The state must not be 0.
        self.0 = self.0.wrapping_add(word << 1);
        if self.0 == 0 {
            self.0 = 1;
        }
    }

    /// A number below `bound`, or 0 where that is 0; evenly spread (Lemire 2019).
    #[inline]
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next_u64() as u128 * bound as u128) >> 64) as usize
    }

    /// A number from `low` up to and including `high`.
    #[inline]
    pub const fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }
}
