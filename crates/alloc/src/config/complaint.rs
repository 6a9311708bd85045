//! What is said about a pair that was not understood.

use core::fmt;

/// Why a pair was not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such key.
    UnknownKey,
    /// The key has no value.
    NoValue,
    /// The key does not take this value.
    BadValue,
    /// The key says something of snapshots, and no file for them is named.
    NoSnapshotFile,
    /// The key says something of caches, and the heap is hardened: it has none.
    NoCaches,
}

/// A pair that was not understood.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// The key, as it was given.
    pub key: &'a [u8],
    /// The value, as it was given.
    pub value: &'a [u8],
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            Problem::UnknownKey => "unknown key",
            Problem::NoValue => "no value for key",
            Problem::BadValue => "bad value for key",
            Problem::NoSnapshotFile => "no snapshot_file for key",
            Problem::NoCaches => "a hardened heap has no caches for key",
        };
        write!(
            f,
            "STRATA_CONF: {what} '{}', value '{}'",
            self.key.escape_ascii(),
            self.value.escape_ascii()
        )?;
        write!(f, ": ignored")
    }
}
