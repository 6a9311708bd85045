//! Heaps that sampled or cold spans have to themselves.

use crate::{PageHeapDetails, PageHeapKind, RenderPageHeap, Snapshot};
use core::fmt::{Result, Write};
use serde::{Serialize, Serializer, ser::SerializeMap};
use strata_alloc::{Core, HeapConfig};
use strata_page_heap::{PageHeap, Temperature};

/// What reports call them, and whose spans they have.
const TAGS: [(&str, Temperature); 2] =
    [("SAMPLED", Temperature::Sampled), ("COLD", Temperature::Cold)];

/// The page heap of a heap: figures of the ordinary spans that were taken, and those of the others, taken when they are asked for.
/// On a small stack there is no room for all of them.
pub(crate) struct LivePageHeap<'a, C: HeapConfig, F> {
    pub(crate) core: &'a Core<C>,
    pub(crate) ordinary: F,
}

/// Whether there are any.
pub(crate) fn exist<C: HeapConfig>(core: &Core<C>) -> bool {
    TAGS.iter().any(|(_, temperature)| core.page_heap().stats_of(*temperature).is_some())
}

/// Takes the figures of one of them in a frame of its own.
#[inline(never)]
fn visit<C: HeapConfig>(
    core: &Core<C>,
    tag: &'static str,
    temperature: Temperature,
    each: &mut dyn FnMut(&'static str, PageHeapDetails<'_>) -> Result,
) -> Result
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    match core.page_heap().figures_of(core, temperature) {
        Some(figures) => each(tag, figures.details()),
        None => Ok(()),
    }
}

impl<C: HeapConfig, F: RenderPageHeap> RenderPageHeap for LivePageHeap<'_, C, F>
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    fn kind(&self) -> PageHeapKind {
        self.ordinary.kind()
    }

    fn details(&self) -> PageHeapDetails<'_> {
        self.ordinary.details()
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        self.ordinary.free_bytes()
    }

    fn for_each_apart(
        &self,
        each: &mut dyn FnMut(&'static str, PageHeapDetails<'_>) -> Result,
    ) -> Result {
        TAGS.iter().try_for_each(|(tag, temperature)| visit(self.core, tag, *temperature, each))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
        self.ordinary.render(snapshot, out)
    }
}

/// The same as data: a map of their names. They are taken while they are written.
pub(crate) struct LiveApart<'a, C: HeapConfig>(pub(crate) &'a Core<C>);

impl<C: HeapConfig> Serialize for LiveApart<'_, C>
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (tag, temperature) in TAGS {
            let mut failed = None;
            let written = visit(self.0, tag, temperature, &mut |tag, details| {
                map.serialize_entry(tag, &details).map_err(|error| {
                    failed = Some(error);
                    core::fmt::Error
                })
            });
            if let (Err(_), Some(error)) = (written, failed) {
                return Err(error);
            }
        }
        map.end()
    }
}
