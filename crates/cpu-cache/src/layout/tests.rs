use super::*;
use std::vec::Vec;
use strata_size_classes::{Bounds, PageSize, Pages4K, Pages8K, Pages32K, Pages256K};

fn tables() -> [(&'static str, &'static SizeClassTable); 4] {
    [
        (Pages4K::NAME, Pages4K::TABLE),
        (Pages8K::NAME, Pages8K::TABLE),
        (Pages32K::NAME, Pages32K::TABLE),
        (Pages256K::NAME, Pages256K::TABLE),
    ]
}

/// For each class its marker's slot and the last slot it may use.
fn stretches(layout: &Layout, table: &SizeClassTable) -> Vec<(usize, usize)> {
    let stretch = |class| {
        let begin = usize::from(layout.begin(class));
        (begin, begin + usize::from(layout.greatest(class)))
    };
    table.classes().map(stretch).collect()
}

/// All lengths, the least first.
fn sizes() -> impl Iterator<Item = RegionSize> {
    core::iter::successors(Some(RegionSize::LEAST), |size| size.larger())
}

#[test]
fn lengths_grow_by_steps_from_the_least_to_the_greatest() {
    let bytes: Vec<_> = sizes().map(RegionSize::bytes).collect();
    assert_eq!(bytes, [16 << 10, 64 << 10, 256 << 10, REGION_BYTES]);
    for size in sizes() {
        assert_eq!(RegionSize::from_number(size.number()), size);
        assert_eq!(size.larger().and_then(RegionSize::smaller).unwrap_or(size), size);
    }
    assert_eq!(RegionSize::LEAST.smaller(), None);
    assert_eq!(RegionSize::from_number(200), RegionSize::GREATEST);
}

#[test]
fn a_longer_region_has_every_class_no_lower_and_no_smaller() {
    for (name, table) in tables() {
        for (size, larger) in sizes().zip(sizes().skip(1)) {
            let (short, long) = (Layout::new(), Layout::new());
            short.set_up(size, table);
            long.set_up(larger, table);
            for class in table.classes() {
                assert!(long.begin(class) >= short.begin(class), "{name}: {class:?} moves up");
                assert!(long.greatest(class) >= short.greatest(class), "{name}: {class:?}");
            }
        }
    }
}

#[test]
fn classes_lie_behind_the_headers_within_the_region_and_never_overlap() {
    for (name, table) in tables() {
        for size in sizes() {
            let layout = Layout::new();
            layout.set_up(size, table);
            let mut reached = FIRST_SLOT;
            for (begin, last) in stretches(&layout, table) {
                assert_eq!(begin, reached, "{name}: a class begins where the one below ended");
                assert!(last > begin, "{name}: every class has room for an object");
                reached = last + 1;
            }
            assert!(reached <= size.slots(), "{name}: {reached} slots of {size:?}");
        }
    }
}

#[test]
fn the_standard_tables_get_most_of_what_they_wish() {
    for (name, table) in tables() {
        for size in sizes() {
            let layout = Layout::new();
            layout.set_up(size, table);
            // Of the least, headers take a fifth.
            let eighths = if size == RegionSize::LEAST { 5 } else { 6 };
            for class in table.classes() {
                let wished = usize::from(greatest_capacity(size, table.size(class)));
                let got = usize::from(layout.greatest(class));
                assert!(
                    got <= wished && got + 2 >= wished * eighths / 8,
                    "{name}: {got} of {wished}"
                );
            }
            let smallest = SizeClass::from_index(1).expect("a class");
            assert!(usize::from(layout.greatest(smallest)) >= size.slots() / 32, "{name}");
        }
    }
}

#[test]
fn smaller_objects_may_be_more() {
    let capacities: Vec<_> = [8, 256, 257, 1024, 1025, 8192, 8193, 65_536, 65_537, usize::MAX]
        .map(|bytes| greatest_capacity(RegionSize::GREATEST, bytes))
        .into();
    assert!(capacities.is_sorted_by(|a, b| a >= b), "{capacities:?}");
    assert_eq!(capacities.last(), Some(&48));
}

#[test]
fn a_table_of_many_small_classes_shares_the_region() {
    // All of up to 1 KiB, so that together they wish for several times the slots that there are.
    let sizes: Vec<u32> = (1..=127).map(|number| number * 8).collect();
    let table = SizeClassTable::from_sizes(13, &Bounds::STANDARD, &sizes).expect("a table");
    let layout = Layout::new();
    layout.set_up(RegionSize::GREATEST, &table);
    let stretches = stretches(&layout, &table);
    assert_eq!(stretches.len(), 127);
    let mut reached = FIRST_SLOT;
    for (begin, last) in stretches {
        assert_eq!(begin, reached);
        assert!(last > begin, "every class has room for an object");
        reached = last + 1;
    }
    assert!(reached <= REGION_SLOTS);
    assert!(reached > REGION_SLOTS - 128, "little is left over: {reached}");
}

#[test]
fn a_layout_that_was_not_set_up_gives_no_slots() {
    let layout = Layout::new();
    for class in Pages8K::TABLE.classes() {
        assert_eq!((layout.begin(class), layout.greatest(class)), (0, 0));
    }
}
