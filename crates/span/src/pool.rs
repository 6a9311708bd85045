//! Structures of one type, taken from the metadata arena and used again.

use crate::{Address, MetadataArena, MetadataKind};
use core::{marker::PhantomData, ptr::NonNull};
use strata_os::PageSource;
use strata_sync::{
    LockStats, Mutex,
    atomic::{AtomicU64, Ordering},
    const_fn, crash,
};

/// A type whose values a [`Pool`] hands out.
///
/// # Safety
///
/// 1. All zero bits are a valid value.
/// 2. The type needs no drop, and is at least as large and as aligned as a pointer.
pub unsafe trait PoolItem {
    /// Where its bytes appear in the ledger.
    const KIND: MetadataKind;

    /// Makes a value of zeroed memory. Zero bits are one in a program; but loom's atomics are not, so a type
    /// that has some writes them here.
    ///
    /// # Safety
    ///
    /// `place` has room for a value, and is the caller's alone.
    #[cfg(strata_loom)]
    unsafe fn construct(place: NonNull<Self>) {
        let _ = place;
    }
}

/// How many structures a pool made and how many are out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PoolStats {
    /// Handed out and not given back.
    pub in_use: u64,
    /// Ever taken from the arena.
    pub created: u64,
    /// Size of one.
    pub item_bytes: u64,
    /// The pool's lock.
    pub lock: LockStats,
}

/// A typed free list over the metadata arena.
///
/// Any thread may allocate and deallocate; one lock, held for a few instructions.
#[derive(Debug)]
pub struct Pool<T: PoolItem> {
    /// Guards the list of free items, linked through their first word.
    /// Rank: only the metadata arena's lock is taken under it.
    free: Mutex<Option<NonNull<Link>>>,
    /// Written under the lock, read by figures.
    in_use: AtomicU64,
    /// Written under the lock, read by figures.
    created: AtomicU64,
    items: PhantomData<*mut T>,
}

/// Adds to a count that is written under the lock alone, modulo 2^64: a locked instruction would cost as much as the lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A free item.
#[derive(Debug)]
struct Link {
    next: Option<NonNull<Link>>,
}

// SAFETY: the list is only reached under the lock, and the items on it belong to nobody.
unsafe impl<T: PoolItem> Sync for Pool<T> {}
// SAFETY: nothing in a pool belongs to a thread.
unsafe impl<T: PoolItem> Send for Pool<T> {}

impl<T: PoolItem> Pool<T> {
    const_fn! {
        /// A pool that has made nothing yet.
        pub const fn new() -> Self {
            Self {
                free: Mutex::new(None),
                in_use: AtomicU64::new(0),
                created: AtomicU64::new(0),
                items: PhantomData,
            }
        }
    }

    /// A structure of all zero bits. None when the arena has no more.
    pub fn allocate<M: PageSource>(&self, arena: &MetadataArena, source: &M) -> Option<NonNull<T>> {
        let mut free = self.free.lock();
        let item = if let Some(link) = *free {
            // SAFETY: links on the list are items that were given back; the lock is held.
            *free = unsafe { link.read() }.next;
            let item = link.cast::<T>();
            // SAFETY: the item was given back, so nobody reads it; it is as large as a `T`.
            unsafe { item.write_bytes(0, 1) };
            item
        } else {
            let item = arena.allocate(source, size_of::<T>(), align_of::<T>(), T::KIND)?.cast();
            add(&self.created, 1);
            item
        };
        #[cfg(strata_loom)]
        // SAFETY: the item is zeroed, and on no list any more.
        unsafe {
            T::construct(item);
        }
        add(&self.in_use, 1);
        Some(item)
    }

    /// Takes a structure back.
    ///
    /// # Safety
    ///
    /// It came from this pool's `allocate`, and nobody uses it any more.
    pub unsafe fn deallocate(&self, item: NonNull<T>) {
        let mut free = self.free.lock();
        let link = item.cast::<Link>();
        if *free == Some(link) {
            crash!(
                "structure {:#x} of the heap given back twice",
                Address::of(link.as_ptr()).value()
            );
        }
        // SAFETY: the caller gives the item up; by the trait's second rule it can hold a link.
        unsafe { link.write(Link { next: *free }) };
        *free = Some(link);
        add(&self.in_use, u64::MAX);
    }

    /// The figures.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            in_use: self.in_use.load(Ordering::Relaxed),
            created: self.created.load(Ordering::Relaxed),
            item_bytes: size_of::<T>() as u64,
            lock: self.free.stats(),
        }
    }

    /// Takes the pool's lock, so that a fork finds the list at rest.
    pub fn acquire(&self) {
        self.free.acquire();
    }

    /// Gives it back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.free.release() };
    }
}

impl<T: PoolItem> Default for Pool<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
