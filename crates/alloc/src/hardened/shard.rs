//! Slots between blocks: those that wait in quarantine, and the pool that blocks are chosen from.
//!
//! Both of a class are one ring of addresses, so that nothing stands in the slots: the pool is its older part. What is freed is put at the
//! end, and by that the slot that waited longest belongs to the pool, without being moved. Threads are spread over shards, as
//! many as there are CPUs: a new thread has the one with the fewest threads. One that is alone with its shard
//! [owns](super::owned) it, and others share theirs under a lock.

use super::owned::{Owned, Token};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most shards that a heap has.
pub(crate) const SHARDS: u32 = 16;

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

/// The slots that the threads of a shard have freed, or are going to have. All zero bits are one without a slot.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shard {
    /// Its lock's rank: above the thread caches' registry; the middle tier is entered under it.
    holdings: Owned<Holdings>,
    /// By class. Written by who has the holdings, read by figures.
    counts: [Counts; CLASS_SLOTS],
    /// Threads that were given this shard and live. Written by threads that begin and end.
    users: AtomicU32,
}

/// A free slot, and where its record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct FreeSlot {
    pub(super) start: *mut u8,
    pub(super) record: *const AtomicU64,
}

#[derive(Debug)]
#[repr(C)]
struct Holdings {
    random: u64,
    classes: [Ring; CLASS_SLOTS],
}

/// The slots of one class. How many there are, [`Counts`] says: the oldest belong to the pool, the others wait.
#[derive(Debug)]
#[repr(C)]
struct Ring {
    /// As many as may be in the pool and in quarantine. Written once, when the heap is prepared.
    most_pooled: u32,
    most_waiting: u32,
    /// The place of the oldest slot, modulo [`PLACES`].
    first: u32,
    places: [FreeSlot; PLACES],
}

/// How many slots of a class there are: beside the rings, so that figures need no lock.
#[derive(Debug)]
#[repr(C, align(16))]
struct Counts {
    pooled: AtomicU32,
    waiting: AtomicU32,
    /// Slots that came from here, were written to while they were free, and are never used again.
    lost: AtomicU32,
}

// SAFETY: the slots belong to nobody else, so they go with their holdings wherever these go; records are atomics that stay.
unsafe impl Send for Holdings {}

impl Shard {
    /// Gives the shard's generator its beginning, and each class its limits. No thread owns a shard that is not `ownable`: where the
    /// kernel puts no fence into other threads.
    pub(super) fn begin(&self, bits: u64, ownable: bool, table: &SizeClassTable) {
        if !ownable {
            self.holdings.share();
        }
        self.holdings.visit(|holdings| {
            holdings.random = bits | 1;
            for class in table.classes() {
                let Some(ring) = holdings.classes.get_mut(class.index()) else { continue };
                let size = table.size(class);
                ring.most_pooled = most(size, POOL_SLOTS, POOL_BYTES);
                ring.most_waiting = most(size, QUARANTINE_SLOTS, QUARANTINE_BYTES);
            }
        });
    }

    /// A slot of `class`, chosen at random from the pool: for the owner of the shard, and unless the pool has run low.
    #[inline(always)]
    pub(super) fn take(&self, token: Token, class: SizeClass) -> Option<FreeSlot> {
        let counts = self.counts.get(class.index())?;
        let mut entered = self.holdings.enter(token)?;
        let Holdings { random, classes } = &mut *entered;
        let ring = classes.get_mut(class.index())?;
        let pooled = counts.pooled();
        if ring.is_low(pooled) { None } else { Some(ring.take_any(counts, pooled, next(random))) }
    }

