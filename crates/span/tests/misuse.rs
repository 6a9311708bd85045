//! What stops a heap that gives a structure of its own back twice.

#![cfg(not(strata_loom))]

use strata_os::{SystemPages, ends_with_its_line};
use strata_span::{MetadataArena, SpanPool};

#[test]
fn a_structure_that_is_given_back_twice_in_a_row_ends_the_process() {
    let name = "a_structure_that_is_given_back_twice_in_a_row_ends_the_process";
    ends_with_its_line(name, |expect| {
        let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), SpanPool::new());
        let span = pool.allocate_span(&arena, &source).expect("memory");
        expect(format!("structure {:#x} of the heap given back twice", span.as_ptr().addr()));
        for _ in 0..2 {
            // SAFETY: it came from the pool; that it is given back twice is what the test is about.
            unsafe { pool.deallocate_span(span) };
        }
    });
}
