use super::{FillerHistory, FillerMoment, History};
use crate::test_ground::SECOND_NS;

const START_NS: u64 = 1_000_000 * SECOND_NS;

#[test]
fn of_several_peaks_the_last_is_told() {
    let moment = |used, regular| FillerMoment {
        used_pages: used,
        free_pages: 1000 - used,
        regular_hugepages: regular,
        ..Default::default()
    };
    let mut history = History::EMPTY;
    let reports = [(0, 600, 4), (60, 900, 4), (120, 900, 5), (180, 100, 7)];
    for (second, used, hugepages) in reports {
        history.report(START_NS + second * SECOND_NS, &moment(used, hugepages));
    }
    let mut summary = FillerHistory::default();
    history.fill_in(&mut summary, START_NS + 200 * SECOND_NS);
    assert_eq!(summary.at_peak_demand, moment(900, 5));
    assert_eq!(summary.at_peak_hugepages, moment(100, 7));
    assert_eq!((summary.least_free_pages, summary.least_free_backed_pages), (100, 100));
    let mut summary = FillerHistory::default();
    history.fill_in(&mut summary, START_NS + 450 * SECOND_NS);
    assert_eq!(summary.at_peak_demand, moment(100, 7), "five minutes are remembered");
}
