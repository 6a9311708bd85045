//! Where threads sleep on a word: the kernel's futex, or under loom a model of it.

use crate::atomic::AtomicU32;

/// The sleepers of one word. Nothing in a program: the kernel finds them by the word's address.
#[cfg(not(strata_loom))]
pub(crate) struct Parking;

#[cfg(not(strata_loom))]
impl Parking {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Sleeps until woken, unless `word` is no longer `expected`. May return for no reason.
    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32) {
        strata_os::futex_wait(word, expected, None);
    }

    /// Wakes one sleeper if there is one.
    pub(crate) fn wake_one(&self, word: &AtomicU32) {
        strata_os::futex_wake(word, 1);
    }

    /// Wakes all sleepers.
    pub(crate) fn wake_all(&self, word: &AtomicU32) {
        strata_os::futex_wake(word, u32::MAX >> 1);
    }
}

/// The model of a futex: looking at the word and falling asleep are one step under `queue`, as
/// they are under the kernel's bucket lock, and a wake-up takes the same lock.
#[cfg(strata_loom)]
pub(crate) struct Parking {
    queue: loom::sync::Mutex<()>,
    woken: loom::sync::Condvar,
}

#[cfg(strata_loom)]
impl Parking {
    pub(crate) fn new() -> Self {
        Self { queue: loom::sync::Mutex::new(()), woken: loom::sync::Condvar::new() }
    }

    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32) {
        let queue = self.enter();
        if word.load(crate::atomic::Ordering::Relaxed) == expected {
            drop(self.woken.wait(queue));
        }
    }

    pub(crate) fn wake_one(&self, _word: &AtomicU32) {
        let _queue = self.enter();
        self.woken.notify_one();
    }

    pub(crate) fn wake_all(&self, _word: &AtomicU32) {
        let _queue = self.enter();
        self.woken.notify_all();
    }

    fn enter(&self) -> loom::sync::MutexGuard<'_, ()> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
