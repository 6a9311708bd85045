//! Size classes and CPUs.

use super::{Fields, Message, filler::lifetimes};
use crate::{ClassDetails, ClassFigures, ClassTable, CpuTable, Details};
use core::fmt::Result;

/// A `freelist` for each class, and of today's fields a `transfer_cache` and a `size_class_capacity`.
pub(super) fn render(
    fields: Fields,
    classes: &ClassTable,
    details: &Details,
    message: &mut Message<'_>,
) -> Result {
    if !fields.are_todays() {
        return classes.iter().try_for_each(|(_, class)| {
            message.message("freelist", |list| {
                list.numbers([("sizeclass", class.object_bytes), ("bytes", class.free_bytes())])
            })
        });
    }
    let rows =
        || classes.iter().zip(details.classes()).map(|((_, class), (_, more))| (class, more));
    rows().try_for_each(|(class, more)| {
        message.message("freelist", |list| free_list(class, more, list))
    })?;
    rows().try_for_each(|(class, more)| {
        message.message("transfer_cache", |cache| transfer_cache(class, more, cache))
    })?;
    rows().try_for_each(|(class, more)| {
        message.message("size_class_capacity", |capacity| {
            capacity.field("sizeclass", class.object_bytes)?;
            capacity.field("min_capacity", more.capacity.least)?;
            capacity.field("avg_capacity", more.capacity.mean())?;
            capacity.field("max_capacity", more.capacity.greatest)?;
            capacity.field("max_allowed_capacity", more.capacity.allowed)?;
            let Some(misses) = &more.misses else { return Ok(()) };
            if let Some(ages) = &misses.underflow {
                capacity.field("min_last_underflow_ns", ages.latest_ns)?;
                capacity.field("max_last_underflow_ns", ages.earliest_ns)?;
            }
            if let Some(ages) = &misses.overflow {
                capacity.field("min_last_overflow_ns", ages.latest_ns)?;
                capacity.field("max_last_overflow_ns", ages.earliest_ns)?;
            }
            capacity.field("max_capacity_misses", misses.at_greatest_capacity)
        })
    })
}

fn free_list(class: &ClassFigures, details: &ClassDetails, list: &mut Message<'_>) -> Result {
    list.numbers([
        ("sizeclass", class.object_bytes),
        ("bytes", class.free_bytes()),
        ("objects_per_span", details.objects_per_span),
        ("num_spans_requested", class.spans_requested),
        ("num_spans_returned", class.spans_returned),
        ("obj_capacity", class.spans.wrapping_mul(details.objects_per_span)),
    ])?;
    for (bucket, spans) in details.utilization.iter().enumerate() {
        list.message("span_util_histogram", |histogram| {
            histogram.numbers([
                ("lower_bound", 1u64 << bucket),
                ("upper_bound", 2u64 << bucket),
                ("value", u64::from(*spans)),
            ])
        })?;
    }
    for (index, spans) in details.occupancy.iter().enumerate() {
        list.message("prioritization_list_occupancy", |occupancy| {
            occupancy.numbers([
                ("lower_bound", index as u64),
                ("upper_bound", index as u64),
                ("value", u64::from(*spans)),
            ])
        })?;
    }
    for (bucket, batches) in details.spans_a_batch.iter().enumerate() {
        list.message("span_allocations_histogram", |histogram| {
            histogram.numbers([
                ("lower_bound", 1u64 << bucket >> 1),
                ("upper_bound", 1u64 << bucket),
                ("value", u64::from(*batches)),
            ])
        })?;
    }
    let Some(spans) = &details.spans else { return Ok(()) };
    lifetimes("span_lifetime_histogram", &spans.live_lifetimes, list)?;
    lifetimes("span_completed_lifetime_histogram", &spans.completed_lifetimes, list)?;
    for (runs, length) in spans.same_span_returns.iter().zip(1u64..) {
        list.message("same_span_stats", |histogram| {
            histogram.numbers([
                ("lower_bound", length),
                ("upper_bound", length),
                ("value", u64::from(*runs)),
            ])
        })?;
    }
    Ok(())
}

fn transfer_cache(class: &ClassFigures, details: &ClassDetails, cache: &mut Message<'_>) -> Result {
    let transfer = &details.transfer;
    cache.numbers([
        ("sizeclass", class.object_bytes),
        ("insert_hits", transfer.insert_hits),
        ("insert_misses", transfer.insert_misses),
        ("insert_object_misses", transfer.insert_missed_objects),
        ("remove_hits", transfer.remove_hits),
        ("remove_misses", transfer.remove_misses),
        ("remove_object_hits", transfer.removed_objects),
        ("remove_object_misses", transfer.remove_missed_objects),
        ("used", class.transfer_objects),
        ("capacity", transfer.capacity_objects),
        ("max_capacity", transfer.greatest_capacity_objects),
        ("frontend_allocations", details.popped_objects),
    ])
}

/// A `cpu_cache` for each CPU.
pub(super) fn cpus(
    fields: Fields,
    cpus: &CpuTable,
    details: &Details,
    message: &mut Message<'_>,
) -> Result {
    for (id, cpu) in cpus.iter() {
        message.message("cpu_cache", |cache| {
            cache.field("cpu", id)?;
            cache.field("used", cpu.held_bytes)?;
            cache.field("unused", cpu.unallocated_bytes)?;
            cache.field("active", cpu.active)?;
            cache.field("populated", cpu.populated)?;
            let misses = details.cpus().find(|(of, _)| *of == id).map(|(_, misses)| misses);
            match misses {
                Some(misses) if fields.are_todays() => cache.numbers([
                    ("underflows", misses.underflows),
                    ("overflows", misses.overflows),
                    ("reclaims", misses.drains),
                    ("size_class_resizes", misses.resizes),
                ]),
                _ => Ok(()),
            }
        })?;
    }
    let has_slabs = fields.are_todays() && cpus.iter().next().is_some();
    if has_slabs { slabs(cpus, details, message) } else { Ok(()) }
}

/// The lengths of the CPUs' regions, and what was ever used.
fn slabs(cpus: &CpuTable, details: &Details, message: &mut Message<'_>) -> Result {
    let greatest = details.cpus().map(|(_, misses)| misses.region_bytes).max().unwrap_or(0);
    let last = cpus.iter().filter(|(_, cpu)| cpu.populated).last();
    message.numbers([
        ("max_cpu_cache_touched", last.map_or(0, |(id, _)| id as u64 + 1)),
        ("dynamic_per_cpu_slab_size", greatest),
        ("dynamic_slab_madvise_failed_bytes", details.slab_refused_bytes),
    ])?;
    details.slabs.iter().try_for_each(|slab| {
        message.message("dynamic_slab", |message| {
            message.numbers([
                ("shift", slab.region_bytes.checked_ilog2().unwrap_or(0).into()),
                ("grow_count", slab.growths),
                ("shrink_count", slab.shrinkages),
            ])
        })
    })
}
