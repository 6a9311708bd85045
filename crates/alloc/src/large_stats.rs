//! The large blocks that the application has, and the most that it had at a time.

use strata_os::AddressRange;
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
    /// The length of the last block of a [new length](Self::begin_new_length), and where it began.
    new_length: AtomicU64,
    new_length_start: AtomicU64,
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

    /// If a block is at least twice as long as any of which this was said before: where [the last of
    /// these](Self::last_of_new_length) was.
    pub(crate) fn begin_new_length(&self, block: AddressRange) -> Option<AddressRange> {
        let last = self.last_of_new_length();
        // Of two threads at the same moment one is told so.
        let is_new = block.bytes / 2 >= last.bytes
            && Self::replace(&self.new_length, last.bytes, block.bytes);
        if is_new {
            self.new_length_start.store(block.start as u64, Ordering::Relaxed);
        }
        is_new.then_some(last)
    }

    /// Takes that back, unless another thread came with a longer one: the last is again the one `before`.
    pub(crate) fn forget_new_length(&self, block: AddressRange, before: AddressRange) {
        if Self::replace(&self.new_length, block.bytes, before.bytes) {
            Self::replace(&self.new_length_start, block.start, before.start);
        }
    }

    fn replace(word: &AtomicU64, from: usize, to: usize) -> bool {
        let (from, to) = (from as u64, to as u64);
        word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Where the last such block was. (Who asks while another one comes may be told of a place where none was.)
    pub(crate) fn last_of_new_length(&self) -> AddressRange {
        let of = |word: &AtomicU64| word.load(Ordering::Relaxed) as usize;
        AddressRange::new(of(&self.new_length_start), of(&self.new_length))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_new_once_and_then_twice_that() {
        // SAFETY: all zero bits are counters of nothing.
        let counters: LargeCounters = unsafe { core::mem::zeroed() };
        let lengths = [4_usize, 4, 7, 8, 15, 4, 16, 1 << 40, (1 << 41) - 1, 1 << 41];
        let block = |mebibytes| AddressRange::new(1 << 30, mebibytes << 20);
        let new = lengths.map(|mebibytes| counters.begin_new_length(block(mebibytes)).is_some());
        assert_eq!(new, [true, false, false, true, false, false, true, true, false, true]);
        assert_eq!(counters.last_of_new_length(), block(1 << 41));
    }

    #[test]
    fn a_block_that_stays_leaves_its_length_new() {
        // SAFETY: all zero bits are counters of nothing.
        let counters: LargeCounters = unsafe { core::mem::zeroed() };
        let [first, second, longer] = [(8, 1 << 20), (16, 1 << 21), (64, 1 << 22)]
            .map(|(mebibytes, start)| AddressRange::new(start, mebibytes << 20));
        let none = AddressRange::new(0, 0);
        assert_eq!(counters.begin_new_length(first), Some(none));
        assert_eq!(counters.begin_new_length(second), Some(first));
        counters.forget_new_length(second, first);
        assert_eq!(counters.last_of_new_length(), first);
        assert_eq!(counters.begin_new_length(second), Some(first), "it is new still");
        // Another thread comes with a longer one before this one is known to stay.
        assert_eq!(counters.begin_new_length(longer), Some(second));
        counters.forget_new_length(second, first);
        assert_eq!(counters.last_of_new_length(), longer);
    }
}
