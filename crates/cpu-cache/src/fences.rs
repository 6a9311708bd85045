//! How the sections of other CPUs are ended.

use crate::CpuCache;
use strata_sync::atomic::{AtomicU8, Ordering};

/// By what means the sections of other CPUs end when their caches are stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Fences {
    /// There are no caches of CPUs, or nobody knows.
    #[default]
    Unknown = 0,
    /// The kernel's fence for restartable sequences, `membarrier(2)`.
    Membarrier = 1,
    /// The thread that stops a cache visits its CPU, or each in turn: the kernel refuses the fence.
    Pinning = 2,
    /// None was to be had when one was last wanted: caches of other CPUs stay as they are.
    Refused = 3,
    /// By none: one thread uses all caches, and is in no section when it stops one.
    Needless = 4,
}

impl Fences {
    /// In words, with the reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Membarrier => "by membarrier",
            Self::Pinning => "by pinning to CPUs: the kernel refuses membarrier's",
            Self::Refused => "none: the kernel refuses membarrier's, and pinning to CPUs",
            Self::Needless => "none: one thread uses the caches",
        }
    }
}

/// What was found out about fences. All zero bits are nothing.
#[derive(Debug)]
pub(crate) struct FenceRecord(
    /// A [`Fences`]. Written by set-up and fences, read by figures.
    AtomicU8,
);

impl FenceRecord {
    strata_sync::const_fn! {
        pub(crate) const fn new() -> Self {
            Self(AtomicU8::new(0))
        }
    }

    pub(crate) fn note(&self, fences: Fences) {
        self.0.store(fences as u8, Ordering::Relaxed);
    }

    fn get(&self) -> Fences {
        match self.0.load(Ordering::Relaxed) {
            1 => Fences::Membarrier,
            2 => Fences::Pinning,
            3 => Fences::Refused,
            4 => Fences::Needless,
            _ => Fences::Unknown,
        }
    }
}

impl CpuCache {
    /// By what means caches of other CPUs are stopped, as the set-up or the last fence found it.
    pub fn fences(&self) -> Fences {
        self.fence_record.get()
    }
}
