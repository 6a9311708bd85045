//! Rules of `validator.rs`: each violation is provoked in a table that was sound before.

use std::string::{String, ToString};

use super::*;
use crate::{PageSize, Pages8K, SmallEntry};

const BOUNDS: Bounds = Bounds::STANDARD;

/// The violation found after `change` was made to the default table.
fn violation_after(change: impl FnOnce(&mut SizeClassTable)) -> Option<Violation> {
    let mut table = Pages8K::TABLE.clone();
    change(&mut table);
    table.validate(&BOUNDS).err()
}

fn class(index: usize) -> SizeClass {
    SizeClass::from_index(index).unwrap()
}

#[test]
fn the_default_table_is_sound() {
    assert_eq!(violation_after(|_| ()), None);
}

#[test]
fn a_page_size_without_tables_is_found() {
    for shift in [0, 11, 19, 64] {
        let found = violation_after(|table| table.page_shift = shift);
        assert_eq!(found, Some(Violation::PageShift { shift }));
    }
}

#[test]
fn a_wrong_count_is_found() {
    for count in [0, 1, CLASS_SLOTS + 1] {
        let found = violation_after(|table| table.count = count);
        assert_eq!(found, Some(Violation::Count { count }));
    }
    let shorter = Pages8K::TABLE.count() - 1;
    let found = violation_after(|table| table.count = shorter);
    assert_eq!(found, Some(Violation::Count { count: shorter }));
    let found = violation_after(|table| table.classes[0].size = 8);
    assert_eq!(found, Some(Violation::Count { count: shorter + 1 }));
}

#[test]
fn sizes_out_of_order_are_found() {
    let found = violation_after(|table| table.classes.swap(20, 21));
    assert_eq!(found, Some(Violation::ObjectWaste { class: class(20) }));
    let found = violation_after(|table| table.classes[21] = table.classes[20]);
    assert_eq!(found, Some(Violation::Order { class: class(21) }));
}

#[test]
fn a_misaligned_size_is_found() {
    let found = violation_after(|table| table.classes[10].size += 8);
    assert_eq!(found, Some(Violation::Alignment { class: class(10) }));
    let found = violation_after(|table| table.classes[40].size += 64);
    assert_eq!(found, Some(Violation::Alignment { class: class(40) }));
}

#[test]
fn a_missing_power_of_two_is_found() {
    let generous = Bounds { object_waste_per_mille: 500, ..BOUNDS };
    let sizes: std::vec::Vec<u32> =
        Pages8K::TABLE.classes().map(|class| Pages8K::TABLE.info(class).size).collect();
    for missing in [8, 16, 512, 1024, 2048, 128 << 10] {
        let rest: std::vec::Vec<u32> =
            sizes.iter().copied().filter(|&size| size != missing).collect();
        let table = SizeClassTable::from_sizes(13, &generous, &rest).unwrap();
        let after = class(1 + rest.iter().position(|&size| size > missing).unwrap());
        assert_eq!(table.validate(&generous), Err(Violation::PowerOfTwo { class: after }));
    }
}

#[test]
fn a_table_that_ends_too_early_is_found() {
    let found = violation_after(|table| {
        table.count -= 1;
        table.classes[table.count] = ClassInfo::NONE;
    });
    let last = class(Pages8K::TABLE.count() - 2);
    assert_eq!(found, Some(Violation::Last { class: last }));
}

#[test]
fn classes_too_far_apart_are_found() {
    let strict = Bounds { object_waste_per_mille: 120, ..BOUNDS };
    let found = Pages8K::TABLE.validate(&strict);
    assert_eq!(
        found,
        Err(Violation::ObjectWaste { class: Pages8K::TABLE.entry(256).unwrap().class() })
    );
}

#[test]
fn spans_of_the_wrong_shape_are_found() {
    let pages = Some(Violation::SpanPages { class: class(30) });
    assert_eq!(violation_after(|table| table.classes[30].pages = 0), pages);
    assert_eq!(violation_after(|table| table.classes[30].pages = 81), pages);
    assert_eq!(violation_after(|table| table.classes[30].objects = 17), pages);
    let objects = Some(Violation::SpanObjects { class: class(30) });
    assert_eq!(violation_after(|table| table.classes[30].objects -= 1), objects);
    assert_eq!(violation_after(|table| table.classes[30].objects = 0), objects);
}

