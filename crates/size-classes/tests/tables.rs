//! What a user of the four tables may rely on.

use strata_size_classes::{
    Bounds, CLASS_SLOTS, ClassEntry, DENSE_OBJECTS, MAX_SIZE, PageSize, Pages4K, Pages8K, Pages32K,
    Pages256K, SizeClassTable,
};

const TABLES: [&SizeClassTable; 4] =
    [Pages4K::TABLE, Pages8K::TABLE, Pages32K::TABLE, Pages256K::TABLE];

#[test]
fn each_table_is_proven_again_at_run_time() {
    for table in TABLES {
        assert_eq!(table.validate(&Bounds::STANDARD), Ok(()));
    }
}

#[test]
fn each_page_size_has_its_own_table() {
    fn check<P: PageSize>(kib: usize, name: &str) {
        assert_eq!(P::BYTES, kib << 10);
        assert_eq!(P::TABLE.page_shift(), P::SHIFT);
        assert_eq!(P::NAME, name);
    }
    check::<Pages4K>(4, "4k");
    check::<Pages8K>(8, "8k");
    check::<Pages32K>(32, "32k");
    check::<Pages256K>(256, "256k");
}

#[test]
fn each_table_has_77_classes_and_takes_under_12_kib() {
    for table in TABLES {
        assert_eq!(table.classes().count(), 77);
        assert_eq!(table.count(), 78);
    }
    assert!(size_of::<SizeClassTable>() < 12 << 10);
    const { assert!(CLASS_SLOTS == 128) };
}

#[test]
fn beyond_128_bytes_no_request_leaves_more_than_an_eighth_unused() {
    for table in TABLES {
        for size in 129..=MAX_SIZE {
            let given = table.entry(size).unwrap().size();
            assert!((given - size) * 8 <= given, "{size} gets {given}");
        }
    }
}

#[test]
fn up_to_128_bytes_no_request_leaves_16_bytes_unused() {
    for table in TABLES {
        for size in 1..=128 {
            assert!(table.entry(size).unwrap().size() - size < 16);
        }
    }
}

#[test]
fn no_span_leaves_more_than_an_eighth_behind_its_last_object() {
    for table in TABLES {
        for class in table.classes() {
            let info = table.info(class);
            let span_bytes = u32::from(info.pages) << table.page_shift();
            assert!(info.pages <= 80);
            assert!((span_bytes - info.objects * info.size) * 8 <= span_bytes, "{info:?}");
        }
    }
}

#[test]
fn dense_spans_have_one_page() {
    for table in TABLES {
        for class in table.classes() {
            let info = table.info(class);
            assert_eq!(info.is_dense(), info.objects > DENSE_OBJECTS);
            assert!(!info.is_dense() || info.pages == 1, "{info:?}");
        }
    }
}

#[test]
fn batches_have_from_2_to_32_objects() {
    for table in TABLES {
        for class in table.classes() {
            let info = table.info(class);
            let fitting = (64 << 10) / info.size;
            assert_eq!(u32::from(info.batch), fitting.clamp(2, 32));
        }
    }
}

#[test]
fn blocks_of_more_than_8_bytes_are_aligned_for_any_c_type() {
    for table in TABLES {
        for size in 9..=MAX_SIZE {
            assert_eq!(table.entry(size).unwrap().size() % 16, 0);
        }
    }
}

#[test]
fn powers_of_two_waste_nothing_and_keep_their_alignment() {
    for table in TABLES {
        for shift in 3..=18 {
            let size = 1 << shift;
            assert_eq!(table.entry(size).unwrap().size(), size);
            let align = size.min(1 << table.page_shift());
            let align = if size < 16 << 10 { align } else { SizeClassTable::STAGGER_ALIGN };
            assert_eq!(table.entry_aligned(size, align).unwrap().size(), size);
        }
    }
}

#[test]
fn a_lookup_can_be_a_constant() {
    const ENTRY: Option<ClassEntry> = Pages8K::TABLE.entry(100);
    const ALIGNED: Option<ClassEntry> = Pages8K::TABLE.entry_aligned(100, 64);
    assert_eq!(ENTRY.map(ClassEntry::size), Some(112));
    assert_eq!(ALIGNED.map(ClassEntry::size), Some(128));
}
