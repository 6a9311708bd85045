use super::HugepageAdvice;
use strata_span::HugepageCount;

#[test]
fn small_heaps_ask_for_no_hugepage() {
    let worth_it = |mib: usize, run, single| {
        HugepageAdvice::is_worth_it(mib << 20, HugepageCount::new(run), single)
    };
    assert!(!worth_it(10, 1, true));
    assert!(!worth_it(16, 5, false), "at the threshold");
    assert!(worth_it(17, 1, true), "many small spans fill a hugepage");
    assert!(!worth_it(17, 1, false), "one large span may touch a little of one hugepage");
    assert!(worth_it(17, 2, false));
}
