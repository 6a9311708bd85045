//! How much stack calls take, each case in a process of its own.

use strata_c_tests::{Allocator, Case, Failures, Linking, Program};

#[test]
fn calls_do_with_little_stack() {
    let mut failures = Failures::default();
    failures.run_all(&Program::compile("stacks.c", Linking::Preloaded));
    failures.conclude();
}

#[test]
fn calls_of_other_heaps_do_with_little_stack() {
    let program = Program::compile("stacks.c", Linking::Preloaded);
    let mut failures = Failures::default();
    for conf in ["front_end:per_thread", "page_heap:legacy", "hardened:true"] {
        for name in ["a_first_block", "blocks_of_classes", "large", "giving_memory_back"] {
            let case = Case::named(&program, name);
            failures.note(format_args!("{conf}, {name}"), case.run_configured(conf));
        }
    }
    failures.conclude();
}

#[test]
fn linked_statically_calls_do_with_little_stack() {
    let program = Program::compile("stacks.c", Linking::Static);
    let case = Case::named(&program, "the_least_stack_that_a_thread_can_have");
    let mut failures = Failures::default();
    failures.note(case.name(), case.run(Allocator::Strata));
    failures.conclude();
}
