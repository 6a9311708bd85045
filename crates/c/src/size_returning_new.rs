//! Operators new that also say how large the block is: the functions that LLVM and Abseil call `__size_returning_new*`.
//!
//! What they answer may be used to its end, and given to a sized delete. (P0901)

use crate::throw::allocate_sized_or_throw;
use core::ffi::c_void;

/// A block and its size: `__sized_ptr_t`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SizedPointer {
    /// The block.
    pub(crate) block: *mut c_void,
    /// How many bytes of it may be used.
    pub(crate) size: usize,
}

/// `operator new(size)` and the size of the block.
#[unsafe(no_mangle)]
extern "C" fn __size_returning_new(size: usize) -> SizedPointer {
    // SAFETY: the last thing that is done, with nothing to drop: a jump.
    unsafe { allocate_sized_or_throw(size, 1) }
}

/// The same. Whether the block will be used often makes no difference here.
#[unsafe(no_mangle)]
extern "C" fn __size_returning_new_hot_cold(size: usize, _hot_cold: u8) -> SizedPointer {
    // SAFETY: the last thing that is done, with nothing to drop: a jump.
    unsafe { allocate_sized_or_throw(size, 1) }
}

/// `operator new(size, align)` and the size of the block.
#[unsafe(no_mangle)]
extern "C" fn __size_returning_new_aligned(size: usize, align: usize) -> SizedPointer {
    // SAFETY: the last thing that is done, with nothing to drop: a jump.
    unsafe { allocate_sized_or_throw(size, align) }
}

/// The same. Whether the block will be used often makes no difference here.
#[unsafe(no_mangle)]
extern "C" fn __size_returning_new_aligned_hot_cold(
    size: usize,
    align: usize,
    _hot_cold: u8,
) -> SizedPointer {
    // SAFETY: the last thing that is done, with nothing to drop: a jump.
    unsafe { allocate_sized_or_throw(size, align) }
}
