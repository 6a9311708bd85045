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
    assert_eq!(header.end(), 0x1234);
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
fn a_commit_of_a_pop_is_one_addition() {
    // What `rseq::pop` adds: one object fewer in the low bits carries into one pop more.
    let header = Header::from_bits(5 << 32).begun_at(300).with_end(310);
    let one = Header::from_bits(header.bits() + 1);
    let popped = Header::from_bits(one.bits().wrapping_add(0xffff_ffff));
    assert_eq!((one.objects(300), popped.objects(300)), (1, 0));
    assert_eq!((popped.pops(), popped.end()), (6, 310));
}
