//! Slots between blocks: those that wait in quarantine, and the pool that blocks are chosen from.
//!
//! Both of a class are one ring of addresses, so that nothing stands in the slots: the pool is its older part. What
//! is freed is put at the end, and by that the slot that waited longest belongs to the pool, without being moved.
//! Threads are spread over shards, as many as there are CPUs: a new thread has the one with the fewest threads. One
//! that is alone with its shard [owns](strata_sync::owned) it, and others share theirs under a lock.

use core::{cell::Cell, hint::cold_path};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    owned::{Owned, Token},
};

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
static_assertions::const_assert!(256 % Ring::STEPS == 0);

/// The slots that the threads of a shard have freed, or are going to have. All zero bits are one without a slot.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shard {
    /// Its lock's rank: above the thread caches' registry; the middle tier is entered under it.
    holdings: Owned<Holdings>,
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
    random: Random,
    classes: [Ring; CLASS_SLOTS],
}

/// The slots of one class: the oldest belong to the pool, the others wait. What counts slots counts
/// [`STEPS`](Self::STEPS), so that nothing has to be shifted on the way to a place.
#[derive(Debug)]
#[repr(C, align(16))]
struct Ring {
    cursors: Cursors,
    /// A pool of so many is to be filled: the next slot could be guessed. As the next two, written once, when the
    /// heap is prepared.
    low: Cell<u32>,
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
struct Cursors {
    /// The oldest slot, the first of the pool.
    first: AtomicU32,
    /// The first slot that waits.
    waiting: AtomicU32,
    /// Behind the last.
    end: AtomicU32,
    /// Slots that came from here, were written to while they were free, and are never used again: one by one.
    lost: AtomicU32,
}

/// Random bytes, eight from each number of a generator.
#[derive(Debug)]
#[repr(C)]
struct Random {
    /// Those that were not used yet, the next one lowest; zero if none is left.
    bytes: Cell<u64>,
    state: Cell<u64>,
}

// SAFETY: the slots belong to nobody else, so they go with their holdings wherever these go; records are atomics that stay.
unsafe impl Send for Holdings {}

impl Shard {
    /// Gives the shard's generator its beginning, and each class its limits. No thread owns a shard that is not
    /// `ownable`: where the kernel puts no fence into other threads.
    ///
    /// # Safety
    ///
    /// No other thread knows of the shard yet.
    pub(super) unsafe fn begin(&self, bits: u64, ownable: bool, table: &SizeClassTable) {
        if !ownable {
            // SAFETY: no other thread knows of the shard yet, as the caller promises, and this one is not inside.
            unsafe { self.holdings.share_unknown() };
        }
        self.holdings.visit(|holdings| {
            holdings.random.state.set(bits | 1);
            for class in table.classes() {
                let (ring, size) = (holdings.ring(class), table.size(class));
                let most_pooled = most(size, POOL_SLOTS, POOL_BYTES);
                ring.most_pooled.set(most_pooled * Ring::STEPS);
                ring.low.set(most_pooled / 2 * Ring::STEPS);
                let most_waiting = most(size, QUARANTINE_SLOTS, QUARANTINE_BYTES);
                ring.most_waiting.set(most_waiting * Ring::STEPS);
            }
        });
    }

    /// A slot of `class`, chosen at random from the pool: for the owner of the shard, and unless the pool has run low. Asks
    /// `may_go_on` once in a while, after eight slots at most.
    #[inline(always)]
    pub(super) fn take(
        &self,
        token: Token,
        class: SizeClass,
        may_go_on: impl FnOnce() -> bool,
    ) -> Option<FreeSlot> {
        let holdings = self.holdings.enter(token)?;
        let ring = holdings.ring(class);
        let (first, pooled) = ring.cursors.pool();
        if pooled <= ring.low.get() {
            return None;
        }
        if holdings.random.is_used_up() {
            cold_path();
            if !may_go_on() {
                return None;
            }
            holdings.random.refill();
        }
        Some(ring.take_any(first, pooled, holdings.random.byte()))
    }

