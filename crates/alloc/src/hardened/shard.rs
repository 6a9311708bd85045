//! Slots between blocks: quarantines, and the pools that blocks are chosen from.
//!
//! Both are arrays of addresses, so that nothing stands in the slots. Threads are spread over shards, as many as there are
//! CPUs; a thread that is alone with its shard [owns](super::owned) it, and others share theirs under a lock.

use super::owned::{Owned, Token};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The most shards that a heap has.
pub(crate) const SHARDS: u32 = 16;

/// Slots of a class that a pool holds at most, and the bytes that it holds if one slot does not have more: the next
/// block is one of so many. At half, an attacker guesses the next block twice as often; at twice, a program of few blocks
/// of many sizes holds twice the memory in pools.
const POOL_SLOTS: usize = 32;
const POOL_BYTES: usize = 16 << 10;

/// The same for a quarantine: so many slots of the class are freed, on average, before a slot is used again.
const QUARANTINE_SLOTS: usize = 64;
const QUARANTINE_BYTES: usize = 32 << 10;

/// The slots that the threads of a shard have freed, or are going to have. All zero bits are one without a slot.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Its lock's rank: above the thread caches' registry; the middle tier is entered under it.
    holdings: Owned<Holdings>,
    /// Bytes and slots by class in the holdings. Written by who has these, read by figures.
    bytes: AtomicUsize,
    slots: [AtomicU32; CLASS_SLOTS],
}

#[derive(Debug)]
#[repr(C)]
struct Holdings {
    random: u64,
    classes: [Holding; CLASS_SLOTS],
}

/// The slots of one class.
#[derive(Debug)]
#[repr(C)]
struct Holding {
    pool: Bag<POOL_SLOTS>,
    quarantine: Bag<QUARANTINE_SLOTS>,
}

/// Slots in no order.
#[derive(Debug)]
#[repr(C)]
struct Bag<const MOST: usize> {
    slots: [*mut u8; MOST],
    length: usize,
}

// SAFETY: the slots belong to nobody else, so they go with their bag wherever it goes.
unsafe impl Send for Holdings {}

impl Shard {
    /// Gives the shard's generator its beginning. No thread owns a shard that is not `ownable`: where the kernel puts no fence
    /// into other threads.
    pub(super) fn begin(&self, bits: u64, ownable: bool) {
        if !ownable {
            self.holdings.share();
        }
        self.holdings.visit(|holdings| holdings.random = bits | 1);
    }

    /// A slot of `class`, chosen at random from the pool, which is filled up from `source` if it has run low; and whether
    /// it was. Null if there is none.
    #[inline]
    pub(super) fn allocate<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        table: &SizeClassTable,
        class: SizeClass,
    ) -> (*mut u8, bool) {
        let size = table.size(class);
        let most = most(size, POOL_SLOTS, POOL_BYTES);
        self.holdings.with(token, |holdings| {
            let Holdings { random, classes } = holdings;
            let Some(holding) = classes.get_mut(class.index()) else {
                return (core::ptr::null_mut(), false);
            };
            let is_low = holding.pool.length <= most / 2;
            let came = if is_low { holding.pool.fill(source, class, most) } else { 0 };
            let taken = holding.pool.take_any(next(random));
            self.note(class, came, usize::from(!taken.is_null()), size);
            (taken, is_low)
        })
    }

    /// Puts a slot of `class` into quarantine. One that was there longer goes to the pool, and what the pool has no room
    /// for to `source`: says whether that happened.
    ///
    /// # Safety
    ///
    /// The slot is free, zeroed, of that class, and nobody else's.
    #[inline]
    pub(super) unsafe fn deallocate<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        table: &SizeClassTable,
        class: SizeClass,
        slot: *mut u8,
    ) -> bool {
        let size = table.size(class);
        self.holdings.with(token, |holdings| {
            let Holdings { random, classes } = holdings;
            let Some(holding) = classes.get_mut(class.index()) else { return false };
            let most_waiting = most(size, QUARANTINE_SLOTS, QUARANTINE_BYTES);
            let freed = holding.quarantine.exchange_any(next(random), slot, most_waiting);
            let mut given = 0;
            let mut is_full = false;
            if !freed.is_null() {
                let most = most(size, POOL_SLOTS, POOL_BYTES);
                is_full = holding.pool.length >= most;
                if is_full {
                    // SAFETY: slots of the pool are free and nobody else's.
                    given = unsafe { holding.pool.give(source, class, most / 2) };
                }
                holding.pool.put(freed);
            }
            self.note(class, 1, given, size);
            is_full
        })
    }

    /// Gives all slots back to `source`; says how many bytes.
    pub(crate) fn empty<O: ObjectSource>(&self, source: &O, table: &SizeClassTable) -> u64 {
        self.holdings.visit(|holdings| {
            let mut emptied = 0;
            for class in table.classes() {
                let Some(holding) = holdings.classes.get_mut(class.index()) else { continue };
                // SAFETY: slots in bags are free and nobody else's.
                let pooled = unsafe { holding.pool.give(source, class, 0) };
                // SAFETY: as above.
                let waiting = unsafe { holding.quarantine.give(source, class, 0) };
                self.note(class, 0, pooled + waiting, table.size(class));
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
                holding.pool.retain(|slot| keep(class, slot));
                holding.quarantine.retain(|slot| keep(class, slot));
            }
        });
    }

    /// Counts a slot as held that came from here, and is never used again.
    #[cold]
    pub(super) fn note_lost(&self, token: Token, table: &SizeClassTable, class: SizeClass) {
        self.holdings.with(token, |_| self.note(class, 1, 0, table.size(class)));
    }

    /// How many slots of a class it holds. Takes no lock.
    pub(crate) fn slots(&self, class: SizeClass) -> u64 {
        self.slots.get(class.index()).map_or(0, |slots| u64::from(slots.load(Ordering::Relaxed)))
    }

    /// Bytes of all slots that it holds. Takes no lock.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) as u64
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

    /// Notes that slots came and went; the caller has the holdings, so that nobody else writes.
    fn note(&self, class: SizeClass, came: usize, went: usize, size: usize) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let bytes = bytes.wrapping_add(came * size).wrapping_sub(went * size);
        self.bytes.store(bytes, Ordering::Relaxed);
        if let Some(slots) = self.slots.get(class.index()) {
            let count = slots.load(Ordering::Relaxed);
            let count = count.wrapping_add(came as u32).wrapping_sub(went as u32);
            slots.store(count, Ordering::Relaxed);
        }
    }
}

