//! The kinds of background work.

mod cpu_caches;
mod demand;
mod free_pages;
mod hardened_slots;
mod inside_spans;
mod thread_caches;
mod transfer_caches;

use crate::{INTERVAL_NS, LONGEST_NS, Layers};
use strata_page_heap::PageHeap;

/// A kind of background work. In the order in which they are asked when all are due: what one gives back, the next may
/// pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
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
pub(crate) enum Next {
    /// At this time, at most [`LONGEST_NS`] ahead.
    At(u64),
    /// When somebody has missed: until then there is nothing to do.
    AtRest,
}

/// What tasks remember from one step to the next. All zero bits are nothing.
#[derive(Debug)]
pub(crate) struct Memory {
    demand: demand::Seen,
    cpu_caches: cpu_caches::Intervals,
    thread_caches: thread_caches::Intervals,
    transfer_caches: transfer_caches::Rounds,
    free_pages: free_pages::Allowance,
    inside_spans: inside_spans::Sweep,
    hardened_slots: hardened_slots::Turn,
}

impl Memory {
    pub(crate) const NONE: Self = Self {
        demand: demand::Seen::NOTHING,
        cpu_caches: cpu_caches::Intervals::NONE,
        thread_caches: thread_caches::Intervals::NONE,
        transfer_caches: transfer_caches::Rounds::NONE,
        free_pages: free_pages::Allowance::NONE,
        inside_spans: inside_spans::Sweep::NONE,
        hardened_slots: hardened_slots::Turn::FIRST,
    };
}

impl Task {
    pub(crate) const ALL: [Self; 8] = [
        Self::Demand,
        Self::CpuCaches,
        Self::ThreadCaches,
        Self::TransferCaches,
        Self::FreePages,
        Self::InsideSpans,
        Self::PageHeap,
        Self::HardenedSlots,
    ];
    pub(crate) const COUNT: usize = Self::ALL.len();
}

/// Does one bounded step of `task`; says when the next one is due.
///
/// Each kind is a function of its own, not a part of this one: the thread may be one that missed, with little
/// stack, and then has to have what the one at hand needs, not all of them together.
#[unsafe(link_section = ".text_rarely")]
pub(crate) fn perform<L: Layers>(layers: &L, task: Task, now_ns: u64, memory: &mut Memory) -> Next {
    let policy = layers.policy();
    let quiet = memory.demand.is_quiet(now_ns, policy.delay_ns());
    match task {
        Task::Demand => demand::look(layers, now_ns, policy, memory),
        Task::CpuCaches => cpu_caches::shape(layers, now_ns, quiet, &mut memory.cpu_caches),
        Task::ThreadCaches => thread_caches::take(layers, now_ns, quiet, &mut memory.thread_caches),
        Task::TransferCaches => {
            transfer_caches::shape(layers, now_ns, quiet, &mut memory.transfer_caches)
        }
        Task::FreePages => {
            free_pages::release(layers, now_ns, policy, &memory.demand, &mut memory.free_pages)
        }
        Task::InsideSpans => {
            inside_spans::sweep(layers, now_ns, policy, &memory.demand, &mut memory.inside_spans)
        }
        Task::HardenedSlots => {
            hardened_slots::sweep(layers, now_ns, quiet, &mut memory.hardened_slots)
        }
        Task::PageHeap => {
            let due_ns = layers.page_heap().maintain(layers.platform(), now_ns);
            if quiet {
                Next::AtRest
            } else {
                Next::At(due_ns.min(now_ns.saturating_add(LONGEST_NS)))
            }
        }
    }
}

/// An interval later.
const fn later(now_ns: u64) -> Next {
    Next::At(now_ns.saturating_add(INTERVAL_NS))
}

#[cfg(test)]
mod tests;
