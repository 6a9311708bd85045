//! What only reports ask about the spans of a class that came back, or got objects back.

use crate::stats::SAME_SPAN_BUCKETS;
use strata_page_heap::{LIFETIME_BUCKETS, count_lifetime};
use strata_span::Span;

/// Counts since the start, each modulo 2^32; guarded by the class's lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tallies {
    /// Spans that went back to the page heap, by how long they had objects.
    pub(crate) completed_lifetimes: [u32; LIFETIME_BUCKETS],
    /// Runs of objects that came back to the same span in a row, by their length.
    pub(crate) same_span_returns: [u32; SAME_SPAN_BUCKETS],
}

impl Tallies {
    pub(crate) const NONE: Self = Self {
        completed_lifetimes: [0; LIFETIME_BUCKETS],
        same_span_returns: [0; SAME_SPAN_BUCKETS],
    };

    /// Counts `objects` objects, at least one, that came back to one span in a row.
    #[inline(always)]
    pub(crate) fn count_run(&mut self, objects: u32) {
        let bucket = (objects as usize).saturating_sub(1).min(SAME_SPAN_BUCKETS - 1);
        if let Some(count) = self.same_span_returns.get_mut(bucket) {
            *count = count.wrapping_add(1);
        }
    }

    /// Counts a span that goes back to the page heap.
    pub(crate) fn count_completed(&mut self, span: &Span, now_ns: u64) {
        count_lifetime(&mut self.completed_lifetimes, span.age_ms(now_ns));
    }
}
