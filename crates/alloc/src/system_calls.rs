//! A heap that keeps to the system calls of memory.

use crate::{Config, Core, Heap, HeapConfig, SystemCalls};
use strata_os::{keep_to_memory_calls, make_no_calls};

impl<C: HeapConfig> Heap<C> {
    /// From now on the heap, and every other of this process, makes no system calls but those of memory: for a
    /// program that is about to filter its own. [`SystemCalls::Memory`] says which they are, and what is done
    /// without.
    ///
    /// When it returns, other threads are through with the calls that they were in the middle of, as far as this
    /// heap's background work goes; it waits a second at most, so that a signal handler may call it. Nothing takes
    /// it back, and children of forks inherit it.
    ///
    /// ```standalone_crate
    /// use strata_alloc::{Config, Heap};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// heap.keep_to_memory_calls();
    /// assert!(!heap.allocate(100_000_000).is_null());
    /// ```
    pub fn keep_to_memory_calls(&self) {
        self.restrain(keep_to_memory_calls);
    }

    /// The same for seccomp's strict mode: no system calls at all, and the clock stands still. Requests that there
    /// is no memory for fail.
    pub fn make_no_calls(&self) {
        self.restrain(make_no_calls);
    }

    fn restrain(&self, begin: fn()) {
        // What is done once is done before: the heap's state, and what this thread needs.
        let core = self.core_or_set_up();
        if let Some(core) = core {
            core.thread_number(core.slot());
        }
        begin();
        if let Some(core) = core {
            drop(core.hold_background());
            Core::await_cpu_cache_stops(core);
        }
    }
}

/// Does what the option says, before the heap makes its first call.
pub(crate) fn obey(config: &Config) {
    if config.system_calls == SystemCalls::Memory {
        keep_to_memory_calls();
    }
}
