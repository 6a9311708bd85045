//! How much the process may map.

use crate::system_call::system_call;
use core::mem::MaybeUninit;
use core::ptr;

/// Below a limit of that many bytes, address space is to be spared.
const AMPLE_BYTES: u64 = 1 << 30;

/// Whether the process runs under a limit on its address space or its data (`ulimit -v`, `ulimit -d`) below 1 GiB.
/// What is reserved and hardly used counts there in full. A limit that cannot be read is none. Two system calls.
pub fn is_confined() -> bool {
    [libc::RLIMIT_AS, libc::RLIMIT_DATA].into_iter().any(|kind| {
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        let (this_process, no_new_one) = (0, ptr::null::<libc::rlimit>());
        // SAFETY: it writes a rlimit.
        let result = unsafe {
            system_call!(libc::SYS_prlimit64, this_process, kind, no_new_one, limit.as_mut_ptr())
        };
        if result != 0 {
            return false;
        }
        // SAFETY: it was written.
        unsafe { limit.assume_init() }.rlim_cur < AMPLE_BYTES
    })
}
