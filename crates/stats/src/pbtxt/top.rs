//! The fields that stand alone.

use super::{Fields, Message};
use crate::today::parameters::{self, Value};
use crate::total::total;
use crate::{Category, Details, Ledger, PageHeapDetails, Part, Snapshot};
use core::fmt::Result;
use strata_alloc::FrontEnd;
use strata_page_heap::LimitFigures;
use strata_span::HUGEPAGE_BYTES;

/// What adds up.
pub(super) fn sums(
    fields: Fields,
    snapshot: &Snapshot,
    ledger: &Ledger,
    message: &mut Message<'_>,
) -> Result {
    let of = |category| ledger.bytes(category);
    message.numbers([
        ("in_use_by_app", of(Category::InUse)),
        ("page_heap_freelist", ledger.free_pages_bytes()),
        ("central_cache_freelist", of(Category::Central)),
        ("per_cpu_cache_freelist", of(Category::PerCpu)),
    ])?;
    if fields.are_todays() {
        // Strata has no sharded transfer caches.
        message.field("sharded_transfer_cache_freelist", 0)?;
    }
    message.numbers([
        ("transfer_cache_freelist", of(Category::Transfer)),
        ("thread_cache_freelists", ledger.thread_caches_bytes()),
        ("malloc_metadata", ledger.part_bytes(Part::Metadata)),
    ])?;
    let (mut actual, mut released) = (ledger.actual_bytes(), ledger.part_bytes(Part::Released));
    if fields.are_todays() {
        let (unavailable, unallocated) =
            (of(Category::ArenaUnavailable), of(Category::ArenaUnallocated));
        message.numbers([
            ("malloc_metadata_arena_unavailable", unavailable),
            ("malloc_metadata_arena_unallocated", unallocated),
        ])?;
        actual = actual.wrapping_add(unavailable).wrapping_add(unallocated);
        released = released.wrapping_add(of(Category::PageMapReserved));
    }
    message.numbers([
        ("actual_mem_used", actual),
        ("unmapped", released),
        ("virtual_address_space_used", actual.wrapping_add(released)),
    ])?;
    if let (true, Some(process)) = (fields.are_todays(), &snapshot.process) {
        message.field("total_vmpte", process.pte_bytes)?;
    }
    Ok(())
}

/// What the allocator needs for itself, and what the kernel says.
pub(super) fn structures(fields: Fields, snapshot: &Snapshot, message: &mut Message<'_>) -> Result {
    let heap = &snapshot.heap;
    let (spans, caches, map) = (&heap.spans, &heap.threads.caches, &heap.map);
    message.numbers([
        ("num_spans", spans.in_use),
        ("num_spans_created", spans.created),
        ("num_thread_heaps", caches.in_use),
        ("num_thread_heaps_created", caches.created),
        // Nothing is sampled.
        ("num_stack_traces", 0),
        ("num_stack_traces_created", 0),
        ("num_table_buckets", 0),
        ("num_table_buckets_created", 0),
        ("pagemap_size", total([map.root_touched_bytes, map.leaf_touched_bytes])),
        ("pagemap_root_residence", map.root_touched_bytes),
        ("percpu_slab_size", heap.cpu.region_bytes),
        ("percpu_slab_residence", snapshot.slab_resident_bytes),
        ("tcmalloc_page_size", heap.page_bytes),
        ("tcmalloc_huge_page_size", HUGEPAGE_BYTES as u64),
    ])?;
    if fields.are_todays() {
        message.numbers([
            ("pagemap_root_size", map.root_reserved_bytes),
            (
                "peak_backed",
                total([heap.page_heap.peak.in_use_bytes, heap.page_heap.peak.free_bytes]),
            ),
            ("peak_application_demand", heap.page_heap.peak.in_use_bytes),
            ("cpus_allowed", u64::from(snapshot.allowed_cpus)),
            ("arena_blocks", heap.arena.blocks),
            ("arena_freelist_blocks", heap.arena.spare_blocks),
            ("new_hooks_present", 0),
            ("delete_hooks_present", 0),
            ("sampled_new_hooks_present", 0),
            ("sampled_delete_hooks_present", 0),
            ("total_sampled_count", 0),
        ])?;
    }
    message.message("sampled_profiles", |profiles| {
        profiles.field("current_bytes", 0)?;
        if fields.are_todays() {
            profiles.field("current_fragmentation_bytes", 0)?;
        }
        profiles.field("peak_bytes", 0)
    })?;
    let Some(process) = &snapshot.process else { return Ok(()) };
    message.field("total_resident", process.resident_bytes)?;
    message.field("total_mapped", process.mapped_bytes)
}

