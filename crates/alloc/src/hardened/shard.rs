//! Slots between blocks: quarantines, and the pools that blocks are chosen from.
//!
//! Both are arrays of addresses, so that nothing stands in the slots. Threads are spread over shards, as many as there are
//! CPUs: a new thread has the one with the fewest threads. One that is alone with its shard [owns](super::owned) it, and others
//! share theirs under a lock.

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

/// The slots that the threads of a shard have freed, or are going to have. All zero bits are one without a slot.
#[derive(Debug)]
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
    classes: [Holding; CLASS_SLOTS],
}

/// The slots of one class. How many there are, [`Counts`] says.
#[derive(Debug)]
#[repr(C)]
struct Holding {
    /// As many as may be in the pool and in the quarantine. Written once, when the heap is prepared.
    most_pooled: usize,
    most_waiting: usize,
    /// Of a full quarantine: which slot waited longest. (After some were dropped the order is another.)
    oldest: usize,
    pool: [FreeSlot; POOL_SLOTS],
    quarantine: [FreeSlot; QUARANTINE_SLOTS],
}

/// How many slots of a class there are: beside the holdings, so that figures need no lock.
#[derive(Debug)]
#[repr(C)]
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
                let Some(holding) = holdings.classes.get_mut(class.index()) else { continue };
                let size = table.size(class);
                holding.most_pooled = most(size, POOL_SLOTS, POOL_BYTES);
                holding.most_waiting = most(size, QUARANTINE_SLOTS, QUARANTINE_BYTES);
            }
        });
    }

    /// A slot of `class`, chosen at random from the pool: for the owner of the shard, and unless the pool has run low.
    #[inline(always)]
    pub(super) fn take(&self, token: Token, class: SizeClass) -> Option<FreeSlot> {
        let counts = self.counts.get(class.index())?;
        let mut entered = self.holdings.enter(token)?;
        let Holdings { random, classes } = &mut *entered;
        let holding = classes.get_mut(class.index())?;
        if counts.pooled() * 2 <= holding.most_pooled {
            return None;
        }
        holding.take_any(counts, next(random))
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
            let Some(holding) = holdings.classes.get_mut(class.index()) else {
                return (None, false);
            };
            let is_low = counts.pooled() * 2 <= holding.most_pooled;
            if is_low {
                holding.fill(counts, source, class, record_of);
            }
            (holding.take_any(counts, next(&mut holdings.random)), is_low)
        })
    }

    /// Puts a slot of `class` into quarantine, and one that was there longer into the pool: for the owner of the shard, and unless
    /// the pool is full. Says whether it did.
    ///
    /// # Safety
    ///
    /// The slot is free, zeroed, of that class, and nobody else's.
    #[inline(always)]
    pub(super) unsafe fn put(&self, token: Token, class: SizeClass, slot: FreeSlot) -> bool {
        let Some(counts) = self.counts.get(class.index()) else { return false };
        let Some(mut entered) = self.holdings.enter(token) else { return false };
        let Some(holding) = entered.classes.get_mut(class.index()) else { return false };
        let has_room = holding.has_room(counts);
        if has_room {
            holding.put(counts, slot);
        }
        has_room
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
            let Some(holding) = holdings.classes.get_mut(class.index()) else { return false };
            let is_full = !holding.has_room(counts);
            if is_full {
                let left = holding.most_pooled / 2;
                // SAFETY: slots of the pool are free and nobody else's.
                unsafe { give(source, class, &holding.pool, &counts.pooled, left) };
            }
            holding.put(counts, slot);
            is_full
        })
    }

    /// Gives all slots back to `source`; says how many bytes.
    pub(crate) fn empty<O: ObjectSource>(&self, source: &O, table: &SizeClassTable) -> u64 {
        self.holdings.visit(|holdings| {
            let mut emptied = 0;
            for class in table.classes() {
                let Some(holding) = holdings.classes.get_mut(class.index()) else { continue };
                let Some(counts) = self.counts.get(class.index()) else { continue };
                // SAFETY: slots that are held are free and nobody else's.
                let pooled = unsafe { give(source, class, &holding.pool, &counts.pooled, 0) };
                // SAFETY: as above.
                let waiting =
                    unsafe { give(source, class, &holding.quarantine, &counts.waiting, 0) };
                holding.oldest = 0;
                emptied += (pooled + waiting) * table.size(class);
            }
            emptied as u64
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
                let Some(holding) = holdings.classes.get_mut(class.index()) else { continue };
                let Some(counts) = self.counts.get(class.index()) else { continue };
                let mut lost = retain(&mut holding.pool, &counts.pooled, |slot| keep(class, slot));
                let waiting_lost =
                    retain(&mut holding.quarantine, &counts.waiting, |slot| keep(class, slot));
                if waiting_lost > 0 {
                    lost += waiting_lost;
                    holding.oldest = 0;
                }
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
    fn pooled(&self) -> usize {
        self.pooled.load(Ordering::Relaxed) as usize
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) as usize
    }

    fn slots(&self) -> u64 {
        let counts = [&self.pooled, &self.waiting, &self.lost];
        counts.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum()
    }
}

impl Holding {
    /// Takes a slot out of the pool, which one is as `random` says.
    #[inline(always)]
    fn take_any(&mut self, counts: &Counts, random: u64) -> Option<FreeSlot> {
        let last = counts.pooled().checked_sub(1)?;
        let last_slot = *self.pool.get(last)?;
        let place = self.pool.get_mut(below(random, last + 1))?;
        counts.pooled.store(last as u32, Ordering::Relaxed);
        Some(core::mem::replace(place, last_slot))
    }

    /// Whether a slot that comes needs no other one to go.
    #[inline(always)]
    fn has_room(&self, counts: &Counts) -> bool {
        counts.waiting() < self.most_waiting || counts.pooled() < self.most_pooled
    }

    /// Puts a slot into quarantine, and if that is full, the one that waited longest into the pool, which has room.
    #[inline(always)]
    fn put(&mut self, counts: &Counts, slot: FreeSlot) {
        let waiting = counts.waiting();
        if waiting < self.most_waiting {
            if let Some(place) = self.quarantine.get_mut(waiting) {
                *place = slot;
                counts.waiting.store(waiting as u32 + 1, Ordering::Relaxed);
            }
            return;
        }
        let pooled = counts.pooled();
        let oldest = self.oldest;
        self.oldest = if oldest + 1 < waiting { oldest + 1 } else { 0 };
        if let Some(place) = self.quarantine.get_mut(oldest)
            && let Some(to) = self.pool.get_mut(pooled)
        {
            *to = core::mem::replace(place, slot);
            counts.pooled.store(pooled as u32 + 1, Ordering::Relaxed);
        }
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
        let mut pooled = counts.pooled();
        let wanted = self.most_pooled.saturating_sub(pooled);
        let Some(room) = objects.get_mut(..wanted) else { return };
        let came = source.take(class, room);
        for &start in objects.iter().take(came) {
            let (Some(record), Some(place)) = (record_of(start), self.pool.get_mut(pooled)) else {
                // Not reached: the middle tier hands out objects of spans with records alone.
                counts.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            *place = FreeSlot { start, record };
            pooled += 1;
        }
        counts.pooled.store(pooled as u32, Ordering::Relaxed);
    }
}

/// Gives all but the first `left` of `count` slots to `source`; says how many.
///
/// # Safety
///
/// All are free slots of the class, and nobody else's.
unsafe fn give<O: ObjectSource>(
    source: &O,
    class: SizeClass,
    slots: &[FreeSlot],
    count: &AtomicU32,
    left: usize,
) -> usize {
    let given = slots.get(left..count.load(Ordering::Relaxed) as usize).unwrap_or_default();
    for part in given.chunks(POOL_SLOTS) {
        let mut objects = [core::ptr::null_mut(); POOL_SLOTS];
        let starts = part.iter().map(|slot| slot.start);
        objects.iter_mut().zip(starts).for_each(|(object, start)| *object = start);
        if let Some(objects) = objects.get_mut(..part.len()) {
            // SAFETY: the caller's promise; they are counted no more.
            unsafe { source.give(class, objects) };
        }
    }
    if !given.is_empty() {
        count.store(left as u32, Ordering::Relaxed);
    }
    given.len()
}

/// Drops those of `count` slots for which `keep` answers no; says how many.
fn retain(slots: &mut [FreeSlot], count: &AtomicU32, mut keep: impl FnMut(*mut u8) -> bool) -> u32 {
    let before = count.load(Ordering::Relaxed);
    let (mut at, mut end) = (0, before as usize);
    while at < end {
        if slots.get(at).is_none_or(|slot| keep(slot.start)) {
            at += 1;
        } else {
            end -= 1;
            slots.swap(at, end);
        }
    }
    count.store(end as u32, Ordering::Relaxed);
    before - end as u32
}

/// How many slots of `size` bytes: as many as `bytes` hold, at least two, at most `slots`.
fn most(size: usize, slots: usize, bytes: usize) -> usize {
    (bytes / size.max(1)).clamp(2, slots)
}

/// A number below `bound` that is as random as `random`.
fn below(random: u64, bound: usize) -> usize {
    ((random >> 32) as usize * bound) >> 32
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
