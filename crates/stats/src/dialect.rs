//! The forms of a report, and the ways to have one.

use crate::{BoundedText, Details, RenderPageHeap, Snapshot, render_tcmalloc, tcmalloc, today};
use core::fmt::{Result, Write};
use strata_alloc::{Core, HeapConfig};
use strata_page_heap::PageHeap;

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
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::TcmallocText,
        Self::TcmallocTextToday,
        Self::TcmallocPbtxt,
        Self::TcmallocPbtxtToday,
    ];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcmallocText => "tcmalloc",
            Self::TcmallocTextToday => "tcmalloc-today",
            Self::TcmallocPbtxt => "pbtxt",
            Self::TcmallocPbtxtToday => "pbtxt-today",
        }
    }
}

/// Writes the report about a heap, as it is now.
///
/// Any thread may call it at any time; it allocates nothing and needs some 60 KiB of stack, of which today's forms need 100. The
/// layers' locks are held for a few instructions at a time, none while `out` is called: it may allocate and free. An error is one
/// of `out`.
pub fn report<C: HeapConfig>(core: &Core<C>, dialect: Dialect, out: &mut dyn Write) -> Result
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    match dialect {
        Dialect::TcmallocText => tcmalloc::report_tcmalloc(core, out),
        _ => report_with_details(core, dialect, out),
    }
}

/// Writes the report about a heap into `buffer`: whole lines only, as many as there is room for. Says how long all of it is, as
/// [`BoundedText::needed`] does, and how long what was written.
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
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
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
    match dialect {
        Dialect::TcmallocText => render_tcmalloc(snapshot, page_heap, out),
        Dialect::TcmallocTextToday => today::render(snapshot, details, page_heap, out),
        Dialect::TcmallocPbtxt => {
            crate::pbtxt::render(crate::pbtxt::Fields::First, snapshot, details, page_heap, out)
        }
        Dialect::TcmallocPbtxtToday => {
            crate::pbtxt::render(crate::pbtxt::Fields::Today, snapshot, details, page_heap, out)
        }
    }
}

/// Takes each part in a frame of its own, one after the other.
#[inline(never)]
fn report_with_details<C: HeapConfig>(
    core: &Core<C>,
    dialect: Dialect,
    out: &mut dyn Write,
) -> Result
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let page_heap = core.page_heap().figures(core);
    let mut snapshot = Snapshot::without_tables(core);
    snapshot.read_tables(core);
    let mut details = Details::EMPTY;
    details.read(core);
    render(dialect, &snapshot, &details, &page_heap, out)
}
