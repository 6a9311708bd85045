use super::{Clock, ManualClock, MonotonicClock, coarse_now_ns};
use crate::{errno, set_errno};

#[test]
fn the_monotonic_clock_never_runs_backwards() {
    let mut last = MonotonicClock.now_ns();
    for _ in 0..10_000 {
        let now = MonotonicClock.now_ns();
        assert!(now >= last);
        last = now;
    }
    assert!(last > 0);
}

#[test]
fn reading_the_clock_keeps_errno() {
    set_errno(77);
    MonotonicClock.now_ns();
    assert_eq!(errno(), 77);
}

#[test]
fn a_manual_clock_shows_what_it_was_told() {
    let clock = ManualClock::new(5);
    assert_eq!(clock.now_ns(), 5);
    clock.advance(10);
    assert_eq!(clock.now_ns(), 15);
    clock.set(3);
    assert_eq!(clock.now_ns(), 3);
    let through_a_reference: &dyn Clock = &&clock;
    assert_eq!(through_a_reference.now_ns(), 3);
}

#[test]
fn the_coarse_clock_is_behind_the_other_by_a_tick_at_most() {
    let before = coarse_now_ns();
    let now = MonotonicClock.now_ns();
    assert!(before <= now);
    // And it moves: what it showed is reached again.
    while coarse_now_ns() < now {
        core::hint::spin_loop();
    }
}
