//! How making hugepages whole goes, in numbers.

/// How making hugepages whole goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CollapseFigures {
    /// Hugepages that the kernel was asked about, each time they were.
    pub asked: u64,
    /// Of these, hugepages that were whole.
    pub whole: u64,
    /// Of these, hugepages of which too much was missing or in swap.
    pub sparse: u64,
    /// Hugepages that were made whole.
    pub collapsed: u64,
    /// How often the kernel refused.
    pub failures: u64,
    /// The same by [`CollapseError`].
    pub failures_by_error: [u64; CollapseError::COUNT],
    /// What collapses took, in nanoseconds.
    pub total_ns: u64,
    /// The longest of them, in nanoseconds.
    pub longest_ns: u64,
    /// The pause between two steps now, in nanoseconds.
    pub pause_ns: u64,
    /// The pause without what the kernel's slowness adds, in nanoseconds.
    pub least_pause_ns: u64,
    /// Steps that were left out because the pause was longer.
    pub skipped_steps: u64,
}

impl CollapseFigures {
    pub(crate) const NONE: Self = Self {
        asked: 0,
        whole: 0,
        sparse: 0,
        collapsed: 0,
        failures: 0,
        failures_by_error: [0; CollapseError::COUNT],
        total_ns: 0,
        longest_ns: 0,
        pause_ns: 0,
        least_pause_ns: 0,
        skipped_steps: 0,
    };
}

/// Why the kernel refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollapseError {
    /// No memory for a hugepage.
    Nomem,
    /// Pages are pinned, or being changed.
    Busy,
    /// The kernel does not know it, or not for this memory.
    Inval,
    /// Something was in the way for a moment.
    Again,
    /// A signal came.
    Intr,
    /// Anything else.
    Other,
}

impl CollapseError {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, in the order of the figures.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Nomem, Self::Busy, Self::Inval, Self::Again, Self::Intr, Self::Other];

    /// That of an error number, which has the same meaning on all of Linux's architectures.
    pub(super) const fn of(errno: i32) -> Self {
        match errno {
            12 => Self::Nomem,
            16 => Self::Busy,
            22 => Self::Inval,
            11 => Self::Again,
            4 => Self::Intr,
            _ => Self::Other,
        }
    }
}
