//! Of each CPU's cache.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
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
];
