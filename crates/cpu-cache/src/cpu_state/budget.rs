//! How many bytes a CPU's capacities may take up together.
//!
//! A CPU has a limit. Of it a part was granted so far; the rest is the reserve, which moves between CPUs. Of what was
//! granted, classes' capacities take up a part, and the rest is available to them.

use super::{CpuState, add_roughly};
use strata_sync::atomic::{AtomicI64, Ordering};

impl CpuState {
    /// What the CPU may hold at most: what was granted, and what may be.
    pub(crate) fn limit_bytes(&self) -> i64 {
        let granted = self.granted_bytes.load(Ordering::Relaxed);
        granted.saturating_add(self.reserve_bytes.load(Ordering::Relaxed))
    }

    /// Grants about `wanted` bytes more of the reserve, in steps of 64 KiB, as long as what is granted stays within
    /// `allowance`. False if the reserve was too small for that.
    pub(crate) fn grant(&self, wanted: usize, allowance: i64) -> bool {
        const STEP: i64 = 64 << 10;
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let granted = self.granted_bytes.load(Ordering::Relaxed);
        let most = allowance.saturating_sub(granted);
        self.grant_all(wanted.max(STEP).min(most)) >= wanted.min(most)
    }

    /// Grants up to `bytes` of the reserve, whatever the CPU is allowed; says how many.
    pub(crate) fn grant_all(&self, bytes: i64) -> i64 {
        let added = take_up_to(&self.reserve_bytes, bytes);
        if added > 0 {
            self.granted_bytes.fetch_add(added, Ordering::Relaxed);
            self.available_bytes.fetch_add(added, Ordering::Relaxed);
        }
        added
    }

    /// Counts a miss for want of limit. True for one in 32: to look whether others have some to spare costs a look
    /// at each of them.
    pub(crate) fn comes_to_borrow(&self) -> bool {
        const PERIOD: u32 = 32;
        let turn = self.borrow_turn.load(Ordering::Relaxed).wrapping_add(1);
        self.borrow_turn.store(turn, Ordering::Relaxed);
        turn.is_multiple_of(PERIOD)
    }

    /// Whether the CPU misses a part of the usual limit.
    pub(crate) fn is_poor(&self) -> bool {
        self.is_poor.load(Ordering::Relaxed)
    }

    pub(crate) fn set_poor(&self, is_poor: bool) {
        self.is_poor.store(is_poor, Ordering::Relaxed);
    }

    /// Takes up to `wanted` bytes off the CPU's limit that were not granted, and leaves it a limit of `kept`; says
    /// how many.
    pub(crate) fn lend(&self, wanted: i64, kept: i64) -> i64 {
        take_up_to(&self.reserve_bytes, wanted.min(self.limit_bytes().saturating_sub(kept)))
    }

    /// What the CPU has earned: see [`note_costly_turn`](Self::note_costly_turn).
    pub(crate) fn earned_bytes(&self) -> i64 {
        self.earned_bytes.load(Ordering::Relaxed)
    }

    /// Notes a turn that cost: a class has just overflowed, missed objects before that, and found no capacity to
    /// keep what came back. With 256 of them among 8192 misses the CPU earns twice the `allowance` that it has now.
    ///
    /// What only comes from here, or only goes back here, earns nothing. With an eighth as many, a program earns
    /// what it needs for a moment; with eight times as many, one that passes 1.5 MiB in 26 classes to and fro takes
    /// a third more of the processor's time for its first 600 000 blocks (`hand-over-1-1-mixed` of the benchmarks).
    /// Misses stand for time: replays have no clock here.
    pub(crate) fn note_costly_turn(&self, allowance: i64) {
        const TURNS: u32 = 256;
        const AMONG: u64 = 8192;
        let misses = self.misses();
        if misses.wrapping_sub(self.costly_since.load(Ordering::Relaxed)) > AMONG {
            self.costly_since.store(misses, Ordering::Relaxed);
            self.costly_turns.store(0, Ordering::Relaxed);
        }
        let turns = self.costly_turns.load(Ordering::Relaxed).wrapping_add(1);
        if turns < TURNS {
            self.costly_turns.store(turns, Ordering::Relaxed);
        } else {
            self.costly_since.store(misses, Ordering::Relaxed);
            self.costly_turns.store(0, Ordering::Relaxed);
            self.earned_bytes.store(allowance.saturating_mul(2), Ordering::Relaxed);
        }
    }

