//! What a CPU's cache remembers beside its slots.

use strata_size_classes::{CLASS_SLOTS, SizeClass};
use strata_sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// The state of one CPU's cache; lies in its region behind the headers. All zero bits are a CPU that was
/// never used. Any thread may change it at any time: the slow paths run outside of sections.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct CpuState {
    /// 1 while somebody empties the cache. Written by the one who does, read by `rseq::exchange`, which finds
    /// it at the state's first byte, and by slow paths.
    pub(crate) stopped: AtomicU8,
    /// Bytes of the limit that no class's capacity takes up.
    pub(crate) available_bytes: AtomicI64,
    pub(crate) populated: AtomicBool,
    /// The class that gives capacity next.
    pub(crate) hand: AtomicU32,
    pub(crate) underflows: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) drains: AtomicU64,
    pub(crate) resizes: AtomicU64,
    /// Bytes popped by and pushed from slow paths, objects that never stood in a slot included.
    pub(crate) refilled_objects: AtomicU64,
    pub(crate) flushed_objects: AtomicU64,
    /// What happened to each class last: see [`Memory`].
    memory: [AtomicU8; CLASS_SLOTS],
}

/// What a class's last miss was, and how many of the kind came in a row (at most 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory(u8);

impl Memory {
    const UNDERFLOW: u8 = 0x80;
    const OVERFLOW: u8 = 0x40;
    const REPEATS: u8 = 7;

    /// Whether the last miss was an underflow.
    pub(crate) fn was_underflow(self) -> bool {
        self.0 & Self::UNDERFLOW != 0
    }

    /// How many misses of the same kind came in a row before this one.
    pub(crate) fn repeats(self) -> u32 {
        (self.0 & Self::REPEATS).into()
    }

    fn next(self, kind: u8) -> Self {
        if self.0 & kind != 0 {
            Self(kind | (self.0 & Self::REPEATS).saturating_add(1).min(Self::REPEATS))
        } else {
            Self(kind)
        }
    }
}

impl CpuState {
    /// Remembers an underflow of `class`; says what was before.
    pub(crate) fn note_underflow(&self, class: SizeClass) -> Memory {
        self.underflows.fetch_add(1, Ordering::Relaxed);
        self.note(class, Memory::UNDERFLOW)
    }

    /// Remembers an overflow of `class`; says what was before.
    pub(crate) fn note_overflow(&self, class: SizeClass) -> Memory {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        self.note(class, Memory::OVERFLOW)
    }

    /// A race between two threads loses one of two misses: the memory is a hint.
    fn note(&self, class: SizeClass, kind: u8) -> Memory {
        let entry = &self.memory[class.index()];
        let before = Memory(entry.load(Ordering::Relaxed));
        entry.store(before.next(kind).0, Ordering::Relaxed);
        before
    }

    /// Takes up to `wanted` objects of `size` bytes out of the available bytes; says how many objects it got.
    pub(crate) fn claim(&self, wanted: u16, size: usize) -> u16 {
        let mut available = self.available_bytes.load(Ordering::Relaxed);
        loop {
            let fits = usize::try_from(available).unwrap_or(0) / size.max(1);
            let got = wanted.min(u16::try_from(fits).unwrap_or(u16::MAX));
            if got == 0 {
                return 0;
            }
            let rest = available - signed(got, size);
            match self.available_bytes.compare_exchange_weak(
                available,
                rest,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return got,
                Err(now) => available = now,
            }
        }
    }

    /// Gives the bytes of `objects` objects of `size` bytes back to what is available.
    pub(crate) fn unclaim(&self, objects: u16, size: usize) {
        self.available_bytes.fetch_add(signed(objects, size), Ordering::Relaxed);
    }
}

/// Capacity in bytes: at most 65 535 × 256 KiB, which fits.
fn signed(objects: u16, size: usize) -> i64 {
    i64::from(objects) * i64::try_from(size).unwrap_or(0)
}
