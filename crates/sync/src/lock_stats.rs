//! What a lock tells about its past.

/// The figures of one lock since it was made, or of several added up.
///
/// They are jemalloc's seven (`mutexes.*` in its manual), under names that say their units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct LockStats {
    /// Times the lock was taken (`num_ops`).
    pub operations: u64,
    /// Times it was taken after spinning, without sleeping (`num_spin_acq`).
    pub spin_acquisitions: u64,
    /// Times it was taken after sleeping (`num_wait`).
    pub waits: u64,
    /// Most threads that slept for it at the same time (`max_num_thds`).
    pub max_waiting_threads: u32,
    /// Times it was taken by another thread than the time before, the first time included
    /// (`num_owner_switch`).
    pub owner_switches: u64,
    /// Nanoseconds between falling asleep and holding the lock, all waits together
    /// (`total_wait_time`).
    pub total_wait_ns: u64,
    /// Nanoseconds of the longest wait (`max_wait_time`).
    pub max_wait_ns: u64,
}

impl LockStats {
    /// The figures of a lock that was never taken.
    pub const ZERO: Self = Self {
        operations: 0,
        spin_acquisitions: 0,
        waits: 0,
        max_waiting_threads: 0,
        owner_switches: 0,
        total_wait_ns: 0,
        max_wait_ns: 0,
    };

    /// The figures of both: counts and times add up, the two maxima are the larger one.
    ///
    /// ```
    /// use strata_sync::LockStats;
    ///
    /// let one = LockStats { operations: 5, max_wait_ns: 70, ..LockStats::ZERO };
    /// let other = LockStats { operations: 2, max_wait_ns: 30, ..LockStats::ZERO };
    /// let both = one.merge(other);
    /// assert_eq!((both.operations, both.max_wait_ns), (7, 70));
    /// ```
    #[must_use]
    pub const fn merge(self, other: Self) -> Self {
        Self {
            operations: self.operations.saturating_add(other.operations),
            spin_acquisitions: self.spin_acquisitions.saturating_add(other.spin_acquisitions),
            waits: self.waits.saturating_add(other.waits),
            max_waiting_threads: if self.max_waiting_threads < other.max_waiting_threads {
                other.max_waiting_threads
            } else {
                self.max_waiting_threads
            },
            owner_switches: self.owner_switches.saturating_add(other.owner_switches),
            total_wait_ns: self.total_wait_ns.saturating_add(other.total_wait_ns),
            max_wait_ns: if self.max_wait_ns < other.max_wait_ns {
                other.max_wait_ns
            } else {
                self.max_wait_ns
            },
        }
    }
}

impl core::iter::Sum for LockStats {
    /// Merges the figures of all locks.
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::ZERO, Self::merge)
    }
}

#[cfg(test)]
mod tests;
