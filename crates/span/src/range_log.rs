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

    /// Takes the first part of `range` out of the log that lies in one of its ranges, if it begins there, as soon as
    /// `give_back` says that it went; says how many bytes that are. 0, and nothing changes, if `range` begins in none, if
    /// `give_back` refuses, or if there is no memory for a second note where the middle of a range goes.
    pub fn cut<M: PageSource>(
        &mut self,
        arena: &MetadataArena,
        source: &M,
        range: AddressRange,
        give_back: impl FnOnce(AddressRange) -> bool,
    ) -> usize {
        let mut next = NonNull::new(self.newest.load(Ordering::Relaxed));
        while let Some(mut node) = next {
            // SAFETY: nodes stay as long as the log, which is the caller's alone.
            let noted = unsafe { node.as_mut() };
            if !noted.range.contains(range.start) {
                next = NonNull::new(noted.older);
                continue;
            }
            let whole = noted.range;
            let end = range.end().min(whole.end());
            let part = AddressRange::new(range.start, end - range.start);
            let front = AddressRange::new(whole.start, part.start - whole.start);
            let rest = AddressRange::new(end, whole.end() - end);
            let split = !front.is_empty() && !rest.is_empty();
            let second = split.then(|| {
                arena.allocate(source, size_of::<Node>(), align_of::<Node>(), MetadataKind::Ranges)
            });
            if second.is_some_and(|place| place.is_none()) || !give_back(part) {
                return 0;
            }
            noted.range = if front.is_empty() { rest } else { front };
            if let Some(place) = second.flatten() {
                // SAFETY: the arena gave these bytes to us alone, sized and aligned for a node.
                unsafe { self.push_at(place.cast(), rest) };
            }
            return part.bytes;
        }
        0
    }

    /// Calls `visit` for each range, the newest first. A range may be given back inside `visit`
    /// even where its own note stands in it: the note was read before.
    pub fn for_each(&self, mut visit: impl FnMut(AddressRange)) {
        // Acquire pairs with the release in `push_at`.
        let mut next = NonNull::new(self.newest.load(Ordering::Acquire));
        while let Some(node) = next {
            // SAFETY: nodes are in the metadata arena, which stands as long as the log is used,
            // and are changed after publication by `shorten` and `cut` alone, which have the log to themselves.
            let Node { range, older } = unsafe { node.read() };
            next = NonNull::new(older);
            if !range.is_empty() {
                visit(range);
            }
        }
    }
}

impl Default for RangeLog {
    fn default() -> Self {
        Self::new()
    }
}
