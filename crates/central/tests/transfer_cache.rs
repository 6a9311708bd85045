//! The transfer cache by itself, and how capacity moves between classes.

#![cfg(not(strata_loom))]

use strata_central::{InsertLimits, MiddleTier, StandardTransfer, TransferCache, TransferPolicy};
use strata_os::{FailingPages, Fault, ManualClock, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_span::Ground;

type World = Ground<Pages8K, SystemPages, FailingPages<SystemPages>, ManualClock>;

fn world() -> World {
    Ground::new(SystemPages::new(), FailingPages::new(SystemPages::new()), ManualClock::new(0))
}

fn class_of(size: usize) -> SizeClass {
    Pages8K::TABLE.entry(size).expect("a class").class()
}

/// Pointers that a transfer cache only keeps.
fn pointers(count: usize) -> Vec<*mut u8> {
    (1..=count).map(|number| core::ptr::without_provenance_mut(number * 16)).collect()
}

#[test]
fn what_is_put_in_last_comes_out_first_across_all_pieces() {
    let world = world();
    for class in Pages8K::TABLE.classes() {
        let info = Pages8K::TABLE.info(class);
        let cache = TransferCache::<StandardTransfer>::new();
        assert_eq!(cache.insert(&world, info, &[], InsertLimits::NONE), 0);
        cache.grow(usize::MAX);
        let capacity = cache.stats().capacity as usize;
        assert_eq!(capacity, (128 * usize::from(info.batch)).min((4 << 20) / info.size as usize));
        let all = pointers(capacity + 3);
        assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), capacity);
        assert_eq!(cache.used(), capacity as u64);
        let mut out = vec![core::ptr::null_mut(); capacity / 2];
        assert_eq!(cache.remove(&mut out), capacity / 2);
        assert_eq!(cache.insert(&world, info, &out, InsertLimits::NONE), capacity / 2);
        let mut out = vec![core::ptr::null_mut(); capacity + 10];
        assert_eq!(cache.remove(&mut out), capacity);
        let mut sorted = out[..capacity].to_vec();
        sorted.sort();
        assert_eq!(sorted, all[..capacity]);
    }
}

/// All capacity from the start, and none added but by rounds of resizing.
struct Fixed;

impl TransferPolicy for Fixed {
    const INITIAL_BYTES: usize = 1 << 20;
    const MAX_BYTES: usize = 1 << 20;
    const GROWS_UP_TO: usize = 0;
}

/// A cache of objects of 1 KiB, and what it holds at first: 128 objects.
fn kilobytes() -> (TransferCache<StandardTransfer>, SizeClass, usize) {
    (TransferCache::new(), class_of(1024), (128 << 10) / 1024)
}

#[test]
fn a_cache_grows_by_what_it_turned_away_and_missed_afterwards() {
    let world = world();
    let (cache, class, initial) = kilobytes();
    let info = Pages8K::TABLE.info(class);
    let all = pointers(300);
    let mut out = vec![core::ptr::null_mut(); 300];
    assert_eq!(cache.remove(&mut out[..100]), 0, "what it never had is no reason to grow");
    assert_eq!(cache.insert(&world, info, &all[..initial + 50], InsertLimits::NONE), initial);
    assert_eq!(
        cache.insert(&world, info, &all[initial..], InsertLimits::NONE),
        0,
        "nobody missed an object"
    );
    assert_eq!(cache.remove(&mut out[..initial + 70]), initial);
    assert_eq!(cache.stats().capacity, initial as u64, "it grows when the room is needed");
    assert_eq!(cache.insert(&world, info, &all[..initial + 20], InsertLimits::NONE), initial + 20);
    assert_eq!(
        cache.insert(&world, info, &all[initial + 20..], InsertLimits::NONE),
        50,
        "70 were missed"
    );
    assert_eq!(cache.stats().capacity, initial as u64 + 70);
    assert_eq!(cache.insert(&world, info, &all[..1], InsertLimits::NONE), 0, "each of them once");
    assert_eq!(cache.remove(&mut out), initial + 70);
    assert_eq!(
        cache.insert(&world, info, &pointers(2000), InsertLimits::NONE),
        300,
        "as many as were wanted"
    );
}

#[test]
fn a_cache_does_not_grow_by_what_was_turned_away_long_ago() {
    let world = world();
    let (cache, class, initial) = kilobytes();
    let info = Pages8K::TABLE.info(class);
    let all = pointers(300);
    let mut out = vec![core::ptr::null_mut(); 300];
    assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), initial);
    cache.end_plunder();
    assert_eq!(cache.remove(&mut out), initial);
    assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), initial);
    // What was turned away now and missed: the same, once a period has ended before there is need for it.
    assert_eq!(cache.remove(&mut out), initial);
    cache.end_plunder();
    assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), initial);
}