    /// Takes back what was earned, and then what was granted and no capacity takes up. For who emptied the cache. A
    /// CPU that earned nothing keeps its grants: it needed them before.
    pub(crate) fn revoke_earned(&self) {
        if self.earned_bytes.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        let available = take_up_to(&self.available_bytes, i64::MAX);
        self.granted_bytes.fetch_sub(available, Ordering::Relaxed);
        self.reserve_bytes.fetch_add(available, Ordering::Relaxed);
    }

    /// Takes up to `wanted` bytes off the CPU's limit that no capacity takes up: first what was not granted, then what is
    /// available. Says how many.
    pub(crate) fn give_up_share(&self, wanted: i64) -> i64 {
        let reserved = take_up_to(&self.reserve_bytes, wanted);
        let available = take_up_to(&self.available_bytes, wanted - reserved);
        self.granted_bytes.fetch_sub(available, Ordering::Relaxed);
        reserved + available
    }

    /// Adds to the CPU's limit what another gave up, or what the usual limit grew by; a negative number lowers it.
    /// If more is granted than the limit then, the reserve is below zero, and nothing is granted until [that is
    /// paid](Self::pay_debt).
    pub(crate) fn receive_share(&self, bytes: i64) {
        self.reserve_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Pays what the reserve is below zero by out of what is granted and no capacity takes up. Says how much of it
    /// capacities still have; a CPU that gave its limit to others may owe more, which only a higher limit pays.
    pub(crate) fn pay_debt(&self) -> i64 {
        let debt = self.reserve_bytes.load(Ordering::Relaxed).min(0).saturating_neg();
        let paid = take_up_to(&self.available_bytes, debt);
        self.reserve_bytes.fetch_add(paid, Ordering::Relaxed);
        let granted = self.granted_bytes.fetch_sub(paid, Ordering::Relaxed) - paid;
        (debt - paid).min(granted).max(0)
    }

    /// Takes up to `wanted` objects of `size` bytes out of the available bytes; says how many objects it got.
    pub(crate) fn claim(&self, wanted: u16, size: usize) -> u16 {
        let mut got = 0;
        take(&self.available_bytes, |available| {
            let fits = usize::try_from(available).unwrap_or(0) / size.max(1);
            got = wanted.min(u16::try_from(fits).unwrap_or(u16::MAX));
            signed(got, size)
        });
        got
    }

    /// Gives the bytes of `objects` objects of `size` bytes back to what is available.
    pub(crate) fn unclaim(&self, objects: u16, size: usize) {
        if objects > 0 {
            self.available_bytes.fetch_add(signed(objects, size), Ordering::Relaxed);
        }
    }

    /// Takes up to `wanted` objects of `size` bytes out of what classes gave up and what is available; says how many.
    /// What is left is available.
    ///
    /// Where enough was given up it does not become available first, to be claimed from there: that were two locked
    /// instructions more.
    pub(crate) fn claim_stolen(&self, stolen: Stolen, wanted: u16, size: usize) -> u16 {
        if stolen.victims > 0 {
            add_roughly(&self.resizes, stolen.victims);
        }
        match stolen.bytes.checked_sub(usize::from(wanted) * size) {
            Some(rest) => {
                self.make_available(rest);
                wanted
            }
            None => {
                self.make_available(stolen.bytes);
                self.claim(wanted, size)
            }
        }
    }

    fn make_available(&self, bytes: usize) {
        if bytes > 0 {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.available_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// What classes gave up for another.
#[must_use]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Stolen {
    pub(crate) bytes: usize,
    /// Classes that gave.
    pub(crate) victims: u64,
}

/// Takes up to `wanted` bytes out of a counter, which never falls below zero by that; says how many.
fn take_up_to(counter: &AtomicI64, wanted: i64) -> i64 {
    take(counter, |found| wanted.min(found))
}

/// Takes as many bytes out of a counter as `part` says of what it finds there, which is asked again where somebody else
/// was faster; says how many. What is not above zero is not taken.
pub(crate) fn take(counter: &AtomicI64, mut part: impl FnMut(i64) -> i64) -> i64 {
    let mut found = counter.load(Ordering::Relaxed);
    loop {
        let taken = part(found);
        if taken <= 0 {
            return 0;
        }
        match counter.compare_exchange_weak(
            found,
            found - taken,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return taken,
            Err(now) => found = now,
        }
    }
}

/// Capacity in bytes: at most 65 535 × 256 KiB, which fits.
fn signed(objects: u16, size: usize) -> i64 {
    i64::from(objects) * i64::try_from(size).unwrap_or(0)
}
