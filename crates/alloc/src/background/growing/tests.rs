use super::{
    Growing, LEARNT_SHARE, LEAST_BYTES, LEAST_STEP_BYTES, MOST_BYTES, MOST_EMPTIED, STEPS_AHEAD,
    UNSEEN_BYTES,
};
use std::vec::Vec;

const MIB: u64 = 1 << 20;

/// One that may have so many mebibytes for nothing.
fn free_up_to(mebibytes: u64) -> Growing {
    let growing = Growing::default();
    assert_eq!(growing.price(mebibytes * MIB, mebibytes * MIB, LEAST_BYTES), 0);
    growing
}

#[test]
fn a_small_heap_grows_for_nothing() {
    let growing = Growing::default();
    assert!(!growing.has_grown(LEAST_BYTES - 1));
    assert!(!growing.has_grown(LEAST_BYTES + LEAST_STEP_BYTES));
    assert!(growing.has_grown(LEAST_BYTES + LEAST_STEP_BYTES + 1));
}

#[test]
fn one_that_is_no_larger_than_ever_pays_nothing() {
    let growing = free_up_to(160);
    assert!(!growing.has_grown(100 * MIB));
    assert!(!growing.has_grown(165 * MIB), "a step is one part in 32");
    assert!(growing.has_grown(165 * MIB + 1));
}

#[test]
fn one_of_which_half_is_in_use_grows_for_nothing() {
    let growing = free_up_to(160);
    assert_eq!(growing.price(180 * MIB, 90 * MIB, 180 * MIB), 0);
    assert!(!growing.has_grown(180 * MIB), "so much it has had");
}

#[test]
fn one_of_which_most_is_free_pays_what_it_grew_by_and_some_more() {
    let growing = free_up_to(64);
    let ahead = STEPS_AHEAD * 2;
    assert_eq!(growing.price(69 * MIB, 10 * MIB, 69 * MIB), (5 + ahead) * MIB);
    assert_eq!(growing.price(69 * MIB, 34 * MIB, 69 * MIB), (1 + ahead) * MIB);
    assert!(growing.has_grown(69 * MIB), "until it has paid");
    let large = free_up_to(64 << 10);
    assert_eq!(large.price(70 << 30, 10 << 30, 70 << 30), MOST_BYTES);
}

#[test]
fn what_could_not_be_paid_is_had_for_nothing() {
    let growing = free_up_to(64);
    growing.note_paid(69 * MIB);
    assert!(!growing.has_grown(69 * MIB));
}

#[test]
fn who_pays_again_and_again_may_have_more() {
    let growing = free_up_to(64);
    for _ in 0..LEARNT_SHARE {
        growing.note_paid(60 * MIB);
    }
    assert!(!growing.has_grown(68 * MIB), "a step more");
    assert!(growing.has_grown(69 * MIB));
}

#[test]
fn nobody_pays_for_what_was_there_before_anybody_looked() {
    let growing = free_up_to(64);
    let peak = (64 + 4) * MIB + UNSEEN_BYTES + 1;
    assert_ne!(growing.price(70 * MIB, 10 * MIB, peak - 1), 0);
    let growing = free_up_to(64);
    assert_eq!(growing.price(68 * MIB, 10 * MIB, peak), 0);
    assert!(!growing.has_grown(peak));
}

#[test]
fn what_was_paid_for_was_not_there_before_anybody_looked() {
    let growing = free_up_to(64);
    assert_ne!(growing.price(80 * MIB, 10 * MIB, 80 * MIB), 0, "that is growth");
    growing.note_paid(60 * MIB);
    assert_ne!(growing.price(69 * MIB, 10 * MIB, 80 * MIB), 0, "and so is the next");
    assert_eq!(growing.price(69 * MIB, 10 * MIB, 80 * MIB + UNSEEN_BYTES + 1), 0);
}

#[test]
fn caches_of_many_cpus_are_emptied_in_turn() {
    let growing = Growing::default();
    let turn = |ids, full: fn(u32) -> bool| growing.whose_turn(ids, full).collect::<Vec<_>>();
    let ids = 2 * MOST_EMPTIED as u32 + 1;
    let [first, second] = [(); 2].map(|()| turn(ids, |_| true));
    assert_eq!((first[0], first.len()), (0, MOST_EMPTIED));
    assert_eq!((second[0], second.len()), (MOST_EMPTIED as u32, MOST_EMPTIED));
    assert_eq!(turn(ids, |_| true)[..2], [ids - 1, 0], "the last, and from the first again");
    assert_eq!(turn(ids, |id| id == 3), [3], "those that hold enough");
    assert!(turn(ids, |_| false).is_empty());
    assert_eq!(turn(2, |_| true), [0, 1], "each once, however many there were before");
}
