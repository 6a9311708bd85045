//! What stops a program, and the line that it leaves.

#![cfg(not(strata_loom))]

use strata_os::in_own_process;
use strata_size_classes::{PageSize, Pages8K, SizeClass};
use strata_thread_cache::{ThreadCache, ThreadCaches};

/// Runs the test `name` again in a process of its own, where `misuse` says which line is to come and
/// then provokes it.
fn ends_with_its_line(
    name: &str,
    misuse: impl FnOnce(&ThreadCache<Pages8K>, SizeClass, &dyn Fn(String)),
) {
    strata_os::ends_with_its_line(name, |expect| {
        let (caches, cache) = (ThreadCaches::new(), ThreadCache::new());
        // SAFETY: the cache stays here until the process ends.
        unsafe { caches.enter(&cache) };
        misuse(&cache, Pages8K::TABLE.entry(48).expect("a class").class(), expect);
    });
}

fn push(cache: &ThreadCache<Pages8K>, class: SizeClass, object: &mut [u64; 6]) {
    // SAFETY: this thread owns the cache; that the object may be on it is what a test is about.
    let _ = unsafe { cache.push(class, 48, core::ptr::from_mut(object).cast()) };
}

#[test]
fn a_double_free_at_once_is_seen_at_once() {
    ends_with_its_line("a_double_free_at_once_is_seen_at_once", |cache, class, expect| {
        let mut object = [0_u64; 6];
        expect(format!(
            "double free: free({:#x}), class {}, thread {thread}; last: freed by thread {thread}",
            core::ptr::from_ref(&object).addr(),
            class.index(),
            thread = strata_os::thread_id()
        ));
        push(cache, class, &mut object);
        push(cache, class, &mut object);
    });
}

#[test]
fn an_address_written_into_a_freed_object_is_never_handed_out() {
    ends_with_its_line(
        "an_address_written_into_a_freed_object_is_never_handed_out",
        |cache, class, expect| {
            let (mut object, planted) = ([0_u64; 6], [0_u64; 6]);
            expect(format!(
                "write after free: malloc({:#x}), class {}, thread {thread}; last: freed by thread {thread}",
                core::ptr::from_ref(&object).addr(),
                class.index(),
                thread = strata_os::thread_id()
            ));
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
    let output = in_own_process("what_is_lost_to_a_write_is_held_no_more", || {
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
    });
    let is_well = |output: &std::process::Output| output.status.success();
    assert!(output.as_ref().is_none_or(is_well), "{output:?}");
}