    /// The same for every thread. The pool is filled up from `source` if it has run low: says whether it was.
    /// `record_of` finds the record of a slot; one that has none is left alone.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    pub(super) fn take_filling<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        class: SizeClass,
        record_of: impl Fn(*mut u8) -> Option<*const AtomicU64>,
    ) -> (Option<FreeSlot>, bool) {
        self.holdings.with(token, |holdings| {
            let ring = holdings.ring(class);
            let is_low = ring.cursors.pool().1 <= ring.low.get();
            if is_low {
                ring.fill(source, class, record_of);
            }
            holdings.random.refill();
            let (first, pooled) = ring.cursors.pool();
            let taken = (pooled > 0).then(|| ring.take_any(first, pooled, holdings.random.byte()));
            (taken, is_low)
        })
    }

    /// Puts a slot of `class` into quarantine, and if that is full, the one that waited longest into the pool: for
    /// the owner of the shard, and unless the pool is full, too. Says whether it did.
    ///
    /// # Safety
    ///
    /// The slot is free, zeroed, of that class, and nobody else's.
    #[inline(always)]
    pub(super) unsafe fn put(&self, token: Token, class: SizeClass, slot: FreeSlot) -> bool {
        let Some(holdings) = self.holdings.enter(token) else { return false };
        holdings.ring(class).put(slot)
    }

    /// The same for every thread; what the pool has no room for goes to `source`: says whether that happened.
    ///
    /// # Safety
    ///
    /// As for [`Self::put`].
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    pub(super) unsafe fn put_flushing<O: ObjectSource>(
        &self,
        token: Token,
        source: &O,
        class: SizeClass,
        slot: FreeSlot,
    ) -> bool {
        self.holdings.with(token, |holdings| {
            let ring = holdings.ring(class);
            let is_full = !ring.put(slot);
            if is_full {
                let half = (ring.most_pooled.get() / Ring::STEPS).div_ceil(2);
                // SAFETY: slots of the pool, which is full, are free and nobody else's.
                unsafe { ring.give(source, class, half) };
                ring.put(slot);
            }
            is_full
        })
    }

    /// Gives all slots back to `source`; says how many bytes.
    pub(crate) fn empty<O: ObjectSource>(&self, source: &O, table: &SizeClassTable) -> u64 {
        self.holdings.visit(|holdings| {
            let mut emptied = 0;
            for class in table.classes() {
                let ring = holdings.ring(class);
                let slots = ring.cursors.held();
                // SAFETY: slots that are held are free and nobody else's.
                unsafe { ring.give(source, class, slots) };
                emptied += u64::from(slots) * table.size(class) as u64;
            }
            emptied
        })
    }

    /// Calls `keep` with every slot, and forgets those for which it answers no: they are never used again, and
    /// counted as held.
    pub(super) fn look_through(
        &self,
        table: &SizeClassTable,
        mut keep: impl FnMut(SizeClass, *mut u8) -> bool,
    ) {
        self.holdings.visit(|holdings| {
            for class in table.classes() {
                let ring = holdings.ring(class);
                let lost = ring.retain(|slot| keep(class, slot));
                ring.cursors.lost.fetch_add(lost, Ordering::Relaxed);
            }
        });
    }

    /// Counts a slot as held that came from here, and is never used again.
    #[cold]
    pub(super) fn note_lost(&self, class: SizeClass) {
        self.cursors(class).lost.fetch_add(1, Ordering::Relaxed);
    }

    /// How many slots of a class it holds. Takes no lock.
    pub(crate) fn slots(&self, class: SizeClass) -> u64 {
        let cursors = self.cursors(class);
        u64::from(cursors.held()) + u64::from(cursors.lost.load(Ordering::Relaxed))
    }

