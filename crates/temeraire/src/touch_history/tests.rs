use super::TouchHistory;
use strata_os::AddressRange;
use strata_span::HUGEPAGE_BYTES;

const RUN: AddressRange = AddressRange::new(64 * HUGEPAGE_BYTES, 4 * HUGEPAGE_BYTES);
const SAMPLE: AddressRange = AddressRange::new(65 * HUGEPAGE_BYTES, HUGEPAGE_BYTES);
const LONG: AddressRange = AddressRange::new(64 * HUGEPAGE_BYTES, 1 << 30);

/// Of a tail that is not there nobody asks.
const NO_TAIL: fn(AddressRange) -> bool = |tail| panic!("{tail:?} is looked at");

#[test]
fn one_span_in_eight_is_a_trial_while_spans_are_touched() {
    let history = TouchHistory::new();
    for _ in 0..5 {
        let mut parts = (0..8).filter_map(|_| history.next(RUN, RUN, NO_TAIL).on_small_pages);
        assert_eq!(parts.next(), Some(SAMPLE), "one hugepage of it");
        assert_eq!(parts.next(), None, "the others are on hugepages");
        history.note(HUGEPAGE_BYTES, HUGEPAGE_BYTES);
    }
}

#[test]
fn very_long_runs_are_no_trials_but_follow_what_was_found() {
    let history = TouchHistory::new();
    assert!((0..64).all(|_| history.next(LONG, LONG, NO_TAIL).on_small_pages.is_none()));
    history.note(4096, HUGEPAGE_BYTES);
    assert!((0..64).all(|_| history.next(LONG, LONG, NO_TAIL).on_small_pages == Some(LONG)));
}

#[test]
fn doubt_comes_with_one_untouched_span_and_goes_with_two_touched_in_a_row() {
    let history = TouchHistory::new();
    history.note(4096, HUGEPAGE_BYTES);
    history.note(4096, HUGEPAGE_BYTES);
    history.note(HUGEPAGE_BYTES, HUGEPAGE_BYTES);
    assert!(history.is_doubtful());
    history.note(4096, HUGEPAGE_BYTES);
    assert!(history.is_doubtful());
    history.note(HUGEPAGE_BYTES, HUGEPAGE_BYTES);
    history.note(HUGEPAGE_BYTES, HUGEPAGE_BYTES);
    assert!(!history.is_doubtful());
}

#[test]
fn a_trial_whose_span_lives_is_looked_at_when_the_next_begins() {
    let history = TouchHistory::new();
    let looks = |history: &TouchHistory| {
        (0..8).filter_map(|_| history.next(RUN, RUN, NO_TAIL).look_at).last()
    };
    assert_eq!(looks(&history), None);
    assert_eq!(looks(&history), Some(SAMPLE));
    assert_eq!(history.end(RUN), Some(SAMPLE));
    assert_eq!(looks(&history), None);
}

#[test]
fn a_tail_that_was_touched_is_as_good_as_a_trial() {
    let tail = |hugepage, bytes| AddressRange::new(hugepage * HUGEPAGE_BYTES, bytes);
    let long = HUGEPAGE_BYTES / 8;
    let history = TouchHistory::new();
    // Of eight spans with such tails.
    let trials = |bytes: usize, touched: bool| {
        let is_trial = |hugepage: &usize| {
            let look = |found| {
                assert!((1..=hugepage - 1).any(|before| found == tail(before, bytes)), "{found:?}");
                touched
            };
            let is_trial = history.next(RUN, RUN, look).on_small_pages.is_some();
            history.leave_tail(tail(*hugepage, bytes), look);
            is_trial
        };
        let trials = (2..10).filter(is_trial).count();
        history.exchange_tail(0);
        trials
    };
    history.leave_tail(tail(1, long), NO_TAIL);
    assert_eq!(trials(long, true), 0);
    assert_eq!(trials(long, false), 0, "one of those before");
    assert_eq!(trials(long, false), 1, "a tail that was not touched says nothing");
    assert_eq!(trials(long, true), 0, "the one before it");
    assert_eq!(trials(long - 4096, true), 0);
    assert_eq!(trials(long - 4096, true), 1, "one that is too short is not looked at");
    assert_eq!(trials(long, true), 0);
    for touched in [HUGEPAGE_BYTES, 4096, HUGEPAGE_BYTES] {
        history.note(touched, HUGEPAGE_BYTES);
    }
    assert!(!history.is_doubtful());
    assert_eq!(trials(long, true), 1, "there is some doubt");
}

#[test]
fn the_sample_is_a_whole_hugepage_of_the_span_and_not_its_first_if_it_has_another() {
    let at = 64 * HUGEPAGE_BYTES;
    let sample = |start, bytes| TouchHistory::sample(AddressRange::new(start, bytes));
    assert_eq!(sample(at, HUGEPAGE_BYTES), Some(AddressRange::new(at, HUGEPAGE_BYTES)));
    assert_eq!(
        sample(at, 2 * HUGEPAGE_BYTES + 5),
        Some(AddressRange::new(at + HUGEPAGE_BYTES, HUGEPAGE_BYTES))
    );
    for grown in 2..6 {
        let found = sample(at, grown * HUGEPAGE_BYTES + 5);
        assert_eq!(found, Some(AddressRange::new(at + HUGEPAGE_BYTES, HUGEPAGE_BYTES)), "{grown}");
    }
    assert_eq!(sample(at + 8192, HUGEPAGE_BYTES), None);
    assert_eq!(sample(usize::MAX - 8192, 8192), None);
}
