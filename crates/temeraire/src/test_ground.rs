//! What the tests of this crate stand on.

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
