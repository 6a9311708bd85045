//! Limits that a CPU borrows from those that have not come to need theirs, and calls back when it needs its own.
//!
//! The limits of all CPUs that were ever used, and what is left of those of CPUs that never were, add up to as many
//! times the usual limit as there are ids. A CPU whose program has much takes from the rest without asking anybody:
//! what nobody was granted is no capacity of any class. A CPU that has less than the usual limit, and needs more,
//! takes from those that have more than it, whose classes give up capacity for that: there they have to be stopped.
//! And what a CPU borrowed goes back when the program has much less.

use crate::{
    CpuCache, Fences,
    cpu_state::{CpuState, take},
};
use strata_os::keeps_to_memory_calls;
use strata_size_classes::ObjectSource;
use strata_sync::atomic::{Ordering, fence};

/// How much moves at a time. At a fourth of it, a CPU with 5 MiB to borrow has them after four times as many
/// misses; at four times, one that calls back its limit stops the others for four times as long. Who sets a usual
/// limit below it wants small caches: none is lent then.
const STEP: i64 = 256 << 10;

/// What a CPU may have with what it borrows: one part in so many of what caches and program have. With it `phases`
/// of the benchmarks, whose sizes change, has 1 % more at its peak than where nobody borrows.
const BORROWER_SHARE: i64 = 4;

/// One that has more than one part in so many, since the program has less by now, keeps what it might borrow. At
/// twice that, a program that swings by a third would give back and borrow in turn.
const RETURN_SHARE: i64 = 2;

/// A CPU keeps one part in so many of the usual limit, whoever borrows: TCMalloc's for limits that move.
const KEPT_SHARE: i64 = 5;

impl CpuCache {
    /// Gives a CPU that is used for the first time the usual limit, as far as that is not lent.
    pub(crate) fn add_limit(&self, state: &CpuState) {
        if !state.populate() {
            return;
        }
        // After that, so that of two threads that use it first only one takes a limit. If both took theirs, and one gave
        // it back, the second would have found less, and the CPUs that were never used would keep more than their limits.
        let limit = self.take_unused_limit(self.usual_limit(), self.never_used().saturating_sub(1));
        state.receive_share(limit);
        // Release pairs with the fence in `unused_limit_bytes`: the CPU's part is taken.
        self.populated_ids.fetch_add(1, Ordering::Release);
    }

    /// Grants a CPU about `bytes` more: of its own limit, and of what it can borrow, or of a usual limit that is to
    /// be higher for what the program has. One that lacks a part of the usual limit for that [is
    /// poor](Self::is_poor) from now on.
    pub(crate) fn grant(&self, state: &CpuState, id: u32, bytes: usize) {
        let worth = self.worth(state);
        if state.grant(bytes, worth) || !state.comes_to_borrow() {
            return;
        }
        let (usual, limit) = (self.usual_limit(), state.limit_bytes());
        if limit < usual {
            state.set_poor(worth > limit);
            return;
        }
        let most = worth.min(self.out() / BORROWER_SHARE);
        if most > limit && usual >= STEP && self.may_call_back() {
            let wanted = STEP.min(most - limit);
            let got = self.collect_spare(id, wanted);
            state.receive_share(got);
            if got < wanted {
                self.raise_limit_with_program();
            }
            state.grant(bytes, worth);
        }
    }

    /// Whether a CPU has less than the usual limit and could use more: then [`recall`](Self::recall) is worth a call.
    pub fn is_poor(&self, id: u32) -> bool {
        self.state(id).is_some_and(CpuState::is_poor)
    }

    /// Takes a part of the usual limit back for a CPU that has less, from those that have more than it: first what
    /// they were not granted or have no class for, then empty capacity of classes, then objects, which go back to
    /// `source`. Says how many bytes it was granted by that: 256 KiB at most.
    ///
    /// Any thread may ask, for any id; one that was never used has no need of any. Costs a few loads for each CPU
    /// that was ever used, and for each that gives up capacity what [`drain`](Self::drain) costs.
    pub fn recall<O: ObjectSource>(&self, source: &O, id: u32) -> u64 {
        let Some(state) = self.state(id).filter(|_| self.is_populated(id)) else { return 0 };
        state.set_poor(false);
        let limit = state.limit_bytes();
        let wanted = STEP.min(self.usual_limit().min(self.worth(state)) - limit);
        let mut got = self.take_unused_limit(wanted, self.never_used());
        for other_id in 0..self.used_ids() {
            let Some(other) = self.state(other_id).filter(|_| other_id != id) else { continue };
            let excess = other.limit_bytes() - self.usual_limit();
            let part = excess.min(wanted - got);
            if part <= 0 || !other.is_populated() {
                continue;
            }
            got += self.take_share(source, other_id, other, part);
        }
        state.receive_share(got);
        // Granted at once: what is not would be lent out again. What the CPU owes is paid before that.
        u64::try_from(state.grant_all(got)).unwrap_or(0)
    }

