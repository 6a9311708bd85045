//! A pointer that is published once and read without a lock for ever.

use core::ptr::NonNull;
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    const_fn,
};

/// A place for a pointer that goes from empty to full once.
///
/// Any number of threads may read and publish at the same time; of several publications the first
/// stands, and each publisher is told which one that is. All zero bits are an empty place.
#[repr(transparent)]
#[derive(Debug)]
pub struct PublishOnce<T> {
    /// Written once by the winning `publish`, read by everyone; publishes what it points to.
    pointer: AtomicPtr<T>,
}

impl<T> PublishOnce<T> {
    const_fn! {
        /// An empty place.
        pub const fn new() -> Self {
            Self { pointer: AtomicPtr::new(core::ptr::null_mut()) }
        }
    }

    /// What was published, if anything was.
    #[inline(always)]
    pub fn get(&self) -> Option<NonNull<T>> {
        // Acquire pairs with the release in `publish`: what was written to the pointee
        // before publication is seen through the pointer.
        NonNull::new(self.pointer.load(Ordering::Acquire))
    }

    /// Publishes `value`, unless something stands here already. Returns what stands here now.
    pub fn publish(&self, value: NonNull<T>) -> NonNull<T> {
        // Release pairs with the acquire in `get`; the failure's acquire pairs with the
        // winner's release.
        match self.pointer.compare_exchange(
            core::ptr::null_mut(),
            value.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        ) {
            Ok(_) => value,
            Err(earlier) => NonNull::new(earlier).unwrap_or(value),
        }
    }
}

impl<T> Default for PublishOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
