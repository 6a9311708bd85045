//! What a trace is made of.

/// One thing that happened.
///
/// Blocks begin at multiples of eight below 2^60, as allocators have them: of an address no other bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The recorder came to its end: the file was not cut off.
    End,
    /// So much time passed since the last event of this kind.
    Time {
        /// In µs.
        microseconds: u64,
    },
    /// The events that follow are of this thread.
    Thread {
        /// Its number: the kernel's, where a heap recorded.
        number: u64,
    },
    /// A block was handed out.
    Allocate {
        /// Where it begins.
        address: u64,
        /// What was asked for, in bytes.
        size: u64,
        /// What alignment was asked for, a power of two; 1 where nothing was.
        align: u64,
    },
    /// A block was given back.
    Deallocate {
        /// Where it began.
        address: u64,
    },
    /// A block became longer or shorter, and may have moved.
    Reallocate {
        /// Where it began.
        old: u64,
        /// Where it begins now.
        address: u64,
        /// What was asked for, in bytes.
        size: u64,
    },
}

/// The bits that tell kinds apart.
pub(crate) const KIND_BITS: u32 = 3;

pub(crate) const END: u64 = 0;
pub(crate) const TIME: u64 = 1;
pub(crate) const THREAD: u64 = 2;
pub(crate) const ALLOCATE: u64 = 3;
pub(crate) const ALLOCATE_ALIGNED: u64 = 4;
pub(crate) const DEALLOCATE: u64 = 5;
pub(crate) const REALLOCATE: u64 = 6;

/// Addresses are told in units of so many bits.
pub(crate) const ADDRESS_SHIFT: u32 = 3;

pub(crate) const MAGIC: [u8; 8] = *b"STRATRCE";
pub(crate) const VERSION: u64 = 1;
