//! Places of classes.

use super::ClassPlaces;
use std::{collections::BTreeSet, sync::Barrier, thread, vec::Vec};
use strata_size_classes::{CLASS_SLOTS, SizeClass};

fn class(index: usize) -> SizeClass {
    SizeClass::from_index(index).expect("below the number of classes")
}

#[test]
fn classes_lie_in_the_order_in_which_they_are_first_asked_for() {
    let places = ClassPlaces::new();
    for (place, index) in [40, 3, 17, CLASS_SLOTS - 1, 0].into_iter().enumerate() {
        assert_eq!(places.of(class(index)), place);
    }
    assert_eq!(places.of(class(17)), 2, "it stays where it is");
}

#[test]
fn each_class_has_a_place_of_its_own() {
    let places = ClassPlaces::new();
    let all: BTreeSet<usize> =
        (0..CLASS_SLOTS).rev().map(|index| places.of(class(index))).collect();
    assert_eq!(all.len(), CLASS_SLOTS);
}

#[test]
fn threads_that_ask_at_once_agree() {
    for round in 0..200 {
        let (places, start) = (ClassPlaces::new(), Barrier::new(3));
        let ask = |step: usize| {
            start.wait();
            let mut found: Vec<(usize, usize)> = (0..CLASS_SLOTS)
                .map(|turn| (turn * step + round) % CLASS_SLOTS)
                .map(|index| (index, places.of(class(index))))
                .collect();
            found.sort_unstable();
            found
        };
        let found = thread::scope(|scope| {
            let others = [1, 3].map(|step| scope.spawn(move || ask(step)));
            let own = ask(5);
            for other in others {
                assert_eq!(other.join().expect("it ends"), own);
            }
            own
        });
        let distinct: BTreeSet<usize> = found.iter().map(|&(_, place)| place).collect();
        assert_eq!(distinct.len(), CLASS_SLOTS);
    }
}
