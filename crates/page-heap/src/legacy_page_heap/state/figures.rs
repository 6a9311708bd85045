//! What the heap tells of itself.

use super::State;
use crate::{FreeSpans, HasStats, LegacyFigures, PageHeapStats, SpanAges, free_set::FreeSet};
use strata_span::{PageCount, PageId, PageSize, Platform, SpanPlace};

/// Spans that one step of taking figures looks at: each may be a cache miss or two, so that the lock is held for some 50
/// microseconds. At twice, for twice as long; at half, the lock is taken twice as often.
const LOOKS: usize = 512;

impl<P: PageSize> State<P> {
    /// The most pages in use since the last call.
    pub(in crate::legacy_page_heap) fn take_peak(&mut self) -> PageCount<P> {
        self.records.take_peak_pages()
    }

    /// Fills in all figures but the ages.
    pub(in crate::legacy_page_heap) fn fill_in(&self, figures: &mut LegacyFigures, now_ns: u64) {
        let length_of =
            |set: &FreeSet<P>, index| set.list(index).map_or(0, |list| list.len() as u64);
        for (index, counts) in figures.by_length.iter_mut().enumerate().skip(1) {
            counts.backed = u32::try_from(length_of(&self.normal, index)).unwrap_or(u32::MAX);
            counts.unmapped = u32::try_from(length_of(&self.returned, index)).unwrap_or(u32::MAX);
        }
        let page_bytes = P::BYTES as u64;
        figures.page_bytes = page_bytes;
        figures.large_pages = FreeSet::<P>::LARGE.get() as u64;
        figures.large = FreeSpans {
            pages: figures.large_pages,
            backed_spans: length_of(&self.normal, 0),
            unmapped_spans: length_of(&self.returned, 0),
            backed_bytes: self.normal.large_pages() * page_bytes,
            unmapped_bytes: self.returned.large_pages() * page_bytes,
        };
        let elapsed_ns = now_ns.saturating_sub(self.started_ns.unwrap_or(now_ns));
        self.records.fill_in(&mut figures.allocations, elapsed_ns);
    }

    /// Adds the ages of the free spans that begin from `at` on, up to `end` or as far as one step goes. Says where the
    /// next step begins.
    pub(in crate::legacy_page_heap) fn record_ages<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        mut at: PageId<P>,
        end: PageId<P>,
        now_ns: u64,
        ages: &mut SpanAges,
    ) -> PageId<P> {
        for _ in 0..LOOKS {
            if at >= end {
                break;
            }
            // Spans lie side by side; none is found behind the last, and within one that grew or merged meanwhile.
            let Some(span) = platform.map().span_of(at).filter(|span| span.end() > at) else {
                at = at + PageCount::ONE;
                continue;
            };
            let table = match span.place() {
                SpanPlace::Free | SpanPlace::Releasing => Some(&mut ages.live),
                SpanPlace::Released => Some(&mut ages.unmapped),
                SpanPlace::InUse | SpanPlace::Unused => None,
            };
            if let Some(table) = table.filter(|_| span.first() == at) {
                table.record(span.pages() as u64, now_ns.saturating_sub(span.note()));
            }
            at = span.end();
        }
        at
    }
}

impl<P: PageSize> HasStats for State<P> {
    fn stats(&self) -> PageHeapStats {
        let reserve = self.reserve.stats();
        PageHeapStats {
            reserved_bytes: reserve.reserved_bytes,
            system_bytes: reserve.taken_bytes,
            in_use_bytes: self.in_use.bytes() as u64,
            free_bytes: self.free.bytes() as u64,
            unmapped_bytes: self.unmapped.bytes() as u64,
            peak_backed_bytes: self.peak_backed.bytes() as u64,
            spans_in_use: self.spans_in_use,
            released: self.released,
            release_failures: self.release_failures,
            releases_withheld: self.refusals.withheld(),
            limits: self.limits,
            ..PageHeapStats::default()
        }
    }
}
