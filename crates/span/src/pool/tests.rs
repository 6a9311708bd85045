use super::*;
use std::{collections::BTreeSet, vec::Vec};
use strata_os::{FailingPages, Fault, SystemPages};

/// Two words and a bit.
struct Item {
    words: [u64; 3],
}

// SAFETY: 1. zeros are numbers. 2. No drop; three words are larger than a pointer, and aligned as
// one.
unsafe impl PoolItem for Item {
    const KIND: MetadataKind = MetadataKind::Other;
}

#[test]
fn an_item_is_zeroed_even_when_it_was_used_before() {
    let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), Pool::<Item>::new());
    for round in 0..3 {
        let mut item = pool.allocate(&arena, &source).expect("memory");
        // SAFETY: the pool gave it to us alone.
        let words = unsafe { item.as_mut() };
        assert_eq!(words.words, [0; 3], "round {round}");
        words.words = [u64::MAX; 3];
        // SAFETY: it came from the pool, and nobody uses it any more.
        unsafe { pool.deallocate(item) };
    }
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.created, stats.item_bytes), (0, 1, 24));
}

#[test]
fn items_that_are_out_are_apart_and_counted() {
    let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), Pool::<Item>::new());
    let mut out = Vec::new();
    let mut number = 1u64;
    for _ in 0..2000 {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if number >> 62 < 3 || out.is_empty() {
            out.push(pool.allocate(&arena, &source).expect("memory"));
        } else {
            let index = usize::try_from(number >> 32).unwrap_or(0) % out.len();
            // SAFETY: it came from the pool, and is forgotten here.
            unsafe { pool.deallocate(out.swap_remove(index)) };
        }
        assert_eq!(pool.stats().in_use, out.len() as u64);
    }
    let apart: BTreeSet<_> = out.iter().collect();
    assert_eq!(apart.len(), out.len());
}

#[test]
fn items_come_back_when_there_is_no_memory_for_new_ones() {
    let arena = MetadataArena::new();
    let (source, pool) = (FailingPages::new(SystemPages::new()), Pool::<Item>::new());
    source.arm(Fault::always());
    assert!(pool.allocate(&arena, &source).is_none());
    assert_eq!(pool.stats().created, 0);
    source.disarm();
    let item = pool.allocate(&arena, &source).expect("memory");
    source.arm(Fault::always());
    // SAFETY: it came from the pool, and nobody uses it.
    unsafe { pool.deallocate(item) };
    assert_eq!(pool.allocate(&arena, &source), Some(item));
}
