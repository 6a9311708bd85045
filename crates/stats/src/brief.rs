//! One screen about a heap, in a user's words.

use crate::total::total;
use crate::workspace::{Extra, FiguresOf, with_figures};
use crate::{
    Category, Figures, Ledger, PageHeapDetails, Part, Place, RenderPageHeap, Snapshot,
    amount::{Amount, Change, Percent},
};
use core::fmt::{Error, Result, Write};
use strata_alloc::{Core, FrontEnd, HeapConfig};
use strata_cpu_cache::IdKind;
use strata_temeraire::KeptForDemand;

/// Writes the summary of a heap as it is now.
///
/// As [`report`](crate::report) does.
///
/// ```
/// use strata_alloc::{Config, Heap};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// heap.allocate(3 << 20);
/// let mut text = String::new();
/// strata_stats::report_brief(heap.core().expect("set up"), &mut text).expect("strings take all");
/// assert!(text.contains("The program holds         3.0 MiB"));
/// ```
///
/// # Errors
///
/// Those of `out`.
pub fn report_brief<C: HeapConfig>(core: &Core<C>, out: &mut dyn Write) -> Result
where
    FiguresOf<C>: RenderPageHeap,
{
    let written = with_figures(core, Extra::Nothing, |taken| {
        let (snapshot, page_heap) = (taken.snapshot, taken.page_heap.details());
        render_brief(Figures { snapshot, page_heap, kernel: None }, None, out)
    });
    written.unwrap_or(Err(Error))
}

/// Writes the summary of figures, and what changed since an earlier snapshot.
///
/// # Errors
///
/// Those of `out`.
pub fn render_brief(
    figures: Figures<'_>,
    earlier: Option<&Snapshot>,
    out: &mut dyn Write,
) -> Result {
    let ledger = figures.ledger();
    held_by_the_program(figures, &ledger, out)?;
    held_by_the_allocator(&ledger, out)?;
    could_go(figures, &ledger, out)?;
    hugepages(figures, out)?;
    process(figures, &ledger, out)?;
    if !figures.snapshot.is_complete() {
        writeln!(
            out,
            "Not all could be read: a signal handler asked that had interrupted the allocator"
        )?;
    }
    match earlier {
        Some(earlier) => changes(figures.snapshot, earlier, out),
        None => Ok(()),
    }
}

/// Columns of what stands in front of a figure.
const FRONT: usize = 22;

fn line(name: &str, bytes: u64, out: &mut dyn Write) -> Result {
    write!(out, "{name:FRONT$}{:11}", Amount(bytes))
}

fn held_by_the_program(figures: Figures<'_>, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let snapshot = figures.snapshot;
    line("The program holds", ledger.in_use_bytes, out)?;
    let (small, large) = (snapshot.objects_in_use(), snapshot.large_blocks());
    writeln!(
        out,
        "  {small} objects and {large} large blocks; some {} of it is padding",
        Amount(snapshot.slack_estimate_bytes()),
    )
}

fn held_by_the_allocator(ledger: &Ledger, out: &mut dyn Write) -> Result {
    let on_top = ledger.actual_bytes().saturating_sub(ledger.in_use_bytes);
    line("The allocator holds", on_top, out)?;
    let share = Percent { part: on_top, whole: ledger.in_use_bytes };
    match on_top / ledger.in_use_bytes.max(1) {
        0..10 => writeln!(out, "  on top of that, {share:.1} of what the program holds:")?,
        _ => writeln!(out, "  on top of that, many times what the program holds:")?,
    }
    let metadata = ledger.part_bytes(Part::Metadata);
    let caches = [Category::PerCpu, Category::Thread, Category::Transfer];
    for (bytes, what) in [
        (ledger.free_pages_bytes(), "in free pages"),
        (ledger.bytes(Category::Central), "in free objects of spans that are partly in use"),
        (
            total(caches.map(|category| ledger.bytes(category))),
            "in caches: of CPUs, of threads, and between them",
        ),
        (metadata, "for its own books"),
    ] {
        writeln!(out, "{:FRONT$}{:11}  {what}", "", Amount(bytes))?;
    }
    match ledger.bytes(Category::Guarded) {
        0 => Ok(()),
        guarded => writeln!(
            out,
            "{:FRONT$}{:11}  kept from use, since the heap is hardened",
            "",
            Amount(guarded)
        ),
    }
}

/// What a release that is asked for would give back: free pages, but for those that recent demand keeps.
fn could_go(figures: Figures<'_>, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let free = ledger.free_pages_bytes();
    let could_go = figures.releasable_bytes();
    let kept = free.saturating_sub(could_go);
    line("Could go back now", could_go, out)?;
    write!(out, "  to the system, if it is asked for")?;
    if kept > 0 {
        write!(out, "; {} are kept for recent demand", Amount(kept))?;
    }
    kept_at_rate(figures, out)?;
    writeln!(
        out,
        "\n{:FRONT$}{:11}  went since the start, {} are away now",
        "",
        Amount(figures.snapshot.heap.page_heap.released.total()),
        Amount(ledger.part_bytes(Part::Released)),
    )
}

