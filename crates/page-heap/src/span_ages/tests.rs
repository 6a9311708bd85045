use super::*;

const SECOND_NS: u64 = 1_000_000_000;

#[test]
fn an_age_is_counted_in_the_last_column_whose_bound_it_reached() {
    let mut table = AgeTable::default();
    for bound in AGE_BOUNDS_SECONDS {
        table.record(1, bound * SECOND_NS);
        table.record(10, bound * SECOND_NS + SECOND_NS - 1);
    }
    assert_eq!(table.total.pages, [11; AGE_COLUMNS]);
    table.record(1, u64::MAX);
    assert_eq!(table.total.pages[6], 12);
}

#[test]
fn lengths_of_64_pages_and_more_share_a_row() {
    let mut table = AgeTable::default();
    for pages in [1, 63, 64, 65, 1 << 20, 63] {
        table.record(pages, 0);
    }
    let rows: std::vec::Vec<_> = table.rows().map(|(length, row)| (length, row.total())).collect();
    assert_eq!(rows, [(1, 1), (63, 126)]);
    assert_eq!(table.long.total(), 64 + 65 + (1 << 20));
    assert_eq!(table.total.total(), 127 + 64 + 65 + (1 << 20));
}

#[test]
fn the_mean_weighs_each_page_alike() {
    let mut table = AgeTable::default();
    table.record(1, 40 * SECOND_NS);
    table.record(3, 0);
    assert!((table.total.mean_seconds() - 10.0).abs() < 1e-9);
    assert!(table.long.mean_seconds().abs() < 1e-9, "no pages have no age");
}
