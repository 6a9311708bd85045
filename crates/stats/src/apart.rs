//! Heaps that sampled or cold spans have to themselves.

use crate::workspace::{FiguresOf, Taken};
use crate::{HeapApart, PageHeapDetails, PageHeapKind, RenderPageHeap, Snapshot};
use core::fmt::{Result, Write};
use serde::{Serialize, Serializer, ser::SerializeMap};
use strata_alloc::{Core, HeapConfig};
use strata_page_heap::{PageHeap, Temperature};

/// What reports call them, and whose spans they have, in the order of reports.
pub(crate) const TAGS: [(&str, Temperature); 2] =
    [("SAMPLED", Temperature::Sampled), ("COLD", Temperature::Cold)];

/// The page heap of a heap: figures of the ordinary spans that were taken, and those of the others, taken when they
/// are asked for.
pub(crate) struct LivePageHeap<'a, 'taken, C: HeapConfig, F> {
    pub(crate) core: &'a Core<C>,
    pub(crate) taken: &'a Taken<'taken, F>,
}

/// Whether there are any.
pub(crate) fn exist<C: HeapConfig>(core: &Core<C>) -> bool {
    TAGS.iter().any(|(_, temperature)| core.page_heap().stats_of(*temperature).is_some())
}

impl<C: HeapConfig> RenderPageHeap for LivePageHeap<'_, '_, C, FiguresOf<C>>
where
    FiguresOf<C>: RenderPageHeap,
{
    fn kind(&self) -> PageHeapKind {
        self.taken.page_heap.kind()
    }

    fn details(&self) -> PageHeapDetails<'_> {
        self.taken.page_heap.details()
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        self.taken.page_heap.free_bytes()
    }

    fn for_each_apart(&self, each: &mut dyn FnMut(HeapApart<'_>) -> Result) -> Result {
        TAGS.iter().try_for_each(|(tag, temperature)| {
            let visited = self.taken.visit_apart(self.core, *temperature, |figures, backing| {
                each(HeapApart { tag, details: figures.details(), backing })
            });
            visited.unwrap_or(Ok(()))
        })
    }

    fn render(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
        self.taken.page_heap.render(snapshot, out)
    }
}

/// The same as data: a map of their names. They are taken while they are written.
pub(crate) struct LiveApart<'a, 'taken, C: HeapConfig, F> {
    pub(crate) heaps: LivePageHeap<'a, 'taken, C, F>,
    pub(crate) part: PartApart,
}

/// What is told of them in one place of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartApart {
    /// Their figures.
    Figures,
    /// What the kernel has of them, null where it does not tell.
    Backing,
}

impl<C: HeapConfig> Serialize for LiveApart<'_, '_, C, FiguresOf<C>>
where
    FiguresOf<C>: RenderPageHeap,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut failed = None;
        let written = self.heaps.for_each_apart(&mut |HeapApart { tag, details, backing }| {
            let entry = match self.part {
                PartApart::Figures => map.serialize_entry(tag, &details),
                PartApart::Backing => map.serialize_entry(tag, &backing),
            };
            entry.map_err(|error| {
                failed = Some(error);
                core::fmt::Error
            })
        });
        match (written, failed) {
            (Err(_), Some(error)) => Err(error),
            _ => map.end(),
        }
    }
}
