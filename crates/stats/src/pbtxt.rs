//! The report as protobuf text, on one line.

mod classes;
mod filler;
mod page_heaps;
mod top;
mod writer;

use crate::{Details, Ledger, RenderPageHeap, Snapshot};
use core::fmt::{Result, Write};

pub(crate) use writer::Message;

/// Which fields there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fields {
    /// Those of April 2020.
    First,
    /// Those of today, as far as Strata has figures for them.
    Today,
}

impl Fields {
    pub(crate) fn are_todays(self) -> bool {
        self == Self::Today
    }
}

/// Writes all fields.
#[inline(never)]
pub(crate) fn render<F: RenderPageHeap>(
    fields: Fields,
    snapshot: &Snapshot,
    details: &Details,
    page_heap: &F,
    out: &mut dyn Write,
) -> Result {
    let ledger = Ledger::of(snapshot);
    let mut message = Message::new(out);
    top::sums(fields, snapshot, &ledger, &mut message)?;
    top::structures(fields, snapshot, &mut message)?;
    top::machine(fields, details, &mut message)?;
    classes::render(fields, &snapshot.classes, details, &mut message)?;
    classes::cpus(fields, &snapshot.cpus, details, &mut message)?;
    page_heaps::render(page_heap, fields.are_todays(), details.backing.as_ref(), &mut message)?;
    top::guarded(fields, &mut message)?;
    top::parameters(fields, snapshot, &ledger, page_heap.details(), &mut message)?;
    writeln!(out)
}
