//! Emptying a CPU's cache from outside.

use crate::{CpuCache, RegionSize, StopRefusal, stopped::Stopped};
use strata_os::PageSource;
use strata_size_classes::{ObjectSource, SizeClass};
use strata_sync::atomic::Ordering;

impl CpuCache {
    /// Gives all objects in `id`'s cache back to `source`, and their capacity to the CPU's limit; says how many
    /// bytes went.
    ///
    /// Any thread may ask, registered or not, for any id; threads that run there meanwhile find the cache empty
    /// and full at once and take their slow paths, which leave a stopped cache alone. Costs a system call that
    /// interrupts the CPU, or all CPUs of this process where concurrency ids pick the caches, at least twice.
    pub fn drain<O: ObjectSource>(&self, source: &O, id: u32) -> Result<u64, StopRefusal> {
        if id >= self.ids() {
            return Err(StopRefusal::NoSuchId);
        }
        if !self.is_populated(id) {
            return Ok(0);
        }
        self.drain_stopped(source, id, |_| {})
    }

    /// Drains the caches of CPUs that stand still: where no header changed and nothing missed since the last call. Their
    /// regions get the least size, and the memory behind it goes back to `pages`. At most `most` caches a call; says how
    /// many bytes of objects went.
    ///
    /// For the background, each few seconds. Any thread may call it at any time. Costs a load for each class and
    /// CPU that was ever used, and for each CPU that is drained what [`drain`](Self::drain) does.
    #[unsafe(link_section = ".text_rarely")]
    pub fn drain_idle<O, S>(&self, source: &O, pages: &S, most: u32) -> u64
    where
        O: ObjectSource,
        S: PageSource,
    {
        let (mut bytes, mut drained) = (0, 0);
        for id in 0..self.used_ids() {
            if drained == most {
                break;
            }
            if self.stands_still(id)
                && let Ok(went) = self.drain_stopped(source, id, |stopped| {
                    stopped.set_size(RegionSize::LEAST);
                    stopped.release_behind(pages, pages.page_bytes());
                })
            {
                bytes += went;
                drained += 1;
            }
        }
        bytes
    }

    /// Stops the cache of `id` and empties it; says how many bytes went, after `work` with what is left.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn drain_stopped<O: ObjectSource>(
        &self,
        source: &O,
        id: u32,
        work: impl FnOnce(&mut Stopped<'_>),
    ) -> Result<u64, StopRefusal> {
        self.with_stopped(id, |stopped| {
            let bytes = stopped.empty(source);
            work(stopped);
            stopped.state.drains.fetch_add(1, Ordering::Relaxed);
            bytes
        })
    }

    /// Whether a cache has capacity and nothing happened in it since this was last asked.
    fn stands_still(&self, id: u32) -> bool {
        let (Some(state), Some(table)) = (self.state(id), self.table()) else { return false };
        if !state.is_populated() {
            return false;
        }
        let mut has_capacity = false;
        let mark = |mark: u64, class: SizeClass| {
            let header = self.header(id, class);
            has_capacity |= header.is_set_up();
            mark.rotate_left(7) ^ header.bits()
        };
        let mark = table.classes().fold(state.misses(), mark);
        state.seen.use_mark.swap(mark, Ordering::Relaxed) == mark && has_capacity
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
