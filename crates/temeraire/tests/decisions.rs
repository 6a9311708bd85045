//! What regions and donation are worth, over memory that does not exist.
//!
//! `cargo test --release --package strata-temeraire --test decisions -- --ignored --nocapture` prints the figures that
//! `docs/notes/page-heaps.md` has; the note says which line to change for the others.

use strata_os::{ManualClock, SimulatedPages, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, HUGEPAGE_BYTES, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

type SimulatedGround = Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>;

const PER_HUGEPAGE: usize = HUGEPAGE_BYTES / Pages8K::BYTES;
const STEPS: usize = 60_000;
const STEPS_A_SECOND: usize = 200;
const MIB: f64 = (1 << 20) as f64;

/// A program that has so many large spans, and small ones for a share of the bytes, each replaced at random.
struct Program {
    name: &'static str,
    large: usize,
    /// Lengths of large spans, in hundredths of a hugepage.
    hundredths: (usize, usize),
    /// Small spans of 1 to 16 pages.
    small: usize,
}

const PROGRAMS: [Program; 4] = [
    // Too little slack for a region.
    Program { name: "20 of 3.1 hugepages", large: 20, hundredths: (310, 311), small: 400 },
    Program { name: "1.05 to 1.95 hugepages", large: 1500, hundredths: (105, 195), small: 6_000 },
    Program { name: "5.1 hugepages", large: 400, hundredths: (510, 511), small: 6_000 },
    Program { name: "5.1 hugepages alone", large: 400, hundredths: (510, 511), small: 0 },
];

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

struct Outcome {
    /// Means over the second half of the run, in MiB.
    in_use: f64,
    free: f64,
    peak_backed: f64,
    system: f64,
    released: f64,
}

fn run<H: PageHeap<Pages8K>>(heap: &H, program: &Program) -> Outcome {
    let ground: SimulatedGround =
        Ground::new(SimulatedPages::new(), SystemPages::new(), ManualClock::new(1 << 50));
    let mut random = Random(11);
    let mut large: Vec<Option<SpanHandle>> = vec![None; program.large];
    let mut small: Vec<Option<SpanHandle>> = vec![None; program.small];
    let replace = |place: &mut Option<SpanHandle>, pages: usize| {
        if let Some(span) = place.take() {
            // SAFETY: the span came from this heap, and the program forgot it.
            unsafe { heap.deallocate(&ground, span) };
        }
        *place = heap.allocate(&ground, SpanRequest::of(PageCount::new(pages)));
    };
    let (mut in_use, mut free, mut samples) = (0.0, 0.0, 0.0);
    for step in 0..STEPS {
        let (low, high) = program.hundredths;
        let pages = (low + random.below(high - low)) * PER_HUGEPAGE / 100;
        let index = random.below(program.large);
        replace(&mut large[index], pages);
        for _ in 0..if program.small > 0 { 4 } else { 0 } {
            let index = random.below(program.small);
            replace(&mut small[index], 1 + random.below(16));
        }
        if step % STEPS_A_SECOND == 0 {
            ground.clock.advance(1_000_000_000);
            heap.release(
                &ground,
                PageCount::new(10 * (1 << 20) / Pages8K::BYTES),
                ReleaseReason::Policy,
            );
            if step >= STEPS / 2 {
                let stats = heap.stats();
                in_use += stats.in_use_bytes as f64 / MIB;
                free += stats.free_bytes as f64 / MIB;
                samples += 1.0;
            }
        }
    }
    let stats = heap.stats();
    Outcome {
        in_use: in_use / samples,
        free: free / samples,
        peak_backed: stats.peak_backed_bytes as f64 / MIB,
        system: stats.system_bytes as f64 / MIB,
        released: stats.released.total() as f64 / MIB,
    }
}

#[test]
#[ignore = "prints figures"]
fn what_large_spans_cost_in_free_memory() {
    println!("MiB: in use, free and backed (share), peak backed, from the system, given back");
    for program in &PROGRAMS {
        let temeraire: Box<HugePageAware<Pages8K>> = Box::new(HugePageAware::EMPTY);
        let legacy: Box<LegacyPageHeap<Pages8K>> = Box::new(LegacyPageHeap::EMPTY);
        for (name, outcome) in
            [("temeraire", run(&*temeraire, program)), ("legacy", run(&*legacy, program))]
        {
            let Outcome { in_use, free, peak_backed, system, released } = outcome;
            let share = 100.0 * free / in_use;
            println!(
                "{:<24} {name:<10} {in_use:>7.0} {free:>7.0} ({share:>4.1} %) {peak_backed:>7.0} {system:>7.0} {released:>8.0}",
                program.name
            );
        }
    }
}
