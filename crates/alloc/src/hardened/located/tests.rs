use super::*;
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};

fn divides_as_the_processor<P: PageSize>() {
    for class in P::TABLE.classes() {
        let info = P::TABLE.info(class);
        let divisor = Divisor::of(info.size as usize);
        let (size, span_bytes) = (info.size as usize, (info.pages as usize) << P::SHIFT);
        for number in 0..=span_bytes / size {
            let offset = number * size;
            assert_eq!(divisor.divide(offset), Some(number as u64), "{offset} by {size}");
            for beside in [1, 8, size / 2].into_iter().filter(|&beside| beside < size) {
                assert_eq!(divisor.divide(offset + beside), None, "{offset} and {beside}");
            }
        }
        let before = divisor.divide(0_usize.wrapping_sub(size));
        assert!(
            before.is_none_or(|number| number > u32::MAX.into()),
            "an address before the first"
        );
    }
    assert_eq!(Divisor(0).divide(0), None);
}

#[test]
fn where_an_object_begins_is_found_by_a_multiplication() {
    divides_as_the_processor::<Pages4K>();
    divides_as_the_processor::<Pages8K>();
    divides_as_the_processor::<Pages32K>();
    divides_as_the_processor::<Pages256K>();
}
