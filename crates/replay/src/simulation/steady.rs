//! A heap of small objects that grows slowly or fast, and then has them replaced.

use strata_os::{ManualClock, SimulatedPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::Pages8K;
use strata_temeraire::HugePageAware;

use super::random::Random;
use crate::{Moment, PageHeapKind, SimulatedHeap, ThreadKind, Unsupported, Upkeep};

/// Sizes of the blocks, in bytes: those of `cargo xtask coverage`.
const LEAST: usize = 64;
const BELOW: usize = 4033;

/// Time between two handfuls of blocks.
const STEP_NS: u64 = 1_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// What is asked of a heap of small objects.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Blocks that live, of 2 KiB in the mean.
    pub blocks: usize,
    /// Seconds in which they come.
    pub grows_s: u64,
    /// Seconds in which they are then replaced at random.
    pub replaces_s: u64,
    /// How many of them are replaced in each second.
    pub replaced: usize,
    /// CPUs, from which calls come in turn.
    pub cpus: u32,
}

/// How such a heap stood.
#[derive(Clone, Copy, Debug)]
pub struct SteadyEnds {
    /// When it had grown.
    pub grown: Moment,
    /// At the end.
    pub replaced: Moment,
}

/// Has a heap grow, and its objects replaced, with the release policy of that page heap.
///
/// # Errors
///
/// Where there are no caches of CPUs.
pub fn steady(page_heap: PageHeapKind, steady: Steady) -> Result<SteadyEnds, Unsupported> {
    match page_heap {
        PageHeapKind::Temeraire => run::<HugePageAware<Pages8K>>(page_heap, steady),
        PageHeapKind::Legacy => run::<LegacyPageHeap<Pages8K>>(page_heap, steady),
    }
}

fn run<H: PageHeap<Pages8K>>(
    kind: PageHeapKind,
    steady: Steady,
) -> Result<SteadyEnds, Unsupported> {
    let pages = SimulatedPages::new().with_faults();
    let clock = ManualClock::new(0);
    let upkeep = Upkeep { policy: kind.policy(), thread: ThreadKind::Auto };
    let mut heap = SimulatedHeap::<Pages8K, H>::new(&pages, &clock, steady.cpus, upkeep)?;
    let mut random = Random::new();
    let mut blocks = Vec::with_capacity(steady.blocks);
    let mut now_ns = 0;
    let mut calls = 0;
    let mut allocate = |heap: &mut SimulatedHeap<'_, Pages8K, H>, random: &mut Random| {
        let size = LEAST + random.below(BELOW - LEAST);
        calls += 1;
        let address = heap.allocate(calls % steady.cpus.max(1), size, 1);
        (address.expect("there is address space for it"), size)
    };
    let steps = |seconds: u64| (seconds * SECOND_NS / STEP_NS).max(1);
    for step in 1..=steps(steady.grows_s) {
        let until = steady.blocks as u64 * step / steps(steady.grows_s);
        while (blocks.len() as u64) < until {
            blocks.push(allocate(&mut heap, &mut random));
        }
        now_ns += STEP_NS;
        heap.pass_to(now_ns);
    }
    let grown = heap.moment(now_ns / 1000);
    let mut replaced = 0;
    for step in 1..=steps(steady.replaces_s) {
        let until = steady.replaced as u64 * steady.replaces_s * step / steps(steady.replaces_s);
        while replaced < until {
            let place = random.below(blocks.len());
            if let Some(slot) = blocks.get_mut(place) {
                let (address, size) = core::mem::replace(slot, allocate(&mut heap, &mut random));
                heap.deallocate(0, address, size);
            }
            replaced += 1;
        }
        now_ns += STEP_NS;
        heap.pass_to(now_ns);
    }
    Ok(SteadyEnds { grown, replaced: heap.moment(now_ns / 1000) })
}
