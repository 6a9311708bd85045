//! A lock that is free in the child of a fork, unless the thread that forked has it.

use strata_os::thread_pointer;
use strata_sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// A value that nobody changes, or of which any bytes are as good as others, behind a lock that forks do not wait for.
///
/// Where a [`ForkWatcher`](strata_alloc::ForkWatcher) calls [`forget_others`](Self::forget_others), a child whose
/// parent had another thread in the lock finds it free.
pub(crate) struct ForkLock<T> {
    lock: Mutex<T>,
    /// The thread that has the lock; 0 before it said so. Written by it, read in children.
    owner: AtomicUsize,
}

/// The right to use the value, until it is dropped.
pub(crate) struct ForkGuard<'a, T> {
    value: MutexGuard<'a, T>,
    owner: &'a AtomicUsize,
}

impl<T> ForkLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { lock: Mutex::new(value), owner: AtomicUsize::new(0) }
    }

    /// As [`Mutex::lock`].
    pub(crate) fn lock(&self) -> ForkGuard<'_, T> {
        self.guard(self.lock.lock())
    }

    /// As [`Mutex::try_lock`].
    pub(crate) fn try_lock(&self) -> Option<ForkGuard<'_, T>> {
        self.lock.try_lock().map(|value| self.guard(value))
    }

    /// As [`Mutex::lock_for_figures`].
    pub(crate) fn lock_for_figures(&self) -> Option<ForkGuard<'_, T>> {
        self.lock.lock_for_figures().map(|value| self.guard(value))
    }

    fn guard<'a>(&'a self, value: MutexGuard<'a, T>) -> ForkGuard<'a, T> {
        self.owner.store(thread_pointer(), Ordering::Relaxed);
        ForkGuard { value, owner: &self.owner }
    }

    /// In the child of a fork: who had the lock is not here, unless this thread has it.
    ///
    /// # Safety
    ///
    /// The process is the child of a fork that has only this thread, and the value is one that a vanished thread
    /// may leave at any point.
    pub(crate) unsafe fn forget_others(&self) {
        if self.owner.load(Ordering::Relaxed) != thread_pointer() {
            // SAFETY: the process is a child that has only this thread, which has no guard, or it would have said so.
            unsafe { self.lock.reset_after_fork() };
            self.owner.store(0, Ordering::Relaxed);
        }
    }
}

impl<T> core::ops::Deref for ForkGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> core::ops::DerefMut for ForkGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for ForkGuard<'_, T> {
    fn drop(&mut self) {
        self.owner.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