    /// The same for every thread. The pool is filled up from `source` if it has run low: says whether it was. `record_of` finds the
    /// record of a slot; one that has none is left alone.
    #[cold]
    pub(super) fn take_filling<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        class: SizeClass,
        record_of: impl Fn(*mut u8) -> Option<*const AtomicU64>,
    ) -> (Option<FreeSlot>, bool) {
        let Some(counts) = self.counts.get(class.index()) else { return (None, false) };
        self.holdings.with(token, |holdings| {
            let Some(ring) = holdings.classes.get_mut(class.index()) else { return (None, false) };
            let is_low = ring.is_low(counts.pooled());
            if is_low {
                ring.fill(counts, source, class, record_of);
            }
            let random = next(&mut holdings.random);
            let pooled = counts.pooled();
            ((pooled > 0).then(|| ring.take_any(counts, pooled, random)), is_low)
        })
    }

    /// Puts a slot of `class` into quarantine, and if that is full, the one that waited longest into the pool: for the owner of the
    /// shard, and unless the pool is full, too. Says whether it did.
    ///
    /// # Safety
    ///
    /// The slot is free, zeroed, of that class, and nobody else's.
    #[inline(always)]
    pub(super) unsafe fn put(&self, token: Token, class: SizeClass, slot: FreeSlot) -> bool {
        let Some(counts) = self.counts.get(class.index()) else { return false };
        let Some(mut entered) = self.holdings.enter(token) else { return false };
        let Some(ring) = entered.classes.get_mut(class.index()) else { return false };
        ring.put(counts, slot)
    }

    /// The same for every thread; what the pool has no room for goes to `source`: says whether that happened.
    ///
    /// # Safety
    ///
    /// As for [`Self::put`].
    #[cold]
    pub(super) unsafe fn put_flushing<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        class: SizeClass,
        slot: FreeSlot,
    ) -> bool {
        let Some(counts) = self.counts.get(class.index()) else { return false };
        self.holdings.with(token, |holdings| {
            let Some(ring) = holdings.classes.get_mut(class.index()) else { return false };
            let is_full = !ring.put(counts, slot);
            if is_full {
                // SAFETY: slots of the pool are free and nobody else's.
                unsafe { ring.give(source, class, &counts.pooled, ring.most_pooled.div_ceil(2)) };
                ring.put(counts, slot);
            }
            is_full
        })
    }

    /// Gives all slots back to `source`; says how many bytes.
    pub(crate) fn empty<O: ObjectSource>(&self, source: &O, table: &SizeClassTable) -> u64 {
        self.holdings.visit(|holdings| {
            let mut emptied = 0;
            for class in table.classes() {
                let Some(ring) = holdings.classes.get_mut(class.index()) else { continue };
                let Some(counts) = self.counts.get(class.index()) else { continue };
                for count in [&counts.pooled, &counts.waiting] {
                    let slots = count.load(Ordering::Relaxed);
                    // SAFETY: slots that are held are free and nobody else's.
                    unsafe { ring.give(source, class, count, slots) };
                    emptied += u64::from(slots) * table.size(class) as u64;
                }
            }
            emptied
        })
    }

    /// Calls `keep` with every slot, and forgets those for which it answers no: they are never used again, and counted as held.
    pub(super) fn look_through(
        &self,
        table: &SizeClassTable,
        mut keep: impl FnMut(SizeClass, *mut u8) -> bool,
    ) {
        self.holdings.visit(|holdings| {
            for class in table.classes() {
                let Some(ring) = holdings.classes.get_mut(class.index()) else { continue };
                let Some(counts) = self.counts.get(class.index()) else { continue };
                let lost = ring.retain(counts, |slot| keep(class, slot));
                counts.lost.fetch_add(lost, Ordering::Relaxed);
            }
        });
    }

    /// Counts a slot as held that came from here, and is never used again.
    #[cold]
    pub(super) fn note_lost(&self, class: SizeClass) {
        if let Some(counts) = self.counts.get(class.index()) {
            counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many slots of a class it holds. Takes no lock.
    pub(crate) fn slots(&self, class: SizeClass) -> u64 {
        self.counts.get(class.index()).map_or(0, Counts::slots)
    }

    /// Bytes of all slots that it holds. Takes no lock.
    pub(crate) fn held_bytes(&self, table: &SizeClassTable) -> u64 {
        table.classes().map(|class| self.slots(class) * table.size(class) as u64).sum()
    }

    /// How many threads have this shard.
    pub(crate) fn users(&self) -> u32 {
        self.users.load(Ordering::Relaxed)
    }

    /// One more thread has it.
    pub(crate) fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// This thread has it no more: another one may own it.
    pub(crate) fn remove_user(&self, token: Token) {
        let is_last = self.users.fetch_sub(1, Ordering::Relaxed) == 1;
        self.holdings.leave(token, is_last);
    }

    /// In the child of a fork: no other thread has it, and `is_own` says whether this one does.
    pub(crate) fn forget_vanished(&self, is_own: bool) {
        self.users.store(is_own.into(), Ordering::Relaxed);
        self.holdings.forget_vanished();
    }

    /// Keeps all threads outside, so that a fork finds the shard at rest.
    pub(crate) fn acquire(&self) {
        self.holdings.acquire();
    }

    /// Lets them in after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.holdings.release() };
    }
}

impl Counts {
    fn pooled(&self) -> u32 {
        self.pooled.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn slots(&self) -> u64 {
        let counts = [&self.pooled, &self.waiting, &self.lost];
        counts.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum()
    }
}

impl Ring {
    /// The place of the slot that as many others are older than. The compiler sees that there is one.
    #[inline(always)]
    fn place(&mut self, older: u32) -> &mut FreeSlot {
        &mut self.places[self.first.wrapping_add(older) as usize & (PLACES - 1)]
    }

