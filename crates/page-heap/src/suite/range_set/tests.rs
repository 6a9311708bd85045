use super::*;

fn range(start: usize, end: usize) -> AddressRange {
    AddressRange::new(start, end - start)
}

#[test]
fn ranges_that_touch_become_one_and_are_cut_again() {
    let mut set = RangeSet::default();
    set.insert(range(10, 20));
    set.insert(range(30, 40));
    assert!(!set.covers(range(10, 40)));
    set.insert(range(20, 30));
    assert!(set.covers(range(10, 40)));
    set.remove(range(15, 35));
    assert!(set.covers(range(10, 15)) && set.covers(range(35, 40)));
    assert!(!set.overlaps(range(15, 35)) && set.overlaps(range(14, 16)));
}
