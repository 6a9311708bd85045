//! Addresses, and the only place where they become pointers.

use core::ptr::NonNull;

/// An address of the process, as a number with a meaning.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Address(usize);

impl Address {
    /// The address with this number.
    #[inline(always)]
    pub const fn new(value: usize) -> Self {
        Self(value)
    }

    /// The address that `pointer` points to. Its provenance is exposed: the allocator finds
    /// blocks again by number.
    #[inline(always)]
    pub fn of<T: ?Sized>(pointer: *const T) -> Self {
        Self(pointer.cast::<u8>().expose_provenance())
    }

    /// The number.
    #[inline(always)]
    pub const fn value(self) -> usize {
        self.0
    }

    /// A pointer to this address, with the provenance of the mapping that was exposed for it.
    #[inline(always)]
    pub const fn pointer(self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.0)
    }

    /// The same, unless the address is 0.
    #[inline(always)]
    pub const fn non_null(self) -> Option<NonNull<u8>> {
        NonNull::new(self.pointer())
    }

    /// The address `bytes` further up.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// How many bytes this address lies above `start`.
    #[inline(always)]
    pub const fn offset_from(self, start: Self) -> usize {
        self.0.wrapping_sub(start.0)
    }

    /// Whether the address is a multiple of `align`, a power of two.
    #[inline(always)]
    pub const fn is_aligned(self, align: usize) -> bool {
        self.0 & (align - 1) == 0
    }

    /// The next multiple of `align`, a power of two; none beyond the end of memory.
    #[inline(always)]
    pub const fn align_up(self, align: usize) -> Option<Self> {
        match self.0.checked_add(align - 1) {
            Some(top) => Some(Self(top & !(align - 1))),
            None => None,
        }
    }
}
