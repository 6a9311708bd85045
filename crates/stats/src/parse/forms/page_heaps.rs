//! Page heaps, and the parts of the hugepage-aware one, but for its filler.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
    form("begin_page_heap", ">>>>>>> Begin {tag:text} page allocator <<<<<<<"),
    form("end_page_heap", ">>>>>>> End {tag:text} page allocator <<<<<<<"),
    form(
        "spans_total",
        "{label:text}: {sizes} sizes; {free_mib} MiB free; {unmapped_mib} MiB unmapped",
    ),
    form(
        "other_page_heap",
        "{label:text}: {spans} spans in use; {free_mib} MiB free; {unmapped_mib} MiB unmapped",
    ),
    form(
        "spans",
        "{pages} pages * {spans} spans ~ {mib} MiB; {cumulative_mib} MiB cum; unmapped: {unmapped_mib} MiB; \
         {cumulative_unmapped_mib} MiB cum",
    ),
    form(
        "large_spans",
        ">={pages} large * {spans} spans ~ {mib} MiB; {cumulative_mib} MiB cum; unmapped: {unmapped_mib} MiB; \
         {cumulative_unmapped_mib} MiB cum",
    ),
    form(
        "title_ages",
        "{label:text} cache entry age (count of pages in spans of a given size that have been idle for up to the given \
         period of time)",
    ),
    form("title_ages", "mean <1s 1s 30s 1m 30m 1h 8+h"),
    form("live_total", "Live span TOTAL PAGES: {mean} @ {pages_by_age}"),
    form("unmapped_total", "Unmapped span TOTAL PAGES: {mean} @ {pages_by_age}"),
    form("live_ages", "Live span, {pages} pages: {mean} @ {pages_by_age}"),
    form("unmapped_ages", "Unmapped span, {pages} pages: {mean} @ {pages_by_age}"),
    form("live_ages", "Live span, >={least_pages} pages: {mean} @ {pages_by_age}"),
    form("unmapped_ages", "Unmapped span, >={least_pages} pages: {mean} @ {pages_by_age}"),
    form("title_allocations", "{label:text}: stats on allocation sizes"),
    form("allocations", "{label:text}: {num_small_allocation_pages} pages live small allocation"),
    form("allocations", "{label:text}: {num_slack_pages} pages of slack on large allocations"),
    form("allocations", "{label:text}: largest seen allocation {largest_allocation_pages} pages"),
    form("title_per_size", "{label:text}: per-size information:"),
    form(
        "per_size",
        "{label:text}: {pages} page info: {allocated} / {freed} a/f, {live} ({live_mib} MiB) live, \
         {allocations_per_second} allocs/s ({mib_per_second} MiB/s)",
    ),
    form(
        "per_size_range",
        "{label:text}: [ {least_pages} , {greatest_pages} ] page info: {allocated} / {freed} a/f, {live} ({live_mib} \
         MiB) live, {allocations_per_second} allocs/s ({mib_per_second} MiB/s)",
    ),
    form("released_pages", "{label:text}: {pages} pages ({mib} MiB) released {reason:text}"),
    form("released_pages", "{label:text}: {pages} pages ({mib} MiB) MiB released {reason:text}"),
    // The components of the hugepage-aware heap.
    form("title_components", "Huge page aware allocator components:"),
    form("title_components", "HugePageAware: breakdown of {order:text} space:"),
    form(
        "component",
        "HugePageAware: {component:word} {used_mib} MiB used, {free_mib} MiB free, {unmapped_mib} MiB unmapped",
    ),
    form("donations", "HugePageAware: filler donations {filler_donated_huge_pages}"),
    form(
        "donations",
        "HugePageAware: filler donations {filler_donated_huge_pages} ({filler_abandoned_pages} pages from abandoned \
         donations)",
    ),
    // Regions.
    form(
        "title_regions",
        "HugeRegionSet: {least_mib} MiB+ allocations best-fit into {region_mib} MiB slabs",
    ),
    form("regions", "HugeRegionSet: {regions} total regions"),
    form("more_regions", "HugeRegionSet: {regions} more regions"),
    form(
        "regions_backed",
        "HugeRegionSet: {backed_hugepages} hugepages backed out of {hugepages} total",
    ),
    form(
        "regions_backed",
        "HugeRegionSet: {backed_hugepages} hugepages backed, {backed_free_hugepages} backed and free, \
         {least_backed_free_hugepages} low water mark free backed, out of {hugepages} total",
    ),
    form(
        "regions_free",
        "HugeRegionSet: {free_pages} pages free in backed region, {free_share} free",
    ),
    form(
        "region",
        "HugeRegion: {used_kib} KiB used, {free_kib} KiB free, {longest_free_kib} KiB contiguous space, {unbacked_mib} \
         MiB unbacked, {unbacked_lifetime_mib} MiB unbacked lifetime",
    ),
    // The huge cache and the huge allocator.
    form("title_huge_cache", "HugeCache: contains unused, backed hugepage(s)"),
    form("title_huge_cache", "HugeCache: contains unused, backed hugepage(s) ({time:text})"),
    form(
        "huge_cache",
        "HugeCache: {cached_hugepages} / {limit_hugepages} hugepages cached / cache limit ({hit_rate} hit rate, \
         {overflow_rate} overflow rate)",
    ),
    form(
        "huge_cache_unbacked",
        "HugeCache: {fast_unbacked_mib} MiB fast unbacked, {periodic_unbacked_mib} MiB periodic",
    ),
    form("huge_cache_regret", "HugeCache: {huge_cache_regret} MiB*s cached since startup"),
    form(
        "huge_cache_range",
        "HugeCache: recent {of:word} range: {min_mib} min - {current_mib} curr - {max_mib} max MiB",
    ),
    form("huge_cache_epochs", "HugeCache: epoch length {epoch:word} number of records {records}"),
    form(
        "huge_cache_series",
        "HugeCache: Usage timeseries @ {epoch}:{began_ms}:{least}:{greatest}",
    ),
    form("title_huge_allocator", "HugeAllocator: contiguous, unbacked hugepage(s)"),
    form("huge_nodes", "HugeAddressMap: treap {nodes_used} / {nodes_created} nodes used / created"),
    form("huge_longest", "HugeAddressMap: {longest_hugepages} contiguous hugepages available"),
    form(
        "huge_allocator",
        "HugeAllocator: {num_total_requested_huge_pages} requested - {num_in_use_huge_pages} in use = \
         {num_free_huge_pages} hugepages free",
    ),
];
