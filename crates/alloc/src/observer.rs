//! Heaps of which every call is observed.
//!
//! An observed heap sets up no caches, neither per CPU nor per thread, and its threads keep limits of 0. So each call
//! leaves the common path at the comparison that is there anyway, and comes here with what the program said: size,
//! alignment, whether the block must be zero, and, of a free, the size if it was given. The ordinary common path has
//! no question about observation in it.
//!
//! What happens then is the [`Observer`]'s, chosen at start: a policy is a variant of it and an arm in each of the
//! functions below, which are all that a heap's callers can do: allocate, deallocate, reallocate, ask a block's size, ask
//! the size of a request. A policy that only watches does what the ordinary functions do (`Core::allocate_uncounted`
//! and its neighbours serve a thread of an observed heap from behind the caches) and keeps its notes beside.

use crate::{Core, HeapConfig};
use strata_sync::thread_block::Slot;

/// Who serves the calls of an observed heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Observer {
    /// `hardened:true`: every block's state is known, and what leaves a block's bounds or life is found.
    Hardened,
    /// `record_file:PATH`: calls are served as always, and written to a file.
    Recording,
}

/// A request for a block, as the program made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockRequest {
    pub(crate) size: usize,
    /// A power of two; 1 where the program named none.
    pub(crate) align: usize,
    /// Whether the first `size` bytes have to be zero.
    pub(crate) zeroed: bool,
}

/// What a program says of a block that it gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    size: usize,
    /// 0, which is no alignment, beside the greatest size if it said nothing.
    align: usize,
}

impl Said {
    /// Nothing but the pointer.
    pub(crate) const NOTHING: Self = Self { size: usize::MAX, align: 0 };

    /// Size and alignment.
    #[inline(always)]
    pub(crate) const fn layout(size: usize, align: usize) -> Self {
        Self { size, align }
    }

    /// Size and alignment, if they were said.
    pub(crate) fn said(self) -> Option<(usize, usize)> {
        (self != Self::NOTHING).then_some((self.size, self.align))
    }

    /// What the program called, as far as that can be told.
    pub(crate) fn function(self) -> strata_span::Function {
        match self.said() {
            Some(_) => strata_span::Function::SizedFree,
            None => strata_span::Function::Free,
        }
    }
}

impl Observer {
    /// The policy in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardened => "hardened",
            Self::Recording => "recording",
        }
    }

    /// How many bytes a block of such a request has; none if there can be no such block.
    pub(crate) fn rounded_size<C: HeapConfig>(self, size: usize, align: usize) -> Option<usize> {
        match self {
            Self::Hardened => crate::hardened::rounded_size::<C>(size, align),
            Self::Recording => crate::recorder::rounded_size::<C>(size, align),
        }
    }
}

impl<C: HeapConfig> Core<C> {
    /// A block, or null when memory is exhausted or the request impossible.
    pub(crate) fn allocate_observed(
        &self,
        slot: Slot,
        observer: Observer,
        request: BlockRequest,
    ) -> *mut u8 {
        match observer {
            Observer::Hardened => match request.zeroed {
                true => self.allocate_hardened::<true>(slot, request.size, request.align),
                false => self.allocate_hardened::<false>(slot, request.size, request.align),
            },
            Observer::Recording => self.allocate_recorded(slot, request),
        }
    }

    /// Takes a block back. The pointer is not null.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap that nobody uses any more, or the observer finds that it is not.
    #[inline]
    pub(crate) unsafe fn deallocate_observed(
        &self,
        slot: Slot,
        observer: Observer,
        pointer: *mut u8,
        said: Said,
    ) {
        match observer {
            // SAFETY: its owner gave the block up; whether it was one is looked up there.
            Observer::Hardened => unsafe { self.deallocate_hardened(slot, pointer, said) },
            // SAFETY: its owner gave the block up, which is recorded before the heap has it.
            Observer::Recording => unsafe { self.deallocate_recorded(slot, pointer, said) },
        }
    }

    /// The block with another size, the same or another one; null if memory is exhausted, and then the old block stays.
    ///
    /// # Safety
    ///
    /// `pointer` is a block of this heap of which nobody else knows, or the observer finds that it is not.
    pub(crate) unsafe fn reallocate_observed(
        &self,
        slot: Slot,
        observer: Observer,
        pointer: *mut u8,
        request: BlockRequest,
    ) -> *mut u8 {
        match observer {
            // SAFETY: the block is its owner's alone; whether it is one is looked up there.
            Observer::Hardened => unsafe { self.reallocate_hardened(slot, pointer, request) },
            // SAFETY: the block is its owner's alone, and of this heap.
            Observer::Recording => unsafe { self.reallocate_recorded(slot, pointer, request) },
        }
    }

    /// How many bytes of a block may be used; 0 for what is none.
    pub(crate) fn usable_size_observed(&self, observer: Observer, pointer: *mut u8) -> usize {
        match observer {
            Observer::Hardened => self.usable_size_hardened(pointer),
            Observer::Recording => self.usable_size_recorded(pointer),
        }
    }
}
