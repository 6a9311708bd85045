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

#[test]
fn a_series_begins_at_its_end_and_goes_on_all_around() {
    for start in [0, 100, 950, 1_234, 98_700] {
        let mut series = Series::EMPTY;
        let mut reported = std::vec::Vec::new();
        for step in 0..35 {
            // Some epochs pass without a report.
            let now = start + step * step % 7 * 10 + step * 110;
            series.report(now, step as usize);
            reported.push((now / 100, step as usize));
            if step == 0 {
                assert_eq!(series.epochs[9].greatest(), Some(0), "{start}");
            }
            let end = now / 100;
            let mut expected: std::vec::Vec<(u64, usize)> =
                reported.iter().copied().filter(|(epoch, _)| epoch + 10 > end).collect();
            // The last of an epoch is its greatest.
            expected.reverse();
            expected.dedup_by_key(|(epoch, _)| *epoch);
            let told: std::vec::Vec<(u64, usize)> = series
                .numbered(now, u64::MAX)
                .filter_map(|(number, epoch)| Some((number - 1, epoch.greatest()?)))
                .collect();
            assert_eq!(told, expected, "from {start} at {now}");
        }
    }
}
