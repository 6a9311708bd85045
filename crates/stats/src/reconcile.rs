//! The ledger against the kernel.

use crate::total::total;
use crate::{
    Category, Ledger, Part, Snapshot,
    amount::Amount,
    heap_map::{MOST_PAGES, Seen, Walk, next_reservation},
};
use core::fmt::{self, Display, Formatter};
use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_os::{AddressRange, PageScan, PageSource, Residency, for_each_mapping};
use strata_page_heap::PageHeap;
use strata_size_classes::PageSize;
use strata_span::{HUGEPAGE_BYTES, PageCount, Platform};

/// The parts of a heap's address space that the kernel is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Spans that are out: the program's blocks, and the objects in caches and central free lists.
    Spans,
    /// The rest of the page heap: free pages, and the reserve.
    FreePages,
    /// The metadata arena.
    Metadata,
    /// The per-CPU slabs.
    Slabs,
    /// The heap's own structure.
    Heap,
}

/// What the ledger and the kernel say of one place, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaceFigures {
    /// What the ledger takes to have memory behind it.
    pub ledger_bytes: u64,
    /// Found on a walk over the address space, which counts nothing of what the ledger counts: of spans, those that
    /// the page map has; of other places, all that is mapped.
    pub found_bytes: u64,
    /// What the ledger has there in all, with memory behind it or not: to compare with what is found of places that are
    /// found as a whole.
    pub ledger_mapped_bytes: Option<u64>,
    /// Of free pages: those with memory behind them, hugepage by hugepage, as what is noted of each single one says; none
    /// where nobody knows.
    pub found_backed_bytes: Option<u64>,
    /// In memory, says the kernel.
    pub resident_bytes: u64,
    /// Of that, on hugepages.
    pub huge_bytes: u64,
    /// In swap, says the kernel, where it tells.
    pub swapped_bytes: u64,
}

/// What the kernel has of a heap, place by place, and why that differs from the ledger: see [`reconcile`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reconciliation {
    spans: PlaceFigures,
    free_pages: PlaceFigures,
    metadata: PlaceFigures,
    slabs: PlaceFigures,
    heap: PlaceFigures,
    /// In memory, of all mappings of the heap: asked of the kernel by another way (the mappings' totals, not their pages);
    /// none where it does not tell.
    pub mappings_resident_bytes: Option<u64>,
    /// Of that, on hugepages.
    pub mappings_huge_bytes: u64,
    /// In swap, of all mappings.
    pub mappings_swapped_bytes: u64,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 5] =
        [Self::Spans, Self::FreePages, Self::Metadata, Self::Slabs, Self::Heap];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::FreePages => "free pages",
            Self::Metadata => "metadata",
            Self::Slabs => "per-CPU slabs",
            Self::Heap => "the heap itself",
        }
    }
}

impl PlaceFigures {
    /// What was handed out, or is kept as free with memory behind it, and was never touched, so that there is none.
    pub const fn untouched_bytes(&self) -> u64 {
        self.ledger_bytes.saturating_sub(self.resident_bytes.saturating_add(self.swapped_bytes))
    }

    /// What is in memory although the ledger takes it to have gone, or never to have come: given back and not taken yet;
    /// and ends of pages.
    pub const fn not_taken_bytes(&self) -> u64 {
        self.resident_bytes.saturating_add(self.swapped_bytes).saturating_sub(self.ledger_bytes)
    }
}

/// Asks the kernel what stands behind a heap's memory, hugepage by hugepage, and compares that with a snapshot that is
/// taken before.
///
/// The kernel is asked about pages (`PAGEMAP_SCAN`, else mincore) and about mappings (smaps); spans are found by
/// the page map, free pages by what is noted of each single hugepage. None of that is what the ledger counts. While
/// threads run, what comes or goes meanwhile is a difference.
///
/// Any thread may call it, not a signal handler. It costs a system call a hugepage, more where a hugepage is backed in
/// part, and reads the list of all mappings of the process: milliseconds. Allocates nothing; 30 KiB of stack.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Place, reconcile};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// let block = heap.allocate(10 << 20);
/// // SAFETY: the block is ours and so long.
/// unsafe { block.write_bytes(1, 4 << 20) };
///
/// let kernel = reconcile(heap.core().expect("the first block set it up"));
/// let spans = kernel.place(Place::Spans);
/// assert_eq!(spans.found_bytes, spans.ledger_bytes);
/// assert!(spans.resident_bytes >= 4 << 20);
/// println!("{kernel}");
/// // SAFETY: the block is ours, and not used after this.
/// unsafe { heap.deallocate(block) };
/// ```
pub fn reconcile<C: HeapConfig>(core: &Core<C>) -> Reconciliation {
    // What it gave back between the two would be a difference.
    let _still = core.hold_background();
    reconcile_with(core, &Snapshot::take(core))
}

