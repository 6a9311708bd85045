//! What may be changed while a heap runs.

use crate::{Config, Core, Heap, HeapConfig, memory_limit::limits_of};
use strata_os::{Clock, futex_wait};
use strata_page_heap::{MemoryLimits, PageHeap};
use strata_span::Platform;
use strata_sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Options that were changed since the start. All zero bits are none. Written by the functions below, read by
/// background work.
#[derive(Debug)]
pub(crate) struct Tuning {
    /// The rate plus one; 0 for that of the configuration.
    release_rate: AtomicU64,
    /// No background work is done.
    background_off: AtomicBool,
    /// The least time between two steps of the heap's own thread.
    least_pause_ns: AtomicU64,
    /// The limits on memory, in bytes; 0 for none. Written by whoever changes one, and before the heap is known; read by
    /// [`Core::heed_limits`] alone, since the page heap has them, too.
    soft_limit: AtomicU64,
    hard_limit: AtomicU64,
}

/// Which limit on memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitKind {
    /// Above it, what is free goes back; nothing fails.
    Soft,
    /// Above it, allocations fail.
    Hard,
}

impl Tuning {
    /// Notes both limits.
    pub(crate) fn set_limits(&self, limits: MemoryLimits) {
        self.soft_limit.store(limits.soft_bytes, Ordering::Relaxed);
        self.hard_limit.store(limits.hard_bytes, Ordering::Relaxed);
    }

    fn limits(&self) -> MemoryLimits {
        MemoryLimits {
            soft_bytes: self.soft_limit.load(Ordering::Relaxed),
            hard_bytes: self.hard_limit.load(Ordering::Relaxed),
        }
    }

    /// The configuration with what was changed.
    pub(crate) fn applied_to(&self, config: Config) -> Config {
        let rate = self.release_rate.load(Ordering::Relaxed).checked_sub(1);
        let rate = rate.map(|rate| usize::try_from(rate).unwrap_or(usize::MAX));
        Config { release_rate: rate.unwrap_or(config.release_rate), ..config }
    }

    pub(crate) fn background_is_on(&self) -> bool {
        !self.background_off.load(Ordering::Relaxed)
    }

    pub(crate) fn least_pause_ns(&self) -> u64 {
        self.least_pause_ns.load(Ordering::Relaxed)
    }
}

/// The setters set the heap up, where it had no block yet; false if there is no memory for that. Any thread may
/// call any of these at any time.
impl<C: HeapConfig> Heap<C> {
    /// Sets how many bytes of free pages go back to the kernel each second, wanted of late or not.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// assert!(heap.set_release_rate(100 << 20));
    /// assert_eq!(heap.config().release_rate, 100 << 20);
    /// ```
    pub fn set_release_rate(&self, bytes_per_second: usize) -> bool {
        self.tune(|core| {
            let stored = (bytes_per_second as u64).saturating_add(1);
            core.tuning.release_rate.store(stored, Ordering::Relaxed);
            core.wake_background();
        })
    }

    /// Switches background work off, or on again. While it is off nothing goes back by itself but whole hugepages that the
    /// page heap has no use for and, where the rate is not 0, the longest block so far; and caches keep their shape.
    pub fn set_background_enabled(&self, enabled: bool) -> bool {
        self.tune(|core| {
            core.tuning.background_off.store(!enabled, Ordering::Relaxed);
            core.wake_background();
        })
    }

    /// Whether background work is done.
    pub fn background_enabled(&self) -> bool {
        self.core().is_none_or(|core| core.tuning.background_is_on())
    }

    /// Sets the least time between two steps of the heap's own thread, and of [`Core::run_background`]; at first
    /// there is none: steps are done when they are due.
    pub fn set_background_pause_ns(&self, pause_ns: u64) -> bool {
        self.tune(|core| core.tuning.least_pause_ns.store(pause_ns, Ordering::Relaxed))
    }

    /// The least time between two steps of the heap's own thread.
    pub fn background_pause_ns(&self) -> u64 {
        self.core().map_or(0, |core| core.tuning.least_pause_ns())
    }

    /// Limits the memory that the heap has backed: see [`PageHeap::set_limits`]. What is free and above them goes back at
    /// once. (Of two threads that do so at the same moment each limit is that of either.)
    pub fn set_memory_limits(&self, limits: MemoryLimits) -> bool {
        self.tune(|core| {
            core.tuning.set_limits(limits);
            core.give_back_above(core.heed_limits());
        })
    }

