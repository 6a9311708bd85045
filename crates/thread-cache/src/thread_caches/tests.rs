use super::*;
use std::vec::Vec;
use strata_size_classes::Pages8K;

fn caches<const N: usize>() -> [ThreadCache<Pages8K>; N] {
    core::array::from_fn(|_| ThreadCache::new())
}

fn claimed(caches: &ThreadCaches<Pages8K>) -> u64 {
    let mut sum = 0;
    caches.for_each(|cache| sum += cache.max_bytes());
    assert_eq!(sum, caches.stats().claimed_bytes);
    sum
}

#[test]
fn claims_grow_up_to_the_limit_and_then_move() {
    let all = ThreadCaches::new();
    let [one, other] = caches();
    // SAFETY: both stay here until they left.
    unsafe { all.enter(&one) };
    // SAFETY: both stay here until they left.
    unsafe { all.enter(&other) };
    for _ in 0..10_000 {
        all.raise_limit(&one);
        assert!(claimed(&all) <= DEFAULT_LIMIT_BYTES);
    }
    assert_eq!(one.max_bytes(), DEFAULT_LIMIT_BYTES - LEAST_BYTES);
    assert_eq!(other.max_bytes(), LEAST_BYTES);
    all.raise_limit(&other);
    assert_eq!(other.max_bytes(), LEAST_BYTES + STOLEN_BYTES);
    assert_eq!(one.max_bytes(), DEFAULT_LIMIT_BYTES - LEAST_BYTES - STOLEN_BYTES);
    // SAFETY: it entered above.
    unsafe { all.leave(&one) };
    assert_eq!(claimed(&all), LEAST_BYTES + STOLEN_BYTES);
    // SAFETY: it entered above.
    unsafe { all.leave(&other) };
    assert_eq!(all.stats().claimed_bytes, 0);
}

#[test]
fn each_of_many_caches_has_its_least_whatever_the_limit() {
    let all = ThreadCaches::new();
    let many = caches::<100>();
    for cache in &many {
        // SAFETY: it stays here until it left.
        unsafe { all.enter(cache) };
    }
    all.set_limit(0);
    assert_eq!(all.limit_bytes(), LEAST_BYTES);
    for cache in &many {
        all.raise_limit(cache);
        assert_eq!(cache.max_bytes(), LEAST_BYTES);
    }
    for cache in &many {
        // SAFETY: it entered above.
        unsafe { all.leave(cache) };
    }
}

#[test]
fn a_lower_limit_takes_from_those_above_their_share() {
    let all = ThreadCaches::new();
    let [small, big] = caches();
    // SAFETY: both stay here until they left.
    unsafe { all.enter(&small) };
    // SAFETY: both stay here until they left.
    unsafe { all.enter(&big) };
    for _ in 0..100 {
        all.raise_limit(&big);
    }
    all.set_limit(4 << 20);
    assert_eq!((small.max_bytes(), big.max_bytes()), (LEAST_BYTES, 2 << 20));
    assert!(claimed(&all) <= 4 << 20);
    all.set_limit(u64::MAX);
    assert_eq!(all.limit_bytes(), i64::MAX as u64);
    all.raise_limit(&small);
    assert_eq!(small.max_bytes(), LEAST_BYTES + STOLEN_BYTES);
    // SAFETY: both entered above.
    unsafe { all.leave(&big) };
    // SAFETY: both entered above.
    unsafe { all.leave(&small) };
}

#[test]
fn a_cache_that_left_claims_nothing_and_may_enter_again() {
    let all = ThreadCaches::new();
    let [one] = caches();
    all.raise_limit(&one);
    assert_eq!(one.max_bytes(), 0);
    for _ in 0..3 {
        // SAFETY: it stays here until it left.
        unsafe { all.enter(&one) };
        all.raise_limit(&one);
        // SAFETY: it entered above.
        unsafe { all.leave(&one) };
        assert_eq!((one.max_bytes(), claimed(&all)), (0, 0));
    }
}

#[test]
fn caches_may_leave_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let all = ThreadCaches::new();
        let three = caches::<3>();
        for cache in &three {
            // SAFETY: it stays here until it left.
            unsafe { all.enter(cache) };
        }
        let mut left: Vec<_> = three.iter().map(core::ptr::from_ref).collect();
        for index in order {
            // The cursor stands on each of them in turn.
            all.set_limit(LEAST_BYTES);
            all.raise_limit(&three[(index + 1) % 3]);
            // SAFETY: it entered above.
            unsafe { all.leave(&three[index]) };
            left.retain(|&cache| !core::ptr::eq(cache, &three[index]));
            let mut seen = Vec::new();
            all.for_each(|cache| seen.push(core::ptr::from_ref(cache)));
            seen.reverse();
            assert_eq!(seen, left);
        }
    }
}
