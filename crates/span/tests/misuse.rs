//! What stops a heap that gives a structure of its own back twice.

#![cfg(not(strata_loom))]

use std::{os::unix::process::ExitStatusExt, process::Command};
use strata_os::SystemPages;
use strata_span::{MetadataArena, SpanPool};

const VARIABLE: &str = "STRATA_SPAN_TEST_CHILD";

#[test]
fn a_structure_that_is_given_back_twice_in_a_row_ends_the_process() {
    if std::env::var_os(VARIABLE).is_some() {
        let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), SpanPool::new());
        let span = pool.allocate_span(&arena, &source).expect("memory");
        println!("at {:#x}.", span.as_ptr().addr());
        for _ in 0..2 {
            // SAFETY: it came from the pool; that it is given back twice is what the test is about.
            unsafe { pool.deallocate_span(span) };
        }
        return;
    }
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["a_structure_that_is_given_back_twice_in_a_row_ends_the_process", "--exact"])
        .args(["--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .expect("a child");
    assert_eq!(child.status.signal(), Some(libc::SIGABRT));
    let output = String::from_utf8(child.stdout).expect("text");
    let (_, rest) = output.split_once("at ").expect("the child said where");
    let (place, _) = rest.split_once('.').expect("an address");
    let line = format!("strata: structure {place} of the heap given back twice\n");
    assert_eq!(String::from_utf8(child.stderr).expect("text"), line);
}
