use super::ReturnHistory;
use crate::test_ground::SECOND_NS;

const START_NS: u64 = 1_000_000 * SECOND_NS;

/// Knows that idleness has its way after a second, and that nothing came back.
fn after_idleness() -> ReturnHistory {
    let mut history = ReturnHistory::NONE;
    for fall in 0..8 {
        let began_ns = START_NS - (100 - 10 * fall) * SECOND_NS;
        history.watch(began_ns, 200, 1000);
        history.note_idle(began_ns + SECOND_NS);
    }
    history
}

/// A fall from 1 000 pages to 200, after which demand rises to `pages` within `after_ns`.
fn fall(history: &mut ReturnHistory, began_ns: u64, after_ns: u64, pages: u64) {
    history.watch(began_ns, 200, 1000);
    history.note_demand(began_ns + after_ns, pages);
    history.settle(began_ns + 2 * SECOND_NS);
}

#[test]
fn all_is_kept_until_something_is_known() {
    assert_eq!(ReturnHistory::NONE.likely(200, 1000), 1000);
    assert_eq!(ReturnHistory::NONE.likely(1000, 200), 200, "more than was expected");
}

#[test]
fn what_goes_as_idle_is_kept_no_more() {
    let mut history = ReturnHistory::NONE;
    let kept: [usize; 4] = core::array::from_fn(|fall| {
        let began_ns = START_NS + 10 * fall as u64 * SECOND_NS;
        history.watch(began_ns, 200, 1000);
        history.note_idle(began_ns + SECOND_NS);
        history.likely(200, 1000) - 200
    });
    assert_eq!(kept, [400, 200, 100, 50]);
    assert!(after_idleness().likely(200, 1000) <= 213);
}

#[test]
fn what_comes_back_before_it_would_go_as_idle_is_kept_again() {
    let mut history = after_idleness();
    for round in 0..8 {
        fall(&mut history, START_NS + 10 * round * SECOND_NS, SECOND_NS / 2, 1000);
    }
    assert_eq!(history.likely(200, 1000), 1000);
    for round in 8..16 {
        fall(&mut history, START_NS + 10 * round * SECOND_NS, SECOND_NS / 2, 601);
    }
    let kept = history.likely(200, 1000);
    assert!((600..=620).contains(&kept), "half of each fall came back: {kept}");
}

#[test]
fn what_comes_back_later_does_not_count() {
    let mut history = after_idleness();
    for round in 0..8 {
        fall(&mut history, START_NS + 10 * round * SECOND_NS, 3 * SECOND_NS / 2, 1000);
    }
    assert!(history.likely(200, 1000) <= 213);
}

#[test]
fn where_nothing_goes_as_idle_falls_have_five_minutes_to_come_back() {
    let mut history = ReturnHistory::NONE;
    for hour in 0..8 {
        let began_ns = START_NS + hour * 3600 * SECOND_NS;
        history.watch(began_ns, 200, 1000);
        history.settle(began_ns + 200 * SECOND_NS);
        history.note_demand(began_ns + 299 * SECOND_NS, 1000);
        history.settle(began_ns + 299 * SECOND_NS);
    }
    assert_eq!(history.likely(200, 1000), 1000);
    history.watch(START_NS, 200, 1000);
    history.settle(START_NS + 301 * SECOND_NS);
    assert_eq!(history.likely(200, 1000), 600, "none came");
}

#[test]
fn what_was_idle_before_a_fall_says_nothing_of_it() {
    let mut history = ReturnHistory::NONE;
    history.note_idle(START_NS);
    history.watch(START_NS, 200, 1000);
    history.note_idle(START_NS + SECOND_NS / 10);
    assert_eq!(history.likely(200, 1000), 1000);
    assert!(history.next_step().is_some(), "it is watched on");
}

#[test]
fn a_fall_of_a_few_pages_or_of_a_future_is_no_fall() {
    let mut history = ReturnHistory::NONE;
    history.watch(START_NS, 995, 1000);
    assert_eq!(history.next_step(), None);
    history.watch(START_NS, 200, 1000);
    assert_eq!(history.next_step(), Some(300));
    history.settle(1);
    assert_eq!(history.next_step(), None, "the clock jumped back");
}
