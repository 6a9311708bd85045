//! What does it cost to replace a random one of many live blocks of 16 to 1024 bytes?

use core::alloc::GlobalAlloc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use strata_benches::{Block, STRATA, SYSTEM};
use strata_workloads::Random;

fn replacements<A: GlobalAlloc>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    allocator: &A,
) {
    for live in [10_000, 500_000] {
        let mut random = Random::new(1);
        let mut blocks: Vec<_> =
            (0..live).map(|_| Block::new(allocator, random.between(16, 1024))).collect();
        group.bench_function(BenchmarkId::new(name, live), |bencher| {
            bencher.iter(|| {
                let (place, bytes) = (random.below(live), random.between(16, 1024));
                if let Some(block) = blocks.get_mut(place) {
                    *block = Block::new(allocator, bytes);
                }
            });
        });
    }
}

fn churn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn");
    replacements(&mut group, "strata", &STRATA);
    replacements(&mut group, "system", &SYSTEM);
    group.finish();
}

criterion_group!(benches, churn);
criterion_main!(benches);
