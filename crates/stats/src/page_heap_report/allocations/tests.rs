use super::{Rate, render};
use std::string::String;
use strata_page_heap::AllocationRecords;
use strata_size_classes::Pages8K;
use strata_span::PageCount;

#[test]
fn lengths_are_told_one_by_one_and_from_one_mebibyte_on_by_ranges() {
    let mut records = AllocationRecords::<Pages8K>::new();
    for _ in 0..2430 {
        records.record_allocation(PageCount::new(1));
    }
    for _ in 0..2000 {
        records.record_deallocation(PageCount::new(1));
    }
    records.record_allocation(PageCount::new(300));
    let mut text = String::new();
    render("PageHeap", &records.figures(1_000_000_000), Rate::ThreeDigits, &mut text)
        .expect("written");
    assert_eq!(
        text,
        "\
PageHeap: stats on allocation sizes
PageHeap: 430 pages live small allocation
PageHeap: 212 pages of slack on large allocations
PageHeap: largest seen allocation 300 pages
PageHeap: per-size information:
PageHeap:                     1 page info:       2430 /       2000 a/f,      430 (   3.4 MiB) live, 2.43e+03 \
allocs/s (  19.0 MiB/s)
PageHeap: [     257 ,     512 ] page info:          1 /          0 a/f,        1 (   2.3 MiB) live,        1 \
allocs/s (   2.3 MiB/s)
"
    );
}