#[test]
fn a_cache_that_misses_never_grows_beyond_its_greatest_capacity() {
    let world = world();
    let (cache, class, _) = kilobytes();
    let info = Pages8K::TABLE.info(class);
    let all = pointers(9000);
    let mut out = vec![core::ptr::null_mut(); 9000];
    for _ in 0..3 {
        cache.insert(&world, info, &all, InsertLimits::NONE);
        cache.remove(&mut out);
    }
    assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), 4096);
    let stats = cache.stats();
    assert_eq!((stats.capacity, stats.max_capacity), (4096, 4096));
}

#[test]
fn a_partial_hit_is_a_miss_and_counts_what_was_missing() {
    let world = world();
    let info = Pages8K::TABLE.info(class_of(100_000));
    let cache = TransferCache::<Fixed>::new();
    let all = pointers(12);
    let fixed = InsertLimits { grows_to: 0, ..InsertLimits::NONE };
    assert_eq!(cache.insert(&world, info, &all[..4], fixed), 4);
    assert_eq!(cache.insert(&world, info, &all[4..], fixed), 6);
    let mut out = [core::ptr::null_mut(); 8];
    assert_eq!(cache.remove(&mut out), 8);
    assert_eq!(cache.remove(&mut out), 2);
    assert_eq!(cache.remove(&mut out), 0);
    let stats = cache.stats();
    assert_eq!((stats.insert_hits, stats.insert_misses, stats.insert_object_misses), (1, 1, 2));
    assert_eq!((stats.remove_hits, stats.remove_misses, stats.remove_object_misses), (1, 2, 14));
    assert_eq!((stats.used, stats.capacity, stats.max_capacity), (0, 10, 10));
}

#[test]
fn without_metadata_nothing_goes_in_and_nothing_breaks() {
    let world = world();
    world.metadata.arm(Fault::always());
    let info = Pages8K::TABLE.info(class_of(64));
    let cache = TransferCache::<StandardTransfer>::new();
    assert_eq!(cache.insert(&world, info, &pointers(5), InsertLimits::NONE), 0);
    world.metadata.disarm();
    assert_eq!(cache.insert(&world, info, &pointers(5), InsertLimits::NONE), 5);
}

#[test]
fn shrinking_hands_out_what_does_not_fit_any_more_the_oldest_first() {
    let world = world();
    let info = Pages8K::TABLE.info(class_of(64));
    let cache = TransferCache::<StandardTransfer>::new();
    let all = pointers(512);
    assert_eq!(cache.insert(&world, info, &all, InsertLimits::NONE), 512);
    let mut excess = [core::ptr::null_mut(); 128];
    assert_eq!(cache.shrink(32, &mut excess), (32, 32));
    assert_eq!(excess[..32], all[..32]);
    let mut short = [core::ptr::null_mut(); 5];
    assert_eq!(cache.shrink(32, &mut short), (5, 5));
    assert_eq!(cache.stats().capacity, 475);
    let mut out = vec![core::ptr::null_mut(); 475];
    assert_eq!(cache.remove(&mut out), 475);
    out.sort();
    assert_eq!(out, all[37..]);
    assert_eq!(cache.shrink(32, &mut short), (32, 0));
}

#[test]
fn plunder_takes_what_nobody_wanted_and_no_more() {
    let world = world();
    let info = Pages8K::TABLE.info(class_of(64));
    let cache = TransferCache::<StandardTransfer>::new();
    let all = pointers(100);
    cache.insert(&world, info, &all, InsertLimits::NONE);
    let mut out = [core::ptr::null_mut(); 128];
    assert_eq!(cache.plunder(&mut out), 0, "the period begins with an empty cache");
    cache.end_plunder();
    let mut used = [core::ptr::null_mut(); 70];
    cache.remove(&mut used);
    cache.insert(&world, info, &used, InsertLimits::NONE);
    assert_eq!(cache.plunder(&mut out), 30);
    assert_eq!(out[..30], all[..30]);
    assert_eq!(cache.plunder(&mut out), 0);
    assert_eq!(cache.used(), 70);
}

#[test]
fn a_cache_grows_and_holds_no_more_than_the_one_who_inserts_allows() {
    let world = world();
    let info = Pages8K::TABLE.info(class_of(1024));
    let (cache, _, initial) = kilobytes();
    let all = pointers(400);
    let mut out = vec![core::ptr::null_mut(); 400];
    cache.insert(&world, info, &all, InsertLimits::NONE);
    assert_eq!(cache.remove(&mut out), initial);
    let grows = InsertLimits { grows_to: initial + 10, ..InsertLimits::NONE };
    assert_eq!(cache.insert(&world, info, &all, grows), initial + 10, "272 were missed");
    assert_eq!(cache.remove(&mut out[..20]), 20);
    let holds = InsertLimits { holds: initial, earns_to: initial, ..InsertLimits::NONE };
    assert_eq!(cache.insert(&world, info, &all[..15], holds), 10);
    assert_eq!(cache.insert(&world, info, &all[..15], holds), 0);
    assert_eq!(cache.used(), initial as u64);
}

