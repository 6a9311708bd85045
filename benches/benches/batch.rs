//! What does a pair cost when 1000 blocks are allocated before the first is freed?

use core::alloc::GlobalAlloc;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use strata_benches::{Block, STRATA, SYSTEM};

const BLOCKS: usize = 1000;

fn batches<A: GlobalAlloc>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, allocator: &A) {
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for bytes in [16, 64, 256, 1024] {
        let mut live = Vec::with_capacity(BLOCKS);
        group.bench_with_input(BenchmarkId::new(name, bytes), &bytes, |bencher, &bytes| {
            bencher.iter(|| {
                live.extend((0..BLOCKS).map(|_| Block::new(allocator, bytes)));
                live.clear();
            });
        });
    }
}

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    batches(&mut group, "strata", &STRATA);
    batches(&mut group, "system", &SYSTEM);
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
