//! What happens when the library is loaded.
//!
//! The heap registers its fork handlers with its first block. If that came after handlers of the program's, those would run
//! between the heap's: `malloc` in them would meet the locks that the same thread took for the fork. So they are
//! registered here, before main, when most programs have not registered anything. The heap itself waits for its
//! first block.
//!
//! What depends on which functions the program replaced is decided here, too.

use crate::reports;

/// The constructor: the C library calls what stands in this section, the lowest number first. Where the library is
/// a part of the program, constructors of the program's have higher ones or none.
#[used]
#[unsafe(link_section = ".init_array.00001")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    strata_alloc::watch_forks();
    #[cfg(target_arch = "x86_64")]
    crate::throw::let_sized_delete_call_a_replaced_one();
    #[cfg(target_arch = "x86_64")]
    crate::fork::find_next();
    #[cfg(target_arch = "x86_64")]
    let waits_for_main = crate::main_begins::expect_main();
    #[cfg(not(target_arch = "x86_64"))]
    let waits_for_main = false;
    reports::prepare();
    if !waits_for_main {
        reports::begin();
    }
}
