use super::{Extremes, TimeSeries};

type Series = TimeSeries<Extremes, 10, 100>;

fn seen(series: &Series, now: u64) -> (Option<usize>, Option<usize>) {
    (series.least(now), series.greatest(now))
}

#[test]
fn extremes_are_those_of_the_epochs_that_are_remembered() {
    let mut series = Series::EMPTY;
    assert_eq!(seen(&series, 5_000), (None, None));
    series.report(5_000, 7);
    series.report(5_050, 3);
    series.report(5_100, 9);
    assert_eq!(seen(&series, 5_100), (Some(3), Some(9)));
    // Ten epochs later the first has gone, and epochs without a report count as nothing.
    series.report(6_000, 8);
    assert_eq!(seen(&series, 6_000), (Some(8), Some(9)));
    assert_eq!(seen(&series, 6_100), (Some(8), Some(8)), "asking alone lets time pass");
    assert_eq!(seen(&series, 9_000), (None, None));
}

#[test]
fn a_span_reaches_back_as_far_as_it_says() {
    let mut series = Series::EMPTY;
    for (now, value) in [(1_000, 1), (1_100, 2), (1_200, 4), (1_300, 8)] {
        series.report(now, value);
    }
    let sum = |span| series.recent(1_350, span).filter_map(Extremes::greatest).sum::<usize>();
    assert_eq!([0, 100, 101, 300, 400, u64::MAX].map(sum), [8, 8, 12, 14, 15, 15]);
}

#[test]
fn a_clock_that_jumps_starts_the_series_anew() {
    let mut series = Series::EMPTY;
    series.report(50_000, 5);
    series.report(200, 1);
    assert_eq!(seen(&series, 200), (Some(1), Some(1)), "the future was forgotten");
    series.report(u64::MAX, 2);
    assert_eq!(seen(&series, u64::MAX), (Some(2), Some(2)));
    assert_eq!(seen(&series, 100), (None, None), "nothing is told of what lies ahead");
}

#[test]
fn zero_is_a_value() {
    let mut series = Series::EMPTY;
    series.report(100, 0);
    assert_eq!(seen(&series, 100), (Some(0), Some(0)));
}