#[test]
fn a_wasteful_span_is_found() {
    let found = violation_after(|table| {
        let info = &mut table.classes[36];
        *info = ClassInfo::new(info.size, 1, (1 << 13) / info.size, info.batch);
    });
    assert_eq!(found, Some(Violation::SpanWaste { class: class(36) }));
}

#[test]
fn a_batch_against_the_rule_is_found() {
    let found = violation_after(|table| table.classes[5].batch = 33);
    assert_eq!(found, Some(Violation::Batch { class: class(5) }));
}

#[test]
fn an_inexact_reciprocal_is_found() {
    for index in 1..Pages8K::TABLE.count() {
        let found = Some(Violation::Reciprocal { class: class(index) });
        for wrong in [-1000, -1] {
            let change = |table: &mut SizeClassTable| {
                let reciprocal = &mut table.classes[index].reciprocal;
                *reciprocal = reciprocal.wrapping_add_signed(wrong);
            };
            assert_eq!(violation_after(change), found);
        }
        let change = |table: &mut SizeClassTable| table.classes[index].reciprocal = u32::MAX;
        assert_eq!(violation_after(change), found);
    }
}

#[test]
fn a_reciprocal_that_is_accepted_is_exact_at_each_byte() {
    let mut accepted = 0;
    for index in 1..Pages8K::TABLE.count() {
        for power in 0..32 {
            let mut info = *Pages8K::TABLE.info(class(index));
            info.reciprocal = info.reciprocal.wrapping_add(1 << power);
            let span_bytes = u32::from(info.pages) << Pages8K::SHIFT;
            if !reciprocal_is_exact(&info, span_bytes.into()) {
                continue;
            }
            accepted += 1;
            for offset in (0..span_bytes).step_by(7) {
                assert_eq!(info.object_index(offset as usize), offset / info.size, "{info:?}");
            }
            for start in (info.size..span_bytes).step_by(info.size as usize) {
                let object = start / info.size;
                assert_eq!(info.object_index(start as usize), object, "{info:?}");
                assert_eq!(info.object_index(start as usize - 1), object - 1, "{info:?}");
            }
        }
    }
    assert!(accepted > 100, "only {accepted} others are exact");
}

#[test]
fn each_wrong_slot_of_the_lookup_is_found() {
    let table = Pages8K::TABLE;
    for slot in (0..table.coarse.len()).step_by(17) {
        let size = 1024 + 128 * (slot + 1);
        let right = table.coarse[slot].index();
        for wrong in [0, right - 1, right + 1, CLASS_SLOTS - 1] {
            let found = violation_after(|table| table.coarse[slot] = class(wrong));
            assert_eq!(found, Some(Violation::Lookup { size }));
        }
    }
}

#[test]
fn each_wrong_entry_of_the_lookup_of_small_sizes_is_found() {
    for size in 0..=1024 {
        let right = Pages8K::TABLE.small_entry(size).unwrap();
        let (index, bytes) = (right.class().index(), right.size() as u32);
        let of = |index, bytes| SmallEntry::of(class(index), bytes);
        let wrong = [of(0, 0), of(0, bytes), of(index - 1, bytes), of(index + 1, bytes)];
        for wrong in wrong.into_iter().chain([of(index, bytes + 8)]) {
            if wrong != right {
                let found = violation_after(|table| table.small[size] = wrong);
                assert_eq!(found, Some(Violation::Lookup { size }));
            }
        }
    }
    assert_eq!(Pages8K::TABLE.small_entry(1025), None);
}

#[test]
fn each_wrong_size_in_the_list_is_found() {
    for raw in (0..256).step_by(7) {
        let found = violation_after(|table| table.sizes[raw] += 8);
        assert!(matches!(found, Some(Violation::ListedSize { .. })), "{raw}: {found:?}");
    }
}

#[test]
fn a_violation_says_which_class_and_what() {
    let texts: [(Violation, &str); 4] = [
        (Violation::Batch { class: class(5) }, "class 5 has the wrong batch"),
        (Violation::PageShift { shift: 9 }, "pages of 2^9 bytes"),
        (Violation::Count { count: 0 }, "0 classes"),
        (Violation::Lookup { size: 7 }, "size 7 finds the wrong class"),
    ];
    for (violation, text) in texts {
        assert_eq!(violation.to_string(), String::from(text));
    }
}
