//! What does a block cost that doubles by realloc, each new half being written?

use core::alloc::GlobalAlloc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use strata_benches::{Block, STRATA, SYSTEM};

fn chains<A: GlobalAlloc>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, allocator: &A) {
    for end in [64 << 10, 4 << 20] {
        group.bench_with_input(BenchmarkId::new(name, end), &end, |bencher, &end| {
            bencher.iter(|| {
                let mut block = Block::new(allocator, 32);
                while block.bytes() < end {
                    let bytes = block.bytes();
                    block.resize(2 * bytes);
                    block.fill_from(bytes);
                }
            });
        });
    }
}

fn realloc_growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("realloc growth");
    chains(&mut group, "strata", &STRATA);
    chains(&mut group, "system", &SYSTEM);
    group.finish();
}

criterion_group!(benches, realloc_growth);
criterion_main!(benches);
