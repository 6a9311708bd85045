//! A value that is replaced as a whole, and read without a lock.

use core::fmt;
use core::sync::atomic::Ordering;
use crossbeam_epoch::{self as epoch, Atomic, Owned};

/// A value of which readers see one version, whole, and who changes it publishes the next.
///
/// Readers take no lock and wait for nobody. Who changes it tries again where another was faster. Versions that no
/// reader looks at any more are freed by epochs (K. Fraser, *Practical lock-freedom*, 2004, section 5.2.3;
/// `crossbeam-epoch`), which takes and frees memory of the program's global allocator.
///
/// ```
/// use strata_stats::EpochCell;
///
/// let names = EpochCell::new(vec!["one"]);
/// names.replace(|names| [names.as_slice(), &["two"]].concat());
/// assert_eq!(names.read(Vec::len), 2);
/// ```
pub struct EpochCell<T> {
    /// The present version, never null. Replaced by who changes it, in turns that a compare-and-exchange decides; read by
    /// anybody under a pinned epoch.
    version: Atomic<T>,
}

impl<T: Send + Sync + 'static> EpochCell<T> {
    /// A cell with its first version.
    pub fn new(value: T) -> Self {
        Self { version: Atomic::new(value) }
    }

    /// Looks at the present version, which stays as long as `read` looks.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        let guard = epoch::pin();
        // Acquire pairs with the release in `replace`: the version is seen as it was made.
        let version = self.version.load(Ordering::Acquire, &guard);
        // SAFETY: it was published by `new` or by an exchange in `replace`, never null, and is freed only after
        // every thread that was pinned when it was replaced has gone on; this one is.
        read(unsafe { version.deref() })
    }

    /// Publishes what `next` makes of the present version: once more for each that another thread publishes meanwhile.
    pub fn replace(&self, next: impl Fn(&T) -> T) {
        let guard = epoch::pin();
        // Acquire pairs with the release in the exchange below.
        let mut version = self.version.load(Ordering::Acquire, &guard);
        loop {
            // SAFETY: it was published by `new` or by an exchange here, never null, and is freed only after every
            // thread that was pinned when it was replaced has gone on; this one is pinned.
            let made = Owned::new(next(unsafe { version.deref() }));
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.version.compare_exchange(version, made, success, failure, &guard) {
                Ok(_) => {
                    // SAFETY: this exchange replaced it, so that nobody who pins from now on finds it, and nobody else
                    // destroys it.
                    unsafe { guard.defer_destroy(version) };
                    return;
                }
                Err(failed) => version = failed.current,
            }
        }
    }
}

impl<T> Drop for EpochCell<T> {
    fn drop(&mut self) {
        let version = core::mem::replace(&mut self.version, Atomic::null());
        // SAFETY: nobody else has the cell any more, and the version is never null.
        drop(unsafe { version.into_owned() });
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for EpochCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|value| f.debug_tuple("EpochCell").field(value).finish())
    }
}
