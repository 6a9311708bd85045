//! Guarded sampling.

use super::{Form, form};

pub(super) const FORMS: &[Form] = &[
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
];
