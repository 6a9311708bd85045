//! Each hugepage of a heap, and the spans in it.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use strata_alloc::{Core, HeapConfig};
use strata_os::{AddressRange, PageScan, PageSource, Residency};
use strata_page_heap::{HugepageFigures, HugepageUse, PageHeap};
use strata_span::{
    HUGEPAGE_BYTES, Hugepage, HugepageCount, PageCount, PageId, Platform, SpanPlace,
};

/// Pages of a hugepage at the smallest page size.
pub(crate) const MOST_PAGES: usize = HUGEPAGE_BYTES >> 12;

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
        let mut cells = [(0, 0, 0, 0); MOST_PAGES];
        let mut walk = Walk::of(self.0);
        while let Some(hugepage) = walk.next() {
            let seen = walk.look(hugepage, &mut cells);
            let bare = Bare::of(&seen, self.0.page_heap().hugepage_figures(self.0, hugepage));
            if seen.spans.is_empty()
                && let Some(run) = &mut waiting
                && run.takes(&bare)
            {
                continue;
            }
            if let Some(run) = waiting.take() {
                runs.serialize_element(&run.with::<&[SpanCell]>(&[]))?;
            }
            if seen.spans.is_empty() {
                waiting = Some(bare);
            } else {
                runs.serialize_element(&bare.with(seen.spans))?;
            }
        }
        if let Some(run) = waiting {
            runs.serialize_element(&run.with::<&[SpanCell]>(&[]))?;
        }
        runs.end()
    }
}

/// The first reservation that ends behind `from`. Who wants them all asks for one after the other, and looks at
/// each with no lock held.
pub(crate) fn next_reservation<C: HeapConfig>(core: &Core<C>, from: usize) -> Option<AddressRange> {
    let mut next: Option<AddressRange> = None;
    core.page_heap().for_each_reservation(|range| {
        if range.end() > from && next.is_none_or(|next| range.start < next.start) {
            next = Some(range);
        }
    });
    next
}

/// The way through a heap, hugepage by hugepage, from the lowest address to the highest.
pub(crate) struct Walk<'a, C: HeapConfig> {
    core: &'a Core<C>,
    /// The reservation that the walk is in, and how far it came in it.
    reservation: AddressRange,
    at: usize,
    /// By what the kernel is asked.
    pub(crate) scan: PageScan,
    /// The span that reached over the end of the last hugepage: the page behind its end, and where it is.
    inside: Option<(usize, SpanPlace)>,
}

/// What is found in a hugepage. Spans come and go meanwhile: each is what the page map said at some moment.
pub(crate) struct Seen<'a> {
    pub(crate) hugepage: Hugepage,
    /// What the kernel has of it.
    pub(crate) residency: Residency,
    /// Its first pages that are part of a span which is out and begins before it.
    pub(crate) continued_pages: usize,
    /// Its pages that are part of a free span with memory behind it. (Of page heaps that keep free pages as spans.)
    pub(crate) free_span_pages: usize,
    /// The spans that are out and begin in it.
    pub(crate) spans: &'a [SpanCell],
}

impl<'a, C: HeapConfig> Walk<'a, C> {
    pub(crate) fn of(core: &'a Core<C>) -> Self {
        Self {
            core,
            reservation: AddressRange::new(0, 0),
            at: 0,
            scan: PageScan::open(),
            inside: None,
        }
    }

    /// The next hugepage.
    pub(crate) fn next(&mut self) -> Option<Hugepage> {
        loop {
            let start = self.at.checked_next_multiple_of(HUGEPAGE_BYTES)?;
            let end = start.checked_add(HUGEPAGE_BYTES)?;
            if end <= self.reservation.end() {
                self.at = end;
                return Some(Hugepage::from_address(start));
            }
            self.reservation = next_reservation(self.core, self.reservation.end())?;
            self.at = self.reservation.start;
            self.inside = None;
        }
    }

    /// Looks at the hugepage that `next` gave; `cells` is room for its spans.
    pub(crate) fn look<'b>(
        &mut self,
        hugepage: Hugepage,
        cells: &'b mut [SpanCell; MOST_PAGES],
    ) -> Seen<'b> {
        let range = hugepage.range(HugepageCount::ONE);
        let residency = self.core.source().residency_by(&self.scan, range).unwrap_or_default();
        let first = hugepage.first_page::<C::Pages>().number();
        let end = first + PageCount::<C::Pages>::PER_HUGEPAGE.get();
        let (mut page, mut found, mut continued_pages, mut free_span_pages) = (first, 0, 0, 0);
        let is_free = |place| matches!(place, SpanPlace::Free | SpanPlace::Releasing);
        if let Some((behind, place)) = self.inside.take() {
            page = behind.clamp(first, end);
            continued_pages = if place == SpanPlace::InUse { page - first } else { 0 };
            free_span_pages = if is_free(place) { page - first } else { 0 };
            if behind > end {
                self.inside = Some((behind, place));
            }
        }
        while page < end {
            let Some(span) = self.core.map().span_of(PageId::<C::Pages>::new(page)) else {
                page += 1;
                continue;
            };
            let behind = span.first::<C::Pages>().number().saturating_add(span.pages());
            if !(page + 1..=page + span.pages()).contains(&behind) {
                page += 1;
                continue;
            }
            let place = span.place();
            if is_free(place) {
                free_span_pages += behind.min(end) - page;
            }
            if place == SpanPlace::InUse
                && let Some(cell) = cells.get_mut(found)
            {
                let objects = if span.class().is_none() { 1 } else { span.objects_out() };
                let here = behind.min(end) - page;
                *cell = (small(page - first), small(here), span.class().raw(), objects);
                found += 1;
            }
            if behind > end {
                self.inside = Some((behind, place));
            }
            page = behind;
        }
        let spans = cells.get(..found).unwrap_or_default();
        Seen { hugepage, residency, continued_pages, free_span_pages, spans }
    }
}

impl Seen<'_> {
    /// Its pages that lie in spans which are out.
    pub(crate) fn pages_in_spans(&self) -> u64 {
        let begun: u64 = self.spans.iter().map(|(_, pages, ..)| u64::from(*pages)).sum();
        begun + self.continued_pages as u64
    }
}

impl Bare {
    fn of(seen: &Seen<'_>, figures: HugepageFigures) -> Self {
        let HugepageFigures { shared_by, used_pages, unbacked_pages, .. } = figures;
        let whole = shared_by == HugepageUse::Whole;
        Run {
            address: seen.hugepage.address().value(),
            hugepages: 1,
            shared_by,
            used_pages: if whole { seen.pages_in_spans() } else { used_pages },
            unbacked_pages,
            resident_bytes: seen.residency.resident_bytes as u64,
            huge_bytes: seen.residency.hugepage_bytes as u64,
            swapped_bytes: seen.residency.swapped_bytes as u64,
            spans: (),
        }
    }

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
