//! The large blocks that the application has, and the most that it had at a time.

use strata_sync::atomic::{AtomicU64, Ordering};

/// Blocks with spans of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LargeStats {
    /// Blocks that the application has, as a number.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most blocks at a time.
    pub peak_blocks: u64,
    /// The most bytes at a time.
    pub peak_bytes: u64,
}

/// Counts them. All zero bits are none.
///
/// Written by every thread that allocates, frees or extends a large block, off the common path; read for figures, and
/// publishing nothing: relaxed.
#[derive(Debug)]
pub(crate) struct LargeCounters {
    blocks: AtomicU64,
    bytes: AtomicU64,
    peak_blocks: AtomicU64,
    peak_bytes: AtomicU64,
}

impl LargeCounters {
    /// A block came into use.
    pub(crate) fn note_allocated(&self, bytes: usize) {
        let blocks = self.blocks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.peak_blocks.fetch_max(blocks, Ordering::Relaxed);
        self.note_extended(bytes);
    }

    /// A block in use has so many bytes more.
    pub(crate) fn note_extended(&self, bytes: usize) {
        let bytes = bytes as u64;
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        self.peak_bytes.fetch_max(now, Ordering::Relaxed);
    }

    /// A block is given back.
    pub(crate) fn note_deallocated(&self, bytes: usize) {
        self.blocks.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of the blocks that the application has.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> LargeStats {
        LargeStats {
            blocks: self.blocks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            peak_blocks: self.peak_blocks.load(Ordering::Relaxed),
            peak_bytes: self.peak_bytes.load(Ordering::Relaxed),
        }
    }
}
