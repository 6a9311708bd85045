//! Makes a table from bounds: chooses the sizes, then for each its spans and batch.
//!
//! The sizes are a shortest path. Nodes are the sizes that a class may have (8, multiples of the
//! alignment up to 1 KiB, of 128 up to 8 KiB, from there of a 64th of the power of two below); an
//! edge leads from one class to the next where [`Bounds::allow_step`] permits it and no power of
//! two is skipped. The shortest path has the fewest classes, and among such the least cost: what a
//! request of a size that is equally likely on a logarithmic scale wastes inside its object and
//! behind the last object of its span, and a small charge for long spans. About 500 nodes with at
//! most 64 edges into each: nothing to the compiler.

use crate::class_info::DENSE_OBJECTS;
use crate::size_class::CLASS_SLOTS;
use crate::table::{COARSE_SLOTS, FINE_SLOTS, MAX_SIZE, largest_size_of};
use crate::{Bounds, ClassInfo, Infeasible, SizeClass, SizeClassTable, SmallEntry};

/// Room for the sizes that a class may have, at the finest alignment: 128 up to 1 KiB, 56 up to
/// 8 KiB, 64 for each of five doublings.
const CANDIDATES: usize = 512;

/// What one class adds to the length of the path: more than all costs together.
const CLASS_COST: u64 = 1 << 40;

/// The length of a path that does not exist.
const UNREACHABLE: u64 = u64::MAX;

/// A size that a class may have, and the shortest path to it.
#[derive(Clone, Copy)]
struct Candidate {
    size: u32,
    /// `None` if no span holds such objects within the bounds.
    span: Option<SpanShape>,
    /// Length of the shortest path whose last class is this one.
    length: u64,
    /// The class before it on that path.
    before: usize,
}

impl Candidate {
    const NONE: Self = Self { size: 0, span: None, length: UNREACHABLE, before: 0 };
}

/// How a span of a class is cut.
#[derive(Clone, Copy)]
struct SpanShape {
    pages: u16,
    objects: u32,
}

/// The table with the fewest classes, and among those the least waste.
pub(crate) const fn generate(
    page_shift: u32,
    bounds: &Bounds,
) -> Result<SizeClassTable, Infeasible> {
    if let Err(error) = bounds.check(page_shift) {
        return Err(error);
    }
    let (mut candidates, count) = candidates(page_shift, bounds);
    if let Err(error) = find_paths(&mut candidates, count, page_shift, bounds) {
        return Err(error);
    }
    let mut chosen = [0_u32; CANDIDATES];
    let mut first = CANDIDATES;
    let mut at = count - 1;
    while at > 0 {
        first -= 1;
        chosen[first] = candidates[at].size;
        at = candidates[at].before;
    }
    let (_, sizes) = chosen.split_at(first);
    from_sizes(page_shift, bounds, sizes)
}

/// The table with these sizes.
pub(crate) const fn from_sizes(
    page_shift: u32,
    bounds: &Bounds,
    sizes: &[u32],
) -> Result<SizeClassTable, Infeasible> {
    if let Err(error) = bounds.check(page_shift) {
        return Err(error);
    }
    if sizes.len() >= CLASS_SLOTS {
        return Err(Infeasible::TooManyClasses { count: sizes.len() + 1 });
    }
    let mut table = SizeClassTable {
        page_shift,
        staggered_from: bounds.staggered_from,
        ..SizeClassTable::EMPTY
    };
    let mut below = 0;
    while table.count <= sizes.len() {
        let size = sizes[table.count - 1];
        let granularity = if size <= 1024 { 8 } else { 128 };
        if size <= below || size as usize > MAX_SIZE || !size.is_multiple_of(granularity) {
            return Err(Infeasible::Size { size });
        }
        let Some(span) = span_shape(page_shift, size, bounds) else {
            return Err(Infeasible::NoSpan { size });
        };
        table.classes[table.count] =
            ClassInfo::new(size, span.pages, span.objects, bounds.batch(size));
        table.sizes[table.count] = size;
        table.beginnings[table.count] = table.beginning(&table.classes[table.count]);
        table.count += 1;
        below = size;
    }
    fill_lookup(&mut table);
    Ok(table)
}

/// Writes into each slot the smallest class that holds the slot's largest size.
const fn fill_lookup(table: &mut SizeClassTable) {
    let mut class = 1;
    let mut slot = 0;
    while slot < FINE_SLOTS + COARSE_SLOTS {
        while class < table.count && (table.classes[class].size as usize) < largest_size_of(slot) {
            class += 1;
        }
        if class == table.count {
            return;
        }
        let index = SizeClass::from_raw(class as u8);
        let entry = SmallEntry::of(index, table.classes[class].size);
        if slot < FINE_SLOTS {
            let mut size = if slot == 0 { 0 } else { largest_size_of(slot - 1) + 1 };
            while size <= largest_size_of(slot) {
                table.small[size] = entry;
                size += 1;
            }
        } else {
            table.coarse[slot - FINE_SLOTS] = index;
        }
        slot += 1;
    }
}

