//! A value behind a counted lock.

use crate::lock_stats::LockStats;
use crate::raw_lock::RawLock;
#[cfg(not(strata_loom))]
use crate::vain_wait;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// How long figures wait for a lock that somebody else holds before they do without, in nanoseconds: 1 s. Sections are of
/// microseconds; at a hundredth, a machine with many more threads than CPUs would leave figures out.
pub const FIGURES_PATIENCE_NS: u64 = 1_000_000_000;

/// A value that one thread at a time may use, and figures about how long others waited for it.
///
/// A futex lock of 72 bytes and the value. Taking and leaving it unawaited costs one
/// compare-and-swap and one exchange; the figures are plain stores under the lock. A thread that
/// finds it taken spins for a moment, then sleeps in the kernel, and only then looks at a clock.
/// Who leaves it wakes at most one sleeper. It is not fair, not re-entrant and not poisoned by a
/// panic; it allocates nothing and keeps `errno`.
///
/// ```
/// use strata_sync::Mutex;
///
/// static SPANS: Mutex<[u32; 2]> = Mutex::new([0; 2]);
///
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| SPANS.lock()[1] += 1);
///     }
/// });
/// assert_eq!(SPANS.lock()[1], 4);
/// assert_eq!(SPANS.stats().operations, 5);
/// ```
#[repr(C)]
pub struct Mutex<T: ?Sized> {
    lock: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one thread at a time, which is to send it there and back.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    crate::const_fn! {
        /// A free lock around `value`.
        pub const fn new(value: T) -> Self {
            Self { lock: RawLock::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value; whoever owns the lock whole needs not take it.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting as long as it takes; it is left when the guard goes.
    ///
    /// A thread that holds it already waits for itself for ever.
    #[inline]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.lock.acquire();
        MutexGuard { mutex: self, not_send: PhantomData }
    }

    /// Takes the lock if it is free, which counts as an operation; `None` counts as nothing.
    #[inline]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_acquire().then(|| MutexGuard { mutex: self, not_send: PhantomData })
    }

    /// Takes the lock as [`lock`](Self::lock) does; `None` if this thread has it already, as a signal handler finds it that
    /// interrupted the holder.
    ///
    /// ```
    /// use strata_sync::Mutex;
    ///
    /// let lock = Mutex::new(3);
    /// let guard = lock.lock_unless_ours();
    /// assert_eq!(guard.as_deref(), Some(&3));
    /// assert!(lock.lock_unless_ours().is_none(), "this thread has it");
    /// # drop(guard);
    /// ```
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn lock_unless_ours(&self) -> Option<MutexGuard<'_, T>> {
        (!self.lock.is_ours()).then(|| self.lock())
    }

