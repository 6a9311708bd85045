use super::{LARGE_BYTES_PER_LOOK, Looks, MISSES_AT_REST, MISSES_PER_LOOK};
use core::sync::atomic::Ordering;

/// How many misses pass until one looks.
fn misses_until_a_look(looks: &Looks) -> u32 {
    (0..).take_while(|_| !looks.note_miss()).count() as u32
}

#[test]
fn each_64th_miss_looks_and_at_rest_one_of_the_next_few() {
    for misses in 0..3 * MISSES_PER_LOOK {
        let looks = Looks::new();
        looks.misses.store(misses, Ordering::Relaxed);
        looks.come_to_rest();
        assert!(misses_until_a_look(&looks) <= MISSES_AT_REST, "after {misses}");
        assert_eq!(misses_until_a_look(&looks), MISSES_PER_LOOK - 1);
    }
}

#[test]
fn a_heap_that_comes_to_rest_where_the_count_of_misses_begins_anew_is_roused_too() {
    for below in 0..2 * MISSES_PER_LOOK {
        let looks = Looks::new();
        looks.misses.store(u32::MAX - below, Ordering::Relaxed);
        looks.come_to_rest();
        assert!(misses_until_a_look(&looks) <= MISSES_AT_REST, "{below} below");
    }
}

#[test]
fn at_rest_the_next_large_block_looks_however_small() {
    let looks = Looks::new();
    assert!(!looks.note_large(300_000));
    for _ in 0..3 {
        looks.come_to_rest();
        assert!(looks.note_large(300_000));
        assert!(!looks.note_large(300_000), "the one after that is not told of before its time");
    }
    assert!(looks.note_large(LARGE_BYTES_PER_LOOK as usize));
}
