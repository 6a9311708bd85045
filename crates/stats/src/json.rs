//! A snapshot as JSON: what files of snapshots hold. `docs/snapshot.schema.json` says what each field means.

use crate::apart::{self, LiveApart, LivePageHeap, PartApart};
use crate::workspace::{Extra, FiguresOf, Taken, with_figures};
use crate::{
    Category, Figures, Ledger, PageHeapDetails, Reconciliation, RenderPageHeap, Snapshot,
    heap_map::LiveMap, reconcile::reconcile_with,
};
use core::fmt;
use ser_write_json::{SerWrite, ser::to_writer};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use strata_alloc::{Core, HeapConfig};
use strata_os::{process_id, process_name, unix_time_seconds};

/// What the first field of a snapshot's file says.
pub(crate) const FORMAT: &str = "strata-snapshot";

/// How much a snapshot's file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Extent {
    /// The figures: some 60 KiB.
    #[default]
    Figures,
    /// Also what the kernel has of them, and each hugepage and span: some 20 bytes a span, and a system call a hugepage.
    Map,
}

/// Writes the figures of a heap as they are now as one line of JSON.
///
/// As [`report`](crate::report) does.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Extent, Document, report_json};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// heap.allocate(48);
/// let mut text = String::new();
/// report_json(heap.core().expect("set up"), Extent::Map, &mut text).expect("strings take all that is written");
///
/// # #[cfg(feature = "std")] {
/// let read = Document::read(text.as_bytes()).expect("it is whole");
/// assert_eq!(read.figures().ledger().in_use_bytes, 48);
/// # }
/// ```
///
/// # Errors
///
/// Those of `out`; and there is no memory for the figures.
pub fn report_json<C: HeapConfig>(
    core: &Core<C>,
    extent: Extent,
    out: &mut dyn fmt::Write,
) -> fmt::Result
where
    FiguresOf<C>: RenderPageHeap,
{
    // What the background work gives back between the figures and the kernel's would be a difference.
    let mut still = (extent == Extent::Map).then(|| core.hold_background());
    let written = with_figures(core, Extra::Details, |taken| {
        let kernel = still.is_some().then(|| reconcile_with(core, taken.snapshot));
        drop(still.take());
        write_taken(core, taken, kernel, out)
    });
    written.unwrap_or(Err(fmt::Error))
}

fn write_taken<C: HeapConfig>(
    core: &Core<C>,
    taken: &Taken<'_, FiguresOf<C>>,
    kernel: Option<Reconciliation>,
    out: &mut dyn fmt::Write,
) -> fmt::Result
where
    FiguresOf<C>: RenderPageHeap,
{
    let map = kernel.is_some().then(|| LiveMap::of(core));
    let name = process_name();
    let provenance = Provenance::of_this_process(name.as_str());
    let (snapshot, page_heap) = (taken.snapshot, taken.page_heap.details());
    let figures = Figures { snapshot, page_heap, kernel: kernel.as_ref() };
    let apart = |part| {
        apart::exist(core).then_some(LiveApart { heaps: LivePageHeap { core, taken }, part })
    };
    let apart = Apart { figures: apart(PartApart::Figures), backing: apart(PartApart::Backing) };
    write(figures, provenance, apart, taken.details, map, out)
}

/// Writes figures that were taken before, as if this process had taken them now.
///
/// # Errors
///
/// Those of `out`.
pub fn render_json(figures: Figures<'_>, out: &mut dyn fmt::Write) -> fmt::Result {
    let name = process_name();
    write(
        figures,
        Provenance::of_this_process(name.as_str()),
        Apart { figures: None::<()>, backing: None::<()> },
        None::<()>,
        None::<()>,
        out,
    )
}

/// Where and when a snapshot was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provenance<'a> {
    pub(crate) unix_seconds: u64,
    pub(crate) process_id: u32,
    pub(crate) process_name: &'a str,
}

impl<'a> Provenance<'a> {
    fn of_this_process(process_name: &'a str) -> Self {
        Self { unix_seconds: unix_time_seconds(), process_id: process_id(), process_name }
    }
}

/// Heaps that spans of one kind have to themselves, by name: their figures, and what the kernel has of them.
pub(crate) struct Apart<A, B> {
    pub(crate) figures: Option<A>,
    pub(crate) backing: Option<B>,
}

/// A snapshot's file, as it is written.
#[derive(Serialize)]
struct Written<'a, A, B, D, M> {
    format: &'static str,
    version: u32,
    unix_seconds: u64,
    process_id: u32,
    process_name: &'a str,
    /// For readers who do not want to compose it; those of ours compute it from the figures.
    ledger: LedgerLines,
    snapshot: &'a Snapshot,
    page_heap: PageHeapDetails<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_heaps_apart: Option<A>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_apart: Option<B>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<&'a Reconciliation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<D>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<M>,
}

/// Writes the one line.
pub(crate) fn write<A: Serialize, B: Serialize, D: Serialize, M: Serialize>(
    figures: Figures<'_>,
    provenance: Provenance<'_>,
    apart: Apart<A, B>,
    details: Option<D>,
    map: Option<M>,
    out: &mut dyn fmt::Write,
) -> fmt::Result {
    let written = Written {
        format: FORMAT,
        version: Snapshot::VERSION,
        unix_seconds: provenance.unix_seconds,
        process_id: provenance.process_id,
        process_name: provenance.process_name,
        ledger: LedgerLines(figures.ledger()),
        snapshot: figures.snapshot,
        page_heap: figures.page_heap,
        page_heaps_apart: apart.figures,
        backing_apart: apart.backing,
        kernel: figures.kernel,
        details,
        map,
    };
    to_writer(Text(out), &written).map_err(|_| fmt::Error)?;
    out.write_char('\n')
}

/// The ledger as a list of its lines.
struct LedgerLines(Ledger);

#[derive(Serialize)]
struct LedgerLine {
    category: &'static str,
    part: &'static str,
    bytes: u64,
}

impl Serialize for LedgerLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lines = serializer.serialize_seq(Some(Category::COUNT))?;
        for category in Category::all() {
            let (part, bytes) = (category.part().name(), self.0.bytes(category));
            lines.serialize_element(&LedgerLine { category: category.name(), part, bytes })?;
        }
        lines.end()
    }
}

/// A sink of text for a serializer that writes bytes.
struct Text<'a>(&'a mut dyn fmt::Write);

impl SerWrite for Text<'_> {
    type Error = fmt::Error;

    fn write(&mut self, bytes: &[u8]) -> fmt::Result {
        // The serializer splits text at ASCII characters alone.
        self.0.write_str(core::str::from_utf8(bytes).map_err(|_| fmt::Error)?)
    }

    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}
