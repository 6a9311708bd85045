//! What a CPU's cache remembers beside its slots.

use crate::{RegionSize, layout::CLASSES};
use strata_sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

mod budget;
mod misses;

pub(crate) use budget::{Stolen, take};
pub(crate) use misses::Tick;

/// The state of one CPU's cache; lies in its region behind the headers. All zero bits are a CPU that was
/// never used. Any thread may change it at any time: the slow paths run outside of sections.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct CpuState {
    /// Whether somebody has stopped the cache, and how long its region is: see [`RegionWord`]. Written by the one
    /// who stopped it; read by slow paths and by `rseq::exchange`, which finds it at the state's first bytes.
    region: AtomicU16,
    populated: AtomicBool,
    /// Bytes of the CPU's limit that were not granted yet: its limit is this and what was granted. Limits move
    /// between CPUs. Below zero where the limit fell below what was granted.
    pub(crate) reserve_bytes: AtomicI64,
    /// Bytes that the CPU was granted so far: what its classes' capacities may take up together.
    pub(crate) granted_bytes: AtomicI64,
    /// Of it, bytes that no class's capacity takes up.
    pub(crate) available_bytes: AtomicI64,
    /// What the CPU's capacities may take up however little of the program's memory is this CPU's part: see
    /// [`note_costly_turn`](Self::note_costly_turn). Written by slow paths, and when the cache is emptied.
    earned_bytes: AtomicI64,
    /// Turns that cost since there had been so many misses. Hints.
    costly_turns: AtomicU32,
    costly_since: AtomicU64,
    /// Counts misses for want of limit; whether some of the usual limit is missed. Hints.
    borrow_turn: AtomicU32,
    is_poor: AtomicBool,
    /// The class that gives capacity next. A hint, as the counts of misses behind it: see [`add_roughly`].
    pub(crate) hand: AtomicU32,
    pub(crate) underflows: AtomicU64,
    pub(crate) overflows: AtomicU64,
    /// Misses of classes that have all slots that the region has for them.
    pub(crate) slot_misses: AtomicU64,
    pub(crate) drains: AtomicU64,
    pub(crate) resizes: AtomicU64,
    /// Times that the region became longer or shorter.
    pub(crate) region_resizes: AtomicU64,
    /// Objects that came from the source and went back, those that never stood in a slot included.
    refilled_objects: AtomicU64,
    flushed_objects: AtomicU64,
    /// Bytes of the objects that the source handed out by way of this CPU, less those that it got back: as far as they have
    /// not been added to the sum over all CPUs yet.
    pending_out_bytes: AtomicI64,
    pub(crate) seen: Seen,
    /// What happened to each class last: see [`Memory`](misses::Memory).
    memory: [AtomicU8; CLASSES],
    /// When each class last underflowed and overflowed: see [`Tick`].
    last_underflow: [AtomicU32; CLASSES],
    last_overflow: [AtomicU32; CLASSES],
    /// Of `slot_misses`, those of each class.
    slot_misses_of: [AtomicU32; CLASSES],
}

/// What those who look after all CPUs saw when they last looked. A look that meets another loses nothing but a hint.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Misses, at the last shuffle.
    pub(crate) misses_at_shuffle: AtomicU64,
    /// Mark of all headers, at the last look for CPUs that stand still.
    pub(crate) use_mark: AtomicU64,
    /// Misses and slot misses, when the region's length was last thought about.
    pub(crate) misses_at_resize: AtomicU64,
    pub(crate) slot_misses_at_resize: AtomicU64,
    /// Looks in a row at which a shorter region would have done.
    pub(crate) roomy_looks: AtomicU8,
}

/// The first word of a CPU's state, as it was read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RegionWord(u16);

impl RegionWord {
    const STOPPED: u16 = 1;

    /// Whether the cache is stopped: no header may be changed but by the one who did it.
    pub(crate) fn is_stopped(self) -> bool {
        self.0 & Self::STOPPED != 0
    }