/// How the machine's free memory is cut up, where the kernel tells.
pub(super) fn machine(fields: Fields, details: &Details, message: &mut Message<'_>) -> Result {
    if !fields.are_todays() {
        return Ok(());
    }
    details.nodes().try_for_each(|node| {
        message.message("hugepage_fragmentation_ratio", |message| {
            message.field("node", node.node)?;
            message.field("ratio", node.fragmentation())
        })
    })
}

/// Guarded sampling, which Strata does not do.
pub(super) fn guarded(fields: Fields, message: &mut Message<'_>) -> Result {
    message.message("gwp_asan", |guarded| {
        guarded.numbers([("successful_allocations", 0), ("failed_allocations", 0)])?;
        if fields.are_todays() {
            guarded.numbers([
                ("skipped_allocations_noslots", 0),
                ("skipped_allocations_filtered", 0),
                ("skipped_allocations_toolarge", 0),
                ("allocated_pages", 0),
                ("quarantine_pages", 0),
                ("high_allocated_pages", 0),
                ("max_allocated_pages", 0),
                ("pages_touched", 0),
                ("total_pages", 0),
            ])?;
        } else {
            guarded.numbers([
                ("current_slots_allocated", 0),
                ("current_slots_quarantined", 0),
                ("max_slots_allocated", 0),
                ("allocated_slot_limit", 0),
            ])?;
        }
        guarded.field("tcmalloc_guarded_sample_parameter", -1)
    })
}

/// The options in force, what was released and why, and what came from the system.
pub(super) fn parameters(
    fields: Fields,
    snapshot: &Snapshot,
    ledger: &Ledger,
    page_heap: PageHeapDetails<'_>,
    message: &mut Message<'_>,
) -> Result {
    let stats = &snapshot.heap.page_heap;
    if fields.are_todays() {
        let (released, page_bytes) = (&stats.released, snapshot.heap.page_bytes.max(1));
        message.numbers([
            ("num_released_total_pages", released.total() / page_bytes),
            ("num_released_release_memory_to_system_pages", released.call / page_bytes),
            (
                "num_released_process_background_actions_pages",
                total([released.policy, released.idle]) / page_bytes,
            ),
            ("num_released_soft_limit_exceeded_pages", released.soft_limit / page_bytes),
            ("num_released_hard_limit_exceeded_pages", released.hard_limit / page_bytes),
            ("active_partitions", 1),
        ])?;
    }
    limits(fields, &stats.limits, message)?;
    message.field("memory_release_failures", stats.release_failures)?;
    let per_cpu = matches!(snapshot.heap.front_end, FrontEnd::PerCpu(_));
    message.field("tcmalloc_per_cpu_caches", per_cpu)?;
    let caches = crate::properties::cache_limits(snapshot);
    message.field("tcmalloc_max_per_cpu_cache_size", caches.per_cpu_bytes)?;
    message.field("tcmalloc_max_total_thread_cache_bytes", caches.all_threads_bytes)?;
    if fields.are_todays() {
        let populated = snapshot.cpus.populated() as u64;
        message.field("cpu_caches_touched", populated)?;
        message.field("cpu_caches_populated", populated)?;
        message.field("active_sharded_transfer_caches", 0)?;
        for (name, value) in &parameters::todays(snapshot, page_heap) {
            match value {
                Value::Is(is) => message.field(name, is)?,
                Value::Time(span) => message.field(format_args!("{name}_ns"), span.ns)?,
                value => message.field(name, value)?,
            }
        }
    }
    message.field("mmap_sys_allocator", ledger.mapped_bytes)
}

/// April 2020 knew one limit, and said whether it was hard; where both are set the hard one is told.
fn limits(fields: Fields, figures: &LimitFigures, message: &mut Message<'_>) -> Result {
    let (soft, hard) = (figures.limits.soft_bytes, figures.limits.hard_bytes);
    if !fields.are_todays() {
        let (limit, is_hard) = if hard == 0 { (soft, false) } else { (hard, true) };
        limit_field("desired_usage_limit_bytes", limit, message)?;
        message.field("hard_limit", is_hard)?;
        return message.field("limit_hits", total([figures.soft_hits, figures.hard_hits]));
    }
    limit_field("desired_usage_limit_bytes", soft, message)?;
    limit_field("hard_usage_limit_bytes", hard, message)?;
    message.numbers([
        ("soft_limit_hits", figures.soft_hits),
        ("hard_limit_hits", figures.hard_hits),
        ("successful_shrinks_after_soft_limit_hit", figures.soft_successes),
        (
            "successful_shrinks_after_hard_limit_hit",
            figures.hard_hits.saturating_sub(figures.hard_failures),
        ),
    ])
}

/// No limit is -1.
fn limit_field(name: &str, bytes: u64, message: &mut Message<'_>) -> Result {
    match bytes {
        0 => message.field(name, -1),
        bytes => message.field(name, bytes),
    }
}
