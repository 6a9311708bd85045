//! What a CPU's capacities may take up by what caches and program have.

use crate::{CpuCache, cpu_state::CpuState};
use strata_sync::atomic::Ordering;

impl CpuCache {
    /// What a CPU may hold however little the program has: at half, a program of one thread misses twice as often in its
    /// first MiB; at twice, four CPUs of a program that holds 1 MiB keep 2 MiB for it.
    const LEAST_ALLOWANCE: u64 = 256 << 10;

    /// Bytes that one CPU's capacities may take up now.
    pub(crate) fn allowance(&self, state: &CpuState) -> i64 {
        self.worth(state).min(state.limit_bytes())
    }

    /// Bytes that one CPU's capacities may take up whatever its limit is: all bytes that the source handed out
    /// while one CPU was used, and half of them over all possible CPUs when more were. So caches grow with the
    /// program, and never hold more than was out at once, but for the least that each CPU may have. With half of
    /// that for one CPU, a program that allocates and frees a MiB in turn fetches half of it from the source each
    /// time; with all of it for several, 2000 short threads in turn left 0.1 to 1.2 MiB more resident instead of
    /// 0.3 to 0.8.
    ///
    /// A CPU through which objects pass to and fro [earns](CpuState::note_costly_turn) more, at most half of what
    /// is out. With all of it, programs of short threads have 1.4 times as much at their peak (`threads` of the
    /// benchmarks), and with half 1.07 times.
    pub(crate) fn worth(&self, state: &CpuState) -> i64 {
        let out = self.out_bytes();
        let share = match self.used_ids() {
            0 | 1 => out,
            _ => out / (2 * u64::from(self.ids().max(1))),
        };
        let share = share.max(Self::LEAST_ALLOWANCE);
        let earned = u64::try_from(state.earned_bytes()).unwrap_or(0).min(out / 2);
        i64::try_from(share.max(earned)).unwrap_or(i64::MAX)
    }

    /// Bytes of the objects that the source handed out and has not got back, over all CPUs; less than 32 KiB off
    /// for each CPU. Takes no lock: one load.
    pub fn out_bytes(&self) -> u64 {
        u64::try_from(self.out_bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Notes that the source handed out or took back so many objects of `size` bytes; returned ones as a negative number.
    pub(crate) fn count_out(&self, state: &CpuState, objects: i64, size: usize) {
        let bytes = state.count_out(objects * i64::try_from(size).unwrap_or(0));
        if bytes != 0 {
            self.out_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
