//! The slots of one class that a shard holds.

use core::cell::Cell;
use strata_size_classes::{ObjectSource, SizeClass};
use strata_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Slots of a class that a pool holds at most, and the bytes that it holds if one slot does not have more: the next
/// block is one of so many. At half, an attacker guesses the next block twice as often; at twice, a program of few blocks
/// of many sizes holds twice the memory in pools.
const POOL_SLOTS: usize = 32;
const POOL_BYTES: usize = 16 << 10;

/// The same for a quarantine: so many slots of the class are freed before a slot may be used again.
const QUARANTINE_SLOTS: usize = 64;
const QUARANTINE_BYTES: usize = 32 << 10;

/// Places of a ring.
const PLACES: usize = 128;

static_assertions::const_assert!(
    PLACES.is_power_of_two() && POOL_SLOTS + QUARANTINE_SLOTS <= PLACES
);
static_assertions::const_assert!(256 % Ring::STEPS == 0);

/// A free slot, and where its record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(in crate::hardened) struct FreeSlot {
    pub(in crate::hardened) start: *mut u8,
    pub(in crate::hardened) record: *const AtomicU64,
}

/// The slots of one class: the oldest belong to the pool, the others wait. What counts slots counts
/// [`STEPS`](Self::STEPS), so that nothing has to be shifted on the way to a place.
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct Ring {
    pub(super) cursors: Cursors,
    /// A pool of so many is to be filled: the next slot could be guessed. As the next two, written once, when the
    /// heap is prepared.
    pub(super) low: Cell<u32>,
    /// As many as may be in the pool and in quarantine.
    most_pooled: Cell<u32>,
    most_waiting: Cell<u32>,
    places: [Cell<FreeSlot>; PLACES],
}

/// Which places of a ring have slots, and which of these belong to the pool: as if there were 2^32 /
/// [`STEPS`](Ring::STEPS) of them, of which some are the same. Written by who has the holdings, read by figures,
/// without a lock.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Cursors {
    /// The oldest slot, the first of the pool.
    first: AtomicU32,
    /// The first slot that waits.
    waiting: AtomicU32,
    /// Behind the last.
    end: AtomicU32,
    /// Slots that came from here, were written to while they were free, and are never used again: one by one.
    pub(super) lost: AtomicU32,
}

impl Ring {
    /// Steps from one place to the next: bytes, so that the compiler has no shift to make.
    const STEPS: u32 = size_of::<FreeSlot>() as u32;

    /// Gives the ring its limits, for slots of `size` bytes.
    pub(super) fn begin(&self, size: usize) {
        let most_pooled = most(size, POOL_SLOTS, POOL_BYTES);
        self.most_pooled.set(most_pooled * Self::STEPS);
        self.low.set(most_pooled / 2 * Self::STEPS);
        let most_waiting = most(size, QUARANTINE_SLOTS, QUARANTINE_BYTES);
        self.most_waiting.set(most_waiting * Self::STEPS);
    }

    /// How many slots half of a full pool are, rounded up.
    pub(super) fn half_a_pool(&self) -> u32 {
        (self.most_pooled.get() / Self::STEPS).div_ceil(2)
    }

    /// The place where a cursor stands, or that it stands in.
    #[inline(always)]
    fn place(&self, cursor: u32) -> &Cell<FreeSlot> {
        &self.places[(cursor / Self::STEPS) as usize & (PLACES - 1)]
    }

    /// The place of the slot that as many others are older than.
    fn place_behind(&self, older: u32) -> &Cell<FreeSlot> {
        self.place(self.cursors.first().wrapping_add(older * Self::STEPS))
    }

    /// Takes one of the slots of the pool, of which there are some: it begins at `first` and is `pooled` steps
    /// long. Which one is as `byte` says, which is a random one.
    #[inline(always)]
    pub(super) fn take_any(&self, first: u32, pooled: u32, byte: u32) -> FreeSlot {
        // A 256th of the product lies somewhere in a place.
        let chosen = self.place(first.wrapping_add(byte.wrapping_mul(pooled) / 256));
        let taken = chosen.replace(self.place(first).get());
        self.cursors.first.store(first.wrapping_add(Self::STEPS), Ordering::Relaxed);
        taken
    }

