//! The ranges that a layer reserved, for those who read figures and for the end of a heap.

use crate::{MetadataArena, MetadataKind};
use core::ptr::NonNull;
use strata_os::{AddressRange, PageSource};
use strata_sync::{
    atomic::{AtomicPtr, Ordering},
    const_fn,
};

/// A list of address ranges; readers need no lock while ranges are only added.
#[derive(Debug)]
pub struct RangeLog {
    /// Written by `push`, read by `for_each`; publishes the node.
    newest: AtomicPtr<Node>,
}

/// One range; lives in the metadata arena.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Node {
    range: AddressRange,
    older: *mut Node,
}

impl RangeLog {
    const_fn! {
        /// An empty log.
        pub const fn new() -> Self {
            Self { newest: AtomicPtr::new(core::ptr::null_mut()) }
        }
    }

    /// Notes `range`. False if there was no memory for the note.
    pub fn push<M: PageSource>(
        &self,
        arena: &MetadataArena,
        source: &M,
        range: AddressRange,
    ) -> bool {
        let Some(place) =
            arena.allocate(source, size_of::<Node>(), align_of::<Node>(), MetadataKind::Ranges)
        else {
            return false;
        };
        // SAFETY: the arena gave these bytes to us alone, sized and aligned for a node.
        unsafe { self.push_at(place.cast(), range) };
        true
    }

    /// Notes `range` in a node at `place`.
    ///
    /// # Safety
    ///
    /// `place` is writable, aligned for a node, used for nothing else, and stays until the log
    /// ends.
    pub(crate) unsafe fn push_at(&self, place: NonNull<Node>, range: AddressRange) {
        let mut older = self.newest.load(Ordering::Acquire);
        loop {
            // SAFETY: the caller gives us the place, and no reader knows it before the exchange
            // below.
            unsafe { place.write(Node { range, older }) };
            // Release pairs with the acquire in `for_each`.
            match self.newest.compare_exchange_weak(
                older,
                place.as_ptr(),
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => older = now,
            }
        }
    }

    /// Notes that the last `bytes` bytes of a range, which ends at `end`, are not part of it any more; false, and nothing
    /// changes, if there is no such range.
    pub fn shorten(&mut self, end: usize, bytes: usize) -> bool {
        let mut next = NonNull::new(self.newest.load(Ordering::Relaxed));
        while let Some(mut node) = next {
            // SAFETY: nodes stay as long as the log, which is the caller's alone.
            let node = unsafe { node.as_mut() };
            if node.range.end() == end && node.range.bytes >= bytes {
                node.range.bytes -= bytes;
                return true;
            }
            next = NonNull::new(node.older);
        }
        false
    }

    /// Calls `visit` for each range, the newest first. A range may be given back inside `visit`
    /// even where its own note stands in it: the note was read before.
    pub fn for_each(&self, mut visit: impl FnMut(AddressRange)) {
        // Acquire pairs with the release in `push_at`.
        let mut next = NonNull::new(self.newest.load(Ordering::Acquire));
        while let Some(node) = next {
            // SAFETY: nodes are in the metadata arena, which stands as long as the log is used,
            // and are changed after publication by `shorten` alone, which has the log to itself.
            let Node { range, older } = unsafe { node.read() };
            next = NonNull::new(older);
            visit(range);
        }
    }
}

impl Default for RangeLog {
    fn default() -> Self {
        Self::new()
    }
}
