//! References to structures in the metadata arena.

use core::{fmt, ops::Deref, ptr::NonNull};

/// A reference to a structure that came from a [`Pool`](strata_span::Pool), to be copied and kept.
///
/// The structures are cells throughout, so that a shared reference is all that anybody needs; who
/// may reach one holds the heap's lock.
#[repr(transparent)]
pub(crate) struct Handle<T>(NonNull<T>);

impl<T> Handle<T> {
    /// A handle of `item`.
    ///
    /// # Safety
    ///
    /// `item` came from a pool and is not given back while a handle of it is used; the handle is
    /// used by one thread at a time.
    pub(crate) const unsafe fn new(item: NonNull<T>) -> Self {
        Self(item)
    }

    /// Where the structure is.
    pub(crate) const fn place(self) -> NonNull<T> {
        self.0
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Handle<T> {}

impl<T> Deref for Handle<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `new`'s caller promised that the structure stays while handles are used; its
        // fields are cells, so no exclusive reference to it exists.
        unsafe { self.0.as_ref() }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}
