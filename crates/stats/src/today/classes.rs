//! The size classes: free objects, spans, transfer caches.

use crate::tcmalloc::RULE;
use crate::{ClassDetails, ClassFigures, ClassTable, Details, figure::Mebibytes};
use core::fmt::{self, Display, Formatter, Result, Write};
use strata_page_heap::LIFETIME_BOUNDS_MS;

pub(super) fn render(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    free_lists(classes, details, out)?;
    utilization(classes, details, out)?;
    lifetimes(classes, details, out)?;
    spans_a_batch(classes, details, out)?;
    same_span_returns(classes, details, out)?;
    transfer_caches(classes, details, out)?;
    let lines = [
        "Cumulative sharded transfer cache stats.",
        "Used bytes, current capacity, and maximum allowed capacity",
        "of the sharded transfer cache freelists.",
        "It also reports insert/remove hits/misses by size class.",
    ];
    heading(&lines, out)?;
    writeln!(out, "Sharded transfer cache state: INACTIVE")?;
    writeln!(out, "Number of active sharded transfer caches: {:3}", 0)
}

/// A class with its number, its figures and its details.
type Row<'a> = (usize, &'a ClassFigures, &'a ClassDetails);

fn rows<'a>(classes: &'a ClassTable, details: &'a Details) -> impl Iterator<Item = Row<'a>> {
    let details = details.classes();
    classes.iter().zip(details).map(|((index, class), (_, details))| (index, class, details))
}

/// What a line of a class begins with.
struct Front(usize, u64);

impl Display for Front {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(index, object_bytes) = self;
        write!(f, "class {index:3} [ {object_bytes:8} bytes ] :")
    }
}

/// A heading between rules, of one or more lines.
pub(super) fn heading(lines: &[&str], out: &mut dyn Write) -> Result {
    writeln!(out, "{RULE}")?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{RULE}")
}

fn free_lists(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    let lines = [
        "Total size of freelists for per-thread and per-CPU caches,",
        "transfer cache, and central cache, as well as number of",
        "live pages, returned/requested spans by size class",
    ];
    heading(&lines, out)?;
    let mut cumulative = 0u64;
    for (index, class, details) in rows(classes, details) {
        cumulative = cumulative.wrapping_add(class.free_bytes());
        let (returned, requested) = (class.spans_returned, class.spans_requested);
        let share = if requested == 0 { 0.0 } else { returned as f64 / requested as f64 };
        writeln!(
            out,
            "{} {:8} objs; {:5.1} MiB; {:6.1} cum MiB; {:8} live pages; spans: {returned:10} ret / {requested:10} req \
             = {share:5.4}; {:10} objs/span;",
            Front(index, class.object_bytes),
            class.free_objects(),
            Mebibytes(class.free_bytes()),
            Mebibytes(cumulative),
            class.live_pages,
            details.objects_per_span,
        )?;
    }
    Ok(())
}

fn utilization(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    let lines = [
        "Central cache freelist: Span utilization histogram",
        "Non-cumulative number of spans with allocated objects < N",
    ];
    heading(&lines, out)?;
    for (index, class, details) in rows(classes, details) {
        let front = Front(index, class.object_bytes);
        write!(out, "{front}")?;
        list(&details.utilization, ",", out, |bucket, spans, out| {
            write!(out, "{spans:6} < {}", 2u64 << bucket)
        })?;
        write!(out, "{front}")?;
        list(&details.occupancy, ",", out, |list, spans, out| write!(out, "{list:6}: {spans}"))?;
    }
    writeln!(out)
}

/// Left out in a report about a snapshot that was written before this was kept.
fn lifetimes(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    if !details.has_spans() {
        return Ok(());
    }
    let lines = [
        "Central cache freelist: Span lifetime histogram",
        "Non-cumulative number of spans lifetime a < N",
    ];
    heading(&lines, out)?;
    for (index, class, details) in rows(classes, details) {
        let spans = details.spans.unwrap_or_default();
        for (kind, counts) in
            [("live", spans.live_lifetimes), ("completed", spans.completed_lifetimes)]
        {
            write!(out, "class {index:3} [ {:8} bytes ] {kind} spans:", class.object_bytes)?;
            list(&counts, ",", out, |bucket, spans, out| {
                let bound = LIFETIME_BOUNDS_MS.get(bucket).copied().unwrap_or(0);
                write!(out, "{bound:3} ms < {spans:6}")
            })?;
        }
    }
    writeln!(out)
}

/// Left out as above.
fn same_span_returns(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    if !details.has_spans() {
        return Ok(());
    }
    heading(&["Central cache freelist: Same-span returns"], out)?;
    for (index, class, details) in rows(classes, details) {
        write!(out, "{}", Front(index, class.object_bytes))?;
        let counts = details.spans.unwrap_or_default().same_span_returns;
        list(&counts, " ", out, |_, runs, out| write!(out, "{runs:6}"))?;
    }
    Ok(())
}

fn spans_a_batch(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    let lines = [
        "Central cache freelist: Number of spans used histogram",
        "Number of spans used to fill a batch of allocations, from 0 to N",
    ];
    heading(&lines, out)?;
    for (index, class, details) in rows(classes, details) {
        write!(out, "{}", Front(index, class.object_bytes))?;
        list(&details.spans_a_batch, ", ", out, |bucket, batches, out| {
            write!(out, "{} : {batches:8}", 1u64 << bucket)
        })?;
    }
    Ok(())
}

fn transfer_caches(classes: &ClassTable, details: &Details, out: &mut dyn Write) -> Result {
    let lines = [
        "Used bytes, current capacity, and maximum allowed capacity",
        "of the transfer cache freelists.",
        "It also reports insert/remove hits/misses by size class.",
    ];
    heading(&lines, out)?;
    let mut cumulative = 0u64;
    for (index, class, details) in rows(classes, details) {
        let (transfer, objects) = (&details.transfer, class.transfer_objects);
        let bytes = objects.wrapping_mul(class.object_bytes);
        cumulative = cumulative.wrapping_add(bytes);
        writeln!(
            out,
            "{} {objects:8} objs; {:5.1} MiB; {:6.1} cum MiB; {:5} capacity; {:8} max_capacity; {:8} insert hits; {:8} \
             insert misses ({:10} object misses); {:8} remove hits; {:8} remove misses ({:10} object misses); {:.5} \
             frontline hit rate",
            Front(index, class.object_bytes),
            Mebibytes(bytes),
            Mebibytes(cumulative),
            transfer.capacity_objects,
            transfer.greatest_capacity_objects,
            transfer.insert_hits,
            transfer.insert_misses,
            transfer.insert_missed_objects,
            transfer.remove_hits,
            transfer.remove_misses,
            transfer.remove_missed_objects,
            100.0 * details.front_end_hit_rate(),
        )?;
    }
    Ok(())
}

/// Numbers on one line, behind a blank, with `between` between them.
fn list(
    numbers: &[u32],
    between: &str,
    out: &mut dyn Write,
    write: impl Fn(usize, u32, &mut dyn Write) -> Result,
) -> Result {
    for (index, number) in numbers.iter().enumerate() {
        out.write_str(if index == 0 { " " } else { between })?;
        write(index, *number, out)?;
    }
    writeln!(out)
}
