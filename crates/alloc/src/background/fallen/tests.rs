use super::{Fallen, GROWN_BYTES, LONGEST_PAUSE_NS, PAUSE_NS};

const MIB: u64 = 1 << 20;
const NOW_NS: u64 = 1_000_000_000_000;

#[test]
fn a_heap_falls_when_a_quarter_of_what_was_much_is_in_use() {
    for (in_use, backed, falls) in
        [(8, 32, true), (9, 32, false), (0, 31, false), (25, 100, true), (26, 100, false)]
    {
        let fallen = Fallen::default();
        assert_eq!(fallen.falls(in_use * MIB, backed * MIB, NOW_NS), falls, "{in_use} of {backed}");
    }
}

#[test]
fn it_falls_on_whatever_is_left_behind_it() {
    let fallen = Fallen::default();
    assert!(fallen.falls(25 * MIB, 100 * MIB, NOW_NS));
    fallen.note(25 * MIB);
    assert!(fallen.falls(20 * MIB, 40 * MIB, NOW_NS), "half is in use, of what has gone already");
    assert_eq!(fallen.note(20 * MIB), 5 * MIB + 1);
    assert!(fallen.falls(0, MIB, NOW_NS));
}

#[test]
fn one_that_grows_is_left_alone_for_twice_as_long_each_time() {
    let fallen = Fallen::default();
    let (mut now_ns, mut pause_ns) = (NOW_NS, PAUSE_NS);
    for _ in 0..10 {
        assert!(fallen.falls(MIB, 100 * MIB, now_ns));
        fallen.note(MIB);
        assert!(fallen.falls(2 * MIB + GROWN_BYTES, 100 * MIB, now_ns), "that is not much");
        assert!(!fallen.falls(100 * MIB, 100 * MIB, now_ns), "it has grown");
        assert!(!fallen.falls(MIB, 100 * MIB, now_ns + pause_ns - 1), "after {pause_ns} ns");
        now_ns += pause_ns;
        pause_ns = (2 * pause_ns).min(LONGEST_PAUSE_NS);
    }
}

#[test]
fn caches_are_emptied_at_each_half() {
    let fallen = Fallen::default();
    assert!(fallen.falls(25 * MIB, 100 * MIB, NOW_NS));
    let emptied = [25, 24, 13, 12, 7, 6, 1].map(|in_use| fallen.is_half(in_use * MIB));
    assert_eq!(emptied, [true, false, false, true, false, true, true]);
}
