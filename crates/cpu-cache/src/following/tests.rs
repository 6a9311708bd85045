use super::*;
use crate::loans::tests::{NoObjects, USUAL, state, with_two_used};
use core::sync::atomic::AtomicU32;
use std::{thread, vec::Vec};

/// All limits, of used CPUs and of others.
fn all_limits(cache: &CpuCache) -> i64 {
    let used: i64 = (0..2).map(|id| state(cache, id).limit_bytes()).sum();
    used + cache.unused_limit.load(Ordering::Relaxed)
}

/// From now on caches and program have so many times what four CPUs' usual limits are a quarter of.
fn have(cache: &CpuCache, times: u64) {
    let usual = u64::try_from(USUAL).expect("a size");
    let bytes = times * PROGRAM_SHARE * 4 * usual;
    cache.out_bytes.store(i64::try_from(bytes).expect("bytes"), Ordering::Relaxed);
}

fn usual_limits(cache: &CpuCache) -> i64 {
    cache.usual_limit() / USUAL
}

#[test]
fn a_limit_grows_by_a_step_at_least_and_falls_once_half_of_what_it_was_raised_for_is_gone() {
    let Some(cache) = with_two_used() else { return };
    have(&cache, 8);
    cache.raise_limit_with_program();
    assert_eq!(usual_limits(&cache), 1, "nobody let it");
    cache.let_limit_follow_program();
    // What it is at first is no part of a program that has so little.
    have(&cache, 1);
    cache.raise_limit_with_program();
    assert_eq!(usual_limits(&cache), 1);
    let nearly_two = cache.out_bytes.load(Ordering::Relaxed) * 2 - 64;
    cache.out_bytes.store(nearly_two, Ordering::Relaxed);
    cache.raise_limit_with_program();
    assert_eq!(cache.usual_limit(), USUAL, "less than a step");
    for (times, raised, lowered) in
        [(3, 3, 3), (8, 4, 4), (3, 4, 4), (2, 4, 2), (1, 2, 1), (8, 4, 4), (0, 4, 1), (0, 1, 1)]
    {
        have(&cache, times);
        cache.raise_limit_with_program();
        assert_eq!(usual_limits(&cache), raised, "{times}");
        cache.lower_limit_with_program(&NoObjects);
        assert_eq!(usual_limits(&cache), lowered, "{times}");
        assert_eq!(all_limits(&cache), 4 * cache.usual_limit());
    }
}

/// One thread raises the limit with the program while another sets it, to what it was, to less, or to more: what is set
/// holds, and limits add up.
#[test]
fn a_limit_that_is_set_while_it_grows_with_the_program_holds() {
    const ROUNDS: u32 = 20_000;
    let Some(cache) = with_two_used() else { return };
    have(&cache, 8);
    let (begun, ended) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut wrong = Vec::new();
    let wait_for = |count: &AtomicU32, round| {
        while count.load(Ordering::Acquire) != round {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                wait_for(&begun, round);
                cache.raise_limit_with_program();
                ended.store(round, Ordering::Release);
            }
        });
        for round in 1..=ROUNDS {
            let now = [USUAL, USUAL / 2, 2 * USUAL][round as usize / 2 % 3];
            cache.let_limit_follow_program();
            begun.store(round, Ordering::Release);
            // So that each comes first now and then.
            (0..round % 64).for_each(|_| core::hint::spin_loop());
            // What it is already, too, so that who looked before finds what it saw.
            cache.set_limit(&NoObjects, usize::try_from(now).expect("a size"));
            wait_for(&ended, round);
            let found = (cache.usual_limit(), all_limits(&cache));
            if found != (now, 4 * now) {
                wrong.push((round, now, found));
            }
        }
    });
    assert_eq!(wrong, [], "the round, what was set, and what is");
}