/// The same with a snapshot that was just taken, since when the caller has held the background work.
pub(crate) fn reconcile_with<C: HeapConfig>(core: &Core<C>, snapshot: &Snapshot) -> Reconciliation {
    let mut kernel = expected(snapshot);
    walk_page_heap(core, &mut kernel);
    core.arena().for_each_range(|range| kernel.metadata.add_mapped(core, range));
    kernel.slabs.add_mapped(core, core.cpu_cache().slab_range());
    kernel.heap.add_mapped(core, core.own_range());
    ask_mappings(core, &mut kernel);
    kernel
}

impl Reconciliation {
    /// What is known of one place.
    pub const fn place(&self, place: Place) -> &PlaceFigures {
        match place {
            Place::Spans => &self.spans,
            Place::FreePages => &self.free_pages,
            Place::Metadata => &self.metadata,
            Place::Slabs => &self.slabs,
            Place::Heap => &self.heap,
        }
    }

    /// What the ledger comes to, once what was never touched and what is swapped is taken off, and what was not taken yet
    /// put on: what should be in memory.
    ///
    /// What was never touched is what the walk found and the kernel has not; so if the ledger counted spans, free pages or
    /// anything else wrongly, this would be so far from what the kernel has.
    pub fn explained_resident_bytes(&self) -> u64 {
        Place::ALL.iter().fold(0, |sum: u64, place| {
            let figures = self.place(*place);
            sum.wrapping_add(figures.resident_bytes)
                .wrapping_add_signed(figures.miscounted_bytes(*place))
        })
    }

    /// What is in memory, page by page, says the kernel.
    pub fn pages_resident_bytes(&self) -> u64 {
        total(Place::ALL.map(|place| self.place(place).resident_bytes))
    }

    /// How far what the ledger comes to is from what the kernel counts for the mappings, or for the pages where it does not
    /// count for mappings.
    pub fn difference_bytes(&self) -> i64 {
        let kernel = self.mappings_resident_bytes.unwrap_or_else(|| self.pages_resident_bytes());
        self.explained_resident_bytes().wrapping_sub(kernel).cast_signed()
    }

    /// Whether ledger and kernel agree to half a percent or a megabyte, the larger of both.
    pub fn agrees(&self) -> bool {
        let kernel = self.mappings_resident_bytes.unwrap_or_else(|| self.pages_resident_bytes());
        self.difference_bytes().unsigned_abs() <= (kernel / 200).max(1 << 20)
    }
}

impl PlaceFigures {
    /// How much more the ledger has of the place than the walk found there.
    fn miscounted_bytes(&self, place: Place) -> i64 {
        let more = |ledger: u64, found: u64| ledger.wrapping_sub(found).cast_signed();
        if place == Place::Spans {
            return more(self.ledger_bytes, self.found_bytes);
        }
        let mapped = self.ledger_mapped_bytes.map_or(0, |bytes| more(bytes, self.found_bytes));
        let backed = self.found_backed_bytes.map_or(0, |found| more(self.ledger_bytes, found));
        mapped.wrapping_add(backed)
    }

    fn add(&mut self, residency: Residency) {
        self.resident_bytes += residency.resident_bytes as u64;
        self.huge_bytes += residency.hugepage_bytes as u64;
        self.swapped_bytes += residency.swapped_bytes as u64;
    }

    fn add_mapped<C: HeapConfig>(&mut self, core: &Core<C>, range: AddressRange) {
        if !range.is_empty() {
            self.found_bytes += range.bytes as u64;
            self.add(core.source().residency(range).unwrap_or_default());
        }
    }
}

