//! The summary, metadata, and the process.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
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
    // Metadata, and the process.
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
];
