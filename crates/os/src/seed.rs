//! Random numbers of tests and simulations, which can be had again.

use std::{env, println, time::SystemTime};

/// A seed, and the numbers that follow from it: SplitMix64 (Steele, Lea, Flood 2014), the same on every machine.
///
/// ```
/// use strata_os::Seed;
///
/// let (mut one, mut again) = (Seed::new(7), Seed::new(7));
/// assert_eq!(one.next(), again.next());
/// assert!(one.below(10) < 10);
/// // For a thread, or a part of a program, of its own.
/// assert_ne!(one.derived(0).next(), one.derived(1).next());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Seed(u64);

impl Seed {
    /// This seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in `STRATA_SEED`, else one from the time of day; printed, so that a failure can be
    /// had again.
    pub fn from_environment() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let by_the_clock = now.map_or(1, |now| now.as_secs() ^ u64::from(now.subsec_nanos()) << 20);
        Self::from_environment_or(by_the_clock)
    }

    /// The seed in `STRATA_SEED`, else the one that is given, so that each run is the same; printed.
    pub fn from_environment_or(usual: u64) -> Self {
        let seed = env::var("STRATA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(usual);
        println!("STRATA_SEED={seed}");
        Self(seed)
    }

    /// A seed for part `index` of a program.
    #[must_use]
    pub fn derived(self, index: u64) -> Self {
        let mut seed = Self(self.0 ^ index.wrapping_mul(0xa076_1d64_78bd_642f));
        Self(seed.next())
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "an endless row is no iterator to loop over")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(0) % bound.max(1)
    }
}