    /// Puts a slot behind those that wait, and counts the one that waited longest to the pool if as many wait as
    /// may. False, and nothing is done, if both have as many as may be.
    #[inline(always)]
    pub(super) fn put(&self, slot: FreeSlot) -> bool {
        let (waiting, end) = (self.cursors.waiting(), self.cursors.end());
        if end.wrapping_sub(waiting) >= self.most_waiting.get() {
            if waiting.wrapping_sub(self.cursors.first()) >= self.most_pooled.get() {
                return false;
            }
            self.cursors.waiting.store(waiting.wrapping_add(Self::STEPS), Ordering::Relaxed);
        }
        self.place(end).set(slot);
        self.cursors.end.store(end.wrapping_add(Self::STEPS), Ordering::Relaxed);
        true
    }

    /// Fills the pool up from `source`.
    pub(super) fn fill<O: ObjectSource>(
        &self,
        source: &O,
        class: SizeClass,
        record_of: impl Fn(*mut u8) -> Option<*const AtomicU64>,
    ) {
        let mut objects = [core::ptr::null_mut(); POOL_SLOTS];
        let wanted = self.most_pooled.get().saturating_sub(self.cursors.pool().1) / Self::STEPS;
        let Some(room) = objects.get_mut(..wanted as usize) else { return };
        let came = source.take(class, room);
        for &start in objects.iter().take(came) {
            let Some(record) = record_of(start) else {
                // Not reached: the middle tier hands out objects of spans with records alone.
                self.cursors.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let before = self.cursors.first().wrapping_sub(Self::STEPS);
            self.place(before).set(FreeSlot { start, record });
            self.cursors.first.store(before, Ordering::Relaxed);
        }
    }

    /// Gives the oldest `slots` to `source`, or all if there are no more.
    ///
    /// # Safety
    ///
    /// All are free slots of the class, and nobody else's.
    pub(super) unsafe fn give<O: ObjectSource>(&self, source: &O, class: SizeClass, slots: u32) {
        let mut left = slots.min(self.cursors.held());
        while left > 0 {
            let mut objects = [core::ptr::null_mut(); POOL_SLOTS];
            let part = left.min(POOL_SLOTS as u32);
            for (older, object) in (0..part).zip(&mut objects) {
                *object = self.place_behind(older).get().start;
            }
            self.cursors.drop_oldest(part);
            left -= part;
            if let Some(objects) = objects.get_mut(..part as usize) {
                // SAFETY: the caller gives up the slots, which are free and nobody else's; they are in the ring no
                // more.
                unsafe { source.give(class, objects) };
            }
        }
    }

    /// Drops the slots for which `keep` answers no; says how many. The others keep their order.
    pub(super) fn retain(&self, mut keep: impl FnMut(*mut u8) -> bool) -> u32 {
        let held = self.cursors.held();
        let (first, pooled) = self.cursors.pool();
        let (mut kept, mut kept_pooled) = (0, 0);
        for seen in 0..held {
            let slot = self.place_behind(seen).get();
            if keep(slot.start) {
                self.place_behind(kept).set(slot);
                kept += 1;
                kept_pooled += u32::from(seen < pooled / Self::STEPS);
            }
        }
        let cursor = |slots: u32| first.wrapping_add(slots * Self::STEPS);
        self.cursors.waiting.store(cursor(kept_pooled), Ordering::Relaxed);
        self.cursors.end.store(cursor(kept), Ordering::Relaxed);
        held - kept
    }
}

impl Cursors {
    fn first(&self) -> u32 {
        self.first.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn end(&self) -> u32 {
        self.end.load(Ordering::Relaxed)
    }

    /// Where the pool begins, and how long it is.
    #[inline(always)]
    pub(super) fn pool(&self) -> (u32, u32) {
        let first = self.first();
        (first, self.waiting().wrapping_sub(first))
    }

    /// How many slots there are. Who has not the holdings may see a few less or more.
    pub(super) fn held(&self) -> u32 {
        // A beginning that is older than the end: it is not behind it.
        let first = self.first();
        self.end().wrapping_sub(first).cast_signed().max(0).cast_unsigned() / Ring::STEPS
    }

    /// The oldest `slots` are there no more.
    fn drop_oldest(&self, slots: u32) {
        let (first, pooled) = self.pool();
        let steps = slots * Ring::STEPS;
        self.first.store(first.wrapping_add(steps), Ordering::Relaxed);
        if steps > pooled {
            self.waiting.store(first.wrapping_add(steps), Ordering::Relaxed);
        }
    }
}

/// How many slots of `size` bytes: as many as `bytes` hold, at least two, at most `slots`.
fn most(size: usize, slots: usize, bytes: usize) -> u32 {
    (bytes / size.max(1)).clamp(2, slots) as u32
}
