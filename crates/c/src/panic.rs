//! What a panic does: there should be none.

use core::panic::PanicInfo;

/// One line, then abort: a panic is a broken invariant.
#[panic_handler]
fn panicked(information: &PanicInfo<'_>) -> ! {
    strata_os::crash!("{information}")
}
