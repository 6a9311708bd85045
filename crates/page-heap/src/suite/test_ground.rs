//! The ground that the suite's heaps stand on.

use super::witness::Witness;
use strata_os::{AddressRange, FailingPages, ManualClock, PageSource, SimulatedPages, SystemPages};
use strata_span::{Ground, PageSize, Platform};

/// Simulated pages that are watched and can be made to fail, real metadata that can be made to
/// fail, and a clock that stands.
pub(super) type SuiteGround<P> =
    Ground<P, Witness<FailingPages<SimulatedPages>>, FailingPages<SystemPages>, ManualClock>;

/// A ground that gives the metadata's address space back at its end: the suite builds thousands.
#[derive(Debug)]
pub(super) struct TestGround<P: PageSize>(SuiteGround<P>);

impl<P: PageSize> TestGround<P> {
    pub(super) fn new() -> Self {
        let source = Witness::new(FailingPages::new(SimulatedPages::new()));
        // Not at zero: a clock that jumps backwards needs room.
        let clock = ManualClock::new(1_000_000_000_000_000);
        Self(Ground::new(source, FailingPages::new(SystemPages::new()), clock))
    }

    /// Notes that a span was handed out, and writes to all of it.
    pub(super) fn note_handed_out(&self, range: AddressRange, zeroed: bool) {
        self.0.source.note_handed_out(range, zeroed);
        self.faults().source().touch(range);
    }

    /// The source's switch.
    pub(super) fn faults(&self) -> &FailingPages<SimulatedPages> {
        self.0.source.source()
    }
}

impl<P: PageSize> core::ops::Deref for TestGround<P> {
    type Target = SuiteGround<P>;

    fn deref(&self) -> &SuiteGround<P> {
        &self.0
    }
}

impl<P: PageSize> Drop for TestGround<P> {
    fn drop(&mut self) {
        let Ground { arena, metadata, .. } = &self.0;
        metadata.disarm();
        arena.for_each_range(|range| {
            // SAFETY: the ground is at its end, and with it all that stands in its metadata.
            let _ = unsafe { metadata.source().unreserve(range) };
        });
    }
}

impl<P: PageSize> Platform for TestGround<P> {
    type Pages = P;
    type Source = <SuiteGround<P> as Platform>::Source;
    type Metadata = <SuiteGround<P> as Platform>::Metadata;
    type Clock = ManualClock;

    fn source(&self) -> &Self::Source {
        &self.0.source
    }
    fn metadata(&self) -> &Self::Metadata {
        &self.0.metadata
    }
    fn clock(&self) -> &Self::Clock {
        &self.0.clock
    }
    fn arena(&self) -> &strata_span::MetadataArena {
        &self.0.arena
    }
    fn map(&self) -> &strata_span::PageMap<P> {
        &self.0.map
    }
    fn spans(&self) -> &strata_span::SpanPool {
        &self.0.spans
    }
}
