use core::time::Duration;

use super::{Length, Sample, enter};
use crate::bench::record::Cell;

#[test]
fn rounds_that_are_counted_do_not_look_at_the_time() {
    assert!(Length::Rounds(2).goes_on(1, Duration::from_secs(1 << 30)));
    assert!(!Length::Rounds(2).goes_on(2, Duration::ZERO));
}

#[test]
fn rounds_within_a_time_stop_before_it_would_be_exceeded_and_are_at_least_three() {
    let hour = Length::Within(Duration::from_secs(3600));
    assert!(hour.goes_on(2, Duration::from_secs(10_000)));
    assert!(hour.goes_on(3, Duration::from_secs(2700)));
    assert!(!hour.goes_on(3, Duration::from_secs(2800)));
}

#[test]
fn what_a_program_prints_is_entered_by_operation_and_part() {
    let line = r#"{"workload":"w","parts":[{"name":"a","operations":10,"ns":25,"faults":3},
        {"name":"b","operations":1,"ns":7,"faults":0}],"working_rss_kib":400,
        "working_hugepages_kib":100,"peak_rss_kib":500,"rss_kib":30}"#;
    let sample: Sample = serde_json::from_str(line).expect("it is as printed");
    let mut cell = Cell::default();
    enter(&mut cell, &sample);
    enter(&mut cell, &sample);
    assert_eq!(cell.time("a").map(|time| time.median), Some(2.5));
    assert_eq!(cell.time("b").map(|time| time.max), Some(7.0));
    assert_eq!(cell.faults("a").map(|faults| faults.median), Some(3.0));
    assert_eq!(cell.hugepages().map(|share| share.median), Some(25.0));
    assert_eq!(cell.peak_rss_kib, [500.0, 500.0]);
    assert!(cell.time("").is_none() && cell.p999().is_none());
}
