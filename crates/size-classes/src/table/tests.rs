//! Rules of `table.rs`, for each size rather than for samples.

use std::vec::Vec;

use super::*;
use crate::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};

const TABLES: [&SizeClassTable; 4] =
    [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE];

#[test]
fn each_size_finds_the_smallest_class_that_holds_it() {
    for table in TABLES {
        let mut expected = SizeClass::from_index(1).unwrap();
        for size in 0..=MAX_SIZE {
            if size > table.size(expected) {
                expected = SizeClass::from_index(expected.index() + 1).unwrap();
            }
            let entry = table.entry(size).unwrap();
            assert_eq!(entry.class(), expected, "size {size}");
            assert_eq!(entry.size(), table.size(expected), "size {size}");
            assert!(entry.size() >= size);
        }
    }
}

#[test]
fn sizes_beyond_the_largest_find_no_class() {
    for table in TABLES {
        for size in [MAX_SIZE + 1, MAX_SIZE + 128, 1 << 32, usize::MAX - 7, usize::MAX] {
            assert_eq!(table.entry(size), None);
            assert_eq!(table.entry_aligned(size, 1), None);
            assert_eq!(table.entry_aligned(size, 4096), None);
        }
    }
}

#[test]
fn each_size_and_alignment_finds_the_smallest_class_that_is_a_multiple() {
    for table in TABLES {
        for shift in 0..=table.page_shift() {
            let align = 1 << shift;
            let multiples: Vec<_> =
                table.classes().filter(|&class| table.size(class) % align == 0).collect();
            let mut expected = multiples.iter().copied().peekable();
            for size in 0..=MAX_SIZE {
                while expected.next_if(|&class| table.size(class) < size).is_some() {}
                let entry = table.entry_aligned(size, align).map(ClassEntry::class);
                let found = expected.peek().copied();
                assert!(found.is_some(), "a power of two serves size {size}, align {align}");
                let served = found.filter(|&class| align <= 64 || table.size(class) < 16 << 10);
                assert_eq!(entry, served, "size {size}, align {align}");
            }
        }
    }
}

#[test]
fn staggered_objects_stay_within_their_spans_and_on_cache_lines() {
    for table in TABLES {
        let mut staggered = 0;
        for class in table.classes() {
            let (info, bytes) = (table.info(class), table.stagger_bytes(class));
            let span_bytes = usize::from(info.pages) << table.page_shift();
            assert!(bytes + info.objects as usize * info.size as usize <= span_bytes);
            assert!(bytes < 4096 && bytes % SizeClassTable::STAGGER_ALIGN == 0);
            assert!(bytes == 0 || info.size >= 16 << 10);
            staggered += usize::from(bytes >= 1 << 10);
        }
        assert!(staggered > 3, "{staggered} classes of 2^{} pages", table.page_shift());
    }
}

#[test]
fn alignments_beyond_the_page_or_not_powers_of_two_find_no_class() {
    for table in TABLES {
        let page = 1_usize << table.page_shift();
        for align in [0, 3, 24, page - 1, page + 1, page << 1, 1 << 63, usize::MAX] {
            assert_eq!(table.entry_aligned(64, align), None, "align {align}");
        }
    }
}

#[test]
fn each_object_of_an_aligned_class_starts_on_a_multiple() {
    let table = Pages8K::TABLE;
    for shift in 0..=Pages8K::SHIFT {
        let align = 1 << shift;
        let info = table.info(table.entry_aligned(100, align).unwrap().class());
        for object in 0..info.objects {
            assert_eq!((object * info.size) as usize % align, 0);
        }
    }
}

#[test]
fn an_empty_table_finds_no_class() {
    assert_eq!(SizeClassTable::EMPTY.entry(0), None);
    assert_eq!(SizeClassTable::EMPTY.entry(FINE_MAX), None);
    assert_eq!(SizeClassTable::EMPTY.entry(FINE_MAX + 1), None);
    assert_eq!(SizeClassTable::EMPTY.entry(MAX_SIZE), None);
    assert_eq!(SizeClassTable::EMPTY.entry_aligned(8, 8), None);
    assert_eq!(SizeClassTable::EMPTY.classes().count(), 0);
}

#[test]
fn an_alignment_that_no_class_of_a_given_table_has_finds_none() {
    let table = SizeClassTable::from_sizes(13, &Bounds::STANDARD, &[8, 48, 80]).unwrap();
    assert_eq!(table.entry_aligned(8, 16).map(ClassEntry::size), Some(48));
    assert_eq!(table.entry_aligned(8, 64), None);
    assert_eq!(table.entry(81), None);
}

#[test]
fn slots_and_their_largest_sizes_agree() {
    for size in 0..=MAX_SIZE {
        let slot = slot_of(size);
        assert!(slot < FINE_SLOTS + COARSE_SLOTS);
        assert!(largest_size_of(slot) >= size);
        assert!(slot == 0 || largest_size_of(slot - 1) < size);
    }
}

#[test]
fn classes_without_a_size_have_nothing() {
    for table in TABLES {
        assert_eq!(table.info(SizeClass::NONE), &ClassInfo::NONE);
        for index in table.count()..CLASS_SLOTS {
            let class = SizeClass::from_index(index).unwrap();
            assert_eq!(table.info(class), &ClassInfo::NONE);
            assert_eq!(table.size(class), 0);
        }
    }
}

#[test]
fn no_beginning_is_told_of_every_address_that_it_can_be_told_of() {
    for table in [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE] {
        let page = 1 << table.page_shift();
        for class in table.classes() {
            let (info, size) = (table.info(class), table.size(class));
            let is_staggered = size >= table.staggered_from as usize;
            let most = if is_staggered { 64 } else { page };
            let is_exact = info.pages == 1 && !is_staggered;
            let step = if is_exact { size } else { (size & size.wrapping_neg()).min(most) };
            for offset in 0..page {
                let told = table.is_no_beginning(class, page * 77 + offset);
                assert!(!told || !offset.is_multiple_of(step), "{size} at {offset}");
                assert!(
                    told || offset.is_multiple_of(step) || page > (1 << 32) / size,
                    "{size} at {offset}"
                );
            }
        }
        for address in [0, 8, page, usize::MAX] {
            let of_none = table.is_no_beginning_of(SizeClass::NONE, address);
            assert_eq!(of_none, (true, 0), "of no class nothing begins at {address}");
        }
    }
}

#[test]
fn what_is_found_above_1k_is_what_is_found_for_every_size() {
    for table in TABLES {
        for size in (0..=1 << 10).chain(MAX_SIZE + 1..MAX_SIZE + 200).chain([usize::MAX]) {
            assert_eq!(table.entry_above_1k(size), None, "{size}");
        }
        for size in 1025..=MAX_SIZE {
            let entry = table.entry(size).expect("a proven table has a class");
            let found = table.entry_above_1k(size).expect("a class");
            assert_eq!((found.class(), found.size()), (entry.class(), entry.size()), "{size}");
        }
    }
}
