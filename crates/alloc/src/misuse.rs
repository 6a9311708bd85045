//! The lines that end a program which gave back what it did not have.

use strata_os::crash;
use strata_span::SpanHandle;

/// A pointer that this heap never gave out.
#[cold]
pub(crate) fn never_handed_out(pointer: *mut u8) -> ! {
    crash!("free of a pointer that was never handed out: {pointer:p}, in no span")
}

/// A pointer into a block, not to its beginning.
#[cold]
pub(crate) fn inside_block(pointer: *mut u8, span: SpanHandle, start: usize) -> ! {
    crash!(
        "free of a pointer into a block: {pointer:p}, in the span of {} pages at {start:#x}",
        span.pages()
    )
}

/// A block that was freed before.
#[cold]
pub(crate) fn freed_before(pointer: *mut u8, span: SpanHandle, start: usize) -> ! {
    crash!("double free: {pointer:p}, in the free span of {} pages at {start:#x}", span.pages())
}
