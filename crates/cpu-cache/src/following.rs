//! A usual limit that grows with the program, and falls with it.
//!
//! What a CPU's cache misses for want of bytes depends on how much of each class the program has more at one moment
//! and less at another: the more it has, the more. A limit that is right for a program of some MiB has one of a
//! hundred go to the middle tier for each second block. So the limit of each CPU grows to a part of what program
//! and caches have, within bounds.

use crate::CpuCache;
use strata_size_classes::ObjectSource;
use strata_sync::atomic::Ordering;

/// Limits that grew with the program are together at most one part in so many of what caches and program have.
/// (What the CPUs of a program that has less than four times its limits may hold is bounded by [`CpuCache::worth`]
/// alone: half.)
const PROGRAM_SHARE: u64 = 4;

/// The usual limit grows to so many times what it was set up with. At half, four threads that replace 2000 blocks
/// each of up to 128 KiB (`churn-wide-4t` of the benchmarks) take half as much again of the processor's time; at
/// twice they gain nothing beyond the noise.
const GREATEST_GROWTH: u64 = 4;

/// It grows by no less at a time.
const STEP: u64 = 256 << 10;

/// The mark of a usual limit that follows the program, beside its bytes: who sets the limit takes it away with the same
/// store, so that nobody moves what was set, be it to what was there before.
pub(crate) const FOLLOWS: u64 = 1 << 63;

const _: () = assert!(GREATEST_GROWTH * (CpuCache::GREATEST_LIMIT_BYTES as u64) < FOLLOWS);

impl CpuCache {
    /// From now on the usual limit grows with the program: from what it is now, until all CPUs' together are a
    /// quarter of what caches and program have, and to four times what it is now at most. It falls again [now and
    /// then](Self::shuffle). Who [sets it](Self::set_limit) ends that.
    ///
    /// Before there is a second thread.
    pub fn let_limit_follow_program(&self) {
        self.followed_from.store(self.limit_bytes(), Ordering::Relaxed);
        self.limit_word.fetch_or(FOLLOWS, Ordering::Relaxed);
    }

    /// Raises the usual limit where the program has come to have more.
    pub(crate) fn raise_limit_with_program(&self) {
        let Some(usual) = self.followed_limit() else { return };
        let wanted = self.limit_for_program();
        if wanted >= usual + STEP {
            self.replace_limit(usual, wanted);
        }
    }

    /// Lowers the usual limit where the program has half as much as it was raised for, and has caches give up what
    /// they hold above it.
    pub(crate) fn lower_limit_with_program<O: ObjectSource>(&self, source: &O) {
        let Some(usual) = self.followed_limit() else { return };
        let wanted = self.limit_for_program();
        // What it was at first is no bound here: a limit that has not doubled yet falls, too.
        let is_half = self.share_of_program() <= usual / 2;
        if wanted < usual && is_half && self.replace_limit(usual, wanted) {
            self.collect_debts(source);
        }
    }

    /// The usual limit, in bytes, if it follows the program.
    fn followed_limit(&self) -> Option<u64> {
        let word = self.limit_word.load(Ordering::Relaxed);
        (word & FOLLOWS != 0).then_some(word & !FOLLOWS)
    }

    /// What the usual limit is to be where it follows the program, in bytes.
    fn limit_for_program(&self) -> u64 {
        let least = self.followed_from.load(Ordering::Relaxed);
        self.share_of_program().min(GREATEST_GROWTH.saturating_mul(least)).max(least)
    }

    /// What one CPU's part of what caches and program have is, whatever limits may be, in bytes.
    fn share_of_program(&self) -> u64 {
        self.out_bytes() / PROGRAM_SHARE / u64::from(self.ids().max(1))
    }

    /// Moves the usual limit with the program; false if somebody else moved it meanwhile, or set it.
    fn replace_limit(&self, before: u64, now: u64) -> bool {
        let won = self
            .limit_word
            .compare_exchange(before | FOLLOWS, now | FOLLOWS, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if won {
            self.change_limits(now.cast_signed() - before.cast_signed());
        }
        won
    }
}

#[cfg(all(
    test,
    target_arch = "x86_64",
    target_os = "linux",
    not(any(strata_loom, strata_no_rseq))
))]
mod tests;
