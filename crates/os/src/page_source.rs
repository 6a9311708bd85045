//! Where address space comes from.

use crate::{AddressRange, KernelPages, PageScan, ThpMode, is_confined, thp_mode};
use core::fmt;

/// What a mapping is for: it names the mapping in `/proc/PID/maps` and sorts it in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Purpose {
    /// Spans: memory that the application gets.
    Heap,
    /// The allocator's own structures.
    Metadata,
    /// Per-CPU slabs.
    Slabs,
}

impl Purpose {
    /// How many purposes there are.
    pub const COUNT: usize = 3;
}

/// What to tell the kernel about a range. Each is one `madvise` number: they cannot be combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Advice {
    /// Back it with hugepages where possible.
    Hugepage,
    /// Never back it with hugepages.
    NoHugepage,
    /// Make hugepages of it now, even from pages that are there (`MADV_COLLAPSE`).
    Collapse,
    /// It will not be used soon.
    Cold,
    /// Fault it in for writing now.
    PopulateWrite,
}

/// How pages are given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// The kernel may take them when it wants to; until then they keep their contents.
    Lazy,
    /// They go at once and read as zero afterwards.
    Forced,
}

/// A wish for address space.
#[derive(Clone, Copy, Debug)]
pub struct ReserveRequest {
    /// How many bytes: a multiple of the kernel's page size.
    pub bytes: usize,
    /// Alignment of the start: a power of two, at least the kernel's page size.
    pub align: usize,
    /// What for.
    pub purpose: Purpose,
}

/// Address space that was had.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// Where it is; at least as long as wished.
    pub range: AddressRange,
    /// Whether it reads as zero.
    pub zeroed: bool,
    /// Whether it may be read and written without a `commit`.
    pub committed: bool,
}

/// Why address space was not had, or not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MapError {
    /// How many bytes were at stake.
    pub bytes: usize,
    /// The system's error number; 0 where the source refused by itself.
    pub errno: i32,
}

impl MapError {
    /// The error `errno` about `bytes` bytes.
    pub const fn new(bytes: usize, errno: i32) -> Self {
        Self { bytes, errno }
    }

    /// What was wished for is not to be had on this machine: `ENOSYS`.
    pub const fn unsupported(bytes: usize) -> Self {
        Self::new(bytes, libc::ENOSYS)
    }

    /// Whether a part may have been done, of what can be: the kernel had no more memory, or was stopped. (What it does not
    /// know or does not allow it does not begin.)
    pub const fn is_halfway(&self) -> bool {
        matches!(
            self.errno,
            libc::ENOMEM | libc::EFAULT | libc::EINTR | libc::EAGAIN | libc::EHWPOISON
        )
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes could not be mapped or changed (errno {})", self.bytes, self.errno)
    }
}

impl core::error::Error for MapError {}

/// Which pages of a range stand in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Residency {
    /// Bytes in memory.
    pub resident_bytes: usize,
    /// Of these, bytes on hugepages, where the source can tell.
    pub hugepage_bytes: usize,
    /// Bytes in swap, where the source can tell.
    pub swapped_bytes: usize,
}

/// Where address space comes from: reserve, commit, release, advice.
///
/// All calls may come from several threads at once, about disjoint ranges. None may
/// allocate from the heap that stands on the source.
///
/// It answers as jemalloc's extent hooks do: it may refuse a split, a merge or a decommit,
/// and says of what it hands out whether it is zeroed and committed.
///
/// # Safety
///
/// An implementation promises:
/// 1. A reserved range overlaps no other range that is reserved, and nothing else of the program.
/// 2. A committed range of a source whose `touchable()` is true may be read and written
///    until it is decommitted or unreserved.
/// 3. What is reported as zeroed, or was released by force, reads as zero.
/// 4. An error changes nothing, but for the pages that advice faulted in [halfway](MapError::is_halfway).
pub unsafe trait PageSource: Sync {
    /// Reserves address space.
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError>;