    /// Whether a pool of so few slots is to be filled: the next one could be guessed.
    #[inline(always)]
    fn is_low(&self, pooled: u32) -> bool {
        pooled * 2 <= self.most_pooled
    }

    /// Takes one of the `pooled` slots of the pool, of which there are some; which one is as `random` says.
    #[inline(always)]
    fn take_any(&mut self, counts: &Counts, pooled: u32, random: u64) -> FreeSlot {
        let oldest = *self.place(0);
        let taken = core::mem::replace(self.place(below(random, pooled)), oldest);
        self.first = self.first.wrapping_add(1);
        counts.pooled.store(pooled.wrapping_sub(1), Ordering::Relaxed);
        taken
    }

    /// Puts a slot behind those that wait, and counts the one that waited longest to the pool if as many wait as may. False, and
    /// nothing is done, if both have as many as may be.
    #[inline(always)]
    fn put(&mut self, counts: &Counts, slot: FreeSlot) -> bool {
        let (pooled, waiting) = (counts.pooled(), counts.waiting());
        let (count, before) = if waiting < self.most_waiting {
            (&counts.waiting, waiting)
        } else if pooled < self.most_pooled {
            (&counts.pooled, pooled)
        } else {
            return false;
        };
        *self.place(pooled + waiting) = slot;
        count.store(before + 1, Ordering::Relaxed);
        true
    }

    /// Fills the pool up from `source`.
    fn fill<O: ObjectSource>(
        &mut self,
        counts: &Counts,
        source: &O,
        class: SizeClass,
        record_of: impl Fn(*mut u8) -> Option<*const AtomicU64>,
    ) {
        let mut objects = [core::ptr::null_mut(); POOL_SLOTS];
        let wanted = self.most_pooled.saturating_sub(counts.pooled());
        let Some(room) = objects.get_mut(..wanted as usize) else { return };
        let came = source.take(class, room);
        for &start in objects.iter().take(came) {
            let Some(record) = record_of(start) else {
                // Not reached: the middle tier hands out objects of spans with records alone.
                counts.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            self.first = self.first.wrapping_sub(1);
            *self.place(0) = FreeSlot { start, record };
            counts.pooled.store(counts.pooled() + 1, Ordering::Relaxed);
        }
    }

    /// Gives the oldest `slots` of those that `count` counts to `source`.
    ///
    /// # Safety
    ///
    /// All are free slots of the class, and nobody else's.
    unsafe fn give<O: ObjectSource>(
        &mut self,
        source: &O,
        class: SizeClass,
        count: &AtomicU32,
        slots: u32,
    ) {
        let mut left = slots.min(count.load(Ordering::Relaxed));
        while left > 0 {
            let mut objects = [core::ptr::null_mut(); POOL_SLOTS];
            let part = left.min(POOL_SLOTS as u32);
            for (older, object) in (0..part).zip(&mut objects) {
                *object = self.place(older).start;
            }
            self.first = self.first.wrapping_add(part);
            count.store(count.load(Ordering::Relaxed) - part, Ordering::Relaxed);
            left -= part;
            if let Some(objects) = objects.get_mut(..part as usize) {
                // SAFETY: the caller's promise; they are counted no more.
                unsafe { source.give(class, objects) };
            }
        }
    }

    /// Drops the slots for which `keep` answers no; says how many. The others keep their order.
    fn retain(&mut self, counts: &Counts, mut keep: impl FnMut(*mut u8) -> bool) -> u32 {
        let mut kept = 0;
        let mut lost = 0;
        let mut seen = 0;
        for count in [&counts.pooled, &counts.waiting] {
            let slots = count.load(Ordering::Relaxed);
            let kept_before = kept;
            for _ in 0..slots {
                let slot = *self.place(seen);
                seen += 1;
                if keep(slot.start) {
                    *self.place(kept) = slot;
                    kept += 1;
                }
            }
            count.store(kept - kept_before, Ordering::Relaxed);
            lost += slots - (kept - kept_before);
        }
        lost
    }
}

/// How many slots of `size` bytes: as many as `bytes` hold, at least two, at most `slots`.
fn most(size: usize, slots: usize, bytes: usize) -> u32 {
    (bytes / size.max(1)).clamp(2, slots) as u32
}

/// A number below `bound`, which is not 0, that is as random as `random`.
#[inline(always)]
fn below(random: u64, bound: u32) -> u32 {
    (((random >> 32) * u64::from(bound)) >> 32) as u32
}

/// The next number of a generator (Wang Yi's wyrand: two halves of a product).
#[inline(always)]
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0xa076_1d64_78bd_642f);
    let product = u128::from(*state) * u128::from(*state ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests;
