//! Where nobody has written the assembly: operator new cannot throw, and says so as it ends the program.

use super::{allocate, cannot_throw, size_of_block};
use crate::size_returning_new::SizedPointer;
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

/// A block and its size; where there is none, one line, then abort.
///
/// # Safety
///
/// None is needed here.
pub(crate) unsafe fn allocate_sized_or_throw(size: usize, align: usize) -> SizedPointer {
    let block = if align.is_power_of_two() { allocate(size, align) } else { ptr::null_mut() };
    if block.is_null() {
        cannot_throw(size, align)
    }
    SizedPointer { block: block.cast(), size: size_of_block(block) }
}
