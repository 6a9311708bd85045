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
    // Without a thread of the heap's own what falls due is done by who misses.
    let confs = [
        "front_end:per_thread",
        "page_heap:legacy",
        "hardened:true",
        "background_thread:false",
        "background_thread:false,front_end:per_thread",
        "background_thread:false,hardened:true",
        "background_thread:false,memory_limit:100m",
        "system_calls:memory",
    ];
    let names = [
        "a_first_block",
        "blocks_of_classes",
        "large",
        "background_work",
        "many_blocks_of_one_class",
        "until_there_is_no_memory",
        "giving_memory_back",
    ];
    for conf in confs {
        for name in names {
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
