//! Each hugepage of a heap, and the spans in it.

use core::cell::Cell;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use strata_alloc::{Core, HeapConfig};
use strata_os::{AddressRange, PageSource, Residency};
use strata_page_heap::{HugepageFigures, HugepageUse, PageHeap};
use strata_span::{
    HUGEPAGE_BYTES, Hugepage, HugepageCount, PageCount, PageId, Platform, SpanPlace,
};

/// Pages of a hugepage at the smallest page size.
const MOST_PAGES: usize = HUGEPAGE_BYTES >> 12;

/// A span, or the part of it that lies in a hugepage: its first page, counted from the hugepage's start; its pages; its
/// class, 0 for a large block; its objects that are out of the central free list.
pub(crate) type SpanCell = (u16, u16, u8, u32);

/// Neighbouring hugepages of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
struct Run<Spans> {
    /// Where the first begins.
    address: usize,
    hugepages: usize,
    shared_by: HugepageUse,
    /// Pages in spans, in all of them.
    used_pages: u64,
    /// Free pages that the page heap takes for unbacked, in all of them.
    unbacked_pages: u64,
    /// What the kernel has in memory, in all of them.
    resident_bytes: u64,
    /// Of that, on hugepages.
    huge_bytes: u64,
    /// What the kernel has in swap, in all of them.
    swapped_bytes: u64,
    spans: Spans,
}

/// What a run is without its spans.
type Bare = Run<()>;

/// The map of a heap, read while it is written.
pub(crate) struct LiveMap<'a, C: HeapConfig>(&'a Core<C>);

impl<'a, C: HeapConfig> LiveMap<'a, C> {
    pub(crate) fn of(core: &'a Core<C>) -> Self {
        Self(core)
    }
}

impl<C: HeapConfig> Serialize for LiveMap<'_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut runs = serializer.serialize_seq(None)?;
        let mut waiting: Option<Bare> = None;
        let mut walk = Walk { core: self.0, inside: Cell::new(None) };
        let mut from = 0;
        while let Some(reservation) = next_reservation(self.0, from) {
            from = reservation.end();
            let first = Hugepage::from_address(reservation.start.next_multiple_of(HUGEPAGE_BYTES));
            let count =
                (reservation.end().saturating_sub(first.address().value())) / HUGEPAGE_BYTES;
            for index in 0..count {
                let hugepage = Hugepage::new(first.number() + index);
                let mut cells = [(0, 0, 0, 0); MOST_PAGES];
                let (bare, spans) = walk.look(hugepage, &mut cells);
                if spans.is_empty()
                    && let Some(run) = &mut waiting
                    && run.takes(&bare)
                {
                    continue;
                }
                if let Some(run) = waiting.take() {
                    runs.serialize_element(&run.with::<&[SpanCell]>(&[]))?;
                }
                if spans.is_empty() {
                    waiting = Some(bare);
                } else {
                    runs.serialize_element(&bare.with(spans))?;
                }
            }
        }
        if let Some(run) = waiting {
            runs.serialize_element(&run.with::<&[SpanCell]>(&[]))?;
        }
        runs.end()
    }
}

/// The first reservation that begins at `from` or behind it.
fn next_reservation<C: HeapConfig>(core: &Core<C>, from: usize) -> Option<AddressRange> {
    let mut next: Option<AddressRange> = None;
    core.page_heap().for_each_reservation(|range| {
        if range.start >= from && next.is_none_or(|next| range.start < next.start) {
            next = Some(range);
        }
    });
    next
}

/// The way through a heap, from the lowest address to the highest.
struct Walk<'a, C: HeapConfig> {
    core: &'a Core<C>,
    /// The span that reached over the end of the last hugepage: the page behind its end, and its class.
    inside: Cell<Option<(usize, bool)>>,
}

