//! What do an allocation and its free cost when nothing else happens?

use core::alloc::GlobalAlloc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use strata_benches::{Block, STRATA, SYSTEM};

fn pairs<A: GlobalAlloc>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, allocator: &A) {
    for bytes in [8, 64, 256, 1024, 8192, 65_536, 262_144] {
        group.bench_with_input(BenchmarkId::new(name, bytes), &bytes, |bencher, &bytes| {
            bencher.iter(|| drop(Block::new(allocator, bytes)));
        });
    }
}

fn pair(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    pairs(&mut group, "strata", &STRATA);
    pairs(&mut group, "system", &SYSTEM);
    group.finish();
}

criterion_group!(benches, pair);
criterion_main!(benches);
