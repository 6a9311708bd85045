//! Where nobody has written the assembly: operator new cannot throw, and says so as it ends the program.

use super::cannot_throw;
use core::ptr;

/// One line, then abort.
///
/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn allocate_or_throw(size: usize, align: usize) -> *mut u8 {
    cannot_throw(size, align)
}

/// Null: no new-handler is asked.
///
/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn allocate_or_null(_size: usize, _align: usize) -> *mut u8 {
    ptr::null_mut()
}

/// One line, then abort.
///
/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn throw_bad_alloc(size: usize, align: usize) -> *mut u8 {
    cannot_throw(size, align)
}
