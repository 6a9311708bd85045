//! The kinds of background work.

mod cpu_caches;
mod transfer_caches;

use super::INTERVAL_NS;
use crate::{Core, HeapConfig};
use strata_page_heap::PageHeap;

/// A kind of background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Task {
    /// Capacity moves between transfer caches, and what nobody wanted leaves them.
    TransferCaches,
    /// Limits move between CPUs' caches, idle ones are drained, and regions that are too long get shorter.
    CpuCaches,
    /// The page heap does what it has to do besides allocations.
    PageHeap,
}

/// What tasks remember from one step to the next. All zero bits are nothing.
#[derive(Debug)]
pub(super) struct Memory {
    transfer_caches: transfer_caches::Rounds,
}

impl Task {
    pub(super) const ALL: [Self; 3] = [Self::TransferCaches, Self::CpuCaches, Self::PageHeap];
    pub(super) const COUNT: usize = Self::ALL.len();
    /// The longest time that a task asks for until its next step.
    pub(super) const LONGEST_NS: u64 = 60 * INTERVAL_NS;
}

impl<C: HeapConfig> Core<C> {
    /// Does one bounded step of `task`; says when the next one is due, at most [`Task::LONGEST_NS`] ahead.
    pub(super) fn perform(&self, task: Task, now_ns: u64, memory: &mut Memory) -> u64 {
        match task {
            Task::TransferCaches => self.shape_transfer_caches(now_ns, &mut memory.transfer_caches),
            Task::CpuCaches => self.shape_cpu_caches(now_ns),
            Task::PageHeap => {
                let due_ns = self.page_heap().maintain(self, now_ns);
                due_ns.min(now_ns.saturating_add(Task::LONGEST_NS))
            }
        }
    }
}
