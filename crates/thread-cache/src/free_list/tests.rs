use super::*;
use std::vec::Vec;

const SECRET: usize = 0xdead_beef_0bad_cafe;

fn class() -> SizeClass {
    SizeClass::from_raw(3)
}

#[test]
fn objects_come_back_in_reverse_order_and_nothing_else_does() {
    let mut memory = [[0_u64; 2]; 50];
    let objects: Vec<*mut u8> =
        memory.iter_mut().map(|object| core::ptr::from_mut(object).cast()).collect();
    let list = FreeList::new();
    for _ in 0..3 {
        for (count, &object) in objects.iter().enumerate() {
            // SAFETY: this thread has the list, and the object is not on it.
            assert_eq!(unsafe { list.push(SECRET, class(), object) }, count as u32 + 1);
        }
        for &object in objects.iter().rev() {
            // SAFETY: this thread has the list, whose objects were pushed with the same secret.
            assert_eq!(unsafe { list.pop_sound(SECRET) }, object);
        }
        // SAFETY: this thread has the list.
        assert!(unsafe { list.pop_sound(SECRET) }.is_null());
        assert_eq!(list.length(), 0);
    }
}

#[test]
fn no_address_stands_in_a_freed_object() {
    let mut memory = [[0_u64; 2]; 50];
    let base = core::ptr::from_mut(&mut memory).addr();
    let list = FreeList::new();
    for object in &mut memory {
        // SAFETY: this thread has the list, and the object is not on it.
        unsafe { list.push(SECRET, class(), core::ptr::from_mut(object).cast()) };
    }
    for [link, rest] in memory {
        assert!((link as usize).abs_diff(base) > 1 << 40);
        assert_eq!(rest, 0, "only the first word is written");
    }
}

#[test]
fn a_link_that_was_copied_into_another_object_leads_nowhere() {
    let mut memory = [[0_u64; 2]; 50];
    let objects: Vec<*mut u8> =
        memory.iter_mut().map(|object| core::ptr::from_mut(object).cast()).collect();
    for (from, to) in [(0, 1), (1, 2), (7, 40), (48, 49)] {
        let list = FreeList::new();
        for &object in &objects {
            // SAFETY: this thread has the list, and the object is not on it.
            unsafe { list.push(SECRET, class(), object) };
        }
        // SAFETY: the memory is ours, whoever thinks that he has its first words.
        unsafe { objects[to].copy_from_nonoverlapping(objects[from], size_of::<usize>()) };
        for &object in objects.iter().skip(to + 1).rev() {
            // SAFETY: this thread has the list.
            assert_eq!(unsafe { list.pop_sound(SECRET) }, object);
        }
        // SAFETY: this thread has the list.
        assert!(unsafe { list.pop_sound(SECRET) }.is_null(), "{from} into {to}");
        assert_eq!(list.length(), to as u32 + 1, "they are lost, and told of");
    }
}

#[test]
fn the_low_water_mark_is_the_least_length_since_it_was_cleared() {
    let mut memory = [[0_u64; 2]; 10];
    let list = FreeList::new();
    for object in &mut memory {
        // SAFETY: this thread has the list, and the object is not on it.
        unsafe { list.push(SECRET, class(), core::ptr::from_mut(object).cast()) };
    }
    assert_eq!(list.low_water(), 0);
    list.clear_low_water();
    assert_eq!(list.low_water(), 10);
    for _ in 0..4 {
        // SAFETY: this thread has the list.
        unsafe { list.pop_sound(SECRET) };
    }
    assert_eq!(list.low_water(), 6);
    // SAFETY: this thread has the list, and the object has been off it since the loop.
    unsafe { list.push(SECRET, class(), core::ptr::from_mut(&mut memory[9]).cast()) };
    assert_eq!(list.low_water(), 6);
}

#[test]
fn what_would_be_told_of_is_left_alone_where_only_the_sound_is_taken() {
    let mut memory = [[0_u64; 2]; 2];
    let list = FreeList::new();
    let [first, second] = &mut memory;
    let (first, second): (*mut u8, *mut u8) =
        (core::ptr::from_mut(first).cast(), core::ptr::from_mut(second).cast());
    // SAFETY: this thread has the list, and the object is not on it.
    assert_eq!(unsafe { list.push_unless_first(SECRET, first) }, Some(1));
    // SAFETY: this thread has the list; that the object is on it is found by the call.
    assert_eq!(unsafe { list.push_unless_first(SECRET, first) }, None);
    // SAFETY: this thread has the list, and this object is not on it.
    assert_eq!(unsafe { list.push_unless_first(SECRET, second) }, Some(2));
    // SAFETY: the memory is the test's own; that it counts as freed is what the test is about.
    let link = unsafe { second.cast::<u64>().read() };
    // SAFETY: the memory is the test's own; that it counts as freed is what the test is about.
    unsafe { second.cast::<u64>().write(1) };
    // SAFETY: this thread has the list.
    assert!(unsafe { list.pop_sound(SECRET) }.is_null());
    assert_eq!(list.length(), 2);
    // SAFETY: the memory is the test's own, and gets the link back that stood there.
    unsafe { second.cast::<u64>().write(link) };
    for object in [second, first, core::ptr::null_mut()] {
        // SAFETY: this thread has the list.
        assert_eq!(unsafe { list.pop_sound(SECRET) }, object);
    }
    assert_eq!(list.length(), 0);
}
