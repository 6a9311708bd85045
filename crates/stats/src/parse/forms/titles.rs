//! Titles, which name what follows.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
    form("title", "See {address:text} for an explanation of this page"),
    form("title", "NOTE: SMALL MEMORY MODEL {rest:text}"),
    form(
        "title",
        "Call ReleaseMemoryToSystem() to release freelist memory to the OS (via madvise()).",
    ),
    form("title", "Bytes released to the OS take up virtual address space but no physical memory."),
    form("title_classes", "Total size of freelists for per-thread and per-CPU caches,"),
    form("title_classes", "transfer cache, and central cache, by size class"),
    form("title_classes", "transfer cache, and central cache, as well as number of"),
    form("title_classes", "live pages, returned/requested spans by size class"),
    form("title_span_utilization", "Central cache freelist: Span utilization histogram"),
    form("title_span_utilization", "Non-cumulative number of spans with allocated objects < N"),
    form("title_span_lifetime", "Central cache freelist: Span lifetime histogram"),
    form("title_span_lifetime", "Non-cumulative number of spans lifetime a < N"),
    form("title_spans_a_batch", "Central cache freelist: Number of spans used histogram"),
    form("title_spans_a_batch", "Number of spans used to fill a batch of allocations, from 0 to N"),
    form("title_same_span_returns", "Central cache freelist: Same-span returns"),
    form("title_transfer_caches", "Used bytes, current capacity, and maximum allowed capacity"),
    form("title_transfer_caches", "of the {which:text} freelists."),
    form("title_transfer_caches", "It also reports insert/remove hits/misses by size class."),
    form("title_sharded", "Cumulative sharded transfer cache stats."),
    form("sharded", "Sharded transfer cache state: {sharded_state:word}"),
    form("sharded", "Number of active sharded transfer caches: {active_sharded_transfer_caches}"),
    form("title_capacities", "Size class capacity statistics in per-cpu caches"),
    form("title_misses", "Number of per-CPU cache underflows, overflows, and drains"),
    form("title_limits", "Configured limits and related statistics"),
    form("title_parameters", "Parameters"),
];
