//! The heap suites over page size × page heap × front end.
//!
//! `cargo xtask matrix` runs each cell in a process of its own, named by `STRATA_MATRIX_CELL`
//! (`8k/temeraire/per_cpu`); without it every test runs over all twenty-four cells, one after the other.
//! `STRATA_MATRIX_STEPS` sets the length of the random programs, `STRATA_SEED` their seed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

#[path = "matrix/cells.rs"]
mod cells;
#[path = "matrix/ledger.rs"]
mod ledger;
#[path = "matrix/shadow.rs"]
mod shadow;
#[path = "matrix/suites.rs"]
mod suites;

use cells::for_each_cell;

#[test]
fn random_programs_keep_to_the_shadow_and_the_ledger_adds_up() {
    for_each_cell!(suites::random_programs);
}

#[test]
fn blocks_that_cross_threads_come_back_and_the_ledger_adds_up() {
    for_each_cell!(suites::crossing_threads);
}

#[test]
fn threads_that_come_and_go_leave_nothing_behind() {
    for_each_cell!(suites::short_threads);
}

#[test]
fn zeroed_blocks_are_zero_whatever_was_there_before() {
    for_each_cell!(suites::zeroed_after_dirty);
}

#[test]
fn every_size_and_alignment_is_served_and_sized_alike() {
    for_each_cell!(suites::sizes_and_alignments);
}

#[test]
fn impossible_requests_are_null_and_change_nothing() {
    for_each_cell!(suites::impossible_requests);
}
