//! What the tests of this crate stand on.

use std::{println, string::String};
use strata_os::{FailingPages, ManualClock, SimulatedPages, SystemPages};
use strata_span::{Ground, PageSize};

/// Simulated pages that can be made to fail, and a clock that stands.
pub(crate) type TestGround<P> = Ground<P, FailingPages<SimulatedPages>, SystemPages, ManualClock>;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A fresh ground, a million seconds after the clock's start.
pub(crate) fn ground<P: PageSize>() -> TestGround<P> {
    Ground::new(
        FailingPages::new(SimulatedPages::new()),
        SystemPages::new(),
        ManualClock::new(1_000_000 * SECOND_NS),
    )
}

/// Random numbers, whose seed is printed and can be given back in `STRATA_SEED`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(default: u64) -> Self {
        let given = std::env::var("STRATA_SEED").ok();
        let seed = given.and_then(|seed: String| seed.parse().ok()).unwrap_or(default);
        println!("STRATA_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}
