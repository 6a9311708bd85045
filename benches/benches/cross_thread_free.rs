//! What does a block cost that one thread allocates and another frees?

use core::alloc::GlobalAlloc;
use core::time::Duration;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use strata_benches::{Block, STRATA, SYSTEM};

/// Blocks that change hands at once: the cost of the channel is shared by as many.
const PARCEL: usize = 512;

fn parcels<A: GlobalAlloc + Sync>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    allocator: &A,
) {
    group.throughput(Throughput::Elements(PARCEL as u64));
    for bytes in [64, 1024] {
        group.bench_with_input(BenchmarkId::new(name, bytes), &bytes, |bencher, &bytes| {
            bencher.iter_custom(|parcels| hand_over(allocator, bytes, parcels));
        });
    }
}

/// The time in which `parcels` parcels are allocated here and freed there.
fn hand_over<A: GlobalAlloc + Sync>(allocator: &A, bytes: usize, parcels: u64) -> Duration {
    let (full, arriving) = mpsc::sync_channel::<Vec<Block<'_, A>>>(4);
    let (empty, returning) = mpsc::sync_channel(6);
    (0..6).for_each(|_| drop(empty.send(Vec::with_capacity(PARCEL))));
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            for mut parcel in arriving {
                parcel.clear();
                // The producer has stopped once it has sent its last parcel.
                let _ = empty.try_send(parcel);
            }
        });
        for _ in 0..parcels {
            let mut parcel = returning.recv().unwrap_or_default();
            parcel.extend((0..PARCEL).map(|_| Block::new(allocator, bytes)));
            let _ = full.send(parcel);
        }
        drop(full);
    });
    started.elapsed()
}

fn cross_thread_free(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cross-thread free");
    parcels(&mut group, "strata", &STRATA);
    parcels(&mut group, "system", &SYSTEM);
    group.finish();
}

criterion_group!(benches, cross_thread_free);
criterion_main!(benches);
