//! What happens when the library is loaded.
//!
//! The heap is set up by its first block. If that were the program's, a fork handler that the program registered before
//! would run between the heap's: `malloc` in it would meet the locks that the same thread took for the fork. So the
//! first block is had here, before main, when most programs have not registered anything.

use crate::exit_report;
use crate::heap::{ANY_ALIGN, HEAP, deallocate_sized};

/// The constructor: the C library calls what stands in this section.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    let block = HEAP.allocate(1);
    // SAFETY: null, or a block that nobody else knows, asked for with these figures.
    unsafe { deallocate_sized(block.cast(), ANY_ALIGN, 1) };
    exit_report::prepare();
}
