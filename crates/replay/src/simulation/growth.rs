//! What an operation on a page heap costs as the heap grows.

use core::array;
use std::time::Instant;

use strata_os::{ManualClock, SimulatedPages, SystemPages};
use strata_page_heap::{LegacyPageHeap, PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::Pages8K;
use strata_span::{Ground, HUGEPAGE_BYTES, PageCount, SpanHandle};
use strata_temeraire::HugePageAware;

use super::random::Random;
use crate::PageHeapKind;

/// Operations behind each figure.
const OPERATIONS: usize = 20_000;

const BATCHES: usize = 25;

/// The heap at one of its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// In spans that are out, in bytes.
    pub in_use_bytes: u64,
    /// Free and backed, in bytes.
    pub free_bytes: u64,
    /// Spans that are out, as a number.
    pub spans: usize,
    /// What the heap's own books take, in bytes.
    pub metadata_bytes: u64,
    /// What operations cost now.
    pub costs: Costs,
}

/// Time of an operation, in ns of the machine's own clock; what the simulation of the pages takes is in it.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A span of one page allocated and freed.
    pub page_pair: f64,
    /// A span of 1 to 64 pages allocated, and another one freed, at random.
    pub small_replaced: f64,
    /// A span of 2 to 64 MiB allocated, and another one freed, at random.
    pub large_replaced: f64,
    /// A release of one page, with the span that brings it back.
    pub release: f64,
}

/// Grows a page heap from level to level, in bytes in use, and takes its costs at each.
///
/// # Panics
///
/// Where the machine has not the memory for the books.
pub fn growth(page_heap: PageHeapKind, levels: &[u64]) -> Vec<Level> {
    match page_heap {
        PageHeapKind::Temeraire => grow::<HugePageAware<Pages8K>>(levels),
        PageHeapKind::Legacy => grow::<LegacyPageHeap<Pages8K>>(levels),
    }
}

struct Growing<'a, H> {
    ground: Ground<Pages8K, &'a SimulatedPages, SystemPages, ManualClock>,
    heap: Box<H>,
    random: Random,
    small: Vec<SpanHandle>,
    large: Vec<SpanHandle>,
}

fn grow<H: PageHeap<Pages8K>>(levels: &[u64]) -> Vec<Level> {
    let pages = SimulatedPages::new();
    let mut growing = Growing {
        ground: Ground::new(&pages, SystemPages::new(), ManualClock::new(0)),
        heap: Box::new(H::EMPTY),
        random: Random::new(),
        small: Vec::new(),
        large: Vec::new(),
    };
    let figures = levels.iter().map(|&level| {
        growing.grow_to(level);
        growing.level()
    });
    let figures = figures.collect();
    growing.end();
    figures
}

impl<H: PageHeap<Pages8K>> Growing<'_, H> {
    /// Half of the bytes in spans of up to 64 pages, half in spans of 2 to 64 MiB; of what is allocated a tenth is
    /// freed again, so that there are holes.
    fn grow_to(&mut self, bytes: u64) {
        let mut balance = 0_i64;
        while self.heap.stats().in_use_bytes < bytes {
            // The statistics take the lock, so they are asked for once in a while.
            for _ in 0..64 {
                if balance <= 0 {
                    let pages = 1 + self.random.below(64);
                    balance += (pages as i64) << 13;
                    let span = self.allocate(pages);
                    self.small.push(span);
                    if self.random.below(10) == 0 {
                        let gone = self.random.below(self.small.len());
                        let gone = self.small.swap_remove(gone);
                        self.free(gone);
                    }
                } else {
                    let bytes = self.random.size(HUGEPAGE_BYTES, 5);
                    balance -= bytes as i64;
                    let span = self.allocate(bytes >> 13);
                    self.large.push(span);
                }
            }
        }
    }

    fn level(&mut self) -> Level {
        let costs = Costs {
            page_pair: timed(|| {
                let span = self.allocate(1);
                self.free(span);
            }),
            small_replaced: timed(|| self.replace_small()),
            large_replaced: timed(|| self.replace_large()),
            release: timed(|| {
                self.heap.release(&self.ground, PageCount::ONE, ReleaseReason::Call);
                self.replace_small();
            }),
        };
        let stats = self.heap.stats();
        Level {
            in_use_bytes: stats.in_use_bytes,
            free_bytes: stats.free_bytes,
            spans: self.small.len() + self.large.len(),
            metadata_bytes: self.ground.arena.allocated_bytes(),
            costs,
        }
    }

    fn replace_small(&mut self) {
        let pages = 1 + self.random.below(64);
        let span = self.allocate(pages);
        let place = self.random.below(self.small.len());
        if let Some(slot) = self.small.get_mut(place) {
            let gone = core::mem::replace(slot, span);
            self.free(gone);
        }
    }

    fn replace_large(&mut self) {
        let bytes = self.random.size(HUGEPAGE_BYTES, 5);
        let span = self.allocate(bytes >> 13);
        let place = self.random.below(self.large.len());
        if let Some(slot) = self.large.get_mut(place) {
            let gone = core::mem::replace(slot, span);
            self.free(gone);
        }
    }

    fn allocate(&self, pages: usize) -> SpanHandle {
        let request = SpanRequest::of(PageCount::new(pages));
        self.heap.allocate(&self.ground, request).expect("memory for the heap's books")
    }

    fn free(&self, span: SpanHandle) {
        // SAFETY: the span came from this heap, and was taken off the list that it was on.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    /// Frees everything, and sees that nothing is left.
    fn end(mut self) {
        for span in
            core::mem::take(&mut self.small).into_iter().chain(core::mem::take(&mut self.large))
        {
            self.free(span);
        }
        let left = self.heap.stats();
        assert!(left.in_use_bytes == 0 && left.spans_in_use == 0, "{left:?}");
    }
}

impl<H> Drop for Growing<'_, H> {
    fn drop(&mut self) {
        crate::simulated_heap::give_back_books(&self.ground.arena);
    }
}

/// The median of some batches: what else runs on the machine takes whole batches, and few of them.
fn timed(mut operation: impl FnMut()) -> f64 {
    let mut batches: [f64; BATCHES] = array::from_fn(|_| {
        let started = Instant::now();
        (0..OPERATIONS / BATCHES).for_each(|_| operation());
        started.elapsed().as_nanos() as f64 / (OPERATIONS / BATCHES) as f64
    });
    batches.sort_unstable_by(f64::total_cmp);
    batches.get(BATCHES / 2).copied().unwrap_or_default()
}
