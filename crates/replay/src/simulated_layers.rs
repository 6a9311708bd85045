//! What stands over the simulated address space, as upkeep sees it.

use strata_central::MiddleTier;
use strata_cpu_cache::CpuCache;
use strata_os::{ManualClock, SimulatedPages, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::PageSize;
use strata_span::Ground;
use strata_upkeep::{Counters, Layers, Looks, ReleasePolicy};

use crate::{SimulatedCpus, Touching};

/// Pages of memory that does not exist, and time that is told.
pub(crate) type Simulated<'a, P> = Ground<P, &'a SimulatedPages, SystemPages, &'a ManualClock>;

/// The layers of a simulated heap.
pub(crate) struct SimulatedLayers<'a, P: PageSize, H: PageHeap<P>> {
    pub(crate) ground: Simulated<'a, P>,
    pub(crate) page_heap: Box<Touching<'a, H>>,
    pub(crate) middle: Box<MiddleTier<P>>,
    pub(crate) cpus: SimulatedCpus,
    pub(crate) policy: ReleasePolicy,
    pub(crate) counters: Counters,
    pub(crate) looks: Looks,
}

impl<'a, P: PageSize, H: PageHeap<P>> Layers for SimulatedLayers<'a, P, H> {
    type Platform = Simulated<'a, P>;
    type PageHeap = Touching<'a, H>;

    fn platform(&self) -> &Simulated<'a, P> {
        &self.ground
    }

    fn page_heap(&self) -> &Touching<'a, H> {
        &self.page_heap
    }

    fn middle(&self) -> &MiddleTier<P> {
        &self.middle
    }

    fn cpu_caches(&self) -> Option<&CpuCache> {
        Some(self.cpus.cache())
    }

    fn with_cpu_cache_stops<R>(&self, work: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        Some(work(self.cpus.cache()))
    }

    fn policy(&self) -> ReleasePolicy {
        self.policy
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn activity(&self) -> u64 {
        self.looks.activity()
    }
}
