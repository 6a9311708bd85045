use super::Once;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, Ordering};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::thread;

#[test]
fn it_runs_once_and_all_see_what_it_wrote() {
    let (once, runs, start) = (Once::new(), AtomicU32::new(0), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                once.call_once(|| {
                    thread::yield_now();
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(runs.load(Ordering::Relaxed), 1);
            });
        }
    });
    assert!(once.is_done());
}

#[test]
fn it_is_running_here_for_its_runner_alone() {
    let once = Once::new();
    assert!(!once.is_running_here());
    once.call_once(|| {
        assert!(once.is_running_here());
        thread::scope(|scope| {
            scope.spawn(|| assert!(!once.is_running_here())).join().unwrap();
        });
    });
    assert!(!once.is_running_here());
}

#[test]
fn one_that_unwinds_may_be_begun_again() {
    let once = Once::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        once.call_once(|| resume_unwind(std::boxed::Box::new("on purpose")));
    }));
    assert!(outcome.is_err());
    assert!(!once.is_done() && !once.is_running_here());
    let mut ran = false;
    once.call_once(|| ran = true);
    assert!(ran);
}

#[test]
fn one_that_unwinds_wakes_who_waits_to_run_it() {
    let (once, runs) = (Once::new(), AtomicU32::new(0));
    thread::scope(|scope| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            once.call_once(|| {
                scope.spawn(|| once.call_once(|| _ = runs.fetch_add(1, Ordering::Relaxed)));
                while once.state.load(Ordering::Relaxed) != super::AWAITED {
                    thread::yield_now();
                }
                resume_unwind(std::boxed::Box::new("on purpose"));
            });
        }));
        assert!(outcome.is_err());
    });
    assert!(once.is_done());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn one_whose_runner_vanished_may_be_begun_again_after_reset() {
    let once = Once::new();
    once.state.store(super::RUNNING, Ordering::Relaxed);
    once.runner.store(1, Ordering::Relaxed);
    // SAFETY: nobody runs it; the state is that of a runner that did not come along.
    unsafe { once.reset_after_fork() };
    let mut ran = false;
    once.call_once(|| ran = true);
    assert!(ran);
    // SAFETY: nobody runs it; the state is that of a runner that did not come along.
    unsafe { once.reset_after_fork() };
    assert!(once.is_done(), "what is done stays done");
}
