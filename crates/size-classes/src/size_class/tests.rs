//! Rules of `size_class.rs`.

use super::*;

#[test]
fn each_index_below_the_slots_is_a_class_and_none_beyond() {
    for index in 0..CLASS_SLOTS {
        let class = SizeClass::from_index(index).unwrap();
        assert_eq!(class.index(), index);
        assert_eq!(usize::from(class.raw()), index);
        assert_eq!(SizeClass::from_raw(class.raw()), class);
        assert_eq!(class.is_none(), index == 0);
    }
    for index in [CLASS_SLOTS, CLASS_SLOTS + 1, 255, 256, 257, usize::MAX] {
        assert_eq!(SizeClass::from_index(index), None);
    }
}

#[test]
fn no_raw_byte_makes_an_index_out_of_range() {
    for raw in 0..=u8::MAX {
        assert!(SizeClass::from_raw(raw).index() < CLASS_SLOTS);
    }
}

#[test]
fn an_entry_keeps_class_and_size() {
    for (raw, size) in [(1, 8), (77, 256 << 10), (127, (1 << 24) - 1)] {
        let class = SizeClass::from_raw(raw);
        let entry = ClassEntry::of(class, size).unwrap();
        assert_eq!((entry.class(), entry.size()), (class, usize::try_from(size).unwrap()));
    }
    assert_eq!(ClassEntry::of(SizeClass::NONE, 0), None);
    assert_eq!(ClassEntry::of(SizeClass::from_raw(4), 0), None);
}
