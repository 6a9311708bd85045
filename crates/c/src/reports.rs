//! When reports and snapshots of the program are written that its user asks for: what is asked is read by the library's
//! constructor, before main; snapshots begin with main; the report is written by the library's destructor, after the
//! program's own exit handlers. Nothing is registered for that, and nothing allocated.

use crate::heap::HEAP;
use strata_stats::reporting;

/// The destructor: the C library calls what stands in this section when the program ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = at_the_end;

/// By the constructor.
pub(crate) fn prepare() {
    reporting::prepare(&HEAP);
}

/// When main begins; by the constructor, where nothing tells that.
pub(crate) fn begin() {
    reporting::begin(&HEAP);
}

/// The heap's thread has gone, and none will come.
#[cfg(target_arch = "x86_64")]
pub(crate) fn note_no_thread() {
    reporting::note_no_thread(&HEAP);
}

extern "C" fn at_the_end() {
    reporting::end(&HEAP);
}
