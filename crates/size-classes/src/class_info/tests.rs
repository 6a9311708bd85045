//! Rules of `class_info.rs`.

use super::*;
use crate::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K, SizeClassTable};

const TABLES: [&SizeClassTable; 4] =
    [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE];

#[test]
fn the_index_is_exact_at_both_ends_of_each_object_of_each_class() {
    for table in TABLES {
        for class in table.classes() {
            let info = table.info(class);
            for object in 0..info.objects {
                let start = (object * info.size) as usize;
                let end = start + info.size as usize - 1;
                assert_eq!(info.object_index(start), object, "first byte, {info:?}");
                assert_eq!(info.object_index(end), object, "last byte, {info:?}");
            }
        }
    }
}

#[test]
fn the_index_is_exact_at_each_byte_of_each_span_of_the_default_table() {
    for class in Pages8K::TABLE.classes() {
        let info = Pages8K::TABLE.info(class);
        for offset in 0..usize::from(info.pages) * Pages8K::BYTES {
            let divided = u32::try_from(offset).unwrap() / info.size;
            assert_eq!(info.object_index(offset), divided, "byte {offset} of {info:?}");
        }
    }
}

#[test]
fn the_tail_of_a_span_belongs_to_no_object() {
    for table in TABLES {
        for class in table.classes() {
            let info = table.info(class);
            let tail = (info.objects * info.size) as usize;
            for offset in tail..usize::from(info.pages) << table.page_shift() {
                assert_eq!(info.object_index(offset), info.objects);
            }
        }
    }
}

#[test]
fn the_index_is_exact_for_each_size_that_any_table_may_have() {
    for size in (8..=256 << 10).step_by(8) {
        let info = ClassInfo::new(size, 1, 1, 1);
        let longest_span = 64 << 18;
        for object in [0, 1, 2, 3, longest_span / size / 2, longest_span / size - 1] {
            let start = (object * size) as usize;
            assert_eq!(info.object_index(start), object, "first byte of {object}, size {size}");
            assert_eq!(info.object_index(start + size as usize - 1), object, "size {size}");
        }
    }
}

#[test]
fn a_class_that_does_not_exist_yields_index_zero() {
    assert_eq!(ClassInfo::NONE.object_index(usize::MAX), 0);
    assert!(!ClassInfo::NONE.is_dense());
}

#[test]
fn seventeen_objects_are_dense_and_sixteen_are_not() {
    assert!(ClassInfo::new(240, 1, 17, 32).is_dense());
    assert!(!ClassInfo::new(256, 1, 16, 32).is_dense());
}
