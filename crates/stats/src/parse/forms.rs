//! The forms of the lines of both reports.

use super::template::Template;

/// How a kind of line looks.
pub(super) struct Form {
    pub(super) name: &'static str,
    /// The title that it must stand under, where it cannot be told from others else.
    pub(super) under: Option<&'static str>,
    pub(super) template: Template,
}

const fn form(name: &'static str, template: &'static str) -> Form {
    Form { name, under: None, template: Template::of(template) }
}

const fn under(title: &'static str, name: &'static str, template: &'static str) -> Form {
    Form { name, under: Some(title), template: Template::of(template) }
}

/// All forms; of those that a line has, the first counts.
pub(super) static FORMS: &[Form] = &[
    // The classes, the most frequent lines, first.
    form(
        "class",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB",
    ),
    form(
        "class",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB; {live_pages} live \
         pages; spans: {spans_returned} ret / {spans_requested} req = {returned_share}; {objects_per_span} objs/span;",
    ),
    form(
        "span_utilization",
        "class {class} [ {object_bytes} bytes ] : {spans} < {bound} @ {spans} < {bound}",
    ),
    under(
        "title_span_utilization",
        "span_occupancy",
        "class {class} [ {object_bytes} bytes ] : {list}: {spans} @ {list}: {spans}",
    ),
    under(
        "title_spans_a_batch",
        "spans_a_batch",
        "class {class} [ {object_bytes} bytes ] : {bound} : {batches} @ {bound} : {batches}",
    ),
    under(
        "title_same_span_returns",
        "same_span_returns",
        "class {class} [ {object_bytes} bytes ] : @ {returns}",
    ),
    form(
        "span_lifetime",
        "class {class} [ {object_bytes} bytes ] {kind:text} spans: @ {lower_bound_ms} ms < {spans}",
    ),
    form(
        "transfer_cache",
        "class {class} [ {object_bytes} bytes ] : {objects} objs; {mib} MiB; {cumulative_mib} cum MiB; {capacity} \
         capacity; {max_capacity} max_capacity; {insert_hits} insert hits; {insert_misses} insert misses \
         ({insert_object_misses} object misses); {remove_hits} remove hits; {remove_misses} remove misses \
         ({remove_object_misses} object misses); {hit_rate} frontline hit rate",
    ),
    form(
        "class_capacity",
        "class {class} [ {object_bytes} bytes ] : {min_capacity} (minimum), {avg_capacity} (average), {max_capacity} \
         (maximum), {max_allowed_capacity} maximum allowed capacity",
    ),
    form(
        "class_capacity",
        "class {class} [ {object_bytes} bytes ] : {min_capacity} (minimum), {avg_capacity} (average), {max_capacity} \
         (maximum), {max_allowed_capacity} maximum allowed capacity, maximum capacity misses {max_capacity_misses}, \
         (underflow: [{last_underflow_us} us CPU {last_underflow_cpu}, {first_underflow_us} us CPU \
         {first_underflow_cpu}]; overflow [{last_overflow_us} us CPU {last_overflow_cpu}, {first_overflow_us} us CPU \
         {first_overflow_cpu}]",
    ),
    // The CPUs.
    form("cpu_limit", "Bytes in per-CPU caches (per cpu limit: {per_cpu_limit} bytes)"),
    form("cpu", "cpu {cpu}: {used} bytes ({mib} MiB) with {unused} bytes unallocated"),
    form("cpu", "cpu {cpu}: {used} bytes ({mib} MiB) with {unused} bytes unallocated {state:text}"),
    form("more_cpus", "{cpus} more: {used} bytes ({mib} MiB) with {unused} bytes unallocated"),
    form(
        "cpu_misses",
        "cpu {cpu}: {underflows} underflows, {overflows} overflows, overflows / underflows: {ratio}, {drains} drains \
         (reclaims), {resizes} resizes",
    ),
    form(
        "cpu_misses_total",
        "Total : {underflows} underflows, {overflows} overflows, overflows / underflows: {ratio}, {drains} drains \
         (reclaims), {resizes} resizes",
    ),
    form("title_slabs", "Per-CPU cache slab resizing info:"),
    form("slab_shift", "Current shift: {shift} (slab size: {slab_kib} KiB)"),
    form("slab_resizes", "shift {shift}: {growths} growths, {shrinkages} shrinkages"),
    form(
        "cpu_slab",
        "cpu {cpu}: current shift: {shift} (slab size: {slab_kib} KiB), {resizes} growths and shrinkages",
    ),
    form("slab_failed", "{slab_failed_bytes} bytes for which MADVISE_DONTNEED failed"),
    // The summary.
    form("in_use", "MALLOC: {in_use_by_app} ({mib} MiB) Bytes in use by application"),
    form("sum", "MALLOC: + {page_heap_freelist} ({mib} MiB) Bytes in page heap freelist"),
    form("sum", "MALLOC: + {central_cache_freelist} ({mib} MiB) Bytes in central cache freelist"),
    form("sum", "MALLOC: + {per_cpu_cache_freelist} ({mib} MiB) Bytes in per-CPU cache freelist"),
    form(
        "sum",
        "MALLOC: + {sharded_transfer_cache_freelist} ({mib} MiB) Bytes in Sharded cache freelist",
    ),
    form("sum", "MALLOC: + {transfer_cache_freelist} ({mib} MiB) Bytes in transfer cache freelist"),
    form("sum", "MALLOC: + {thread_cache_freelists} ({mib} MiB) Bytes in thread cache freelists"),
    form("sum", "MALLOC: + {malloc_metadata} ({mib} MiB) Bytes in malloc metadata"),
    form(
        "sum",
        "MALLOC: + {malloc_metadata_arena_unallocated} ({mib} MiB) Bytes in malloc metadata Arena unallocated",
    ),
    form(
        "sum",
        "MALLOC: + {malloc_metadata_arena_unavailable} ({mib} MiB) Bytes in malloc metadata Arena unavailable",
    ),
    form("actual", "MALLOC: = {actual_mem_used} ({mib} MiB) Actual memory used (physical + swap)"),
    form("released", "MALLOC: + {unmapped} ({mib} MiB) Bytes released to OS (aka unmapped)"),
    form(
        "virtual",
        "MALLOC: = {virtual_address_space_used} ({mib} MiB) Virtual address space used",
    ),
    // Metadata.
    form("count", "MALLOC: {num_spans} Spans in use"),
    form("created", "MALLOC: {num_spans_created} ({mib} MiB) Spans created"),
    form("count", "MALLOC: {num_thread_heaps} Thread heaps in use"),
    form("created", "MALLOC: {num_thread_heaps_created} ({mib} MiB) Thread heaps created"),
    form("count", "MALLOC: {num_stack_traces} Stack traces in use"),
    form("created", "MALLOC: {num_stack_traces_created} ({mib} MiB) Stack traces created"),
    form("count", "MALLOC: {num_table_buckets} Table buckets in use"),
    form("created", "MALLOC: {num_table_buckets_created} ({mib} MiB) Table buckets created"),
    form("bytes", "MALLOC: {pagemap_size} ({mib} MiB) Pagemap bytes used"),
    form("bytes", "MALLOC: {pagemap_root_residence} ({mib} MiB) Pagemap root resident bytes"),
    form("bytes", "MALLOC: {pagemap_root_size} ({mib} MiB) Pagemap root size"),
    form("bytes", "MALLOC: {percpu_slab_size} ({mib} MiB) per-CPU slab bytes used"),
    form("bytes", "MALLOC: {percpu_slab_residence} ({mib} MiB) per-CPU slab resident bytes"),
    form(
        "bytes",
        "MALLOC: {malloc_metadata_arena_non_resident} ({mib} MiB) malloc metadata Arena non-resident bytes",
    ),
    form("bytes", "MALLOC: {never_used} ({mib} MiB) Bytes reserved and never used"),
    form("bytes", "MALLOC: {peak_backed} ({mib} MiB) Actual memory used at peak"),
    form("bytes", "MALLOC: {peak_application_demand} ({mib} MiB) Estimated in-use at peak"),
    form("count", "MALLOC: {realized_fragmentation_percent} Realized fragmentation (%)"),
    form("count", "MALLOC: {tcmalloc_page_size} Tcmalloc page size"),
    form("count", "MALLOC: {tcmalloc_huge_page_size} Tcmalloc hugepage size"),
    form("count", "MALLOC: {cpus_allowed} CPUs Allowed in Mask"),
    form("count", "MALLOC: {arena_blocks} Arena blocks"),
    form("count", "MALLOC: {arena_freelist_blocks} Arena freelist blocks"),
    form("experiments", "MALLOC EXPERIMENTS: @ {name:text}={value}"),
    form("front_end", "MALLOC FRONT END: {front_end:text}"),
    form("hooks", "MALLOC HOOKS: @ {name:text}={value}"),
    form(
        "sampled_profiles",
        "MALLOC SAMPLED PROFILES: {sampled_current_bytes} bytes (current), {sampled_fragmentation_bytes} bytes (internal \
         fragmentation), {sampled_peak_bytes} bytes (peak), {total_sampled_count} count (total)",
    ),
    form(
        "sampled_profiles",
        "MALLOC SAMPLED PROFILES: {sampled_current_bytes} bytes (current), {sampled_peak_bytes} bytes (peak)",
    ),
    form("title_process", "Total process stats (inclusive of non-malloc sources):"),
    form("process", "TOTAL: {total_resident} ({mib} MiB) Bytes resident (physical memory used)"),
    form("process", "TOTAL: {total_mapped} ({mib} MiB) Bytes mapped (virtual memory used)"),
    form("process", "TOTAL: {total_vmpte} ({mib} MiB) Bytes via VmPTE"),
    form("title_machine", "Machine-level hugepage fragmentation stats:"),
    form("machine", "TOTAL: {ratio} Hugepage fragmentation ratio ({node:text})"),
    // Page heaps.
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
    // The filler.
    form("buckets", "HugePageFiller: <{lower_bound}<={value} @ <{lower_bound}<={value}"),
    form(
        "buckets_ms",
        "HugePageFiller: <{lower_bound_ms} ms <={value} @ <{lower_bound_ms} ms <={value}",
    ),
    form(
        "filler_histogram",
        "HugePageFiller: # of {kind:text} hps with a<= # of {measure:text} <b",
    ),
    form("filler_histogram", "HugePageFiller: # of {kind:text} hps with a<= {measure:text} <b"),
    form("title_filler", "HugePageFiller: densely pack small requests into hugepages"),
    form(
        "filler",
        "HugePageFiller: {total} total, {filler_full_huge_pages} full, {filler_partial_huge_pages} partial, \
         {filler_released_huge_pages} released ({filler_partially_released_huge_pages} partially), {quarantined} \
         quarantined",
    ),
    form(
        "filler",
        "HugePageFiller: Overall, {total} total, {filler_full_huge_pages} full, {filler_partial_huge_pages} partial, \
         {filler_released_huge_pages} released ({filler_partially_released_huge_pages} partially), {quarantined} \
         quarantined",
    ),
    form(
        "filler_density",
        "HugePageFiller: those with {density:text} spans, {hugepages} total, {full} full, {partial} partial, {released} \
         released ({partially_released} partially), {quarantined} quarantined",
    ),
    form(
        "filler_free",
        "HugePageFiller: {filler_free_pages} pages free in {hugepages} hugepages, {free_share} free",
    ),
    form(
        "filler_free_of_non_full",
        "HugePageFiller: among non-fulls, {free_share_of_non_full} free",
    ),
    form(
        "filler_used_in_released",
        "HugePageFiller: {filler_used_pages_in_subreleased} used pages in subreleased hugepages \
         ({filler_used_pages_in_partial_released} of them in partially released)",
    ),
    form(
        "filler_released",
        "HugePageFiller: {partially_released} hugepages partially released, {released_share} released",
    ),
    form("filler_hugepageable", "HugePageFiller: {hugepageable_share} of used pages hugepageable"),
    form(
        "filler_since_start",
        "HugePageFiller: Since startup, {filler_num_pages_subreleased} pages subreleased, {filler_num_hugepages_broken} \
         hugepages broken, ({filler_num_pages_subreleased_due_to_limit} pages, \
         {filler_num_hugepages_broken_due_to_limit} hugepages due to reaching tcmalloc limit)",
    ),
    form("title_histograms", "HugePageFiller: fullness histograms"),
    form("title_time_series", "HugePageFiller: time series over {minutes} min interval"),
    form(
        "filler_least_free",
        "HugePageFiller: minimum free pages: {min_free_pages} ({min_free_backed_pages} backed)",
    ),
    form(
        "peak_pages",
        "HugePageFiller: at peak {of:word} {used} pages (and {free} free, {unmapped} unmapped)",
    ),
    form(
        "peak_hugepages",
        "HugePageFiller: at peak {of:word} {hugepages} hps ({regular} regular, {donated} donated, {partial} partial, \
         {released} released)",
    ),
    form("filler_realized", "HugePageFiller: realized fragmentation: {realized_mib} MiB"),
    form(
        "filler_refilled",
        "HugePageFiller: {filler_previously_released_huge_pages} hugepages became full after being previously released, out of which {filler_previously_released_backed_huge_pages} pages are hugepage backed.",
    ),
    form(
        "filler_refilled",
        "HugePageFiller: {filler_previously_released_huge_pages} hugepages became full after being previously released",
    ),
    form(
        "filler_skipped",
        "HugePageFiller: Since the start of the execution, {skipped_pages} pages were skipped {why:text}",
    ),
    form(
        "filler_judged",
        "HugePageFiller: {correct_percent}% of pages confirmed correct, {pending_pages} pending, as per anticipated 300s realized fragmentation.",
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
    // Guarded sampling.
    form("title_guarded", "GWP-ASan Status"),
    form("guarded_state", "Guarded Sampling: {state:word}"),
    form("guarded", "Successful Allocations: {successful_allocations}"),
    form("guarded", "Failed Allocations: {failed_allocations}"),
    form("guarded", "Slots Currently Allocated: {current_slots_allocated}"),
    form("guarded", "Slots Currently Quarantined: {current_slots_quarantined}"),
    form("guarded", "Maximum Slots Allocated: {max_slots_allocated} / {allocated_slot_limit}"),
    // A misprint of the documentation.
    form("guarded", "Moximum Slots Allocated: {max_slots_allocated} / {allocated_slot_limit}"),
    form("guarded", "Skipped Allocations ({reason:text}): {skipped}"),
    form("guarded", "Currently Allocated: {allocated_pages} / {max_allocated_pages}"),
    form("guarded", "Allocated High-Watermark: {high_allocated_pages} / {max_allocated_pages}"),
    form("guarded", "Object Pages Touched: {pages_touched} / {total_pages}"),
    form("guarded", "Currently Quarantined: {quarantine_pages}"),
    // Limits, parameters, the system.
    form("limit", "Number of times soft limit was hit: {soft_limit_hits}"),
    form("limit", "Number of times hard limit was hit: {hard_limit_hits}"),
    form(
        "limit",
        "Number of times memory shrank below soft limit: {successful_shrinks_after_soft_limit_hit}",
    ),
    form(
        "limit",
        "Number of times memory shrank below hard limit: {successful_shrinks_after_hard_limit_hit}",
    ),
    form("limit", "Total number of pages released: {num_released_total_pages} ({mib} MiB)"),
    form(
        "limit",
        "Number of pages released by ReleaseMemoryToSystem: {num_released_release_memory_to_system_pages} ({mib} MiB)",
    ),
    form(
        "limit",
        "Number of pages released by ProcessBackgroundActions: {num_released_process_background_actions_pages} ({mib} MiB)",
    ),
    form(
        "limit",
        "Number of pages released after soft limit hits: {num_released_soft_limit_exceeded_pages} ({mib} MiB)",
    ),
    form(
        "limit",
        "Number of pages released after hard limit hits: {num_released_hard_limit_exceeded_pages} ({mib} MiB)",
    ),
    form("limit", "Number of active partitions: {active_partitions}"),
    form("parameter", "PARAMETER {name:word} {value:word}"),
    form("title_low_level", "Low-level allocator stats:"),
    form("low_level", "Memory Release Failures: {memory_release_failures}"),
    form("low_level", "MmapSysAllocator: {mmap_sys_allocator} bytes ({mib} MiB) reserved"),
    form("low_level", "MmapSysAllocator: {mmap_sys_allocator} bytes ({mib} MiB) allocated"),
    // Strata's own.
    form("title_ledger", "Ledger of mapped bytes"),
    form("title_background", "Memory given back since the start, and background work"),
    form("ledger_unexplained", "LEDGER: + {unexplained} unexplained"),
    form("ledger_mapped", "LEDGER: = {mapped} ({mib} MiB) mapped"),
    form(
        "ledger_in_use_by_threads",
        "LEDGER: {in_use_by_threads} ({mib} MiB) in use, as the threads count it",
    ),
    form("ledger", "LEDGER: + {bytes} ({mib} MiB) {category:text}"),
    form("ledger", "LEDGER: {bytes} ({mib} MiB) {category:text}"),
    form("released", "RELEASED: {bytes} ({mib} MiB) {reason:text}"),
    form("background", "BACKGROUND: {count} {what:text}"),
    // Titles, which name what follows.
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
    // What TCMalloc's filler tells today beyond that: treatment, collapse, residency.
    form(
        "filler_collapse",
        "HugePageFiller: Out of {eligible} eligible hugepages, {attempted} were attempted, and {collapsed} were collapsed.",
    ),
    form(
        "filler_collapse_errors",
        "HugePageFiller: Of the failed collapse operations, number of operations that failed per error type, @ \
         {error:text}: {count}",
    ),
    form(
        "filler_collapse_latency",
        "HugePageFiller: Latency of collapse operations: {total_ms} ms (total), {maximum_us} us (maximum)",
    ),
    form(
        "filler_collapse_delay",
        "HugePageFiller: Backoff delay for collapse currently is {intervals} interval(s), number of intervals skipped due \
         to backoff is {skipped}",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, subreleased {pages} pages.",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, subreleased {stale_pages} stale pages.",
    ),
    form(
        "filler_treatment",
        "HugePageFiller: In the previous treatment interval, marked {unbacked_pages} unbacked pages as subreleased. Since \
         startup, {unbacked_pages_since_start}.",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of {kind:text} hps with a <= # of {measure:text} < b",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of {kind:text} hps with {measure:text} <= # {of:text} < b",
    ),
    form(
        "filler_histogram_of_more",
        "HugePageFiller: # of hps with >= {least} free pages, with different lifetimes.",
    ),
    form("filler_histogram_of_more", "HugePageFiller: # of hps with lifetime >= {least_ms} ms."),
    form(
        "filler_native_pages",
        "HugePageFiller: {native_pages} of {kind:text} native pages are {state:text}.",
    ),
    form(
        "filler_huge_backed",
        "HugePageFiller: {hugepages} of {kind:text} pages {what:text} out of {all}.",
    ),
    form(
        "filler_by_backing",
        "HugePageFiller: Of the {backing:text} backed pages of type {kind:text}, {free_pages} tcmalloc pages are free, \
         {used_pages} tcmalloc pages are used.",
    ),
    form("title_trackers", "HugePageFiller: Sampled Trackers for {kind:text} pages:"),
    form(
        "filler_tracker",
        "HugePageFiller: Allocations: {allocations}, Longest Free Range: {longest_free_range}, Objects: {objects}, Is \
         Hugepage Backed?: {huge_backed}, Density: {density}, Reallocation Time: {reallocation_seconds}",
    ),
    form(
        "filler_skipped",
        "HugePageFiller: Since the start of the execution, {subreleases} subreleases ({skipped_pages} pages) were skipped \
         due to either recent ({peak:text}) peaks, or the sum of short-term ({short:text}) fluctuations and long-term \
         ({long:text}) trends.",
    ),
    form(
        "filler_judged",
        "HugePageFiller: {correct_decisions_percent}% of decisions confirmed correct, {pending_decisions} pending \
         ({correct_percent}% of pages, {pending_pages} pending), as per anticipated {interval:text} realized fragmentation.",
    ),
    form(
        "filler_subreleased_lately",
        "HugePageFiller: Subrelease stats last {minutes} min: total {pages} pages subreleased.",
    ),
];