impl<C: HeapConfig> Walk<'_, C> {
    /// Looks at one hugepage. Spans come and go meanwhile: a cell is what the page map said at some moment.
    fn look<'a>(
        &mut self,
        hugepage: Hugepage,
        cells: &'a mut [SpanCell; MOST_PAGES],
    ) -> (Bare, &'a [SpanCell]) {
        let known = self.core.page_heap().hugepage_figures(self.core, hugepage);
        let residency = self.residency(hugepage);
        let (found, in_spans) = self.spans(hugepage, cells);
        let whole = known.shared_by == HugepageUse::Whole;
        let HugepageFigures { shared_by, used_pages, unbacked_pages } = known;
        let bare = Run {
            address: hugepage.address().value(),
            hugepages: 1,
            shared_by,
            used_pages: if whole { in_spans } else { used_pages },
            unbacked_pages,
            resident_bytes: residency.resident_bytes as u64,
            huge_bytes: residency.hugepage_bytes as u64,
            swapped_bytes: residency.swapped_bytes as u64,
            spans: (),
        };
        (bare, cells.get(..found).unwrap_or_default())
    }

    fn residency(&self, hugepage: Hugepage) -> Residency {
        self.core.source().residency(hugepage.range(HugepageCount::ONE)).unwrap_or_default()
    }

    /// Notes the spans that begin in the hugepage; says how many there are, and how many of its pages lie in spans.
    fn spans(&self, hugepage: Hugepage, cells: &mut [SpanCell; MOST_PAGES]) -> (usize, u64) {
        let first = hugepage.first_page::<C::Pages>().number();
        let end = first + PageCount::<C::Pages>::PER_HUGEPAGE.get();
        let (mut page, mut found, mut in_spans) = (first, 0, 0);
        if let Some((behind, in_use)) = self.inside.take() {
            page = behind.clamp(first, end);
            in_spans += if in_use { (page - first) as u64 } else { 0 };
            if behind > end {
                self.inside.set(Some((behind, in_use)));
            }
        }
        while page < end {
            let Some(span) = self.core.map().span_of(PageId::<C::Pages>::new(page)) else {
                page += 1;
                continue;
            };
            let begins = span.first::<C::Pages>().number();
            let behind = begins.saturating_add(span.pages());
            if !(begins..behind).contains(&page) {
                page += 1;
                continue;
            }
            let in_use = span.place() == SpanPlace::InUse;
            let here = behind.min(end) - page;
            if in_use {
                in_spans += here as u64;
                let objects = if span.class().is_none() { 1 } else { span.objects_out() };
                if let Some(cell) = cells.get_mut(found) {
                    *cell = (small(page - first), small(here), span.class().raw(), objects);
                    found += 1;
                }
            }
            if behind > end {
                self.inside.set(Some((behind, in_use)));
            }
            page = behind;
        }
        (found, in_spans)
    }
}

impl Bare {
    /// Whether `next` is of its kind and lies behind it; then it is part of it.
    fn takes(&mut self, next: &Self) -> bool {
        let behind = self.address.wrapping_add(self.hugepages.wrapping_mul(HUGEPAGE_BYTES));
        let each = |sum: u64| sum / (self.hugepages as u64).max(1);
        let alike = next.address == behind
            && next.shared_by == self.shared_by
            && next.used_pages == each(self.used_pages)
            && next.unbacked_pages == each(self.unbacked_pages)
            && next.resident_bytes == each(self.resident_bytes)
            && next.huge_bytes == each(self.huge_bytes)
            && next.swapped_bytes == each(self.swapped_bytes);
        if alike {
            self.hugepages += 1;
            self.used_pages += next.used_pages;
            self.unbacked_pages += next.unbacked_pages;
            self.resident_bytes += next.resident_bytes;
            self.huge_bytes += next.huge_bytes;
            self.swapped_bytes += next.swapped_bytes;
        }
        alike
    }

    fn with<Spans>(self, spans: Spans) -> Run<Spans> {
        let Self { address, hugepages, shared_by, used_pages, unbacked_pages, .. } = self;
        let Self { resident_bytes, huge_bytes, swapped_bytes, .. } = self;
        Run {
            address,
            hugepages,
            shared_by,
            used_pages,
            unbacked_pages,
            resident_bytes,
            huge_bytes,
            swapped_bytes,
            spans,
        }
    }
}

/// A number of pages of a hugepage: at most 512.
fn small(pages: usize) -> u16 {
    u16::try_from(pages).unwrap_or(u16::MAX)
}