/// The ledger's side.
#[inline(never)]
fn expected(snapshot: &Snapshot) -> Reconciliation {
    let ledger = Ledger::of(snapshot);
    let of = |category| ledger.bytes(category);
    let with = |ledger_bytes: u64, besides: &[Category]| {
        let besides = besides.iter().fold(0, |sum: u64, category| sum.wrapping_add(of(*category)));
        PlaceFigures {
            ledger_bytes,
            ledger_mapped_bytes: Some(ledger_bytes.wrapping_add(besides)),
            ..PlaceFigures::default()
        }
    };
    let (slabs, heap) = (of(Category::Slabs), of(Category::Core));
    let metadata = ledger.part_bytes(Part::Metadata).saturating_sub(slabs).saturating_sub(heap);
    let unused =
        [Category::ArenaUnallocated, Category::ArenaUnavailable, Category::PageMapReserved];
    let page_heap = &snapshot.heap.page_heap;
    let mut kernel = Reconciliation {
        spans: with(page_heap.in_use_bytes, &[]),
        free_pages: with(
            ledger.free_pages_bytes(),
            &[Category::Released, Category::PageHeapReserved],
        ),
        metadata: with(metadata, &unused),
        slabs: with(slabs, &[Category::SlabsReserved]),
        heap: with(heap, &[Category::CoreReserved]),
        ..Reconciliation::default()
    };
    // Metadata that had to be put into spans is found there.
    let adopted = snapshot.heap.arena.adopted_bytes;
    kernel.metadata.ledger_mapped_bytes =
        kernel.metadata.ledger_mapped_bytes.map(|bytes| bytes.saturating_sub(adopted));
    kernel
}

#[inline(never)]
fn walk_page_heap<C: HeapConfig>(core: &Core<C>, kernel: &mut Reconciliation) {
    let mut cells = [(0, 0, 0, 0); MOST_PAGES];
    let mut walk = Walk::of(core);
    let page_bytes = C::Pages::BYTES as u64;
    // As the page heap notes it of each hugepage, and as spans of free pages have it.
    let (mut noted_pages, mut free_span_pages) = (None, 0);
    while let Some(hugepage) = walk.next() {
        let seen = walk.look(hugepage, &mut cells);
        let noted = core.page_heap().hugepage_figures(core, hugepage).backed_free_pages;
        if let Some(noted) = noted {
            noted_pages = Some(noted_pages.unwrap_or(0) + noted);
        }
        free_span_pages += seen.free_span_pages as u64;
        let spans_bytes = seen.pages_in_spans().saturating_mul(page_bytes);
        let in_spans = residency_in_spans(core, &walk.scan, &seen, spans_bytes);
        let beside = Residency {
            resident_bytes: seen.residency.resident_bytes.saturating_sub(in_spans.resident_bytes),
            hugepage_bytes: seen.residency.hugepage_bytes.saturating_sub(in_spans.hugepage_bytes),
            swapped_bytes: seen.residency.swapped_bytes.saturating_sub(in_spans.swapped_bytes),
        };
        kernel.spans.found_bytes += spans_bytes;
        kernel.free_pages.found_bytes += (HUGEPAGE_BYTES as u64).saturating_sub(spans_bytes);
        kernel.spans.add(in_spans);
        kernel.free_pages.add(beside);
    }
    let found_pages = noted_pages.or((free_span_pages != 0).then_some(free_span_pages));
    kernel.free_pages.found_backed_bytes = found_pages.map(|pages| pages * page_bytes);
}