    fn cursors(&self, class: SizeClass) -> &Cursors {
        // SAFETY: a place is computed, and nothing else done.
        unsafe { self.holdings.shared_part(|holdings| &holdings.ring(class).cursors) }
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
    ///
    /// # Safety
    ///
    /// The token is this thread's, which was [added](Self::add_user), and does not come with it any more. The lock
    /// under which threads end ([`ENDS`](crate::threads::ENDS)) is held.
    pub(crate) unsafe fn remove_user(&self, token: Token) {
        // Relaxed: threads end one after the other. So one that is not counted any more has left the holdings, too, when
        // the next one asks below whether it is the last; and one that came meanwhile was counted before it took their
        // lock.
        self.users.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: this thread comes with its token no more. Others come with theirs after they were added, and before they
        // are removed.
        unsafe { self.holdings.leave(token, || self.users() == 0) };
    }

    /// In the child of a fork: no other thread has it, and `is_own` says whether this one does.
    ///
    /// # Safety
    ///
    /// The process is such a child, of a thread that took the shard with [`Self::acquire`], and released it here.
    pub(crate) unsafe fn forget_vanished(&self, is_own: bool) {
        self.users.store(is_own.into(), Ordering::Relaxed);
        // SAFETY: the process is the child of a thread that acquired the holdings with the shard, and released them
        // here.
        unsafe { self.holdings.forget_vanished() };
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
    fn pool(&self) -> (u32, u32) {
        let first = self.first();
        (first, self.waiting().wrapping_sub(first))
    }

    /// How many slots there are. Who has not the holdings may see a few less or more.
    fn held(&self) -> u32 {
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

impl Holdings {
    /// The ring of a class. The compiler sees that there is one.
    #[inline(always)]
    fn ring(&self, class: SizeClass) -> &Ring {
        &self.classes[class.index()]
    }
}

impl Ring {
    /// Steps from one place to the next: bytes, so that the compiler has no shift to make.
    const STEPS: u32 = size_of::<FreeSlot>() as u32;

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
    fn take_any(&self, first: u32, pooled: u32, byte: u32) -> FreeSlot {
        // A 256th of the product lies somewhere in a place.
        let chosen = self.place(first.wrapping_add(byte.wrapping_mul(pooled) / 256));
        let taken = chosen.replace(self.place(first).get());
        self.cursors.first.store(first.wrapping_add(Self::STEPS), Ordering::Relaxed);
        taken
    }

    /// Puts a slot behind those that wait, and counts the one that waited longest to the pool if as many wait as
    /// may. False, and nothing is done, if both have as many as may be.
    #[inline(always)]
    fn put(&self, slot: FreeSlot) -> bool {
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
    fn fill<O: ObjectSource>(
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
    unsafe fn give<O: ObjectSource>(&self, source: &O, class: SizeClass, slots: u32) {
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
    fn retain(&self, mut keep: impl FnMut(*mut u8) -> bool) -> u32 {
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

impl Random {
    #[inline(always)]
    fn is_used_up(&self) -> bool {
        self.bytes.get() == 0
    }

    /// The next byte. Of eight that are zeroes and the last of their number some are not seen: a 256th of each eighth.
    #[inline(always)]
    fn byte(&self) -> u32 {
        let bytes = self.bytes.get();
        self.bytes.set(bytes >> u8::BITS);
        (bytes & 0xff) as u32
    }

    /// The next number of the generator (Wang Yi's wyrand: two halves of a product).
    #[inline(always)]
    fn refill(&self) {
        let state = self.state.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.state.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        self.bytes.set((product >> 64) as u64 ^ product as u64);
    }
}

/// How many slots of `size` bytes: as many as `bytes` hold, at least two, at most `slots`.
fn most(size: usize, slots: usize, bytes: usize) -> u32 {
    (bytes / size.max(1)).clamp(2, slots) as u32
}

#[cfg(test)]
mod tests;
