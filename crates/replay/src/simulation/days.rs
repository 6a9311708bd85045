//! Demand that rises by day and falls by night.

use core::f64::consts::TAU;
use std::time::Instant;

use strata_os::{ManualClock, SimulatedPages};
use strata_page_heap::{LegacyPageHeap, PageHeap};
use strata_size_classes::Pages8K;
use strata_temeraire::HugePageAware;

use super::random::Random;
use crate::{Moment, PageHeapKind, ReleasePolicy, SimulatedHeap, ThreadKind, Unsupported, Upkeep};

/// Seconds of a step, in which demand stays as it is.
const STEP_SECONDS: u64 = 60;

/// Blocks from 64 bytes to 512 KiB, each doubling as likely.
const LEAST: usize = 64;
const DOUBLINGS: usize = 13;

/// What is asked of a heap over days.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Hours of simulated time.
    pub hours: u64,
    /// CPUs: all are at work at noon, an eighth of them at midnight.
    pub cpus: u32,
    /// Bytes live at noon; a quarter of them at midnight.
    pub peak_bytes: u64,
    /// Blocks replaced at random in each minute at noon; an eighth at midnight.
    pub replaced: usize,
    /// What goes back to the kernel by itself; a thread of the heap's own does it.
    pub policy: ReleasePolicy,
}

/// The heap after an hour.
#[derive(Clone, Copy, Debug)]
pub struct Hour {
    /// Which one, from 1.
    pub hour: u64,
    /// How things stood at its end.
    pub moment: Moment,
    /// Allocations and frees in it.
    pub operations: u64,
    /// What one of them cost, in ns of the machine's own clock; what the simulation of the pages takes is in it.
    pub ns: f64,
}

/// Runs a heap through days and nights, and tells of each hour. It begins at midnight.
///
/// # Errors
///
/// Where there are no caches of CPUs.
pub fn days(page_heap: PageHeapKind, demand: Demand) -> Result<Vec<Hour>, Unsupported> {
    match page_heap {
        PageHeapKind::Temeraire => run::<HugePageAware<Pages8K>>(demand),
        PageHeapKind::Legacy => run::<LegacyPageHeap<Pages8K>>(demand),
    }
}

struct Day<'a, H: PageHeap<Pages8K>> {
    heap: SimulatedHeap<'a, Pages8K, H>,
    random: Random,
    blocks: Vec<(usize, usize)>,
    live_bytes: u64,
    cpus: usize,
    operations: u64,
}

fn run<H: PageHeap<Pages8K>>(demand: Demand) -> Result<Vec<Hour>, Unsupported> {
    let pages = SimulatedPages::new().with_faults();
    let clock = ManualClock::new(0);
    let upkeep = Upkeep { policy: demand.policy, thread: ThreadKind::Always };
    let mut day = Day {
        heap: SimulatedHeap::<Pages8K, H>::new(&pages, &clock, demand.cpus, upkeep)?,
        random: Random::new(),
        blocks: Vec::new(),
        live_bytes: 0,
        cpus: 1,
        operations: 0,
    };
    let mut hours = Vec::new();
    for hour in 1..=demand.hours {
        let (started, before) = (Instant::now(), day.operations);
        for step in 0..3600 / STEP_SECONDS {
            let second = (hour - 1) * 3600 + step * STEP_SECONDS;
            day.step(&demand, second);
            day.heap.pass_to((second + STEP_SECONDS) * 1_000_000_000);
        }
        let operations = day.operations - before;
        let ns = started.elapsed().as_nanos() as f64 / operations.max(1) as f64;
        hours.push(Hour { hour, moment: day.heap.moment(hour * 3_600_000_000), operations, ns });
    }
    Ok(hours)
}

impl<H: PageHeap<Pages8K>> Day<'_, H> {
    fn step(&mut self, demand: &Demand, second: u64) {
        // From 0 at midnight to 1 at noon and back.
        let light = 0.5 - 0.5 * (TAU * second as f64 / 86_400.0).cos();
        let part = |least: f64, of: f64| of * (least + (1.0 - least) * light);
        self.cpus = (part(0.125, f64::from(demand.cpus)) as usize).max(1);
        let target = part(0.25, demand.peak_bytes as f64) as u64;
        while self.live_bytes < target {
            self.allocate();
        }
        while self.live_bytes > target {
            self.free();
        }
        for _ in 0..part(0.125, demand.replaced as f64) as usize {
            self.allocate();
            self.free();
        }
    }

    fn allocate(&mut self) {
        let (cpu, size) = (self.cpu(), self.random.size(LEAST, DOUBLINGS));
        let address = self.heap.allocate(cpu, size, 1).expect("there is address space for it");
        self.blocks.push((address, size));
        self.live_bytes += size as u64;
        self.operations += 1;
    }

    /// Frees a block at random, wherever it was allocated.
    fn free(&mut self) {
        let place = self.random.below(self.blocks.len());
        let (cpu, (address, size)) = (self.cpu(), self.blocks.swap_remove(place));
        self.heap.deallocate(cpu, address, size);
        self.live_bytes -= size as u64;
        self.operations += 1;
    }

    fn cpu(&mut self) -> u32 {
        u32::try_from(self.random.below(self.cpus)).unwrap_or(0)
    }
}
