//! What page heaps print about themselves.

mod ages;
pub(crate) mod allocations;
mod backing;
pub(crate) mod filler;
mod legacy;
pub(crate) mod spans;
pub(crate) mod temeraire;

use crate::{Backing, PageHeapDetails, Snapshot, figure::Mebibytes, tcmalloc::RULE};
use core::fmt::{Result, Write};
use strata_alloc::SelectedFigures;
use strata_page_heap::LegacyFigures;
use strata_temeraire::TemeraireFigures;

/// A page heap that spans of one kind have to themselves.
#[derive(Clone, Copy, Debug)]
pub struct HeapApart<'a> {
    /// What reports call it.
    pub tag: &'static str,
    /// Its figures.
    pub details: PageHeapDetails<'a>,
    /// What the kernel has of its hugepages; none where it was not asked, or does not tell.
    pub backing: Option<&'a Backing>,
}

/// Which page heap runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PageHeapKind {
    /// The legacy page heap.
    Legacy,
    /// The hugepage-aware page heap.
    HugePageAware,
    /// One that Strata does not know.
    Other,
}

impl PageHeapKind {
    /// What its lines in a report begin with.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Legacy | Self::Other => "PageHeap",
            Self::HugePageAware => "HugePageAware",
        }
    }
}

/// Figures of a page heap that can be part of a report.
///
/// A page heap of your own gets the section that needs nothing but the figures that every page heap has:
///
/// ```
/// struct MyFigures;
/// impl strata_stats::RenderPageHeap for MyFigures {}
/// ```
pub trait RenderPageHeap {
    /// Which page heap they are of.
    fn kind(&self) -> PageHeapKind {
        PageHeapKind::Other
    }

    /// The figures, for those who can tell the two kinds apart.
    fn details(&self) -> PageHeapDetails<'_> {
        PageHeapDetails::Other
    }

    /// Bytes of free spans in its tables, with memory behind them and without; none where it has no tables.
    fn free_bytes(&self) -> Option<(u64, u64)> {
        None
    }

    /// Calls `each` with each heap that spans of one kind have to themselves.
    fn for_each_apart(&self, each: &mut dyn FnMut(HeapApart<'_>) -> Result) -> Result {
        let _ = each;
        Ok(())
    }

    /// Writes the page heap's sections in TCMalloc's form.
    fn render(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
        render_common(self.kind(), snapshot, out)
    }
}

impl RenderPageHeap for LegacyFigures {
    fn kind(&self) -> PageHeapKind {
        PageHeapKind::Legacy
    }

    fn details(&self) -> PageHeapDetails<'_> {
        PageHeapDetails::Legacy(self)
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        let all = self.lengths().chain([self.large]);
        Some(all.fold((0, 0), |sum, spans| {
            (sum.0.saturating_add(spans.backed_bytes), sum.1.saturating_add(spans.unmapped_bytes))
        }))
    }

    fn render(&self, _: &Snapshot, out: &mut dyn Write) -> Result {
        legacy::render(self, out)
    }
}

impl RenderPageHeap for TemeraireFigures {
    fn kind(&self) -> PageHeapKind {
        PageHeapKind::HugePageAware
    }

    fn details(&self) -> PageHeapDetails<'_> {
        PageHeapDetails::Temeraire(self)
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        Some(self.spans.total_bytes())
    }

    fn render(&self, _: &Snapshot, out: &mut dyn Write) -> Result {
        temeraire::render(self, out)
    }
}

impl RenderPageHeap for SelectedFigures {
    fn kind(&self) -> PageHeapKind {
        match self {
            Self::Temeraire(figures) => figures.kind(),
            Self::Legacy(figures) => figures.kind(),
        }
    }

    fn details(&self) -> PageHeapDetails<'_> {
        self.into()
    }

    fn free_bytes(&self) -> Option<(u64, u64)> {
        match self {
            Self::Temeraire(figures) => figures.free_bytes(),
            Self::Legacy(figures) => figures.free_bytes(),
        }
    }

    fn render(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
        self.details().render(snapshot, out)
    }
}

/// Those of a snapshot that was read from a file.
impl RenderPageHeap for PageHeapDetails<'_> {
    fn kind(&self) -> PageHeapKind {
        (*self).kind()
    }

    fn details(&self) -> PageHeapDetails<'_> {
        *self
    }

    fn render(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result {
        match self {
            Self::Temeraire(figures) => temeraire::render(figures, out),
            Self::Legacy(figures) => legacy::render(figures, out),
            Self::Other => render_common(PageHeapKind::Other, snapshot, out),
        }
    }
}

/// A heap that has no figures beyond those that all have.
impl RenderPageHeap for () {}

/// How often the figures of a page heap are taken, where it was used before the snapshot was. A heap whose
/// background gives memory back now and then agrees at the second try; one that is in use all the time costs as
/// many walks over its hugepages, and its tables differ from the summary by what was in flight.
pub(crate) const TRIES: u32 = 3;

/// Whether the tables of a page heap have as much free as a snapshot says.
pub(crate) fn agree<F: RenderPageHeap>(page_heap: &F, snapshot: &Snapshot) -> bool {
    let stats = &snapshot.heap.page_heap;
    page_heap.free_bytes().is_none_or(|free| free == (stats.free_bytes, stats.unmapped_bytes))
}

/// What can be said of any page heap.
pub(crate) fn render_common(
    kind: PageHeapKind,
    snapshot: &Snapshot,
    out: &mut dyn Write,
) -> Result {
    let (label, stats) = (kind.label(), &snapshot.heap.page_heap);
    writeln!(out, "{RULE}")?;
    writeln!(
        out,
        "{label}: {} spans in use; {:6.1} MiB free; {:6.1} MiB unmapped",
        stats.spans_in_use,
        Mebibytes(stats.free_bytes),
        Mebibytes(stats.unmapped_bytes),
    )?;
    writeln!(out, "{RULE}")
}