/// The sizes that a class may have, behind a node for size 0 from which the paths start.
const fn candidates(page_shift: u32, bounds: &Bounds) -> ([Candidate; CANDIDATES], usize) {
    let mut candidates = [Candidate::NONE; CANDIDATES];
    candidates[0].length = 0;
    let mut count = 1;
    let mut size = 0;
    while (size as usize) < MAX_SIZE {
        size += bounds.spacing(size + 1);
        candidates[count].size = size;
        candidates[count].span = span_shape(page_shift, size, bounds);
        count += 1;
    }
    (candidates, count)
}

/// Finds the shortest path to each candidate.
const fn find_paths(
    candidates: &mut [Candidate; CANDIDATES],
    count: usize,
    page_shift: u32,
    bounds: &Bounds,
) -> Result<(), Infeasible> {
    let mut at = 1;
    while at < count {
        let mut candidate = candidates[at];
        let mut before = at;
        while before > 0 {
            before -= 1;
            let below = candidates[before];
            if !bounds.allow_step(below.size, candidate.size) {
                break;
            }
            let length = path_length(&below, &candidate, page_shift, bounds);
            if length < candidate.length {
                candidate.length = length;
                candidate.before = before;
            }
            if below.size.is_power_of_two() {
                break;
            }
        }
        if candidate.length == UNREACHABLE && candidate.size.is_power_of_two() {
            return Err(Infeasible::NoClass { size: candidate.size });
        }
        candidates[at] = candidate;
        at += 1;
    }
    Ok(())
}

/// The length of the path that goes to `candidate` by way of `below`.
const fn path_length(
    below: &Candidate,
    candidate: &Candidate,
    page_shift: u32,
    bounds: &Bounds,
) -> u64 {
    match candidate.span {
        Some(span) if below.length != UNREACHABLE => {
            below.length + CLASS_COST + cost(below.size, candidate.size, span, page_shift, bounds)
        }
        _ => UNREACHABLE,
    }
}

/// What a class wastes, in 2^-20: the share of requests that it serves, times the mean of what each
/// leaves unused in its object, what lies behind the last object of the span, and a 32nd for each
/// time that the span is longer than it need be.
const fn cost(below: u32, size: u32, span: SpanShape, page_shift: u32, bounds: &Bounds) -> u64 {
    let size = size as u64;
    let width = size - below as u64;
    let share = (width << 20) / size;
    let span_bytes = (span.pages as u64) << page_shift;
    let tail = span_bytes - span.objects as u64 * size;
    let pages_of_one = size.div_ceil(1 << page_shift) << page_shift;
    let cheap = bounds.cheap_span_bytes as u64;
    let short = if cheap > pages_of_one { cheap } else { pages_of_one };
    let excess = span_bytes.saturating_sub(short);
    share * width / (2 * size) + share * tail / span_bytes + share * excess / short / 32
}

/// The shortest span whose tail is within bounds and that has the preferred number of objects, or
/// as many as a cheap span has; else the shortest whose tail is within bounds.
const fn span_shape(page_shift: u32, size: u32, bounds: &Bounds) -> Option<SpanShape> {
    if size >= bounds.staggered_from
        && let Some(shape) =
            span_shape_with_tail(page_shift, size, bounds, bounds.least_stagger_bytes)
    {
        return Some(shape);
    }
    span_shape_with_tail(page_shift, size, bounds, 0)
}

/// The same, with so many bytes at least behind the last object.
const fn span_shape_with_tail(
    page_shift: u32,
    size: u32,
    bounds: &Bounds,
    least_tail: u32,
) -> Option<SpanShape> {
    let affordable = bounds.cheap_span_bytes / size;
    let wanted =
        if affordable < bounds.preferred_objects { affordable } else { bounds.preferred_objects };
    let mut shortest = None;
    let mut pages = 1;
    while pages <= bounds.max_span_pages {
        let span_bytes = (pages as u64) << page_shift;
        let objects = (span_bytes / size as u64) as u32;
        let tail = span_bytes - objects as u64 * size as u64;
        if pages > 1 && objects > DENSE_OBJECTS {
            break;
        }
        if objects > 0 && tail >= least_tail as u64 && bounds.allow_tail(tail, span_bytes) {
            let shape = SpanShape { pages, objects };
            if objects >= wanted {
                return Some(shape);
            }
            if shortest.is_none() {
                shortest = Some(shape);
            }
        }
        pages += 1;
    }
    shortest
}

#[cfg(test)]
mod tests;