/// What the release at a rate leaves of what demand keeps, and why as much.
fn kept_at_rate(figures: Figures<'_>, out: &mut dyn Write) -> Result {
    let PageHeapDetails::Temeraire(temeraire) = figures.page_heap else { return Ok(()) };
    let KeptForDemand { pages, pages_at_rate, returned_64ths } = temeraire.filler.kept;
    if pages == 0 || figures.snapshot.config.release_rate == 0 {
        return Ok(());
    }
    let kept = Amount(pages_at_rate.saturating_mul(figures.snapshot.heap.page_bytes));
    write!(out, "\n{:FRONT$}{kept:11}  of that stay at the release rate: ", "")?;
    match returned_64ths {
        64 => write!(out, "no demand is known that fell and did not come back"),
        part => {
            let part = Percent { part: part.into(), whole: 64 };
            write!(out, "of demand that fell, {part} came back of late")
        }
    }
}

fn hugepages(figures: Figures<'_>, out: &mut dyn Write) -> Result {
    let PageHeapDetails::Temeraire(temeraire) = figures.page_heap else {
        return writeln!(out, "{:FRONT$}  this page heap does not look at them", "Hugepages");
    };
    let page_bytes = figures.snapshot.heap.page_bytes;
    let filler = &temeraire.filler;
    let broken_bytes = filler.used_pages_in_released.saturating_mul(page_bytes);
    let used = temeraire.components.used();
    write!(
        out,
        "{:FRONT$}{:>5.1}      of what is in spans can stand on whole hugepages",
        "Hugepages",
        Percent { part: used.saturating_sub(broken_bytes), whole: used },
    )?;
    match filler.released_hugepages {
        0 => writeln!(out)?,
        broken => {
            writeln!(out, "; {broken} of {} are broken", temeraire.allocator.in_use_hugepages)?;
        }
    }
    let Some(kernel) = figures.kernel else { return Ok(()) };
    let spans = kernel.place(Place::Spans);
    let does = Percent { part: spans.huge_bytes, whole: spans.resident_bytes };
    writeln!(
        out,
        "{:FRONT$}{does:>5.1}      of what is in memory of them does, as the kernel has it",
        ""
    )
}

fn process(figures: Figures<'_>, ledger: &Ledger, out: &mut dyn Write) -> Result {
    let Figures { snapshot, kernel, .. } = figures;
    line("At most, there was", snapshot.heap.page_heap.peak_backed_bytes, out)?;
    writeln!(out, "  in spans and free pages at a time; {} now", {
        let page_heap = &snapshot.heap.page_heap;
        Amount(page_heap.in_use_bytes.saturating_add(page_heap.free_bytes))
    })?;
    if let Some(kernel) = kernel {
        let resident = kernel.mappings_resident_bytes;
        line("The kernel has", resident.unwrap_or_else(|| kernel.pages_resident_bytes()), out)?;
        writeln!(
            out,
            "  of it in memory, {} on hugepages; {} were handed out and never touched",
            Amount(kernel.mappings_huge_bytes),
            Amount(kernel.place(Place::Spans).untouched_bytes()),
        )?;
        let swapped_bytes = total(Place::ALL.map(|place| kernel.place(place).swapped_bytes));
        if swapped_bytes != 0 {
            writeln!(out, "{:FRONT$}{:11}  of it in swap", "", Amount(swapped_bytes))?;
        }
    }
    if let Some(process) = snapshot.process {
        line("The process has", process.resident_bytes as u64, out)?;
        writeln!(out, "  in memory, what is not the allocator's included")?;
    }
    line("Address space", ledger.mapped_bytes, out)?;
    writeln!(
        out,
        "  mapped, {} of it never used; {}",
        Amount(ledger.part_bytes(Part::NeverUsed)),
        front_end(snapshot.heap.front_end),
    )
}

const fn front_end(front_end: FrontEnd) -> &'static str {
    match front_end {
        FrontEnd::PerCpu(IdKind::Concurrency) => "caches per CPU, by concurrency id",
        FrontEnd::PerCpu(IdKind::Cpu) => "caches per CPU",
        FrontEnd::PerThread(_) => "caches per thread",
        FrontEnd::Observed(_) => "no caches, every call observed",
    }
}

/// Categories and size classes that are told, the ones that changed most first.
const MOST_TOLD: usize = 3;

fn changes(now: &Snapshot, earlier: &Snapshot, out: &mut dyn Write) -> Result {
    let difference = now.diff(earlier);
    let seconds = difference.elapsed_ns() as f64 / 1e9;
    writeln!(out, "Since the earlier snapshot, in {seconds:.1} s:")?;
    let mut line =
        |change: i64, what: &str| writeln!(out, "{:FRONT$}{:11}  {what}", "", Change(change));
    line(difference.part_bytes(Part::InUse), "in use by the program")?;
    line(difference.part_bytes(Part::Free), "free, in pages, spans and caches")?;
    line(difference.part_bytes(Part::Metadata), "for the allocator's books")?;
    line(difference.part_bytes(Part::Released), "given back to the system")?;
    if let Some(resident) = difference.process_resident_bytes() {
        line(resident, "of the process in memory")?;
    }
    writeln!(
        out,
        "{:FRONT$}{} were allocated, {} freed",
        "",
        Amount(difference.allocated_bytes()),
        Amount(difference.deallocated_bytes()),
    )?;
    let mut last = i64::MAX;
    for _ in 0..MOST_TOLD {
        let below = difference.classes().filter(|class| class.in_use_bytes < last);
        let Some(class) =
            below.max_by_key(|class| class.in_use_bytes).filter(|c| c.in_use_bytes > 0)
        else {
            break;
        };
        last = class.in_use_bytes;
        let (bytes, objects) = (Change(class.in_use_bytes), class.objects_in_use);
        writeln!(
            out,
            "{:FRONT$}{bytes:11}  in {objects} more objects of {} bytes",
            "", class.object_bytes
        )?;
    }
    Ok(())
}
