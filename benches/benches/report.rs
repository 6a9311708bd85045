//! How fast are reports written? (What is asked for is 200 MB a second.)

use core::fmt;
use core::hint::black_box;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strata_alloc::{Config, Heap};
use strata_page_heap::PageHeap as _;
use strata_stats::{BoundedText, Details, Dialect, Snapshot, render};

/// A heap in which all sections have something to tell.
fn used() -> Heap {
    let heap: Heap = Heap::with(Config::DEFAULT);
    for round in 0..20_000usize {
        let block = heap.allocate(round * 131 % 400_000);
        if round % 3 != 0 {
            // SAFETY: the block is ours and nobody uses it.
            unsafe { heap.deallocate(block) };
        }
    }
    heap
}

fn reports(criterion: &mut Criterion) {
    let heap = used();
    let core = heap.core().expect("it was used");
    let (snapshot, details) = (Snapshot::take(core), Details::take(core));
    let page_heap = core.page_heap().figures(core);
    let mut group = criterion.benchmark_group("report");
    for dialect in Dialect::ALL {
        let mut buffer = vec![0; 4 << 20];
        let write = |buffer: &mut [u8]| -> Result<usize, fmt::Error> {
            let mut text = BoundedText::new(buffer);
            render(dialect, &snapshot, &details, &page_heap, &mut text)?;
            Ok(text.needed())
        };
        let bytes = write(&mut buffer).expect("a bounded text takes all");
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(dialect.name()), |bencher| {
            bencher.iter(|| black_box(write(&mut buffer)));
        });
    }
    group.finish();
}

criterion_group!(benches, reports);
criterion_main!(benches);
