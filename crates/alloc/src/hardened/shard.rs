//! Slots between blocks: those that wait in quarantine, and the pool that blocks are chosen from.
//!
//! Both of a class are one ring of addresses, so that nothing stands in the slots: the pool is its older part. What
//! is freed is put at the end, and by that the slot that waited longest belongs to the pool, without being moved.
//! Threads are spread over shards, as many as there are CPUs: a new thread has the one with the fewest threads. One
//! that is alone with its shard [owns](strata_sync::owned) it, and others share theirs under a lock.

mod random;
mod ring;

use core::hint::cold_path;
use random::Random;
pub(super) use ring::FreeSlot;
use ring::{Cursors, Ring};
use strata_size_classes::{CLASS_SLOTS, ObjectSource, SizeClass, SizeClassTable};
use strata_sync::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    owned::{Owned, Token},
};

/// The most shards that a heap has.
pub(crate) const SHARDS: u32 = 16;

/// The slots that the threads of a shard have freed, or are going to have. All zero bits are one without a slot.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shard {
    /// Its lock's rank: above the thread caches' registry; the middle tier is entered under it.
    holdings: Owned<Holdings>,
    /// Threads that were given this shard and live. Written by threads that begin and end.
    users: AtomicU32,
}

#[derive(Debug)]
#[repr(C)]
struct Holdings {
    random: Random,
    classes: [Ring; CLASS_SLOTS],
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
                holdings.ring(class).begin(table.size(class));
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
                // SAFETY: slots of the pool, which is full, are free and nobody else's.
                unsafe { ring.give(source, class, ring.half_a_pool()) };
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

impl Holdings {
    /// The ring of a class. The compiler sees that there is one.
    #[inline(always)]
    fn ring(&self, class: SizeClass) -> &Ring {
        &self.classes[class.index()]
    }
}

#[cfg(test)]
mod tests;