impl<const MOST: usize> Bag<MOST> {
    /// Fills it up to `most` slots; says how many came.
    fn fill<O: ObjectSource>(&mut self, source: &O, class: SizeClass, most: usize) -> usize {
        let room = self.slots.get_mut(self.length..most.min(MOST)).unwrap_or_default();
        let came = if room.is_empty() { 0 } else { source.take(class, room) };
        self.length += came;
        came
    }

    /// Takes one out, which one is as `random` says; null if there is none.
    fn take_any(&mut self, random: u64) -> *mut u8 {
        let Some(last) = self.length.checked_sub(1) else { return core::ptr::null_mut() };
        let last_slot = self.slots.get(last).copied().unwrap_or(core::ptr::null_mut());
        self.length = last;
        match self.slots.get_mut(below(random, last + 1)) {
            Some(place) => core::mem::replace(place, last_slot),
            None => last_slot,
        }
    }

    /// Puts one in; if there are `most` already, takes another one out.
    fn exchange_any(&mut self, random: u64, slot: *mut u8, most: usize) -> *mut u8 {
        if self.length < most.min(MOST) {
            self.put(slot);
            return core::ptr::null_mut();
        }
        match self.slots.get_mut(below(random, self.length)) {
            Some(place) => core::mem::replace(place, slot),
            None => slot,
        }
    }

    /// Puts one in, where there is room.
    fn put(&mut self, slot: *mut u8) {
        if let Some(place) = self.slots.get_mut(self.length) {
            *place = slot;
            self.length += 1;
        }
    }

    /// Gives all but the first `left` to `source`; says how many.
    ///
    /// # Safety
    ///
    /// All are free slots of the class, and nobody else's.
    unsafe fn give<O: ObjectSource>(&mut self, source: &O, class: SizeClass, left: usize) -> usize {
        let given = self.slots.get_mut(left..self.length).unwrap_or_default();
        let count = given.len();
        if count > 0 {
            // SAFETY: the caller's promise; they leave the bag.
            unsafe { source.give(class, given) };
            self.length = left;
        }
        count
    }

    /// Drops those for which `keep` answers no.
    fn retain(&mut self, mut keep: impl FnMut(*mut u8) -> bool) {
        let mut at = 0;
        while at < self.length {
            let slot = self.slots.get(at).copied().unwrap_or(core::ptr::null_mut());
            if keep(slot) {
                at += 1;
            } else {
                self.length -= 1;
                self.slots.swap(at, self.length);
            }
        }
    }
}

/// How many slots of `size` bytes: as many as `bytes` hold, at least two, at most `slots`.
fn most(size: usize, slots: usize, bytes: usize) -> usize {
    (bytes / size.max(1)).clamp(2, slots)
}

/// A number below `bound` that is as random as `random`.
fn below(random: u64, bound: usize) -> usize {
    ((random >> 32) as usize * bound) >> 32
}

/// The next number of a generator that never stands at 0 (G. Marsaglia, "Xorshift RNGs", 2003; S. Vigna's multiplier).
fn next(state: &mut u64) -> u64 {
    let mut bits = *state;
    bits ^= bits >> 12;
    bits ^= bits << 25;
    bits ^= bits >> 27;
    *state = bits;
    bits.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests;