    /// The same for one limit, 0 for none; the other one stays, or is what another thread makes it at the same moment.
    ///
    /// ```
    /// use strata_alloc::{Config, Heap, LimitKind};
    /// let heap: Heap = Heap::with(Config::DEFAULT);
    /// assert!(heap.set_memory_limit(LimitKind::Hard, 1 << 30));
    /// assert!(heap.set_memory_limit(LimitKind::Soft, 1 << 29));
    /// let limits = heap.memory_limits();
    /// assert_eq!((limits.soft_bytes, limits.hard_bytes), (1 << 29, 1 << 30));
    /// ```
    pub fn set_memory_limit(&self, which: LimitKind, bytes: u64) -> bool {
        self.tune(|core| {
            let limit = match which {
                LimitKind::Soft => &core.tuning.soft_limit,
                LimitKind::Hard => &core.tuning.hard_limit,
            };
            limit.store(bytes, Ordering::Relaxed);
            core.give_back_above(core.heed_limits());
        })
    }

    /// The limits on what the heap has backed.
    pub fn memory_limits(&self) -> MemoryLimits {
        match self.core() {
            Some(core) => core.page_heap().stats().limits.limits,
            None => limits_of(&self.config()),
        }
    }

    /// Sets how many bytes of free objects one CPU's cache may hold; CPUs in use give back what is too much. False
    /// also where the heap runs per thread, and while another thread empties caches.
    pub fn set_max_per_cpu_cache_size(&self, bytes: usize) -> bool {
        let Some(core) = self.core_or_set_up() else { return false };
        let middle = core.source_of_objects();
        core.per_cpu().is_some()
            && core.with_cpu_cache_stops(|cpu| cpu.set_limit(&middle, bytes)).is_some()
    }

    /// How many bytes of free objects one CPU's cache may hold, unless limits moved between CPUs.
    pub fn max_per_cpu_cache_size(&self) -> usize {
        let cpu = self.core().and_then(Core::per_cpu);
        let limit = cpu.map(|cpu| usize::try_from(cpu.limit_bytes()).unwrap_or(usize::MAX));
        limit.unwrap_or(self.config().max_per_cpu_cache_size)
    }

    /// Sets how many bytes of free objects all threads' caches may hold, at least 512 KiB.
    pub fn set_max_total_thread_cache_bytes(&self, bytes: u64) -> bool {
        self.tune(|core| core.thread_caches().set_limit(bytes))
    }

    /// How many bytes of free objects all threads' caches may hold.
    pub fn max_total_thread_cache_bytes(&self) -> u64 {
        match self.core() {
            Some(core) => core.thread_caches().limit_bytes(),
            None => self.config().max_total_thread_cache_bytes as u64,
        }
    }

    /// Empties one CPU's cache, or that of one concurrency id; says how many bytes went. Nothing goes from a cache that was
    /// never used, and while another thread empties caches.
    pub fn release_cpu(&self, id: u32) -> u64 {
        let Some(core) = self.core() else { return 0 };
        let middle = core.source_of_objects();
        let drain = |cpu: &strata_cpu_cache::CpuCache| {
            if cpu.is_populated(id) { cpu.drain(&middle, id).unwrap_or(0) } else { 0 }
        };
        core.per_cpu().and_then(|_| core.with_cpu_cache_stops(drain)).unwrap_or(0)
    }

    fn tune(&self, change: impl FnOnce(&Core<C>)) -> bool {
        self.core_or_set_up().map(change).is_some()
    }
}

impl<C: HeapConfig> Core<C> {
    /// Has the page heap keep to the limits that were set last, whoever sets another one at the same moment; says which.
    #[cold]
    fn heed_limits(&self) -> MemoryLimits {
        loop {
            let limits = self.tuning.limits();
            self.page_heap().set_limits(limits);
            // Who told the page heap before noted its limit before that, and the page heap's lock lies between. So the
            // last who tells it has seen what all had noted.
            if self.tuning.limits() == limits {
                return limits;
            }
        }
    }

    /// Does background work in this thread until `stop` is set, which may take as long as a pause; for programs
    /// that give the heap a thread of theirs. Of two threads that do it one does nothing.
    pub fn run_background(&self, stop: &AtomicBool) {
        let word = AtomicU32::new(0);
        while !stop.load(Ordering::Relaxed) {
            let now_ns = self.clock().now_ns();
            let due_ns = self.background_step(now_ns);
            let pause_ns = due_ns.saturating_sub(now_ns).max(self.tuning.least_pause_ns());
            if pause_ns > 0 {
                // Nobody wakes us: what others miss meanwhile is looked at a second later.
                futex_wait(&word, 0, Some(pause_ns.min(crate::background::INTERVAL_NS)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
