//! One class's objects on their way from one cache to another.

use crate::{StandardTransfer, TransferPolicy, TransferStats, transfer_policy::Bounds};
use core::{marker::PhantomData, ptr::NonNull};
use strata_size_classes::ClassInfo;
use strata_span::{MetadataKind, Platform};
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicU64, Ordering},
    const_fn, prefetch_whole_for_write,
};

/// Pieces that a cache's array consists of, so that it grows without being copied.
const PIECES: usize = 4;

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

/// How far one [`insert`](TransferCache::insert) may fill a cache, in objects; its greatest capacity holds in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InsertLimits {
    /// Where there are as many, no more are put in, whatever the capacity.
    pub holds: usize,
    /// The capacity grows up to this by what was missed.
    pub grows_to: usize,
}

impl InsertLimits {
    /// None but the cache's own.
    pub const NONE: Self = Self { holds: usize::MAX, grows_to: usize::MAX };

    /// What objects of a size come under where caches and program have objects of `out_bytes`; `one_cache` says
    /// that only one cache comes for them.
    pub(crate) fn of<T: TransferPolicy>(size: usize, out_bytes: usize, one_cache: bool) -> Self {
        let goes_on = one_cache && size > T::KEEPS_FOR_ONE_UP_TO;
        if size <= T::GROWS_UP_TO && !goes_on {
            return Self::NONE;
        }
        let share = out_bytes.saturating_sub(T::LONG_BEYOND) / T::LONG_SHARE.max(1) / size.max(1);
        Self {
            holds: if goes_on { share } else { usize::MAX },
            grows_to: if T::GROWS_UP_TO == 0 { 0 } else { share },
        }
    }
}

/// The array, and how much of it may be used.
#[derive(Debug)]
struct Stack {
    /// Each is as long as `piece_length` says; the ones in front are made first.
    pieces: [Option<NonNull<*mut u8>>; PIECES],
    /// Objects a piece holds: a power of two; 0 until the first use.
    piece_length: usize,
    used: usize,
    capacity: usize,
    max_capacity: usize,
    /// The least that `used` was since the last plunder.
    low_water: usize,
    /// Misses of both kinds up to the last round of resizing.
    misses_seen: u64,
    /// Objects for which there was no room in this period, and that nobody missed since.
    turned_away: usize,
    /// Objects that were missed after they had been turned away: with so much more capacity they would have been
    /// here. The cache has not grown by these yet.
    regretted: usize,
}

// SAFETY: the pieces are metadata that this stack alone refers to, and its lock guards.
unsafe impl Send for Stack {}

impl<T: TransferPolicy> TransferCache<T> {
    const VALID: () = assert!(T::INITIAL_BATCHES <= T::MAX_BATCHES, "initial exceeds maximum");

