use super::*;
use std::vec::Vec;
use strata_size_classes::{Pages4K, Pages8K, Pages256K};

fn of<P: PageSize>(lengths: &[usize]) -> AllocationRecords<P> {
    let mut records = AllocationRecords::new();
    for &pages in lengths {
        records.record_allocation(PageCount::new(pages));
    }
    records
}

#[test]
fn lengths_below_a_mebibyte_are_counted_one_by_one_and_others_by_powers_of_two() {
    let figures = of::<Pages8K>(&[1, 1, 127, 128, 129, 256, 257]).figures(0);
    let records: Vec<_> = figures
        .records()
        .map(|record| (record.least_pages, record.greatest_pages, record.allocated))
        .collect();
    let expected = [(1, 1, 2), (127, 127, 1), (65, 128, 1), (129, 256, 2), (257, 512, 1)];
    assert_eq!(records, expected);
}

#[test]
fn allocated_less_freed_is_live_in_every_record() {
    let mut records = of::<Pages256K>(&[1, 2, 3, 3, 4, 5, 9]);
    records.record_deallocation(PageCount::new(3));
    records.record_deallocation(PageCount::new(5));
    let figures = records.figures(0);
    let live: u64 = figures.records().map(|record| record.live_bytes).sum();
    assert_eq!(live, (1 + 2 + 3 + 4 + 9) << 18);
    assert!(figures.records().all(|record| record.live() == record.allocated - record.freed));
    assert_eq!(figures.small_live_pages, 1 + 2 + 3);
    // 4 pages are 1 MiB, 9 are 2.25 MiB: they would need 4 and 7 more.
    assert_eq!(figures.slack_pages, 4 + 7);
    assert_eq!(figures.largest_pages, 9);
}

#[test]
fn rates_are_averages_since_the_start() {
    let figures = of::<Pages4K>(&[2; 30]).figures(10_000_000_000);
    let record = figures.records().next().expect("one length");
    assert!((record.allocations_per_second - 3.0).abs() < 1e-9);
    assert!((record.bytes_per_second - 3.0 * 8192.0).abs() < 1e-9);
    let at_once = of::<Pages4K>(&[2]).figures(0);
    assert!(at_once.records().all(|record| record.allocations_per_second.abs() < 1e-9));
}

#[test]
fn every_length_that_a_span_can_have_has_a_record() {
    let longest = u32::MAX as usize;
    let mut records = of::<Pages4K>(&[longest]);
    assert_eq!(records.figures(0).records().next().map(|r| r.greatest_pages), Some(1 << 32));
    records.record_deallocation(PageCount::new(longest));
    assert_eq!(records.figures(0).slack_pages, 0);
}

#[test]
fn a_span_that_grew_is_live_in_its_new_length() {
    let mut records = AllocationRecords::<Pages8K>::new();
    records.record_allocation(PageCount::new(5));
    records.record_extension(PageCount::new(5), PageCount::new(200));
    let figures = records.figures(1);
    let live: Vec<_> =
        figures.records().map(|r| (r.greatest_pages, r.live(), r.live_bytes)).collect();
    assert_eq!(live, [(5, 0, 0), (256, 1, 200 * 8192)]);
    assert_eq!((figures.small_live_pages, figures.slack_pages), (0, 56));
    assert_eq!(figures.largest_pages, 200);
}