    /// Takes the lock as [`lock`](Self::lock) does, but neither waits for this thread itself nor for anybody longer than
    /// `patience_ns` nanoseconds.
    ///
    /// For figures that a signal handler may ask for, which may have interrupted the holder. It sleeps without being
    /// waked, so that it may come late: not for work that counts on its turn. To see that this thread is the holder takes
    /// it 5 ms.
    ///
    /// ```
    /// use strata_sync::Mutex;
    ///
    /// let lock = Mutex::new(3);
    /// assert_eq!(lock.lock_unless_held(1_000_000).as_deref(), Some(&3));
    /// let guard = lock.lock();
    /// assert!(lock.lock_unless_held(u64::MAX).is_none(), "this thread holds it");
    /// # drop(guard);
    /// ```
    #[cfg(not(strata_loom))]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn lock_unless_held(&self, patience_ns: u64) -> Option<MutexGuard<'_, T>> {
        let taken = self.lock.acquire_unless_held(patience_ns);
        taken.then(|| MutexGuard { mutex: self, not_send: PhantomData })
    }

    /// The same under loom, where no time passes.
    #[cfg(strata_loom)]
    pub fn lock_unless_held(&self, _patience_ns: u64) -> Option<MutexGuard<'_, T>> {
        Some(self.lock())
    }

    /// Takes the lock for figures, unless this thread holds it already, or it is not to be had for
    /// [`FIGURES_PATIENCE_NS`]. A thread waits so long once: if it did in vain, it takes other locks within the
    /// next second only if they are free at once. So a signal handler that interrupted the holder of one which
    /// others wait for is kept up once, however many locks there are.
    ///
    /// ```
    /// use strata_sync::Mutex;
    ///
    /// let lock = Mutex::new(3);
    /// assert_eq!(lock.lock_for_figures().as_deref(), Some(&3));
    /// ```
    #[cfg(not(strata_loom))]
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn lock_for_figures(&self) -> Option<MutexGuard<'_, T>> {
        let patience_ns = if vain_wait::was_lately() { 0 } else { FIGURES_PATIENCE_NS };
        let guard = self.lock_unless_held(patience_ns);
        if guard.is_none() && patience_ns != 0 && !self.lock.is_ours() {
            vain_wait::note();
        }
        guard
    }

    /// The same under loom, where no time passes.
    #[cfg(strata_loom)]
    pub fn lock_for_figures(&self) -> Option<MutexGuard<'_, T>> {
        self.lock_unless_held(FIGURES_PATIENCE_NS)
    }

    /// The value, without the lock: nobody else can have it.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The figures so far. Takes no lock; each figure is right in itself, and all are of one
    /// moment when nobody is in the lock.
    pub fn stats(&self) -> LockStats {
        self.lock.stats()
    }

    /// Takes the lock and keeps it without a guard, as a handler does that runs before `fork`.
    ///
    /// A thread that has the lock already, and forks in a signal handler that interrupted it, keeps it as it is, and
    /// [`release`](Self::release) leaves it so: in both processes the thread that was interrupted lets go in the end.
    /// [`locks_kept_over_forks`](crate::locks_kept_over_forks) counts such locks.
    ///
    /// [`release`](Self::release) leaves it, in the parent; the child calls
    /// [`reset_after_fork`](Self::reset_after_fork).
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn acquire(&self) {
        self.lock.acquire_for_fork();
    }

    /// The same for a lock whose holder may wait for one that this thread holds: if it is not to be had for
    /// `patience_ns`, its holder keeps it, and [`release`](Self::release) leaves it so. In the child, where that
    /// thread is not, nobody takes it any more.
    #[cfg_attr(strata_lock_times, track_caller)]
    pub fn acquire_within(&self, patience_ns: u64) {
        self.lock.acquire_for_fork_within(patience_ns);
    }

    /// Leaves a lock that [`acquire`](Self::acquire) took.
    ///
    /// # Safety
    /// The calling thread called `acquire` on this lock and has not released it since, and no
    /// guard of it exists.
    pub unsafe fn release(&self) {
        // SAFETY: the caller holds the lock by an `acquire` that nothing has undone.
        unsafe { self.lock.release_after_fork() };
    }

    /// Makes the lock free, whether this thread holds it by [`acquire`](Self::acquire) or a
    /// thread that did not come along into the child held it. The figures stay, except for the
    /// sleepers, who did not come along either. Says whether somebody held it.
    ///
    /// # Safety
    /// The process is a child after `fork` and has only the calling thread; that thread has no
    /// guard of this lock; and where a vanished thread held it, the value is one that it may
    /// leave at any point, or that the caller puts right before anybody takes the lock.
    pub unsafe fn reset_after_fork(&self) -> bool {
        // SAFETY: the caller is alone in the process and holds no guard.
        unsafe { self.lock.reset_after_fork() }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The right to use the value of a [`Mutex`], until it is dropped.
#[must_use = "the lock is left as soon as the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The thread that took a lock is the one that leaves it, so that its figures mean something.
    not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives out `&T` only, which `T: Sync` allows everybody.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the proof that its thread holds the lock, and nothing but a guard
        // gives out the value; a mutable borrow of it needs the guard itself mutably.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the proof that its thread holds the lock, and it is borrowed mutably, so that no
        // other borrow of the value is left.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard was made by the `acquire` that this release ends, once.
        unsafe { self.mutex.lock.release() };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
