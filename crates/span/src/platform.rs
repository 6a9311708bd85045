//! What the layers above stand on.

use crate::{MetadataArena, PageMap, SpanPool};
use strata_os::{Clock, PageSource};
use strata_size_classes::PageSize;

/// The things of a heap that its page heaps and free lists share.
///
/// They are named at each call, not owned: so a heap is a value that holds its layers side by
/// side, and a back end can come and go.
pub trait Platform: Sync {
    /// The page size.
    type Pages: PageSize;
    /// Where spans come from. Page heaps never touch what it gives.
    type Source: PageSource;
    /// Where metadata comes from: a source that can be touched.
    type Metadata: PageSource;
    /// The time.
    type Clock: Clock;

    /// Where spans come from.
    fn source(&self) -> &Self::Source;
    /// Where metadata comes from.
    fn metadata(&self) -> &Self::Metadata;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// The arena for metadata.
    fn arena(&self) -> &MetadataArena;
    /// The page map.
    fn map(&self) -> &PageMap<Self::Pages>;
    /// The span structures.
    fn spans(&self) -> &SpanPool;

    /// An object of `bytes` bytes that came back was none, or was free already, which was told, and the process
    /// goes on: it is left alone, and whoever counts what was freed counted one too many.
    fn note_left_alone(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Now, by its clock, in nanoseconds.
    fn now_ns(&self) -> u64 {
        self.clock().now_ns()
    }
}

/// A platform of its own parts, for those who use a layer without a heap, and for tests.
#[derive(Debug)]
pub struct Ground<P: PageSize, S, M, C> {
    /// Where spans come from.
    pub source: S,
    /// Where metadata comes from.
    pub metadata: M,
    /// The time.
    pub clock: C,
    /// The arena for metadata.
    pub arena: MetadataArena,
    /// The page map.
    pub map: PageMap<P>,
    /// The span structures.
    pub spans: SpanPool,
}

impl<P: PageSize, S: PageSource, M: PageSource, C: Clock> Ground<P, S, M, C> {
    /// A platform on the given sources and clock.
    pub fn new(source: S, metadata: M, clock: C) -> Self {
        Self {
            source,
            metadata,
            clock,
            arena: MetadataArena::new(),
            map: PageMap::new(),
            spans: SpanPool::new(),
        }
    }
}

impl<P: PageSize, S: PageSource, M: PageSource, C: Clock> Platform for Ground<P, S, M, C> {
    type Pages = P;
    type Source = S;
    type Metadata = M;
    type Clock = C;

    fn source(&self) -> &S {
        &self.source
    }
    fn metadata(&self) -> &M {
        &self.metadata
    }
    fn clock(&self) -> &C {
        &self.clock
    }
    fn arena(&self) -> &MetadataArena {
        &self.arena
    }
    fn map(&self) -> &PageMap<P> {
        &self.map
    }
    fn spans(&self) -> &SpanPool {
        &self.spans
    }
}