    const_fn! {
        /// An empty cache, whose capacity its first use sets.
        pub const fn new() -> Self {
            const { Self::VALID };
            Self {
                stack: Mutex::new(Stack {
                    pieces: [None; PIECES],
                    piece_length: 0,
                    used: 0,
                    capacity: 0,
                    max_capacity: 0,
                    low_water: 0,
                    misses_seen: 0,
                    turned_away: 0,
                    regretted: 0,
                }),
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
    /// `limits`: who only gives fills no cache for others.
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
        let inserted = stack.push(platform, objects, limits.holds);
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
    /// ones that lie there for longest; says how many. Not counted as a use.
    pub fn plunder(&self, out: &mut [*mut u8]) -> usize {
        let mut stack = self.stack.lock();
        let unused = stack.low_water.min(out.len());
        let moved = match out.get_mut(..unused) {
            Some(out) => stack.pop_oldest(out),
            None => 0,
        };
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

    /// Moves objects into `out`, whether they are wanted or not; says how many. Not counted as a use.
    pub fn drain(&self, out: &mut [*mut u8]) -> usize {
        let mut stack = self.stack.lock();
        let moved = stack.pop(out);
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

impl Stack {
    /// Sets the capacities.
    #[cold]
    fn begin<T: TransferPolicy>(&mut self, info: &ClassInfo) {
        let bounds = Bounds::of::<T>(info);
        self.capacity = bounds.initial;
        self.max_capacity = bounds.max;
        self.piece_length = bounds.max.div_ceil(PIECES).next_power_of_two();
    }

    /// Makes room for `objects` more, as far as such were missed, up to `most` and its greatest capacity; says by
    /// how many it grew.
    fn grow_for(&mut self, objects: usize, most: usize) -> usize {
        let needed = (self.used + objects).saturating_sub(self.capacity);
        let most = most.min(self.max_capacity).saturating_sub(self.capacity);
        let grown = needed.min(self.regretted).min(most);
        self.capacity += grown;
        self.regretted -= grown;
        grown
    }

    /// Notes that so many objects were wanted and not there.
    fn note_missed(&mut self, objects: usize) {
        let regretted = objects.min(self.turned_away);
        self.turned_away -= regretted;
        self.regretted += regretted;
    }

    /// Puts objects on top, as many as there is room for, and until there are `most`.
    fn push<E: Platform>(&mut self, platform: &E, objects: &[*mut u8], most: usize) -> usize {
        let room = self.capacity.min(most).saturating_sub(self.used).min(objects.len());
        let mut pushed = 0;
        while pushed < room
            && self.have_piece(platform, self.used)
            && let Some(places) = self.piece_from(self.used)
            && let Some(rest) = objects.get(pushed..room)
        {
            let count = places.len().min(rest.len());
            for (place, object) in places.iter_mut().zip(rest) {
                *place = *object;
            }
            pushed += count;
            self.used += count;
        }
        pushed
    }

    /// Takes objects from the top.
    fn pop(&mut self, out: &mut [*mut u8]) -> usize {
        let wanted = out.len().min(self.used);
        let mut popped = 0;
        while popped < wanted {
            let start = piece_start(self.used - 1, self.piece_length);
            let count = (self.used - start).min(wanted - popped);
            let first = self.used - count;
            let (Some(places), Some(rest)) = (self.piece_from(first), out.get_mut(popped..)) else {
                break;
            };
            for (slot, place) in rest.iter_mut().zip(places).take(count) {
                *slot = *place;
            }
            popped += count;
            self.used = first;
        }
        self.low_water = self.low_water.min(self.used);
        popped
    }

    fn holds(&mut self, object: *mut u8) -> bool {
        (0..self.used).any(|index| self.at(index) == Some(object))
    }

    /// Takes objects from the bottom, and moves the others down.
    fn pop_oldest(&mut self, out: &mut [*mut u8]) -> usize {
        let count = out.len().min(self.used);
        for (index, slot) in out.iter_mut().enumerate().take(count) {
            if let Some(object) = self.at(index) {
                *slot = object;
            }
        }
        for index in count..self.used {
            if let Some(object) = self.at(index)
                && let Some(place) = self.piece_from(index - count).and_then(<[_]>::first_mut)
            {
                *place = object;
            }
        }
        self.used -= count;
        self.low_water = self.low_water.saturating_sub(count);
        count
    }

    fn at(&mut self, index: usize) -> Option<*mut u8> {
        self.piece_from(index)?.first().copied()
    }

    /// Makes sure that there is a place for the object with this index.
    #[inline]
    fn have_piece<E: Platform>(&mut self, platform: &E, index: usize) -> bool {
        let length = self.piece_length;
        match self.pieces.get_mut(piece_of(index, length)) {
            Some(Some(_)) => true,
            Some(piece) => {
                *piece = allocate_piece(platform, length);
                piece.is_some()
            }
            None => false,
        }
    }

    /// The places from `index` to the end of its piece.
    #[inline]
    fn piece_from(&mut self, index: usize) -> Option<&mut [*mut u8]> {
        let length = self.piece_length;
        let piece = (*self.pieces.get(piece_of(index, length))?)?;
        // SAFETY: the arena gave the piece `length` places of zeroes, which are null pointers; they are
        // this stack's alone, which is borrowed for as long as the slice.
        let places = unsafe { core::slice::from_raw_parts_mut(piece.as_ptr(), length) };
        places.get_mut(index - piece_start(index, length)..)
    }
}

/// Adds to a counter that the holder of the lock alone writes.
#[inline(always)]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// The piece that holds `index`, where pieces are `length` long: a power of two.
#[inline(always)]
const fn piece_of(index: usize, length: usize) -> usize {
    index >> (length.trailing_zeros() & (usize::BITS - 1))
}

/// The first index of the piece that holds `index`.
#[inline(always)]
const fn piece_start(index: usize, length: usize) -> usize {
    index & !length.wrapping_sub(1)
}

#[cold]
fn allocate_piece<E: Platform>(platform: &E, length: usize) -> Option<NonNull<*mut u8>> {
    let bytes = length.checked_mul(size_of::<*mut u8>())?;
    let piece = platform.arena().allocate(
        platform.metadata(),
        bytes,
        align_of::<*mut u8>(),
        MetadataKind::TransferCaches,
    )?;
    Some(piece.cast())
}