    /// Has CPUs that borrowed while the program had more give back what they might not borrow now, and classes of
    /// theirs the capacity for it. Who set a usual limit so low that nobody borrows has limits moved by
    /// [`shuffle`](Self::shuffle) alone.
    pub(crate) fn return_loans<O: ObjectSource>(&self, source: &O) {
        let (usual, out) = (self.usual_limit(), self.out());
        if usual < STEP {
            return;
        }
        for id in 0..self.used_ids() {
            let Some(state) = self.state(id).filter(|state| state.is_populated()) else { continue };
            if state.limit_bytes() > usual.max(out / RETURN_SHARE) {
                let excess = state.limit_bytes() - usual.max(out / BORROWER_SHARE);
                let given = self.take_share(source, id, state, excess);
                self.repay(given);
            }
        }
    }

    /// Bytes that are left of the limit of each CPU that was never used. Those of all used ones and these add up to
    /// as many times the usual limit as there are ids, but for less than a byte for each.
    pub fn unused_limit_bytes(&self) -> u64 {
        // First how many these are: one that comes meanwhile takes its part before it is counted as used. The other way round the
        // parts of two would be shown as the one's.
        let never_used = u64::from(self.never_used().max(1));
        fence(Ordering::Acquire);
        let bytes = u64::try_from(self.unused_limit.load(Ordering::Relaxed)).unwrap_or(0);
        bytes / never_used
    }

    /// In the child of a fork, whose only thread this is: limits add up again that another thread was about to move, to
    /// change with the usual limit, or to give to a CPU that it used first, when the process was copied.
    ///
    /// What this thread itself was about to move, in a miss that the handler of a signal interrupted which forks, it goes on
    /// to move, although that is settled: limits add up to so much more or less from then on.
    #[unsafe(link_section = ".text_rarely")]
    pub fn settle_limits(&self) {
        let mut populated = 0;
        let mut limits: i64 = 0;
        for state in self.populated() {
            populated += 1;
            limits = limits.saturating_add(state.limit_bytes());
        }
        self.populated_ids.store(populated, Ordering::Relaxed);
        // What CPUs that were never used have left over belongs to one that had not taken its limit yet.
        self.unused_limit.store(0, Ordering::Relaxed);
        let missing = self.usual_limit().saturating_mul(self.ids().into()).saturating_sub(limits);
        if missing > 0 {
            self.repay(missing);
        } else {
            self.change_unused_limit(missing);
        }
    }

    /// Takes about `bytes` off the limit of `id`, and stops it where its classes have capacity for them; says how many.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn take_share<O: ObjectSource>(
        &self,
        source: &O,
        id: u32,
        state: &CpuState,
        bytes: i64,
    ) -> i64 {
        let mut given = state.give_up_share(bytes);
        if given < bytes {
            let freed = self.with_stopped(id, |stopped| {
                stopped.free_capacity(source, bytes - given);
                state.give_up_share(bytes - given)
            });
            given += freed.unwrap_or(0);
        }
        given
    }

    /// Gives bytes of limits to those that have less than the usual limit: to CPUs that were never used, and then
    /// to the others.
    fn repay(&self, mut bytes: i64) {
        let usual = self.usual_limit();
        let all = usual * i64::from(self.never_used());
        let lacking = all - self.unused_limit.load(Ordering::Relaxed);
        let part = bytes.min(lacking).max(0);
        self.unused_limit.fetch_add(part, Ordering::Relaxed);
        bytes -= part;
        for state in self.populated() {
            let part = bytes.min(usual - state.limit_bytes()).max(0);
            state.receive_share(part);
            bytes -= part;
        }
        // Somebody else repaid them at the same moment.
        self.unused_limit.fetch_add(bytes, Ordering::Relaxed);
    }

    fn out(&self) -> i64 {
        i64::try_from(self.out_bytes()).unwrap_or(i64::MAX)
    }

    /// Takes about `wanted` bytes that no CPU needs so far: of the limits of CPUs that were never used, and of what
    /// others were not granted.
    fn collect_spare(&self, borrower: u32, wanted: i64) -> i64 {
        let kept = self.usual_limit() / KEPT_SHARE;
        let mut got = self.take_unused_limit(wanted, self.never_used());
        for id in (0..self.used_ids()).filter(|&id| id != borrower) {
            if got >= wanted {
                break;
            }
            if let Some(state) = self.state(id).filter(|state| state.is_populated()) {
                got += state.lend(wanted - got, kept);
            }
        }
        got
    }

    /// Takes up to `wanted` bytes of the limits of CPUs that were never used, and leaves what `keepers` of them keep.
    fn take_unused_limit(&self, wanted: i64, keepers: u32) -> i64 {
        let kept = self.usual_limit() / KEPT_SHARE * i64::from(keepers);
        take(&self.unused_limit, |found| wanted.min(found.saturating_sub(kept)))
    }

    /// How many CPUs were never used.
    pub(crate) fn never_used(&self) -> u32 {
        self.ids().saturating_sub(self.populated_ids.load(Ordering::Relaxed))
    }

    /// Whether what is lent can be had back: nobody lends it otherwise.
    fn may_call_back(&self) -> bool {
        match self.fences() {
            Fences::Needless => true,
            Fences::Refused => false,
            _ => !keeps_to_memory_calls(),
        }
    }

    pub(crate) fn usual_limit(&self) -> i64 {
        i64::try_from(self.limit_bytes()).unwrap_or(i64::MAX)
    }
}

#[cfg(all(test, not(strata_loom)))]
pub(crate) mod tests;
