//! What a span costs from the filler, in heaps up to a tebibyte that do not exist.
//!
//! `cargo test --release --package strata-temeraire --test filler_cost -- --ignored --nocapture` prints the figures that
//! `docs/notes/page-heaps.md` has.

use core::{fmt, hint::black_box};
use std::time::Instant;
use strata_os::{MonotonicClock, SimulatedPages, SystemPages};
use strata_page_heap::{Density, PageHeap, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, HUGEPAGE_BYTES, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

type SimulatedGround = Ground<Pages8K, SimulatedPages, SystemPages, MonotonicClock>;

const PER_HUGEPAGE: usize = HUGEPAGE_BYTES / Pages8K::BYTES;
const GIB: usize = 1 << 30;
/// Spans that come and go at random beside those that stay.
const WINDOW: usize = 1 << 12;
/// Pairs of one batch, and batches.
const PAIRS: usize = 1 << 13;
const BATCHES: usize = 128;

struct Heap {
    ground: SimulatedGround,
    heap: Box<HugePageAware<Pages8K>>,
    seed: u64,
}

impl Heap {
    /// A heap whose hugepages are each filled by two long spans, but for holes of all lengths up to 31 pages.
    fn of(bytes: usize) -> Self {
        let ground = Ground::new(SimulatedPages::new(), SystemPages::new(), MonotonicClock::new());
        let mut heap = Self { ground, heap: Box::new(HugePageAware::new()), seed: 7 };
        let half = PageCount::new(PER_HUGEPAGE / 2);
        for _ in 0..bytes / HUGEPAGE_BYTES {
            // An aligned span lies across no border: else it would begin in the hole before, and there were none.
            heap.request(SpanRequest { align: PageCount::new(2), ..SpanRequest::of(half) });
            let hole = heap.below(32);
            heap.allocate(PER_HUGEPAGE / 2 - hole, Density::Sparse);
        }
        heap
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) as usize % end
    }

    fn allocate(&self, pages: usize, density: Density) -> SpanHandle {
        self.request(SpanRequest { density, ..SpanRequest::of(PageCount::new(pages)) })
    }

    fn request(&self, request: SpanRequest<Pages8K>) -> SpanHandle {
        self.heap.allocate(&self.ground, request).expect("simulated pages do not end")
    }

    fn deallocate(&self, span: SpanHandle) {
        // SAFETY: the test got it from this heap, and uses it no more.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    /// What an allocation and a deallocation take together, of spans of up to `longest` pages: the same one again and
    /// again, and a random one of many.
    fn cost(&mut self, longest: usize, density: Density) -> (Cost, Cost) {
        let same = Cost::of(|| {
            for index in 0..PAIRS {
                self.deallocate(black_box(self.allocate(1 + index % longest, density)));
            }
        });
        let mut live: Vec<_> =
            (0..WINDOW).map(|index| self.allocate(1 + index % longest, density)).collect();
        // Which one and how long it is, thought of before.
        let steps: Vec<_> =
            (0..PAIRS).map(|_| (self.below(WINDOW), 1 + self.below(longest))).collect();
        let random = Cost::of(|| {
            for &(index, pages) in &steps {
                self.deallocate(live[index]);
                live[index] = self.allocate(pages, density);
            }
        });
        live.into_iter().for_each(|span| self.deallocate(span));
        (same, random)
    }
}

/// Nanoseconds of a pair, over many batches: what else runs on the machine shows in the median, not in the least.
struct Cost {
    least: f64,
    median: f64,
}

impl Cost {
    fn of(mut batch: impl FnMut()) -> Self {
        let mut times: Vec<_> = (0..BATCHES)
            .map(|_| {
                let start = Instant::now();
                batch();
                start.elapsed().as_nanos() as f64 / PAIRS as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        Self { least: times[0], median: times[BATCHES / 2] }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.0} ({:>4.0})", self.least, self.median)
    }
}

#[test]
#[ignore = "prints figures: a minute, and 250 MiB for the tebibyte"]
fn what_a_span_costs_in_a_gibibyte_and_in_a_tebibyte() {
    println!("nanoseconds of a pair, the least of {BATCHES} batches (the median)");
    println!("{:>9} {:>27} {:>27} {:>27}", "heap", "1 page, dense", "1 page", "1 to 16 pages");
    println!("{:>9} {}", "", format!("{:>13} {:>13}", "the same", "at random").repeat(3));
    for gibibytes in [0, 1, 32, 1024] {
        let mut heap = Heap::of(gibibytes * GIB);
        print!("{gibibytes:>5} GiB ");
        for (longest, density) in [(1, Density::Dense), (1, Density::Sparse), (16, Density::Sparse)]
        {
            let (same, random) = heap.cost(longest, density);
            print!("{same:>13} {random:>13}");
        }
        println!();
    }
}