/// What the kernel has of the spans in a hugepage: all or nothing where it has all or nothing of it, else as it says, one
/// run of spans after the other.
fn residency_in_spans<C: HeapConfig>(
    core: &Core<C>,
    scan: &PageScan,
    seen: &Seen<'_>,
    spans_bytes: u64,
) -> Residency {
    let whole = seen.residency;
    let spans_bytes = usize::try_from(spans_bytes).unwrap_or(usize::MAX);
    if spans_bytes >= HUGEPAGE_BYTES || whole.resident_bytes + whole.swapped_bytes == 0 {
        return whole;
    }
    if whole.resident_bytes >= HUGEPAGE_BYTES {
        let hugepage_bytes = whole.hugepage_bytes.min(spans_bytes);
        return Residency { resident_bytes: spans_bytes, hugepage_bytes, swapped_bytes: 0 };
    }
    let mut sum = Residency::default();
    let first = seen.hugepage.first_page::<C::Pages>();
    let mut ask = |start: usize, pages: usize| {
        let range = PageCount::<C::Pages>::new(pages).range_from(first + PageCount::new(start));
        let part = core.source().residency_by(scan, range).unwrap_or_default();
        sum.resident_bytes += part.resident_bytes;
        sum.hugepage_bytes += part.hugepage_bytes;
        sum.swapped_bytes += part.swapped_bytes;
    };
    // Spans that meet are asked about together.
    let (mut start, mut pages) = (0, seen.continued_pages);
    for (next, length, ..) in seen.spans {
        let (next, length) = (usize::from(*next), usize::from(*length));
        if next != start + pages {
            if pages != 0 {
                ask(start, pages);
            }
            (start, pages) = (next, 0);
        }
        pages += length;
    }
    if pages != 0 {
        ask(start, pages);
    }
    sum
}

/// What the kernel counts for the heap's mappings. Where memory of others lies beside the heap's, the kernel may have made
/// one mapping of both: of that, the heap's pages are counted.
fn ask_mappings<C: HeapConfig>(core: &Core<C>, kernel: &mut Reconciliation) {
    let mut resident = 0;
    let asked = for_each_mapping(|mapping| {
        let mut ours = 0;
        for_each_part(core, mapping.range, |part| ours += part.bytes);
        let mut found = mapping;
        if 0 < ours && ours < mapping.range.bytes {
            (found.resident_bytes, found.hugepage_bytes, found.swapped_bytes) = (0, 0, 0);
            for_each_part(core, mapping.range, |part| {
                let part = core.source().residency(part).unwrap_or_default();
                found.resident_bytes += part.resident_bytes;
                found.hugepage_bytes += part.hugepage_bytes;
                found.swapped_bytes += part.swapped_bytes;
            });
        }
        if ours > 0 {
            resident += found.resident_bytes as u64;
            kernel.mappings_huge_bytes += found.hugepage_bytes as u64;
            kernel.mappings_swapped_bytes += found.swapped_bytes as u64;
        }
    });
    kernel.mappings_resident_bytes = asked.ok().map(|()| resident);
}

/// Calls `each` with every part of `mapping` that is the heap's, with no lock held: it asks the kernel, which takes
/// its time.
fn for_each_part<C: HeapConfig>(
    core: &Core<C>,
    mapping: AddressRange,
    mut each: impl FnMut(AddressRange),
) {
    let mut meet = |range: AddressRange| {
        let start = range.start.max(mapping.start);
        let bytes = range.end().min(mapping.end()).saturating_sub(start);
        if bytes > 0 {
            each(AddressRange::new(start, bytes));
        }
    };
    let mut from = mapping.start;
    while let Some(range) = next_reservation(core, from).filter(|range| range.start < mapping.end())
    {
        meet(range);
        from = range.end();
    }
    core.arena().for_each_range(&mut meet);
    meet(core.cpu_cache().slab_range());
    meet(core.own_range());
}

impl Display for Reconciliation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:16}{:>12}{:>12}{:>14}{:>12}{:>14}{:>12}",
            "", "ledger", "in memory", "on hugepages", "swapped", "not touched", "not taken"
        )?;
        for place in Place::ALL {
            let figures = self.place(place);
            writeln!(
                f,
                "{:16}{:12}{:12}{:14}{:12}{:14}{:12}",
                place.name(),
                Amount(figures.ledger_bytes),
                Amount(figures.resident_bytes),
                Amount(figures.huge_bytes),
                Amount(figures.swapped_bytes),
                Amount(figures.untouched_bytes()),
                Amount(figures.not_taken_bytes()),
            )?;
        }
        write!(f, "explained: {} in memory; ", Amount(self.explained_resident_bytes()))?;
        match self.mappings_resident_bytes {
            Some(bytes) => write!(f, "the kernel counts {}", Amount(bytes))?,
            None => write!(f, "the kernel has pages of {}", Amount(self.pages_resident_bytes()))?,
        }
        writeln!(f, ": {}", if self.agrees() { "they agree" } else { "they do not agree" })
    }
}
