//! What happens when the library is loaded.
//!
//! The heap registers its fork handlers with its first block. If that came after handlers of the program's, those would run
//! between the heap's: `malloc` in them would meet the locks that the same thread took for the fork. So they are
//! registered here, before main, when most programs have not registered anything. The heap itself waits for its
//! first block.

use crate::exit_report;

/// The constructor: the C library calls what stands in this section.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    strata_alloc::watch_forks();
    #[cfg(target_arch = "x86_64")]
    crate::main_begins::expect_main();
    exit_report::prepare();
}
