//! What a CPU missed, and when.

use super::{CpuState, add_roughly};
use crate::layout::CLASSES;
use strata_size_classes::SizeClass;
use strata_sync::atomic::{AtomicU32, Ordering};

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

/// A moment of the monotonic clock, in steps of 2^24 ns (17 ms), modulo 2^32, and never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tick(u32);

impl Tick {
    const SHIFT: u32 = 24;

    pub(crate) fn of(now_ns: u64) -> Self {
        Self(((now_ns >> Self::SHIFT) & 0xffff_ffff) as u32).or_first()
    }

    fn or_first(self) -> Self {
        Self(self.0.max(1))
    }

    /// How long before `now` it was, in nanoseconds; 0 if the clock jumped back by a little. Right up to two years.
    pub(crate) fn age_ns(self, now: Self) -> u64 {
        let age = now.0.wrapping_sub(self.0);
        if age > u32::MAX - (1 << 16) { 0 } else { u64::from(age) << Self::SHIFT }
    }
}

impl CpuState {
    /// Misses of both kinds so far.
    pub(crate) fn misses(&self) -> u64 {
        let underflows = self.underflows.load(Ordering::Relaxed);
        underflows.wrapping_add(self.overflows.load(Ordering::Relaxed))
    }

    /// Remembers an underflow of `class`; says what was before.
    pub(crate) fn note_underflow(&self, class: SizeClass) -> Memory {
        add_roughly(&self.underflows, 1);
        note_now(&self.last_underflow, class);
        self.note(class, Memory::UNDERFLOW)
    }

    /// Remembers an overflow of `class`; says what was before.
    pub(crate) fn note_overflow(&self, class: SizeClass) -> Memory {
        add_roughly(&self.overflows, 1);
        note_now(&self.last_overflow, class);
        self.note(class, Memory::OVERFLOW)
    }

    /// Remembers that `class` missed with all the slots that the region has for it.
    pub(crate) fn note_slot_miss(&self, class: SizeClass) {
        add_roughly(&self.slot_misses, 1);
        let of_class = &self.slot_misses_of[class.index()];
        of_class.store(of_class.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How often `class` missed with all the slots that the region had for it, modulo 2^32.
    pub(crate) fn slot_misses_of(&self, class: SizeClass) -> u32 {
        self.slot_misses_of[class.index()].load(Ordering::Relaxed)
    }

    /// When `class` last underflowed, and when it last overflowed; none if it never did.
    pub(crate) fn last_misses(&self, class: SizeClass) -> [Option<Tick>; 2] {
        [&self.last_underflow, &self.last_overflow].map(|ticks| {
            let tick = ticks[class.index()].load(Ordering::Relaxed);
            (tick != 0).then_some(Tick(tick))
        })
    }

    /// A race between two threads loses one of two misses: the memory is a hint.
    fn note(&self, class: SizeClass, kind: u8) -> Memory {
        let entry = &self.memory[class.index()];
        let before = Memory(entry.load(Ordering::Relaxed));
        entry.store(before.next(kind).0, Ordering::Relaxed);
        before
    }
}

fn note_now(last: &[AtomicU32; CLASSES], class: SizeClass) {
    let now = Tick::of(strata_os::coarse_now_ns());
    last[class.index()].store(now.0, Ordering::Relaxed);
}
