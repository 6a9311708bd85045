//! A snapshot and what its page heap tells beyond it.

use crate::{Ledger, PageHeapKind, Reconciliation, Snapshot};
use serde::Serialize;
use strata_alloc::SelectedFigures;
use strata_page_heap::LegacyFigures;
use strata_temeraire::TemeraireFigures;

/// The figures that only one kind of page heap has.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageHeapDetails<'a> {
    /// Of the hugepage-aware page heap.
    Temeraire(&'a TemeraireFigures),
    /// Of the legacy page heap.
    Legacy(&'a LegacyFigures),
    /// None, or of a page heap that Strata does not know.
    #[default]
    #[serde(untagged)]
    Other,
}

impl PageHeapDetails<'_> {
    /// Whose they are.
    pub const fn kind(self) -> PageHeapKind {
        match self {
            Self::Temeraire(_) => PageHeapKind::HugePageAware,
            Self::Legacy(_) => PageHeapKind::Legacy,
            Self::Other => PageHeapKind::Other,
        }
    }
}

impl<'a> From<&'a SelectedFigures> for PageHeapDetails<'a> {
    fn from(figures: &'a SelectedFigures) -> Self {
        match figures {
            SelectedFigures::Temeraire(figures) => Self::Temeraire(figures),
            SelectedFigures::Legacy(figures) => Self::Legacy(figures),
        }
    }
}

/// All that is known of a heap at a moment: what summaries, findings and files are made from.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Figures, Snapshot, explain};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// heap.allocate(48);
/// let snapshot = Snapshot::take(heap.core().expect("the first block set it up"));
/// // A snapshot alone will do; what needs more is then not told.
/// assert_eq!(Figures::from(&snapshot).ledger().in_use_bytes, 48);
/// assert_eq!(explain(&snapshot, None).iter().count(), 0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// Every layer.
    pub snapshot: &'a Snapshot,
    /// What the page heap tells beyond it.
    pub page_heap: PageHeapDetails<'a>,
    /// What the kernel has of it, if it was asked.
    pub kernel: Option<&'a Reconciliation>,
}

impl<'a> From<&'a Snapshot> for Figures<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, page_heap: PageHeapDetails::Other, kernel: None }
    }
}

impl Figures<'_> {
    /// Bytes of free pages that would go back to the system if the program asked for all that can: those that recent demand
    /// keeps are not among them.
    pub fn releasable_bytes(&self) -> u64 {
        let free_bytes = self.snapshot.heap.page_heap.free_bytes;
        match self.page_heap {
            PageHeapDetails::Temeraire(temeraire) => {
                temeraire.releasable_bytes.map_or(free_bytes, |bytes| bytes.min(free_bytes))
            }
            PageHeapDetails::Legacy(_) | PageHeapDetails::Other => free_bytes,
        }
    }

    /// Where each mapped byte is.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(self.snapshot)
    }
}
