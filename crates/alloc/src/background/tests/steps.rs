//! Who keeps steps away, and forks.

use super::{CLOCKS, SECOND_NS, allocate_and_free, emptied, heap};
use core::sync::atomic::Ordering;
use strata_os::Clock;

#[test]
fn steps_of_two_threads_do_not_meet() {
    let heap = emptied::<9>("release_delay:1s");
    let core = heap.core().unwrap();
    let hold = core.hold_background();
    let steps = core.background_figures().steps;
    CLOCKS[9].advance(10 * SECOND_NS);
    std::thread::scope(|scope| {
        scope.spawn(|| core.background_step(CLOCKS[9].now_ns()));
    });
    assert_eq!(core.background_figures().steps, steps);
    drop(hold);
    core.background_step(CLOCKS[9].now_ns());
    assert_eq!(core.background_figures().steps, steps + 1);
}

#[test]
fn several_who_read_figures_keep_steps_away_until_the_last_is_done_and_hold_no_lock() {
    let heap = emptied::<16>("release_delay:1s");
    let core = heap.core().unwrap();
    let (first, second) = (core.hold_background(), core.hold_background());
    assert!(core.background.schedule.try_lock().is_some(), "a fork need not wait for them");
    CLOCKS[16].advance(10 * SECOND_NS);
    let now_ns = CLOCKS[16].now_ns();
    let steps = core.background_figures().steps;
    assert!(core.background_step(now_ns) < now_ns + SECOND_NS, "it is tried again soon");
    drop(first);
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps);
    drop(second);
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps + 1);
}

#[test]
fn the_child_of_a_fork_does_not_wait_for_readers_that_are_not_there() {
    let heap = emptied::<17>("release_delay:1s");
    let core = heap.core().unwrap();
    let hold = core.hold_background();
    core.background.forget_others();
    CLOCKS[17].advance(10 * SECOND_NS);
    let steps = core.background_figures().steps;
    core.background_step(CLOCKS[17].now_ns());
    assert_eq!(core.background_figures().steps, steps + 1);
    // One that came along into the child in the middle of it.
    drop(hold);
    // As a thread that found nothing and is not there.
    std::thread::scope(|scope| {
        scope.spawn(|| core::mem::forget(core.background.turns.take(0)));
    });
    assert!(core.background.turns.take(0).is_none());
    core.background.forget_others();
    assert!(core.background.turns.take(0).is_some());
    core.background_step(CLOCKS[17].now_ns());
    assert_eq!(core.background_figures().steps, steps + 2);
}

#[test]
fn the_child_of_a_fork_knows_whether_its_steps_are_held_by_nobody() {
    let heap = heap::<15>("");
    allocate_and_free(&heap, 1, 100);
    let background = &heap.core().unwrap().background;
    background.note_if_lost();
    assert!(!background.is_lost.load(Ordering::Relaxed));
    // As a thread that is not there in the child.
    background.schedule.acquire();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            background.note_if_lost();
            assert!(background.is_lost.load(Ordering::Relaxed));
            background.acquire();
            // SAFETY: this thread acquired it.
            unsafe { background.release() };
        });
    });
    assert!(background.schedule.try_lock().is_none(), "what was not had is not let go");
    // SAFETY: this thread has it.
    unsafe { background.schedule.release() };
}

#[test]
fn a_fork_and_an_option_that_changes_do_not_wait_for_who_found_nothing() {
    let heap = emptied::<18>("release_delay:1s,background_thread:false");
    let core = heap.core().unwrap();
    let background = &core.background;
    let turn = core.take_turn();
    assert!(background.schedule.try_lock().is_some(), "a fork takes it at once");
    CLOCKS[18].advance(10 * SECOND_NS);
    let now_ns = CLOCKS[18].now_ns();
    let steps = core.background_figures().steps;
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps, "the background stands still");
    drop(turn);
    for _ in 0..1000 {
        core.background_step(CLOCKS[18].now_ns());
        CLOCKS[18].advance(SECOND_NS);
    }
    assert!(background.at_rest.load(Ordering::Relaxed), "nothing is left to do");
    let turn = core.take_turn();
    core.wake_background();
    assert!(!background.at_rest.load(Ordering::Relaxed), "it looks again at what there is to do");
    drop(turn);
}