    pub(crate) fn size(self) -> RegionSize {
        RegionSize::from_number(self.0.to_le_bytes()[1])
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    const fn running(size: RegionSize) -> Self {
        Self((size.number() as u16) << 8)
    }
}

impl CpuState {
    /// Where the region's word lies in it.
    #[cfg_attr(
        any(strata_loom, strata_no_rseq, not(target_arch = "x86_64")),
        expect(dead_code, reason = "the sections alone look there")
    )]
    pub(crate) const REGION_OFFSET: usize = core::mem::offset_of!(Self, region);

    strata_sync::const_fn! {
        /// The state of a CPU that was never used.
        #[cfg(any(test, strata_loom))]
        pub(crate) const fn new() -> Self {
            Self {
                region: AtomicU16::new(0),
                populated: AtomicBool::new(false),
                reserve_bytes: AtomicI64::new(0),
                granted_bytes: AtomicI64::new(0),
                available_bytes: AtomicI64::new(0),
                earned_bytes: AtomicI64::new(0),
                costly_turns: AtomicU32::new(0),
                costly_since: AtomicU64::new(0),
                borrow_turn: AtomicU32::new(0),
                is_poor: AtomicBool::new(false),
                hand: AtomicU32::new(0),
                underflows: AtomicU64::new(0),
                overflows: AtomicU64::new(0),
                slot_misses: AtomicU64::new(0),
                drains: AtomicU64::new(0),
                resizes: AtomicU64::new(0),
                region_resizes: AtomicU64::new(0),
                refilled_objects: AtomicU64::new(0),
                flushed_objects: AtomicU64::new(0),
                pending_out_bytes: AtomicI64::new(0),
                seen: Seen {
                    misses_at_shuffle: AtomicU64::new(0),
                    use_mark: AtomicU64::new(0),
                    misses_at_resize: AtomicU64::new(0),
                    slot_misses_at_resize: AtomicU64::new(0),
                    roomy_looks: AtomicU8::new(0),
                },
                memory: strata_sync::const_array![AtomicU8::new(0); CLASSES],
                last_underflow: strata_sync::const_array![AtomicU32::new(0); CLASSES],
                last_overflow: strata_sync::const_array![AtomicU32::new(0); CLASSES],
                slot_misses_of: strata_sync::const_array![AtomicU32::new(0); CLASSES],
            }
        }
    }

    /// Whether the cache is stopped, and how long its region is.
    pub(crate) fn region(&self) -> RegionWord {
        // Acquire pairs with the release in `start`: the layout of that length is prepared.
        RegionWord(self.region.load(Ordering::Acquire))
    }

    /// Stops the cache: no slow path changes a header from now on, but for those that a fence has yet to end. Says how long
    /// the region is; none if somebody else has stopped it.
    pub(crate) fn stop(&self) -> Option<RegionSize> {
        let running = RegionWord::running(self.region().size());
        let stopped = running.bits() | RegionWord::STOPPED;
        // Acquire pairs with the release in `start`: the last stop is over.
        let won = self.region.compare_exchange(
            running.bits(),
            stopped,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        won.ok().map(|_| running.size())
    }

    /// Lets the cache go on, with a region of this length. Only who stopped it may.
    pub(crate) fn start(&self, size: RegionSize) {
        // Release: what was read from and written to slots and headers comes before what slow paths do.
        self.region.store(RegionWord::running(size).bits(), Ordering::Release);
    }

    /// Counts that the region becomes longer or shorter. Only who stopped the cache may, and before it puts headers back.
    pub(crate) fn note_resize(&self) {
        // Release: the headers of the layout before are taken away.
        self.region_resizes.fetch_add(1, Ordering::Release);
    }

    /// Whether the CPU was ever used.
    pub(crate) fn is_populated(&self) -> bool {
        self.populated.load(Ordering::Relaxed)
    }

    /// Marks the CPU as used; false if it was already.
    pub(crate) fn populate(&self) -> bool {
        !self.is_populated() && !self.populated.swap(true, Ordering::Relaxed)
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

    /// Counts bytes that the source handed out, or got back as a negative number. Once they are as many as 32 KiB
    /// answers with all that were counted since: they are to be added to the sum over all CPUs, which so is written
    /// at few misses and less than that off for each CPU. At an eighth, CPUs that pass 64 objects of 64 bytes to
    /// each other write it at each miss.
    pub(crate) fn count_out(&self, bytes: i64) -> i64 {
        const KEPT_APART: u64 = 32 << 10;
        if bytes.unsigned_abs() >= KEPT_APART {
            let nothing_pends = self.pending_out_bytes.load(Ordering::Relaxed) == 0;
            let pending =
                if nothing_pends { 0 } else { self.pending_out_bytes.swap(0, Ordering::Relaxed) };
            return bytes.wrapping_add(pending);
        }
        let pending =
            self.pending_out_bytes.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        if pending.unsigned_abs() < KEPT_APART {
            return 0;
        }
        self.pending_out_bytes.swap(0, Ordering::Relaxed)
    }
}

/// Adds to a counter on which nothing rests. Of two threads that do so on one CPU at the same moment, by which the
/// first was interrupted, one may go uncounted; a locked instruction would wait for all stores of the program
/// before it.
///
/// A model takes one, so that it does not explore what the counter may show.
pub(crate) fn add_roughly(counter: &AtomicU64, amount: u64) {
    if cfg!(strata_loom) {
        counter.fetch_add(amount, Ordering::Relaxed);
    } else {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
