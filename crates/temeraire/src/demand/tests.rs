use super::{Demand, SkipIntervals, SkipJudgement};
use crate::test_ground::SECOND_NS;

const MINUTE_NS: u64 = 60 * SECOND_NS;
const START_NS: u64 = 1_000_000 * SECOND_NS;

const fn intervals(short: u64, long: u64) -> SkipIntervals {
    SkipIntervals { short_ns: short * MINUTE_NS, long_ns: long * MINUTE_NS }
}

/// Peaks of 3000, 1500, 100 and 300 with floors of 1500, 500, 50 and 100 at 0, 1.5, 2.5 and 3.5
/// minutes.
fn falling_demand() -> (Demand, u64) {
    let mut demand = Demand::EMPTY;
    let halves = [(0, 3000, 1500), (3, 1500, 500), (5, 100, 50), (7, 300, 100)];
    for (half_minutes, peak, floor) in halves {
        demand.report(START_NS + half_minutes * MINUTE_NS / 2, peak);
        demand.report(START_NS + half_minutes * MINUTE_NS / 2, floor);
    }
    (demand, START_NS + 7 * MINUTE_NS / 2)
}

#[test]
fn expected_demand_is_the_greatest_fluctuation_on_top_of_the_greatest_floor() {
    let (demand, now_ns) = falling_demand();
    assert_eq!(demand.expected(now_ns, intervals(2, 3)), 700, "200 on top of 500");
    assert_eq!(demand.expected(now_ns, intervals(5, 5)), 3000, "1500 on top of 1500");
    assert_eq!(demand.expected(now_ns, SkipIntervals::NONE), 0);
    assert_eq!(demand.expected(now_ns, intervals(5, 0)), 3000, "the long one is no shorter");
    assert_eq!(demand.expected(now_ns, intervals(0, 5)), 1500, "only the floor");
}

#[test]
fn expected_demand_is_no_more_than_the_peak_of_ten_minutes() {
    let (mut demand, now_ns) = falling_demand();
    let later_ns = now_ns + 11 * MINUTE_NS;
    demand.report(later_ns, 10);
    demand.report(later_ns, 4);
    assert_eq!(demand.expected(later_ns, intervals(10, 10)), 10);
}

#[test]
fn decisions_to_keep_memory_are_judged_by_what_came() {
    let mut demand = Demand::EMPTY;
    demand.report(START_NS, 100);
    demand.note_skip(START_NS, 50, 200);
    demand.note_skip(START_NS + SECOND_NS, 70, 300);
    demand.report(START_NS + 10 * SECOND_NS, 199);
    let pending = SkipJudgement {
        skipped_pages: 120,
        pending_pages: 120,
        skipped_decisions: 2,
        pending_decisions: 2,
        ..Default::default()
    };
    assert_eq!(demand.judgement(START_NS + 10 * SECOND_NS), pending);
    demand.report(START_NS + 20 * SECOND_NS, 250);
    let judgement = demand.judgement(START_NS + 20 * SECOND_NS);
    assert_eq!((judgement.correct_pages, judgement.pending_pages), (50, 70));
    assert_eq!((judgement.correct_decisions, judgement.pending_decisions), (1, 1));
    let judgement = demand.judgement(START_NS + 6 * MINUTE_NS);
    assert_eq!((judgement.correct_pages, judgement.incorrect_pages), (50, 70));
    assert_eq!((judgement.correct_decisions, judgement.incorrect_decisions), (1, 1));
    assert_eq!((judgement.pending_pages, judgement.pending_decisions), (0, 0));
}

#[test]
fn a_clock_that_jumps_back_leaves_no_decision_pending() {
    let mut demand = Demand::EMPTY;
    demand.note_skip(START_NS, 50, 200);
    demand.report(1, 1000);
    let judgement = demand.judgement(1);
    assert_eq!((judgement.pending_pages, judgement.incorrect_pages), (0, 50));
}
