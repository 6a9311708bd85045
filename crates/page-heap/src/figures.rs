//! The figures that every page heap has.

use crate::{LimitFigures, ReleaseReason};
use strata_sync::LockStats;

/// Where the pages of a page heap are, in bytes unless named otherwise.
///
/// `system = in use + free + unmapped`, at any moment at which nothing is underway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PageHeapStats {
    /// Address space reserved from the source.
    pub reserved_bytes: u64,
    /// Of it, taken into spans so far.
    pub system_bytes: u64,
    /// In spans that are handed out.
    pub in_use_bytes: u64,
    /// Free and backed, what is just being given back included.
    pub free_bytes: u64,
    /// Of what is free and backed, what lies in each part of the page heap.
    pub free_parts: FreeParts,
    /// Free and not backed: given back to the kernel, or never touched.
    pub unmapped_bytes: u64,
    /// The most that was in spans and free and backed at a time.
    pub peak_backed_bytes: u64,
    /// Spans handed out so far and not given back, as a number.
    pub spans_in_use: u64,
    /// Given back to the kernel so far, by reason.
    pub released: ReleasedBytes,
    /// How often the kernel refused to take memory back, as a number.
    pub release_failures: u64,
    /// How often it was not asked to because it had just refused several times, as a number.
    pub releases_withheld: u64,
    /// The limits, and how often they were met.
    pub limits: LimitFigures,
    /// The moment at which most was in spans.
    pub peak: PeakFigures,
    /// The heap's lock.
    pub lock: LockStats,
}

impl PageHeapStats {
    /// What is in spans, or free and backed.
    pub const fn backed_bytes(&self) -> u64 {
        self.in_use_bytes.wrapping_add(self.free_bytes)
    }

    /// The figures of both of two heaps, whose limits are this one's. Peaks add up, too: they need not have been at
    /// the same moment, so that the sum is the most that it can have been.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let (a, b) = (self, other);
        Self {
            reserved_bytes: a.reserved_bytes.wrapping_add(b.reserved_bytes),
            system_bytes: a.system_bytes.wrapping_add(b.system_bytes),
            in_use_bytes: a.in_use_bytes.wrapping_add(b.in_use_bytes),
            free_bytes: a.free_bytes.wrapping_add(b.free_bytes),
            free_parts: a.free_parts.plus(b.free_parts),
            unmapped_bytes: a.unmapped_bytes.wrapping_add(b.unmapped_bytes),
            peak_backed_bytes: a.peak_backed_bytes.wrapping_add(b.peak_backed_bytes),
            spans_in_use: a.spans_in_use.wrapping_add(b.spans_in_use),
            released: a.released.plus(b.released),
            release_failures: a.release_failures.wrapping_add(b.release_failures),
            releases_withheld: a.releases_withheld.wrapping_add(b.releases_withheld),
            limits: LimitFigures {
                limits: a.limits.limits,
                soft_hits: a.limits.soft_hits.wrapping_add(b.limits.soft_hits),
                soft_successes: a.limits.soft_successes.wrapping_add(b.limits.soft_successes),
                hard_hits: a.limits.hard_hits.wrapping_add(b.limits.hard_hits),
                hard_failures: a.limits.hard_failures.wrapping_add(b.limits.hard_failures),
            },
            peak: PeakFigures {
                in_use_bytes: a.peak.in_use_bytes.wrapping_add(b.peak.in_use_bytes),
                free_bytes: a.peak.free_bytes.wrapping_add(b.peak.free_bytes),
                unmapped_bytes: a.peak.unmapped_bytes.wrapping_add(b.peak.unmapped_bytes),
                spans_in_use: a.peak.spans_in_use.wrapping_add(b.peak.spans_in_use),
            },
            lock: a.lock.merge(b.lock),
        }
    }
}

/// Free and backed pages by the part of a page heap that has them, in bytes. What is in none of them is on its way to the
/// kernel; of a page heap without such parts, all of it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FreeParts {
    /// Within the filler's hugepages.
    pub filler_bytes: u64,
    /// Within regions.
    pub regions_bytes: u64,
    /// Whole hugepages in the huge cache.
    pub cache_bytes: u64,
}

impl FreeParts {
    const fn plus(self, other: Self) -> Self {
        Self {
            filler_bytes: self.filler_bytes.wrapping_add(other.filler_bytes),
            regions_bytes: self.regions_bytes.wrapping_add(other.regions_bytes),
            cache_bytes: self.cache_bytes.wrapping_add(other.cache_bytes),
        }
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.filler_bytes.wrapping_add(self.regions_bytes).wrapping_add(self.cache_bytes)
    }
}

/// Where pages were at the moment at which most of them were in spans, all figures of that moment, in bytes unless named
/// otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PeakFigures {
    /// In spans that were handed out.
    pub in_use_bytes: u64,
    /// Free and backed.
    pub free_bytes: u64,
    /// Free and not backed.
    pub unmapped_bytes: u64,
    /// Spans that were handed out, as a number.
    pub spans_in_use: u64,
}

/// Bytes given back to the kernel since the start, by [`ReleaseReason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ReleasedBytes {
    /// Because the program asked.
    pub call: u64,
    /// By policy, at its rate.
    pub policy: u64,
    /// By policy, because nobody wanted it.
    pub idle: u64,
    /// At the soft limit.
    pub soft_limit: u64,
    /// At the hard limit.
    pub hard_limit: u64,
}

impl ReleasedBytes {
    /// Nothing yet.
    pub const NONE: Self = Self { call: 0, policy: 0, idle: 0, soft_limit: 0, hard_limit: 0 };

    /// Adds bytes given back for `reason`.
    pub fn add(&mut self, reason: ReleaseReason, bytes: u64) {
        let counter = match reason {
            ReleaseReason::Call => &mut self.call,
            ReleaseReason::Policy | ReleaseReason::Fallen | ReleaseReason::Growth => {
                &mut self.policy
            }
            ReleaseReason::Idle => &mut self.idle,
            ReleaseReason::SoftLimit => &mut self.soft_limit,
            ReleaseReason::HardLimit => &mut self.hard_limit,
        };
        *counter = counter.wrapping_add(bytes);
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            call: self.call.wrapping_add(other.call),
            policy: self.policy.wrapping_add(other.policy),
            idle: self.idle.wrapping_add(other.idle),
            soft_limit: self.soft_limit.wrapping_add(other.soft_limit),
            hard_limit: self.hard_limit.wrapping_add(other.hard_limit),
        }
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.call
            .wrapping_add(self.policy)
            .wrapping_add(self.idle)
            .wrapping_add(self.soft_limit)
            .wrapping_add(self.hard_limit)
    }
}

/// Makes `place` what `value` is, with no copy on the stack: figures are larger than small stacks, and an
/// assignment of a constant may stop there on its way.
#[inline(never)]
pub fn copy_into_place<T: Copy>(place: &mut T, value: &T) {
    // SAFETY: both are whole values, the place is the caller's alone, and a `Copy` value may be had twice.
    unsafe { core::ptr::from_mut(place).copy_from_nonoverlapping(value, 1) };
}
