//! What a panic does: there should be none.
//!
//! Only the profiles that do not unwind, which make the shared and the static library, have it. In those that do,
//! this crate is a plain library beside others, some of which bring `std` and its handler along.

use core::panic::PanicInfo;

/// One line, then abort: a panic is a broken invariant.
#[panic_handler]
fn panicked(information: &PanicInfo<'_>) -> ! {
    strata_os::crash!("{information}")
}
