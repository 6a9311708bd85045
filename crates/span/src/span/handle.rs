//! Span structures: where they come from, and how they are named.

use super::{Span, SpanPlace};
use crate::{MetadataKind, Pool, PoolItem};
use core::{fmt, ops::Deref, ptr::NonNull};
use strata_sync::atomic::Ordering;

/// The structures of spans.
pub type SpanPool = Pool<Span>;

// SAFETY: 1. zeroed atomics are valid values. 2. A span has no drop and is 64 bytes, aligned to 64.
unsafe impl PoolItem for Span {
    const KIND: MetadataKind = MetadataKind::Spans;

    #[cfg(strata_loom)]
    unsafe fn construct(place: NonNull<Self>) {
        // SAFETY: the caller has the place alone.
        unsafe { place.write(Self::default()) };
    }
}

/// A reference to a span that may be copied and kept, as long as its owner keeps the span.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanHandle(pub(super) NonNull<Span>);

// SAFETY: a span's fields are atomics, so sharing a reference is harmless.
unsafe impl Send for SpanHandle {}
// SAFETY: the same: all that a reference allows is atomic.
unsafe impl Sync for SpanHandle {}

impl SpanHandle {
    /// The handle of a structure from a [`SpanPool`].
    ///
    /// # Safety
    ///
    /// `span` came from a span pool, whose memory outlives every use of the handle.
    #[inline(always)]
    pub const unsafe fn from_raw(span: NonNull<Span>) -> Self {
        Self(span)
    }

    /// The structure.
    #[inline(always)]
    pub const fn as_ptr(self) -> NonNull<Span> {
        self.0
    }
}

impl Deref for SpanHandle {
    type Target = Span;

    #[inline(always)]
    fn deref(&self) -> &Span {
        // SAFETY: `from_raw`'s caller promised that the memory stays; all fields are atomics.
        unsafe { self.0.as_ref() }
    }
}

impl fmt::Debug for SpanHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "span at page {:#x} of {} pages",
            self.first_page.load(Ordering::Relaxed),
            self.pages()
        )
    }
}

impl Pool<Span> {
    /// A fresh span structure, in no place and of no pages.
    pub fn allocate_span<M: strata_os::PageSource>(
        &self,
        arena: &crate::MetadataArena,
        source: &M,
    ) -> Option<SpanHandle> {
        // SAFETY: the structure comes from this pool.
        self.allocate(arena, source).map(|span| unsafe { SpanHandle::from_raw(span) })
    }

    /// Takes a span structure back.
    ///
    /// # Safety
    ///
    /// It came from this pool, and no list, page map or owner refers to it.
    pub unsafe fn deallocate_span(&self, span: SpanHandle) {
        span.set_place(SpanPlace::Unused);
        // SAFETY: the caller owns the span, as the contract above says.
        unsafe { self.deallocate(span.as_ptr()) };
    }
}
