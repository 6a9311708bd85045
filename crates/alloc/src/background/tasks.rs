//! The kinds of background work.

mod cpu_caches;
mod demand;
mod free_pages;
mod hardened_slots;
mod inside_spans;
mod thread_caches;
mod transfer_caches;

use super::INTERVAL_NS;
use crate::{Config, Core, HeapConfig};
use strata_page_heap::PageHeap;

/// A kind of background work. In the order in which they are asked when all are due: what one gives back, the next may
/// pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Task {
    /// A look at what is in use, which the others measure idleness by.
    Demand,
    /// Limits move between CPUs' caches, idle ones are drained, and regions that are too long get shorter.
    CpuCaches,
    /// Threads that are idle lose their caches.
    ThreadCaches,
    /// Capacity moves between transfer caches, and what nobody wanted leaves them.
    TransferCaches,
    /// Free pages go back to the kernel.
    FreePages,
    /// Kernel pages inside of spans go back to the kernel.
    InsideSpans,
    /// The page heap does what it has to do besides allocations.
    PageHeap,
    /// Free slots of a hardened heap are looked through.
    HardenedSlots,
}

/// When a task is to be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// At this time, at most [`Task::LONGEST_NS`] ahead.
    At(u64),
    /// When somebody has missed: until then there is nothing to do.
    AtRest,
}

/// What tasks remember from one step to the next. All zero bits are nothing.
#[derive(Debug)]
pub(super) struct Memory {
    demand: demand::Seen,
    cpu_caches: cpu_caches::Intervals,
    thread_caches: thread_caches::Intervals,
    transfer_caches: transfer_caches::Rounds,
    free_pages: free_pages::Allowance,
    inside_spans: inside_spans::Sweep,
    hardened_slots: hardened_slots::Turn,
}

impl Task {
    pub(super) const ALL: [Self; 8] = [
        Self::Demand,
        Self::CpuCaches,
        Self::ThreadCaches,
        Self::TransferCaches,
        Self::FreePages,
        Self::InsideSpans,
        Self::PageHeap,
        Self::HardenedSlots,
    ];
    pub(super) const COUNT: usize = Self::ALL.len();
    /// The longest time that a task asks for until its next step.
    pub(super) const LONGEST_NS: u64 = 60 * INTERVAL_NS;
}

impl<C: HeapConfig> Core<C> {
    /// Does one bounded step of `task`; says when the next one is due.
    pub(super) fn perform(&self, task: Task, now_ns: u64, memory: &mut Memory) -> Next {
        let quiet = memory.demand.is_quiet(now_ns, self.delay_ns());
        match task {
            Task::Demand => self.look_at_demand(now_ns, memory),
            Task::CpuCaches => self.shape_cpu_caches(now_ns, quiet, &mut memory.cpu_caches),
            Task::ThreadCaches => self.take_thread_caches(now_ns, quiet, &mut memory.thread_caches),
            Task::TransferCaches => {
                self.shape_transfer_caches(now_ns, quiet, &mut memory.transfer_caches)
            }
            Task::FreePages => {
                self.release_free_pages(now_ns, &memory.demand, &mut memory.free_pages)
            }
            Task::InsideSpans => {
                self.sweep_inside_spans(now_ns, &memory.demand, &mut memory.inside_spans)
            }
            Task::HardenedSlots => self.sweep_in_turn(now_ns, quiet, &mut memory.hardened_slots),
            Task::PageHeap => {
                let due_ns = self.page_heap().maintain(self, now_ns);
                if quiet {
                    Next::AtRest
                } else {
                    Next::At(due_ns.min(now_ns.saturating_add(Task::LONGEST_NS)))
                }
            }
        }
    }

    /// How long memory lies unwanted before it is idle; where that is never, how long a heap is quiet before its caches are
    /// emptied.
    fn delay_ns(&self) -> u64 {
        match self.config().release_delay_ms {
            u64::MAX => Config::DEFAULT.release_delay_ms * 1_000_000,
            milliseconds => milliseconds.saturating_mul(1_000_000),
        }
    }
}
