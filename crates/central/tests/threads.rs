//! Many threads at once: no object is lost or doubled, and the sums are right afterwards.

#![cfg(not(strata_loom))]

use core::sync::atomic::{AtomicBool, Ordering};
use strata_central::MiddleTier;
use strata_os::{MonotonicClock, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_span::Ground;
use strata_sync::Mutex;

/// Objects in nobody's hands, which any thread may free.
type Abandoned = Mutex<Vec<(SizeClass, usize)>>;

#[test]
fn objects_that_pass_between_threads_are_neither_lost_nor_doubled() {
    let ground =
        Ground::<Pages8K, _, _, _>::new(SystemPages::new(), SystemPages::new(), MonotonicClock);
    let pages = LegacyPageHeap::<Pages8K>::EMPTY;
    let tier = MiddleTier::<Pages8K>::new();
    let abandoned = Abandoned::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|number| {
                let (tier, ground, pages, abandoned) = (&tier, &ground, &pages, &abandoned);
                scope.spawn(move || work(number, tier, ground, pages, abandoned))
            })
            .collect();
        scope.spawn(|| {
            let source = tier.with(&ground, &pages);
            while !done.load(Ordering::Relaxed) {
                source.plunder();
                source.resize_round();
                let stats = tier.stats();
                assert_eq!(stats.span_bytes, stats.out_bytes + stats.central_bytes);
                for class in Pages8K::TABLE.classes() {
                    source.drain_transfer(class);
                    let stats = tier.central(class).stats(class);
                    assert_eq!(
                        stats.objects_out + stats.free_objects,
                        stats.spans_in_use * stats.objects_per_span
                    );
                }
            }
        });
        for worker in workers {
            worker.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
    });
    let source = tier.with(&ground, &pages);
    for (class, object) in abandoned.into_inner() {
        // SAFETY: taken from this tier, and abandoned.
        unsafe { source.give(class, &mut [core::ptr::with_exposed_provenance_mut(object)]) };
    }
    source.drain_all_transfers();
    let stats = tier.stats();
    assert_eq!((stats.objects_out, stats.span_bytes), (0, 0));
    assert_eq!(pages.stats().in_use_bytes, 0);
    assert_eq!(tier.object_maps().stats().in_use_bytes, 0);
}

fn work(
    number: u64,
    tier: &MiddleTier<Pages8K>,
    ground: &Ground<Pages8K, SystemPages, SystemPages, MonotonicClock>,
    pages: &LegacyPageHeap<Pages8K>,
    abandoned: &Abandoned,
) {
    let source = tier.with(ground, pages);
    let sizes = [8, 16, 48, 256, 1024, 8192, 40_000];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number + 1);
    for _ in 0..20_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let class = Pages8K::TABLE
            .entry(sizes[(state >> 20) as usize % sizes.len()])
            .expect("a class")
            .class();
        let mut batch = [core::ptr::null_mut::<u8>(); 32];
        let taken = source.take(class, &mut batch[..1 + (state >> 40) as usize % 32]);
        for object in &batch[..taken] {
            // SAFETY: just taken; each class has room for a word.
            unsafe { object.cast::<u64>().write(object.addr() as u64 ^ number) };
        }
        for object in &batch[..taken] {
            // SAFETY: written just now; nobody else has it.
            assert_eq!(unsafe { object.cast::<u64>().read() }, object.addr() as u64 ^ number);
        }
        let mut abandoned = abandoned.lock();
        abandoned.extend(batch[..taken].iter().map(|object| (class, object.expose_provenance())));
        if abandoned.len() > 3000 {
            let rest = abandoned.len() - 200;
            let freed = abandoned.drain(..200 + rest / 8).collect::<Vec<_>>();
            drop(abandoned);
            for (class, object) in freed {
                // SAFETY: taken from this tier, and now this thread's alone.
                unsafe {
                    source.give(class, &mut [core::ptr::with_exposed_provenance_mut(object)])
                };
            }
        }
    }
}
