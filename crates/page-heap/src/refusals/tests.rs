use super::Refusals;
use core::cell::Cell;
use strata_os::ManualClock;

const MILLISECOND_NS: u64 = 1_000_000;

#[test]
fn a_kernel_that_always_refuses_is_asked_once_a_second() {
    let (clock, refusals, calls) = (ManualClock::new(7), Refusals::new(), Cell::new(0u32));
    for _ in 0..10_000 {
        refusals.ask(&clock, || {
            calls.set(calls.get() + 1);
            false
        });
        clock.advance(MILLISECOND_NS);
    }
    // Ten seconds: the first few, those of pauses of up to 512 ms, and one each second.
    assert!((20..=30).contains(&calls.get()), "{calls:?}");
    assert_eq!(refusals.withheld() + u64::from(calls.get()), 10_000);
}

#[test]
fn a_refusal_now_and_then_holds_nothing_back() {
    let (clock, refusals) = (ManualClock::new(7), Refusals::new());
    for round in 0..1_000 {
        let is_locked = round % Refusals::IN_A_ROW != 0;
        assert_eq!(refusals.ask(&clock, || !is_locked), Some(!is_locked));
    }
    assert_eq!(refusals.withheld(), 0);
}

#[test]
fn a_kernel_that_does_it_again_is_asked_each_time() {
    let (clock, refusals) = (ManualClock::new(7), Refusals::new());
    for _ in 0..1_000 {
        refusals.ask(&clock, || false);
        clock.advance(MILLISECOND_NS);
    }
    assert_eq!(refusals.ask(&clock, || true), None);
    clock.advance(1_000 * MILLISECOND_NS);
    assert_eq!(refusals.ask(&clock, || true), Some(true));
    assert_eq!(refusals.ask(&clock, || false), Some(false));
    assert_eq!(refusals.ask(&clock, || true), Some(true), "one refusal is one");
}

#[test]
fn a_clock_that_jumps_back_does_not_hold_back_for_long() {
    let (clock, refusals) = (ManualClock::new(1 << 60), Refusals::new());
    for _ in 0..100 {
        refusals.ask(&clock, || false);
    }
    clock.set(7);
    assert_eq!(refusals.ask(&clock, || true), Some(true));
}
