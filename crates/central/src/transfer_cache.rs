//! One class's objects on their way from one cache to another.

use self::stack::Stack;
use crate::{StandardTransfer, TransferPolicy, TransferStats};
use core::marker::PhantomData;
use strata_size_classes::ClassInfo;
use strata_span::Platform;
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicU64, Ordering},
    const_fn, prefetch_whole_for_write,
};

mod insert_limits;
mod stack;

pub use insert_limits::InsertLimits;

/// The transfer cache of one size class: a stack of pointers in an array of its own.
///
/// What one thread flushes another refills from, without a span being touched. Any thread may call any method at
/// any time. One lock, held for the copy of one batch. The array comes from the metadata arena in up to four
/// pieces, as it is filled. It has its cache lines for itself: CPUs that pass objects of one class to each other
/// would wait for those of its neighbours, too.
#[derive(Debug)]
#[repr(align(64))]
pub struct TransferCache<T: TransferPolicy = StandardTransfer> {
    /// Guards the array. Rank: above the class's central free list; under it only the metadata arena's
    /// lock is taken.
    stack: Mutex<Stack>,
    /// All counters: written under the lock, read by figures.
    used: AtomicU64,
    capacity: AtomicU64,
    max_capacity: AtomicU64,
    insert_hits: AtomicU64,
    insert_misses: AtomicU64,
    insert_object_misses: AtomicU64,
    remove_hits: AtomicU64,
    remove_misses: AtomicU64,
    remove_object_hits: AtomicU64,
    remove_object_misses: AtomicU64,
    policy: PhantomData<T>,
}

impl<T: TransferPolicy> TransferCache<T> {
    const VALID: () = assert!(T::INITIAL_BATCHES <= T::MAX_BATCHES, "initial exceeds maximum");

    const_fn! {
        /// An empty cache, whose capacity its first use sets.
        pub const fn new() -> Self {
            const { Self::VALID };
            Self {
                stack: Mutex::new(Stack::new()),
                used: AtomicU64::new(0),
                capacity: AtomicU64::new(0),
                max_capacity: AtomicU64::new(0),
                insert_hits: AtomicU64::new(0),
                insert_misses: AtomicU64::new(0),
                insert_object_misses: AtomicU64::new(0),
                remove_hits: AtomicU64::new(0),
                remove_misses: AtomicU64::new(0),
                remove_object_hits: AtomicU64::new(0),
                remove_object_misses: AtomicU64::new(0),
                policy: PhantomData,
            }
        }
    }

    /// Puts in as many of `objects` as there is room for, from the front; says how many. The cache only
    /// keeps the pointers.
    ///
    /// A cache that has no room grows by as many objects as it turned away before they were missed, within
    /// `limits`: who only gives fills no cache for others. By as many it is filled beyond [`InsertLimits::holds`].
    pub fn insert<E: Platform>(
        &self,
        platform: &E,
        info: &ClassInfo,
        objects: &[*mut u8],
        limits: InsertLimits,
    ) -> usize {
        // Another CPU was the last to write all of it, in programs that pass objects on.
        prefetch_whole_for_write(self);
        let mut stack = self.stack.lock();
        if stack.piece_length == 0 {
            stack.begin::<T>(info);
            self.publish_capacity(&stack);
        }
        if stack.regretted > 0 && stack.grow_for(objects.len(), limits.grows_to) > 0 {
            self.publish_capacity(&stack);
        }
        stack.earned = stack.earned.min(limits.earns_to);
        let holds = limits.holds.max(stack.earned);
        let inserted = stack.push(platform, objects, holds);
        self.publish_used(&stack);
        let missed = objects.len() - inserted;
        if missed == 0 {
            add(&self.insert_hits, 1);
        } else {
            add(&self.insert_misses, 1);
            add(&self.insert_object_misses, missed as u64);
            stack.turned_away += missed;
        }
        inserted
    }

    /// Fills `out` from the front with as many objects as there are, the last ones put in first; says how
    /// many.
    pub fn remove(&self, out: &mut [*mut u8]) -> usize {
        prefetch_whole_for_write(self);
        let mut stack = self.stack.lock();
        let removed = stack.pop(out);
        self.publish_used(&stack);
        let missed = out.len() - removed;
        add(&self.remove_object_hits, removed as u64);
        if missed == 0 {
            add(&self.remove_hits, 1);
        } else {
            add(&self.remove_misses, 1);
            add(&self.remove_object_misses, missed as u64);
            stack.note_missed(missed);
        }
        removed
    }

