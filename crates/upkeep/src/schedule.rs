//! When each task is due.

use crate::{
    Layers,
    tasks::{Memory, Next, Task, perform},
};

/// Time between two rounds of a task that has nothing urgent to do: TCMalloc's interval.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// The longest time that a task asks for until its next step.
pub const LONGEST_NS: u64 = 60 * INTERVAL_NS;

/// The background work of a heap: when each task is due, and what it remembers.
///
/// One thread at a time; who shares it puts a lock around it. All zero bits are one of which nothing was done yet.
#[derive(Debug)]
pub struct Schedule {
    /// By task; 0 is at once.
    due_ns: [u64; Task::COUNT],
    /// Tasks that had nothing to do when they were last asked, and since then nobody had.
    resting: [bool; Task::COUNT],
    /// All of them.
    at_rest: bool,
    memory: Memory,
}

impl Schedule {
    /// Nothing was done yet.
    pub const fn new() -> Self {
        Self {
            due_ns: [0; Task::COUNT],
            resting: [false; Task::COUNT],
            at_rest: false,
            memory: Memory::NONE,
        }
    }

    /// Does one bounded step of what is most overdue at `now_ns`, if anything is; says when the next step is due, which may
    /// be now.
    ///
    /// With no lock of the heap held. Costs what the task's step costs: at most the release of a mebibyte, or a
    /// sweep of one hugepage.
    pub fn step<L: Layers>(&mut self, layers: &L, now_ns: u64) -> u64 {
        if let Some(task) = self.next_due(now_ns) {
            let next = perform(layers, task, now_ns, &mut self.memory);
            self.note(task, next, now_ns);
            layers.counters().count_step();
            if self.resting.iter().all(|resting| *resting) {
                self.due_ns = [now_ns.saturating_add(LONGEST_NS); Task::COUNT];
                self.at_rest = true;
            }
        }
        self.due_ns.into_iter().min().unwrap_or(u64::MAX)
    }

    /// Whether no task had anything to do: nothing needs to be done until somebody misses.
    pub const fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    /// Ends the rest, if there is one: every task is asked again an interval later. Says when, if it rested.
    pub fn rouse(&mut self, now_ns: u64) -> Option<u64> {
        if !self.at_rest {
            return None;
        }
        let due_ns = now_ns.saturating_add(INTERVAL_NS);
        self.at_rest = false;
        self.due_ns = [due_ns; Task::COUNT];
        self.resting = [false; Task::COUNT];
        Some(due_ns)
    }

    /// The task that is most overdue at `now_ns`. One that lies further ahead than any task asks for was set before the
    /// clock jumped back, and goes first.
    fn next_due(&self, now_ns: u64) -> Option<Task> {
        let ahead_ns = |due_ns: u64| due_ns.saturating_sub(now_ns);
        let due =
            Task::ALL.into_iter().zip(self.due_ns).filter_map(|(task, due_ns)| {
                match ahead_ns(due_ns) {
                    0 => Some((task, due_ns)),
                    1..=LONGEST_NS => None,
                    _ => Some((task, 0)),
                }
            });
        due.min_by_key(|(_, due_ns)| *due_ns).map(|(task, _)| task)
    }

    fn note(&mut self, task: Task, next: Next, now_ns: u64) {
        let (due_ns, rests) = match next {
            Next::At(due_ns) => (due_ns, false),
            Next::AtRest => (now_ns.saturating_add(INTERVAL_NS), true),
        };
        if let Some(due) = self.due_ns.get_mut(task as usize) {
            *due = due_ns;
        }
        if !rests {
            // What one did may give the others something to do.
            self.resting = [false; Task::COUNT];
        } else if let Some(resting) = self.resting.get_mut(task as usize) {
            *resting = true;
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}
