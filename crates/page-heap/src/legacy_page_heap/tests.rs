use super::*;
use strata_os::{ManualClock, SystemPages};
use strata_size_classes::Pages8K;
use strata_span::Ground;

#[test]
fn what_is_freed_is_handed_out_again() {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    let heap = LegacyPageHeap::<Pages8K>::EMPTY;
    let first = heap.allocate(&ground, SpanRequest::of(PageCount::new(3))).expect("memory");
    let start = first.start::<Pages8K>();
    // SAFETY: the span came from this heap, and nobody uses it.
    unsafe { heap.deallocate(&ground, first) };
    let again = heap.allocate(&ground, SpanRequest::of(PageCount::new(3))).expect("memory");
    assert_eq!(again.start::<Pages8K>(), start);
    assert!(!again.is_zeroed());
}