    /// Lets the cache hold `objects` more, up to its greatest capacity; says how many more. A cache that
    /// was never used does not grow.
    pub fn grow(&self, objects: usize) -> usize {
        let mut stack = self.stack.lock();
        let grown = objects.min(stack.max_capacity.saturating_sub(stack.capacity));
        stack.capacity += grown;
        self.publish_capacity(&stack);
        grown
    }

    /// Lets the cache hold up to `objects` fewer, and moves what does not fit any more into `excess`, from
    /// the front; what does not fit there either makes it shrink by less. Says by how many it shrank and
    /// how many objects it moved. Not counted as a use.
    pub fn shrink(&self, objects: usize, excess: &mut [*mut u8]) -> (usize, usize) {
        let mut stack = self.stack.lock();
        let wanted = stack.capacity.saturating_sub(objects);
        let surplus = stack.used.saturating_sub(wanted).min(excess.len());
        let moved = match excess.get_mut(..surplus) {
            Some(excess) => stack.pop_oldest(excess),
            None => 0,
        };
        let before = stack.capacity;
        stack.capacity = wanted.max(stack.used);
        self.publish_used(&stack);
        self.publish_capacity(&stack);
        (before - stack.capacity, moved)
    }

    /// Moves objects into `out` that nobody wanted since the last [`end_plunder`](Self::end_plunder), the
    /// ones that lie there for longest; says how many. Not counted as a use. So much less the cache has earned.
    pub fn plunder(&self, out: &mut [*mut u8]) -> usize {
        let mut stack = self.stack.lock();
        let unused = stack.low_water.min(out.len());
        let moved = match out.get_mut(..unused) {
            Some(out) => stack.pop_oldest(out),
            None => 0,
        };
        stack.earned = stack.earned.saturating_sub(moved);
        self.publish_used(&stack);
        moved
    }

    /// Begins a new period for [`plunder`](Self::plunder): what stays from here on is unused, and what was turned away is
    /// missed no more.
    pub fn end_plunder(&self) {
        let mut stack = self.stack.lock();
        stack.low_water = stack.used;
        (stack.turned_away, stack.regretted) = (0, 0);
    }

    /// Moves objects into `out`, whether they are wanted or not; says how many. Not counted as a use. Nothing is
    /// earned then, nor missed.
    pub fn drain(&self, out: &mut [*mut u8]) -> usize {
        let mut stack = self.stack.lock();
        let moved = stack.pop(out);
        (stack.turned_away, stack.regretted, stack.earned) = (0, 0, 0);
        self.publish_used(&stack);
        moved
    }

    /// Misses of both kinds since the last call.
    pub(crate) fn new_misses(&self) -> u64 {
        let mut stack = self.stack.lock();
        let misses = self
            .insert_misses
            .load(Ordering::Relaxed)
            .wrapping_add(self.remove_misses.load(Ordering::Relaxed));
        let fresh = misses.wrapping_sub(stack.misses_seen);
        stack.misses_seen = misses;
        fresh
    }

    /// The figures. Takes no lock; each is right in itself.
    pub fn stats(&self) -> TransferStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TransferStats {
            used: load(&self.used),
            capacity: load(&self.capacity),
            max_capacity: load(&self.max_capacity),
            insert_hits: load(&self.insert_hits),
            insert_misses: load(&self.insert_misses),
            insert_object_misses: load(&self.insert_object_misses),
            remove_hits: load(&self.remove_hits),
            remove_misses: load(&self.remove_misses),
            remove_object_hits: load(&self.remove_object_hits),
            remove_object_misses: load(&self.remove_object_misses),
            lock: self.stack.stats(),
        }
    }

    /// Objects that it holds now. Takes no lock.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The lock's figures.
    pub fn lock_stats(&self) -> LockStats {
        self.stack.stats()
    }

    /// Whether an object stands in the cache. For those who have time: looks at every place.
    pub fn holds(&self, object: *mut u8) -> bool {
        self.stack.lock().holds(object)
    }

    /// Takes the lock, so that a fork finds the cache at rest.
    pub fn acquire(&self) {
        self.stack.acquire();
    }

    /// Gives the lock back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.stack.release() };
    }

    #[inline(always)]
    fn publish_used(&self, stack: &Stack) {
        self.used.store(stack.used as u64, Ordering::Relaxed);
    }

    fn publish_capacity(&self, stack: &Stack) {
        self.capacity.store(stack.capacity as u64, Ordering::Relaxed);
        self.max_capacity.store(stack.max_capacity as u64, Ordering::Relaxed);
    }
}

impl<T: TransferPolicy> Default for TransferCache<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds to a counter that the holder of the lock alone writes.
#[inline(always)]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
