use super::{figures, refilled};
use crate::bench::goals::tests::record;

#[test]
fn what_stands_between_the_marks_is_replaced_and_the_rest_stays() {
    let text = "before\n<!-- figures -->\nold\n<!-- /figures -->\nafter";
    let new = refilled(text, "new\n").expect("it has both marks");
    assert_eq!(new, "before\n<!-- figures -->\nnew\n<!-- /figures -->\nafter");
    assert_eq!(refilled("no marks", "new"), None);
}

#[test]
fn the_table_has_the_bases_time_and_the_others_ratios() {
    let text = figures(&record(&[("system", 10.0, 1000.0), ("strata", 5.0, 1500.0)]));
    assert!(text.contains("| pair | 10.0 ns | 0.50 |\n"), "{text}");
    assert!(text.contains("| *time, geometric mean* | 1.00 | 0.50 |\n"), "{text}");
    assert!(text.contains("| *peak resident set, geometric mean* | 1.00 | 1.50 |\n"), "{text}");
}
