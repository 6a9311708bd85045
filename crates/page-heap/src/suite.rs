//! A conformance suite over any [`PageHeap`]: what the trait promises, tried out.
//!
//! Each function builds a heap of its own from `H::EMPTY` over simulated pages and a clock that the
//! suite moves, runs a program against it, and compares with a model after every step; [`run`]
//! calls them all. They need the feature `suite` and panic where a promise is broken, so they
//! belong in a `#[test]`:
//!
//! ```
//! use strata_page_heap::{LegacyPageHeap, suite};
//! use strata_size_classes::Pages256K;
//!
//! type Heap = LegacyPageHeap<Pages256K>;
//! suite::a_random_program_agrees_with_a_model::<Pages256K, Heap>(suite::Seed::new(7), 200);
//! ```
//!
//! Random programs print their seed; `STRATA_SEED=n` runs that program again.

mod failing;
mod limits;
mod model;
mod others;
mod parts;
mod program;
mod range_set;
mod reentry;
mod test_ground;
mod threads;
mod witness;

pub use failing::{
    a_source_may_fail_at_any_call, a_source_may_fail_from_any_call_on,
    a_source_that_never_takes_memory_back_loses_nothing, metadata_may_fail_at_any_call,
};
pub use limits::{
    a_hard_limit_is_kept, a_soft_limit_gives_back_and_fails_nothing,
    limits_below_what_is_live_lose_nothing,
};
pub use others::what_others_have_in_hand_is_waited_for;
pub use program::{
    a_clock_may_jump, a_random_program_agrees_with_a_model, a_terabyte_costs_nothing,
    aligned_spans_are_aligned_and_fit_in_again, demand_may_ebb_and_flow,
    everything_freed_can_be_released, impossible_requests_are_refused,
    neighbours_of_another_heap_are_left_alone, spans_of_a_third_of_a_hugepage_come_and_go,
    spans_that_grow_take_nothing_from_others,
};
pub use reentry::programs_may_run_while_memory_is_given_back;
pub use strata_os::Seed;
pub use threads::{figures_need_little_stack, threads_share_a_heap};

use crate::PageHeap;
use strata_span::PageSize;

/// Runs the whole suite over `H`. Takes a second or so.
///
/// It also fails if one of the heap's parts ([`PageHeap::for_each_part`]) was reached by none of its programs.
pub fn run<P: PageSize, H: PageHeap<P> + 'static>() {
    let seed = Seed::from_environment();
    parts::forget();
    for round in 0..4 {
        a_random_program_agrees_with_a_model::<P, H>(seed.derived(round), 1_500);
    }
    a_clock_may_jump::<P, H>(seed);
    aligned_spans_are_aligned_and_fit_in_again::<P, H>();
    everything_freed_can_be_released::<P, H>(seed);
    spans_that_grow_take_nothing_from_others::<P, H>(seed);
    spans_of_a_third_of_a_hugepage_come_and_go::<P, H>(seed);
    impossible_requests_are_refused::<P, H>();
    a_terabyte_costs_nothing::<P, H>();
    neighbours_of_another_heap_are_left_alone::<P, H>(seed);
    a_source_may_fail_at_any_call::<P, H>(seed);
    a_source_may_fail_from_any_call_on::<P, H>(seed);
    a_source_that_never_takes_memory_back_loses_nothing::<P, H>(seed);
    metadata_may_fail_at_any_call::<P, H>(seed);
    a_hard_limit_is_kept::<P, H>(seed);
    a_soft_limit_gives_back_and_fails_nothing::<P, H>(seed);
    limits_below_what_is_live_lose_nothing::<P, H>(seed);
    threads_share_a_heap::<P, H>(seed, 4, 1_000);
    figures_need_little_stack::<P, H>(seed);
    demand_may_ebb_and_flow::<P, H>(seed);
    programs_may_run_while_memory_is_given_back::<P, H>(seed, 3_000);
    what_others_have_in_hand_is_waited_for::<P, H>();
    parts::demand_all();
}
