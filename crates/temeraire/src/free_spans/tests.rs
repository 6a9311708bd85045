use super::FreeSpanTable;
use std::vec::Vec;
use strata_size_classes::Pages8K;

#[test]
fn short_runs_have_a_line_each_and_long_ones_share_one() {
    let mut table = FreeSpanTable::NONE;
    table.begin::<Pages8K>();
    for (pages, backed) in [(1, true), (1, false), (127, true), (128, true), (9999, false)] {
        table.record(pages, backed);
    }
    let lengths: Vec<_> = table.lengths().map(|spans| spans.pages).collect();
    assert_eq!(lengths, [1, 127]);
    assert_eq!(
        (table.large.pages, table.large.backed_spans, table.large.unmapped_spans),
        (128, 1, 1)
    );
    assert_eq!(table.total_bytes(), ((1 + 127 + 128) << 13, (1 + 9999) << 13));
}
