use super::{MapError, PageSource, Purpose, ReserveRequest};
use crate::SimulatedPages;

#[test]
fn an_error_names_bytes_and_number() {
    let error = MapError::new(4096, 12);
    let text = "4096 bytes could not be mapped or changed (errno 12)";
    assert_eq!(std::string::ToString::to_string(&error), text);
}

#[test]
fn a_borrowed_source_is_the_source() {
    fn reserve(pages: impl PageSource) -> usize {
        let wish = ReserveRequest { bytes: 1 << 16, align: 1 << 16, purpose: Purpose::Slabs };
        pages.reserve(wish).map_or(0, |had| had.range.bytes)
    }
    let pages = SimulatedPages::new().with_limit(1 << 16);
    assert_eq!(reserve(&pages), 1 << 16);
    assert_eq!(reserve(&pages), 0);
    assert_eq!(pages.figures().reserved_for(Purpose::Slabs), 1 << 16);
    assert!(!(&&pages).touchable());
}
