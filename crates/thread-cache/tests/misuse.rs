//! What stops a program, and the line that it leaves.

#![cfg(not(strata_loom))]

use std::{os::unix::process::ExitStatusExt, process::Command};
use strata_size_classes::{PageSize, Pages8K, SizeClass};
use strata_thread_cache::{ThreadCache, ThreadCaches};

const VARIABLE: &str = "STRATA_THREAD_CACHE_TEST_CHILD";
const BEGIN: &str = "expected: ";

/// Runs the test `name` again in a process of its own, where `misuse` says which line is to come and
/// then provokes it.
fn ends_with_its_line(name: &str, misuse: impl FnOnce(&ThreadCache<Pages8K>, SizeClass)) {
    if std::env::var_os(VARIABLE).is_some() {
        let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
        // SAFETY: the cache stays here until the process ends.
        unsafe { caches.enter(&cache) };
        misuse(&cache, Pages8K::TABLE.entry(48).expect("a class").class());
        return;
    }
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .expect("a child");
    assert_eq!(child.status.signal(), Some(libc::SIGABRT));
    let output = String::from_utf8(child.stdout).expect("text");
    let (_, expected) = output.split_once(BEGIN).expect("the child said what it would do");
    assert_eq!(String::from_utf8(child.stderr).expect("text"), format!("strata: {expected}"));
}

fn push(cache: &ThreadCache<Pages8K>, class: SizeClass, object: &mut [u64; 6]) {
    // SAFETY: this thread owns the cache; that the object may be on it is what a test is about.
    let _ = unsafe { cache.push(class, 48, core::ptr::from_mut(object).cast()) };
}

#[test]
fn a_double_free_at_once_is_seen_at_once() {
    ends_with_its_line("a_double_free_at_once_is_seen_at_once", |cache, class| {
        let mut object = [0_u64; 6];
        println!(
            "{BEGIN}double free: free({:#x}), class {}, thread {thread}; last: freed by thread {thread}",
            core::ptr::from_ref(&object).addr(),
            class.index(),
            thread = strata_os::thread_id()
        );
        push(cache, class, &mut object);
        push(cache, class, &mut object);
    });
}

#[test]
fn an_address_written_into_a_freed_object_is_never_handed_out() {
    ends_with_its_line(
        "an_address_written_into_a_freed_object_is_never_handed_out",
        |cache, class| {
            let (mut object, planted) = ([0_u64; 6], [0_u64; 6]);
            let line = format!(
                "write after free: malloc({:#x}), class {}, thread {thread}; last: freed by thread {thread}",
                core::ptr::from_ref(&object).addr(),
                class.index(),
                thread = strata_os::thread_id()
            );
            println!("{BEGIN}{line}");
            push(cache, class, &mut object);
            let first = core::ptr::from_mut(&mut object).cast::<u64>();
            // SAFETY: the memory is a local; that it counts as freed is what the test is about.
            unsafe { first.write(core::ptr::from_ref(&planted).addr() as u64) };
            // SAFETY: this thread owns the cache.
            let _ = unsafe { cache.pop(class, Pages8K::TABLE.size(class)) };
        },
    );
}

/// In a process of its own, since it is the whole process that goes on.
#[test]
fn what_is_lost_to_a_write_is_held_no_more() {
    const NAME: &str = "what_is_lost_to_a_write_is_held_no_more";
    if std::env::var_os(VARIABLE).is_none() {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args([NAME, "--exact"])
            .env(VARIABLE, "1")
            .output()
            .expect("a child");
        assert!(child.status.success(), "{child:?}");
        return;
    }
    strata_os::set_on_misuse(strata_os::OnMisuse::Report);
    let (caches, cache) = (ThreadCaches::new(), ThreadCache::<Pages8K>::new());
    // SAFETY: the cache stays here until the process ends.
    unsafe { caches.enter(&cache) };
    let class = Pages8K::TABLE.entry(48).expect("a class").class();
    let mut objects = [[0_u64; 6]; 3];
    for object in &mut objects {
        push(&cache, class, object);
    }
    assert_eq!(cache.held_bytes(), 3 * 48);
    objects[2][0] = 1;
    core::hint::black_box(&mut objects);
    // SAFETY: this thread owns the cache.
    assert!(unsafe { cache.pop(class, 48) }.is_null());
    assert_eq!((cache.length(class), cache.held_bytes()), (0, 0));
    assert_eq!(strata_os::misuses_reported(), 1);
}
