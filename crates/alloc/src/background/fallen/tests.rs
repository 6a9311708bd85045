use super::{
    Fallen, GROWN_MOST_BYTES, LASTED_NS, LEAST_BYTES, LONGEST_FIRST_PAUSE_NS, MOST_DOUBLINGS,
    SOON_NS,
};

const MIB: u64 = 1 << 20;
const NOW_NS: u64 = 1_000_000_000_000;

/// One that fell from `backed` bytes, which it had for long enough.
fn fallen_from(backed: u64) -> Fallen {
    let fallen = Fallen::default();
    assert!(fallen.may_begin(backed, false, NOW_NS - LASTED_NS));
    assert!(fallen.begin(backed, NOW_NS));
    fallen
}

#[test]
fn a_heap_that_has_little_does_not_fall() {
    let fallen = Fallen::default();
    assert!(!fallen.may_begin(LEAST_BYTES - 1, false, NOW_NS));
    assert!(fallen.may_begin(LEAST_BYTES, false, NOW_NS));
}

#[test]
fn what_goes_is_the_less_the_shorter_it_was_there() {
    for (lasted_ns, mebibytes) in [
        (LASTED_NS / 1000, None),
        (LASTED_NS / 10, Some(10)),
        (LASTED_NS, Some(100)),
        (u64::MAX / 2, Some(100)),
    ] {
        let fallen = Fallen::default();
        assert!(fallen.may_begin(100 * MIB, false, NOW_NS));
        let falls = fallen.begin(100 * MIB, NOW_NS + lasted_ns);
        let allowance = falls.then(|| fallen.left().div_ceil(MIB));
        assert_eq!(allowance, mebibytes, "after {lasted_ns} ns");
    }
}

#[test]
fn what_is_low_while_it_is_left_alone_is_not_there() {
    let fallen = fallen_from(4 * MIB);
    fallen.end(NOW_NS);
    assert!(fallen.may_begin(4 * MIB, false, NOW_NS), "nothing went");
    fallen.next_ns.store(NOW_NS + LASTED_NS, super::Ordering::Relaxed);
    assert!(!fallen.may_begin(4 * MIB, true, NOW_NS + LASTED_NS - 1));
    assert!(fallen.may_begin(4 * MIB, true, NOW_NS + LASTED_NS));
    assert!(!fallen.begin(4 * MIB, NOW_NS + LASTED_NS));
}

#[test]
fn it_falls_until_it_grows() {
    let fallen = fallen_from(100 * MIB);
    assert_eq!(fallen.note(10 * MIB), 0, "nobody knows what was freed before the first look");
    assert_eq!(fallen.note(4 * MIB), 6 * MIB);
    assert_eq!(fallen.note(5 * MIB), 0);
    assert!(fallen.goes_on(8 * MIB + GROWN_MOST_BYTES, NOW_NS), "that is not much");
    assert!(fallen.is_falling());
    assert!(!fallen.goes_on(9 * MIB + GROWN_MOST_BYTES, NOW_NS));
    assert!(!fallen.is_falling());
}

#[test]
fn one_that_grows_is_left_alone_for_twice_as_long_each_time() {
    let fallen = Fallen::default();
    let mut now_ns = NOW_NS;
    for time in 0..10 {
        assert!(fallen.may_begin(100 * MIB, false, now_ns), "time {time}");
        now_ns += LASTED_NS;
        assert!(fallen.begin(100 * MIB, now_ns), "time {time}");
        fallen.note_given(100 * MIB, now_ns);
        fallen.note(0);
        assert!(!fallen.goes_on(100 * MIB, now_ns), "it has grown");
        let pause_ns = LONGEST_FIRST_PAUSE_NS << time.min(MOST_DOUBLINGS);
        assert!(!fallen.may_begin(100 * MIB, false, now_ns + pause_ns - 1), "after {pause_ns} ns");
        now_ns += pause_ns;
    }
}

#[test]
fn what_came_back_soon_has_the_heap_left_alone_for_longer() {
    // (of a second, in milliseconds)
    for (away_ns, pause_ms) in [(0, 500), (SOON_NS - 1, 500), (SOON_NS, 63)] {
        let fallen = fallen_from(2 * MIB);
        fallen.note_given(2 * MIB - 1, NOW_NS);
        fallen.note(0);
        let now_ns = NOW_NS + away_ns;
        assert!(!fallen.goes_on(2 * MIB, now_ns), "it has grown");
        let pause_ns = fallen.next_ns.load(super::Ordering::Relaxed) - now_ns;
        assert_eq!(pause_ns.div_ceil(1_000_000), pause_ms);
    }
}

#[test]
fn one_that_gave_back_what_it_may_is_watched_for_whether_it_grows_and_then_may_fall_again() {
    for grows in [false, true] {
        let fallen = fallen_from(4 * MIB);
        fallen.note_given(fallen.left(), NOW_NS);
        fallen.note(MIB);
        assert!(fallen.goes_on(MIB, NOW_NS + SOON_NS - 1), "whether that comes back is open");
        let in_use = if grows { 4 * MIB } else { MIB };
        assert!(!fallen.goes_on(in_use, NOW_NS + SOON_NS));
        assert!(!fallen.is_falling());
        assert_eq!(fallen.may_begin(4 * MIB, false, NOW_NS + SOON_NS), !grows);
    }
}

#[test]
fn a_look_gives_back_as_large_a_part_as_was_freed() {
    // MiB: free, freed, left in use; given back
    for (free, freed, in_use, given) in [
        (100, 5, 15, 25),
        (100, 0, 15, 12),
        (100, 5, 0, 40),
        (100, 20, 0, 99),
        (10, 0, 1, 4),
        (10_000, 5_000, 5_000, 256),
        (0, 0, 0, 0),
    ] {
        let wanted = super::wanted_bytes(free * MIB, freed * MIB, in_use * MIB) / MIB;
        assert_eq!(wanted, given, "of {free} MiB, after {freed}, with {in_use} in use");
    }
}

#[test]
fn caches_are_emptied_at_each_half_while_there_is_something_in_them() {
    let fallen = fallen_from(100 * MIB);
    let emptied = [25, 24, 13, 12, 7, 6, 1].map(|in_use| fallen.is_half(in_use * MIB));
    assert_eq!(emptied, [true, false, false, true, false, true, true]);
    let emptied = [512, 300, 256, 100, 0].map(|in_use| fallen.is_half(in_use << 10));
    assert_eq!(emptied, [true, false, true, false, false]);
}

#[test]
fn frees_look_again_when_an_eighth_is_gone() {
    let fallen = Fallen::default();
    for (in_use, below) in [(8 * MIB, 7 * MIB), (128 << 10, 64 << 10), (64 << 10, 0), (0, 0)] {
        fallen.look_again(in_use);
        assert_eq!(fallen.look_below_bytes.load(super::Ordering::Relaxed), below);
    }
}
