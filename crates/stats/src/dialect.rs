//! The forms of a report, and the ways to have one.

use crate::apart::LivePageHeap;
use crate::pbtxt::{self, Fields};
use crate::workspace::{Extra, FiguresOf, with_figures};
use crate::{
    BoundedText, Details, Extent, Figures, RenderPageHeap, Snapshot, brief, explain, json,
    render_tcmalloc, tcmalloc, today,
};
use core::fmt::{Error, Result, Write};
use strata_alloc::{Core, HeapConfig};

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// The text that TCMalloc printed in April 2020, which its documentation explains.
    #[default]
    TcmallocText,
    /// The text that TCMalloc prints today.
    TcmallocTextToday,
    /// Figures as protobuf text on one line, with the fields of April 2020.
    TcmallocPbtxt,
    /// The same with the fields of today.
    TcmallocPbtxtToday,
    /// One screen of summary, in a user's words.
    Brief,
    /// What stands out, ranked, and what to do about it.
    Explain,
    /// The figures as one line of JSON: what files of snapshots hold, without the map.
    Json,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TcmallocText,
        Self::TcmallocTextToday,
        Self::TcmallocPbtxt,
        Self::TcmallocPbtxtToday,
        Self::Brief,
        Self::Explain,
        Self::Json,
    ];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcmallocText => "tcmalloc",
            Self::TcmallocTextToday => "tcmalloc-today",
            Self::TcmallocPbtxt => "pbtxt",
            Self::TcmallocPbtxtToday => "pbtxt-today",
            Self::Brief => "brief",
            Self::Explain => "explain",
            Self::Json => "json",
        }
    }
}

/// Writes the report about a heap, as it is now.
///
/// Any thread may call it at any time; it allocates nothing and needs little stack: see [`crate::with_snapshot`].
/// The layers' locks are held for a few instructions at a time, none while `out` is called: it may allocate and
/// free. An error is one of `out`, or there is no memory for the figures.
///
/// Not from a signal handler that may have interrupted this heap: unlike [`Snapshot::take`], which gives up what it
/// cannot have, a report waits for the page heap's lock, and for ever where the interrupted thread has it. In a
/// handler, take a snapshot, and [`render`] it.
pub fn report<C: HeapConfig>(core: &Core<C>, dialect: Dialect, out: &mut dyn Write) -> Result
where
    FiguresOf<C>: RenderPageHeap,
{
    match dialect {
        Dialect::TcmallocText => tcmalloc::report_tcmalloc(core, out),
        Dialect::Brief => brief::report_brief(core, out),
        Dialect::Explain => explain::report_explain(core, out),
        Dialect::Json => json::report_json(core, Extent::Figures, out),
        Dialect::TcmallocTextToday | Dialect::TcmallocPbtxt | Dialect::TcmallocPbtxtToday => {
            report_with_details(core, dialect, out)
        }
    }
}

/// Writes the report about a heap into `buffer`: whole lines only, as many as there is room for. Says how long all
/// of it is, as [`BoundedText::needed`] does, and how long what was written.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Dialect, report_into};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// # let block = heap.allocate(1);
/// let core = heap.core().expect("it was used");
/// let mut buffer = [0; 200];
/// let (written, needed) = report_into(core, Dialect::TcmallocText, &mut buffer);
/// assert!(written <= 200 && needed > 1000);
/// assert_eq!(buffer[written - 1], b'\n');
/// # // SAFETY: the block is ours.
/// # unsafe { heap.deallocate(block) };
/// ```
pub fn report_into<C: HeapConfig>(
    core: &Core<C>,
    dialect: Dialect,
    buffer: &mut [u8],
) -> (usize, usize)
where
    FiguresOf<C>: RenderPageHeap,
{
    let mut text = BoundedText::new(buffer);
    // A bounded text takes all, and counts what it has no room for.
    let _ = report(core, dialect, &mut text);
    text.finish()
}

/// Writes the report about a snapshot, the details and the page heap's figures that belong to it.
pub fn render<F: RenderPageHeap>(
    dialect: Dialect,
    snapshot: &Snapshot,
    details: &Details,
    page_heap: &F,
    out: &mut dyn Write,
) -> Result {
    let figures = || Figures { snapshot, page_heap: page_heap.details(), kernel: None };
    match dialect {
        Dialect::TcmallocText => render_tcmalloc(snapshot, page_heap, out),
        Dialect::TcmallocTextToday => today::render(snapshot, details, page_heap, out),
        Dialect::TcmallocPbtxt => pbtxt::render(Fields::First, snapshot, details, page_heap, out),
        Dialect::TcmallocPbtxtToday => {
            pbtxt::render(Fields::Today, snapshot, details, page_heap, out)
        }
        Dialect::Brief => brief::render_brief(figures(), None, out),
        Dialect::Explain => write!(out, "{}", explain::explain(figures(), None)),
        Dialect::Json => json::render_json(figures(), out),
    }
}

fn report_with_details<C: HeapConfig>(
    core: &Core<C>,
    dialect: Dialect,
    out: &mut dyn Write,
) -> Result
where
    FiguresOf<C>: RenderPageHeap,
{
    let written = with_figures(core, Extra::Details, |taken| {
        let (snapshot, page_heap) = (taken.snapshot, LivePageHeap { core, taken });
        let Some(details) = taken.details else { return Ok(()) };
        match dialect {
            Dialect::TcmallocPbtxt => {
                pbtxt::render(Fields::First, snapshot, details, &page_heap, out)
            }
            Dialect::TcmallocPbtxtToday => {
                pbtxt::render(Fields::Today, snapshot, details, &page_heap, out)
            }
            _ => today::render(snapshot, details, &page_heap, out),
        }
    });
    written.unwrap_or(Err(Error))
}
