//! Where a heap's bytes are: one [`Snapshot`] of every layer, the [`Ledger`] in which each mapped byte
//! has one place, and the report in the form that TCMalloc's users read.
//!
//! Nothing here allocates, so that a report can be written at exit, on a small stack, or when memory
//! has run out. What is written goes to any [`core::fmt::Write`].
//!
//! This crate must not know how memory is found or given back: it reads figures that the layers
//! keep, and changes nothing.
//!
//! ```
//! use strata_alloc::{Config, Heap};
//! use strata_stats::{Ledger, Snapshot, report_tcmalloc};
//!
//! let heap: Heap = Heap::with(Config::DEFAULT);
//! let block = heap.allocate(1000);
//! let core = heap.core().expect("the first block set it up");
//!
//! let ledger = Ledger::of(&Snapshot::take(core));
//! assert_eq!(ledger.in_use_bytes, 1024);
//! assert_eq!(ledger.in_use_by_threads_bytes, 1024);
//! assert_eq!(ledger.unexplained(), 0);
//!
//! let mut report = String::new();
//! report_tcmalloc(core, &mut report).expect("strings take all that is written");
//! assert!(report.contains("MALLOC:           1024 (    0.0 MiB) Bytes in use by application"));
//!
//! // SAFETY: the block is ours, and this is the size it was asked for with.
//! unsafe { heap.deallocate_sized(block, 1000, 1) };
//! ```
#![no_std]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod amount;
mod apart;
mod backing;
mod bounded_text;
mod brief;
mod class_table;
mod cpu_table;
mod details;
mod dialect;
mod difference;
#[cfg(feature = "std")]
mod document;
#[cfg(feature = "std")]
mod epoch_cell;
mod explain;
mod figure;
mod figures;
mod fork_lock;
mod glibc;
mod heap_map;
#[cfg(feature = "std")]
mod history;
#[cfg(feature = "std")]
mod html;
mod json;
mod ledger;
mod page_heap_report;
#[cfg(feature = "std")]
mod parse;
mod pbtxt;
mod properties;
mod reconcile;
mod report_as_asked;
pub mod reporting;
mod snapshot;
mod snapshot_file;
mod tcmalloc;
mod today;
mod total;
mod workspace;

pub use backing::{
    Backing, KERNEL_BUCKETS, KernelHistogram, PopulationBacking, SampledHugepage, kernel_bounds,
};
pub use bounded_text::BoundedText;
pub use brief::{render_brief, report_brief};
pub use class_table::{ClassFigures, ClassTable};
pub use cpu_table::{CpuFigures, CpuTable, MoreCpus};
pub use details::{
    CapacityDetails, ClassDetails, ClassMissDetails, CpuMisses, Details, MissAges, SlabChanges,
    SpanDetails, TransferDetails,
};
pub use dialect::{Dialect, render, report, report_into};
pub use difference::{ClassDifference, Difference};
#[cfg(feature = "std")]
pub use document::{Document, MapRun, MapSpan, ReadError};
#[cfg(feature = "std")]
pub use epoch_cell::EpochCell;
pub use explain::{Finding, Findings, WhyNoThread, WhyNotReleased, explain, report_explain};
pub use figures::{Figures, PageHeapDetails};
pub use glibc::{GlibcFigures, Pieces, render_malloc_info, render_malloc_stats};
#[cfg(feature = "std")]
pub use history::History;
#[cfg(feature = "std")]
pub use html::render_html;
pub use json::{Extent, render_json, report_json};
pub use ledger::{Category, Ledger, Part};
pub use page_heap_report::{HeapApart, PageHeapKind, RenderPageHeap};
#[cfg(feature = "std")]
pub use parse::{Figure, Line, Report, ReportError, ReportFault, parse, parse_whole};
pub use properties::{PROPERTIES, Property, property};
pub use reconcile::{Place, PlaceFigures, Reconciliation, reconcile};
pub use report_as_asked::report_as_asked;
pub use snapshot::Snapshot;
pub use snapshot_file::write_snapshot_file;
pub use tcmalloc::{render_tcmalloc, report_tcmalloc};
pub use workspace::with_snapshot;
