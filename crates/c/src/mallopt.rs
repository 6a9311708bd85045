//! `mallopt`: those of its parameters that mean something to this heap.
//!
//! | parameter | here |
//! |---|---|
//! | `M_ARENA_MAX`, `M_ARENA_TEST` | 1 for every number from 0 on: there is one heap, never more |
//! | `M_CHECK_ACTION` | what follows the line about a misuse, as glibc had it before 2.26: 2 and 3 end the program, 1 goes on; without a line (0) is not to be had |
//! | `M_PURGE`, `M_PURGE_ALL` (Android's, -101 and -104) | give free memory back at once |
//! | `M_MXFAST`, `M_TRIM_THRESHOLD`, `M_TOP_PAD`, `M_MMAP_THRESHOLD`, `M_MMAP_MAX`, `M_PERTURB`, `M_NLBLKS`, `M_GRAIN`, `M_KEEP` | 0: there are no fast bins, no top and no threshold from which blocks are mappings, and the common path fills no block |
//!
//! Any other number answers 0, which glibc takes without a word.

use crate::heap::HEAP;
use core::ffi::c_int;
use strata_os::{OnMisuse, set_on_misuse};

const M_CHECK_ACTION: c_int = -5;
const M_ARENA_TEST: c_int = -7;
const M_ARENA_MAX: c_int = -8;
const M_PURGE: c_int = -101;
const M_PURGE_ALL: c_int = -104;

/// The bit of `M_CHECK_ACTION` that asks for a line, and the one that asks for the end.
const CHECK_REPORTS: c_int = 1;
const CHECK_ABORTS: c_int = 2;

/// Sets a parameter: 1 if that was done, 0 if it means nothing here or the value is none. (mallopt(3))
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    c_int::from(set(parameter, value))
}

/// `mallopt`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __libc_mallopt(parameter: c_int, value: c_int) -> c_int {
    c_int::from(set(parameter, value))
}

fn set(parameter: c_int, value: c_int) -> bool {
    match parameter {
        M_ARENA_MAX | M_ARENA_TEST => value >= 0,
        M_CHECK_ACTION => set_check_action(value),
        M_PURGE | M_PURGE_ALL => {
            HEAP.release(usize::MAX);
            true
        }
        _ => false,
    }
}

fn set_check_action(value: c_int) -> bool {
    if value & CHECK_ABORTS != 0 {
        set_on_misuse(OnMisuse::Abort);
    } else if value & CHECK_REPORTS != 0 {
        set_on_misuse(OnMisuse::Report);
    } else {
        return false;
    }
    true
}
