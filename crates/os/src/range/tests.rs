use super::AddressRange;

#[test]
fn a_range_contains_its_first_byte_and_not_the_one_behind() {
    let range = AddressRange::new(100, 10);
    assert!(range.contains(100) && range.contains(109));
    assert!(!range.contains(99) && !range.contains(110) && !range.contains(usize::MAX));
    assert!(!AddressRange::new(100, 0).contains(100));
}

#[test]
fn a_range_covers_itself_and_its_parts_and_no_more() {
    let range = AddressRange::new(100, 10);
    assert!(range.covers(range) && range.covers(AddressRange::new(110, 0)));
    assert!(!range.covers(AddressRange::new(100, 11)) && !range.covers(AddressRange::new(99, 5)));
    assert!(!range.covers(AddressRange::new(105, usize::MAX)), "the end wraps around");
}

#[test]
fn the_range_up_to_the_last_byte_has_all_of_it() {
    let top = AddressRange::new(usize::MAX - 9, 10);
    assert!(top.contains(usize::MAX) && !top.contains(0));
    assert!(top.covers(AddressRange::new(usize::MAX, 1)));
}

#[test]
fn it_shows_its_ends_in_hexadecimal() {
    assert_eq!(std::format!("{:?}", AddressRange::new(0x1000, 0x2000)), "0x1000..0x3000");
    assert!(AddressRange::default().is_empty());
}
