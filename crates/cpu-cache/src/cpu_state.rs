//! What a CPU's cache remembers beside its slots.

use crate::layout::CLASSES;
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// The state of one CPU's cache; lies in its region behind the headers. All zero bits are a CPU that was
/// never used. Any thread may change it at any time: the slow paths run outside of sections.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct CpuState {
    /// 1 while somebody empties the cache. Written by the one who does, read by `rseq::exchange`, which finds
    /// it at the state's first byte, and by slow paths.
    pub(crate) stopped: AtomicU8,
    /// Bytes that the CPU was granted so far: what its classes' capacities may take up together.
    pub(crate) granted_bytes: AtomicI64,
    /// Of it, bytes that no class's capacity takes up.
    pub(crate) available_bytes: AtomicI64,
    pub(crate) populated: AtomicBool,
    /// The class that gives capacity next.
    pub(crate) hand: AtomicU32,
    pub(crate) underflows: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) drains: AtomicU64,
    pub(crate) resizes: AtomicU64,
    /// Objects that came from the source and went back, those that never stood in a slot included.
    refilled_objects: AtomicU64,
    flushed_objects: AtomicU64,
    /// What happened to each class last: see [`Memory`].
    memory: [AtomicU8; CLASSES],
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
    strata_sync::const_fn! {
        /// The state of a CPU that was never used.
        #[cfg(any(test, strata_loom))]
        pub(crate) const fn new() -> Self {
            Self {
                stopped: AtomicU8::new(0),
                granted_bytes: AtomicI64::new(0),
                available_bytes: AtomicI64::new(0),
                populated: AtomicBool::new(false),
                hand: AtomicU32::new(0),
                underflows: AtomicU64::new(0),
                overflows: AtomicU64::new(0),
                drains: AtomicU64::new(0),
                resizes: AtomicU64::new(0),
                refilled_objects: AtomicU64::new(0),
                flushed_objects: AtomicU64::new(0),
                memory: strata_sync::const_array![AtomicU8::new(0); CLASSES],
            }
        }
    }

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

    /// Objects that came from the source.
    pub(crate) fn refilled_objects(&self) -> u64 {
        self.refilled_objects.load(Ordering::Relaxed)
    }

    /// Objects that went back to the source.
    pub(crate) fn flushed_objects(&self) -> u64 {
        self.flushed_objects.load(Ordering::Relaxed)
    }

    pub(crate) fn note_refilled(&self, objects: usize) {
        self.refilled_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_flushed(&self, objects: usize) {
        self.flushed_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }

    /// Grants about `wanted` bytes more, in steps of 64 KiB, as long as the sum stays within `allowance`.
    pub(crate) fn grant(&self, wanted: usize, allowance: i64) {
        const STEP: i64 = 64 << 10;
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).max(STEP);
        let granted = self.granted_bytes.load(Ordering::Relaxed);
        let added = wanted.min(allowance - granted);
        // Another thread may grant at the same time: one of the two steps aside.
        if added > 0
            && self
                .granted_bytes
                .compare_exchange(granted, granted + added, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.available_bytes.fetch_add(added, Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests;