/// Takes `count` objects out, and puts as many back within `limits`; says how many stay.
fn turn(world: &World, cache: &TransferCache, count: usize, limits: InsertLimits) -> u64 {
    let info = Pages8K::TABLE.info(class_of(16 << 10));
    cache.remove(&mut vec![core::ptr::null_mut(); count]);
    cache.insert(world, info, &pointers(count), limits);
    cache.used()
}

#[test]
fn a_cache_that_is_to_hold_nothing_is_filled_with_what_it_turned_away_and_missed() {
    let (world, cache) = (world(), TransferCache::new());
    let limits = InsertLimits { holds: 0, earns_to: 50, grows_to: 50 };
    assert_eq!(turn(&world, &cache, 20, limits), 0, "nobody missed one that was turned away");
    assert_eq!(turn(&world, &cache, 20, limits), 20);
    assert_eq!(turn(&world, &cache, 100, limits), 20, "80 are turned away now");
    assert_eq!(turn(&world, &cache, 100, limits), 50);
    assert_eq!(turn(&world, &cache, 100, limits), 50, "no more than the limit");

    // What nobody wanted for a period is not earned any more.
    cache.end_plunder();
    assert_eq!(turn(&world, &cache, 20, limits), 50);
    assert_eq!(cache.plunder(&mut [core::ptr::null_mut(); 128]), 30);
    cache.end_plunder();
    assert_eq!(turn(&world, &cache, 50, limits), 20);

    // Nor what was drained.
    cache.drain(&mut [core::ptr::null_mut(); 128]);
    assert_eq!(turn(&world, &cache, 20, limits), 0);
}

/// Bytes that all transfer caches may hold, the spare ones included.
fn capacity_bytes<T: TransferPolicy>(tier: &MiddleTier<Pages8K, T>) -> u64 {
    let classes = Pages8K::TABLE.classes();
    let given: u64 = classes
        .map(|class| tier.class_stats(class))
        .map(|stats| stats.transfer.capacity * stats.object_bytes)
        .sum();
    given + tier.stats().spare_capacity_bytes
}

#[test]
fn capacity_moves_to_those_who_miss_and_its_sum_stays() {
    let world = world();
    let pages = LegacyPageHeap::<Pages8K>::EMPTY;
    let tier = MiddleTier::<Pages8K, Fixed>::new();
    let source = tier.with(&world, &pages);
    let mut batch = [core::ptr::null_mut(); 32];
    // All classes have a use once, so that all have a capacity.
    for class in Pages8K::TABLE.classes() {
        let taken = source.take(class, &mut batch);
        // SAFETY: just taken.
        unsafe { source.give(class, &mut batch[..taken]) };
    }
    source.resize_round();
    let before = capacity_bytes(&tier);
    let wanted = class_of(256);
    let start = tier.class_stats(wanted).transfer.capacity;
    for _ in 0..200 {
        let mut many = vec![core::ptr::null_mut(); 4096];
        assert_eq!(source.take(wanted, &mut many), 4096);
        for batch in many.chunks_mut(32) {
            // SAFETY: just taken.
            unsafe { source.give(wanted, batch) };
        }
        source.resize_round();
        assert_eq!(capacity_bytes(&tier), before);
    }
    let stats = tier.class_stats(wanted).transfer;
    assert!(stats.capacity > start, "it missed and gained nothing");
    assert_eq!(stats.capacity, stats.max_capacity);
    source.drain_all_transfers();
    assert_eq!(pages.stats().in_use_bytes, 0);
}

#[test]
fn no_class_gains_where_none_misses() {
    let world = world();
    let pages = LegacyPageHeap::<Pages8K>::EMPTY;
    let tier = MiddleTier::<Pages8K>::new();
    let source = tier.with(&world, &pages);
    assert_eq!(source.resize_round(), 0);
    assert_eq!(source.plunder(), 0);
    assert_eq!(tier.stats().spare_capacity_bytes, 0);
}

#[test]
fn what_lies_unused_for_a_period_goes_back_to_the_page_heap() {
    let world = world();
    let pages = LegacyPageHeap::<Pages8K>::EMPTY;
    let tier = MiddleTier::<Pages8K>::new();
    let source = tier.with(&world, &pages);
    let class = class_of(1000);
    let mut batch = vec![core::ptr::null_mut(); 500];
    let taken = source.take(class, &mut batch);
    for part in batch[..taken].chunks_mut(32) {
        // SAFETY: just taken.
        unsafe { source.give(class, part) };
    }
    assert_eq!(source.plunder(), 0);
    assert!(pages.stats().in_use_bytes > 0);
    assert!(source.plunder() > 0);
    assert_eq!(pages.stats().in_use_bytes, 0);
    assert_eq!(tier.stats().transfer_bytes, 0);
}
