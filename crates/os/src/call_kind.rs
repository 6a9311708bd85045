//! The calls of a page source, to count and to choose among them.

use bitflags::bitflags;

/// One of the calls of a [`PageSource`](crate::PageSource).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CallKind {
    /// `reserve`.
    Reserve,
    /// `unreserve`.
    Unreserve,
    /// `commit`.
    Commit,
    /// `decommit`.
    Decommit,
    /// `release`, lazily or by force.
    Release,
    /// `advise`.
    Advise,
    /// `residency`.
    Residency,
    /// `relocate`.
    Relocate,
}

impl CallKind {
    /// How many kinds there are.
    pub const COUNT: usize = 8;

    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Reserve,
        Self::Unreserve,
        Self::Commit,
        Self::Decommit,
        Self::Release,
        Self::Advise,
        Self::Residency,
        Self::Relocate,
    ];

    /// Its place in [`ALL`](Self::ALL): below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The set of this kind alone.
    pub const fn only(self) -> CallKinds {
        CallKinds::from_bits_truncate(1 << self as u32)
    }
}

bitflags! {
    /// A set of kinds.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CallKinds: u32 {
        /// `reserve`.
        const RESERVE = 1 << CallKind::Reserve as u32;
        /// `unreserve`.
        const UNRESERVE = 1 << CallKind::Unreserve as u32;
        /// `commit`.
        const COMMIT = 1 << CallKind::Commit as u32;
        /// `decommit`.
        const DECOMMIT = 1 << CallKind::Decommit as u32;
        /// `release`, lazily or by force.
        const RELEASE = 1 << CallKind::Release as u32;
        /// `advise`.
        const ADVISE = 1 << CallKind::Advise as u32;
        /// `residency`.
        const RESIDENCY = 1 << CallKind::Residency as u32;
        /// `relocate`.
        const RELOCATE = 1 << CallKind::Relocate as u32;
    }
}

#[cfg(test)]
mod tests;
