use super::*;

#[test]
fn zero_bits_are_a_class_without_slots_that_is_empty_and_full() {
    let header = Header::default();
    assert_eq!(header.bits(), 0);
    assert!(!header.is_set_up());
    assert_eq!((header.current(), header.end(), header.pops()), (0, 0, 0));
    assert_eq!((header.objects(300), header.capacity(300), header.room()), (0, 0, 0));
}

#[test]
fn each_field_has_its_bits() {
    let header = Header::from_bits(0xdead_beef_1234_0567);
    assert_eq!(header.current(), 0x0567);
    assert_eq!(header.room(), 0x1234);
    assert_eq!(header.end(), 0x1234 + 0x0567);
    assert_eq!(header.pops(), 0xdead_beef);
    assert_eq!(Header::from_bits(header.bits()), header);
}

#[test]
fn a_class_that_begins_has_neither_objects_nor_capacity_and_keeps_its_count_of_pops() {
    let begun = Header::from_bits(7 << 32).begun_at(300);
    assert_eq!((begun.current(), begun.end(), begun.pops()), (300, 300, 7));
    assert!(begun.is_set_up());
    assert_eq!((begun.objects(300), begun.capacity(300), begun.room()), (0, 0, 0));
}

#[test]
fn a_header_that_only_counted_pops_is_not_set_up() {
    assert!(!Header::from_bits(u64::from(u32::MAX) << 32).is_set_up());
}

#[test]
fn another_end_changes_nothing_else() {
    let header = Header::from_bits(0xffff_ffff_0000_0000).begun_at(256).with_end(u16::MAX);
    assert_eq!((header.current(), header.end(), header.pops()), (256, u16::MAX, u32::MAX));
    assert_eq!((header.objects(256), header.capacity(256), header.room()), (0, 65279, 65279));
    let smaller = header.with_end(256);
    assert_eq!(smaller, Header::from_bits(0xffff_ffff_0000_0000).begun_at(256));
}

#[test]
fn a_commit_is_one_addition() {
    // Fields next to each other, so that a carry would show.
    for (begin, end) in [(300, 310), (256, u16::MAX), (65_000, 65_003)] {
        let header = Header::from_bits(u64::from(u32::MAX) << 32).begun_at(begin).with_end(end);
        let pushed = header.pushed(3);
        assert_eq!((pushed.objects(begin), pushed.end()), (3, end));
        assert_eq!(pushed.pops(), u32::MAX);
        let popped = pushed.popped(2);
        assert_eq!((popped.objects(begin), popped.end()), (1, end));
        assert_eq!(popped.pops(), 1, "the count begins anew, and carries nowhere");
        assert_eq!(pushed.without_objects(2).pops(), u32::MAX);
        assert_eq!(pushed.without_objects(2).objects(begin), 1);
        let full = header.pushed(header.room());
        assert_eq!((full.current(), full.end(), full.room()), (end, end, 0));
        assert_eq!(full.popped(full.objects(begin)).objects(begin), 0);
    }
}

#[test]
fn a_class_that_moves_keeps_objects_capacity_and_pops() {
    let header = Header::from_bits(9 << 32).begun_at(300).with_end(340).pushed(7);
    let moved = header.moved(300, 5000);
    assert_eq!((moved.objects(5000), moved.capacity(5000), moved.pops()), (7, 40, 9));
    assert_eq!(moved.moved(5000, 300), header);
}
