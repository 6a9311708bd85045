use crate::{MetadataArena, SpanPlace, SpanPool};
use strata_os::SystemPages;

#[test]
fn a_span_that_is_not_in_use_stays_where_it_is() {
    let (arena, spans) = (MetadataArena::new(), SpanPool::new());
    let span = spans.allocate_span(&arena, &SystemPages::new()).expect("memory");
    span.set_place(SpanPlace::InUse);
    assert!(span.leave_use(), "the first of two that give it back");
    assert_eq!(span.place(), SpanPlace::Unused);
    for place in [SpanPlace::Unused, SpanPlace::Free] {
        span.set_place(place);
        assert!(!span.leave_use(), "the second");
        assert_eq!(span.place(), place, "its new owner finds it as it was");
    }
}
