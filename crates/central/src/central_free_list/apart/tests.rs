use super::*;
use core::ptr::without_provenance_mut;
use std::vec::Vec;

/// A batch of objects of `size` bytes, side by side.
fn batch(size: usize, count: usize) -> Vec<*mut u8> {
    (0..count).map(|index| without_provenance_mut(0x10000 + index * size)).collect()
}

#[test]
fn the_first_eight_of_a_batch_share_no_line_and_none_shares_one_with_the_next() {
    for size in (8..LINE_BYTES).step_by(8) {
        let mut objects = batch(size, 64);
        set_apart(&mut objects);
        let lines: Vec<_> = objects.iter().map(|object| object.addr() / LINE_BYTES).collect();
        for (index, line) in lines.iter().take(8).enumerate() {
            assert!(!lines[..index].contains(line), "{size} bytes: {lines:?}");
        }
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{size} bytes: {lines:?}");
    }
}

#[test]
fn each_object_is_there_once_whatever_their_number() {
    for count in 0..150 {
        let mut objects = batch(8, count);
        set_apart(&mut objects);
        objects.sort();
        assert_eq!(objects, batch(8, count));
    }
}

#[test]
fn long_objects_and_those_of_a_class_with_many_out_stay_in_their_order() {
    assert!(are_set_apart(56, 0));
    assert!(!are_set_apart(LINE_BYTES, 0));
    assert!(!are_set_apart(8, FEW_OUT));
}
