use super::LockStats;

const ONE: LockStats = LockStats {
    operations: 1,
    spin_acquisitions: 2,
    waits: 3,
    max_waiting_threads: 4,
    owner_switches: 5,
    total_wait_ns: 6,
    max_wait_ns: 7,
};
const OTHER: LockStats = LockStats {
    operations: 10,
    spin_acquisitions: 20,
    waits: 30,
    max_waiting_threads: 2,
    owner_switches: 50,
    total_wait_ns: 60,
    max_wait_ns: 5,
};

#[test]
fn counts_add_up_and_maxima_are_the_larger_one() {
    let both = LockStats {
        operations: 11,
        spin_acquisitions: 22,
        waits: 33,
        max_waiting_threads: 4,
        owner_switches: 55,
        total_wait_ns: 66,
        max_wait_ns: 7,
    };
    assert_eq!(ONE.merge(OTHER), both);
    assert_eq!(OTHER.merge(ONE), both);
    assert_eq!([ONE, OTHER, LockStats::ZERO].into_iter().sum::<LockStats>(), both);
}

#[test]
fn the_sum_over_no_lock_is_zero() {
    assert_eq!(core::iter::empty::<LockStats>().sum::<LockStats>(), LockStats::default());
    assert_eq!(LockStats::default(), LockStats::ZERO);
}

#[test]
fn a_count_that_overflows_stays_at_its_top() {
    let full = LockStats { operations: u64::MAX, total_wait_ns: u64::MAX, ..LockStats::ZERO };
    assert_eq!(full.merge(ONE).operations, u64::MAX);
    assert_eq!(full.merge(ONE).total_wait_ns, u64::MAX);
}