    /// Gives address space back. `range` is a part of what `reserve` gave, in multiples of the
    /// kernel's page size.
    ///
    /// # Safety
    ///
    /// Nobody uses the range any more.
    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError>;

    /// Makes a reserved range readable and writable. Says whether it reads as zero. The range is
    /// not committed, or was released by force since: of other pages the answer would be a lie.
    fn commit(&self, range: AddressRange) -> Result<bool, MapError>;

    /// Makes a range inaccessible again and gives its memory back.
    ///
    /// # Safety
    ///
    /// Nobody uses the range until it is committed again.
    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError>;

    /// Marks the pages of a committed range, so that an access ends as one to what is inaccessible, and gives their
    /// memory back. The range stays committed, and takes no mapping of its own. A source may refuse always; nothing
    /// has changed then, but that pages may be empty.
    ///
    /// # Safety
    ///
    /// Nobody uses the range until its marks are taken away.
    unsafe fn mark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        Err(MapError::unsupported(range.bytes))
    }

    /// Takes the marks of guards from a committed range, some pages of which may have them: those read as zero.
    fn unmark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        Err(MapError::unsupported(range.bytes))
    }

    /// Gives the memory behind a committed range back; the range stays usable.
    ///
    /// # Safety
    ///
    /// Nothing in the range is needed any more.
    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError>;

    /// Tells the kernel about a committed range. A hint: an error may be ignored.
    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError>;

    /// What of a range stands in memory, as the kernel says.
    fn residency(&self, range: AddressRange) -> Result<Residency, MapError>;

    /// The same for who asks about many ranges, by a file of the kernel's that was opened before. A source that
    /// asks otherwise needs none.
    fn residency_by(&self, scan: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        let _ = scan;
        self.residency(range)
    }

    /// Where each kernel page of a range is, of at most 512, as the kernel says. A source may not know: then it refuses.
    fn kernel_pages(&self, scan: &PageScan, range: AddressRange) -> Result<KernelPages, MapError> {
        let _ = scan;
        Err(MapError::unsupported(range.bytes))
    }

    /// Moves the memory behind the beginning of `from` to `to` without copying it; says how many bytes, at least
    /// one page. `from` stays committed and reads as zero as far as it was moved; what was at `to` is gone. A
    /// source may move less than was wished, or refuse always: then the caller copies. After an error `to` is
    /// committed, with any contents.
    ///
    /// # Safety
    ///
    /// Both ranges are committed, as long as `from`, and do not overlap; nobody else uses either meanwhile, and
    /// nothing at `to` is needed.
    unsafe fn relocate(&self, from: AddressRange, to: usize) -> Result<usize, MapError> {
        let _ = to;
        Err(MapError::unsupported(from.bytes))
    }

    /// Whether `range` may be treated as two ranges that meet at `at`.
    fn may_split(&self, range: AddressRange, at: usize) -> bool {
        let _ = (range, at);
        true
    }

    /// Whether two ranges that meet may be treated as one.
    fn may_merge(&self, low: AddressRange, high: AddressRange) -> bool {
        let _ = (low, high);
        true
    }

    /// The granule of `commit`, `release` and `advise`, in bytes: a power of two.
    fn page_bytes(&self) -> usize;

    /// The width of an address, in bits: no range ends above `1 << address_bits()`.
    fn address_bits(&self) -> u32;

    /// Whether memory stands behind the addresses. A simulated source answers false, and
    /// nothing may be read or written there.
    fn touchable(&self) -> bool;

    /// Where hugepages come from: the system's mode where memory stands behind the addresses. A source that does
    /// not know, or keeps no account of touches, answers [`ThpMode::Unknown`].
    fn thp_mode(&self) -> ThpMode {
        if self.touchable() { thp_mode() } else { ThpMode::Unknown }
    }

    /// Whether address space that is reserved and hardly used would be missed: where memory stands behind the
    /// addresses, a limit of the process's says so.
    fn is_confined(&self) -> bool {
        self.touchable() && is_confined()
    }
}

#[cfg(test)]
mod tests;
