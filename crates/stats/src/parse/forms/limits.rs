//! Limits, parameters, the system.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
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
];
