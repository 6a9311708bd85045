use super::*;
use crate::{PageCount, PageId, SpanPool};
use std::string::ToString;
use strata_os::SystemPages;
use strata_size_classes::{Pages8K, SizeClass};

fn place(class: usize, place: SpanPlace) -> std::string::String {
    let (arena, spans) = (crate::MetadataArena::new(), SpanPool::new());
    let span = spans.allocate_span(&arena, &SystemPages::new()).expect("memory");
    span.set_range(PageId::<Pages8K>::from_address(0x7f00_0000_0000), PageCount::<Pages8K>::new(3));
    span.set_class(SizeClass::from_index(class).expect("a class"));
    span.set_place(place);
    Where::<Pages8K>::of(Some(&span)).to_string()
}

#[test]
fn the_place_names_class_and_span() {
    assert_eq!(Where::<Pages8K>::of(None).to_string(), "in no span");
    assert_eq!(place(8, SpanPlace::InUse), "class 8 of 112 bytes, span 0x7f0000000000 of 3 pages");
    assert_eq!(place(0, SpanPlace::InUse), "large block, span 0x7f0000000000 of 3 pages");
    assert_eq!(place(0, SpanPlace::Free), "no block, free span 0x7f0000000000 of 3 pages");
}

#[test]
fn the_last_operation_names_its_thread() {
    assert_eq!(
        LastOperation::Allocated { thread: 7, bytes: 100 }.to_string(),
        "allocated with 100 bytes by thread 7"
    );
    assert_eq!(LastOperation::FreedBy { thread: 7 }.to_string(), "freed by thread 7");
}
