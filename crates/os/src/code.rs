//! Code of this object that is written anew, for what is decided once, when it is loaded.

use crate::system_call::system_call;
use crate::system_pages::pointer;
use crate::{KeepErrno, kernel_page_bytes};
use core::ptr;

/// Puts `code` in the place of what stands at `at`. False, and nothing has changed, where code may not be written
/// (SELinux, a filter of system calls, `PR_SET_MDWE`).
///
/// Its pages become the process's own, are writable and executable for two system calls, and are neither before nor after.
///
/// # Safety
///
/// As many bytes of code of this object stand at `at`; no other thread runs them now or reads them, and
/// instructions of the new code end where the old ones do, or nobody jumps in between.
pub unsafe fn replace_code(at: *mut u8, code: &[u8]) -> bool {
    let _keep = KeepErrno::new();
    let page = kernel_page_bytes();
    let start = at.addr() & !(page - 1);
    let bytes = (at.addr() + code.len()).next_multiple_of(page) - start;
    let protect = |protection| {
        // SAFETY: pages of this object's code, which stay readable and executable throughout.
        unsafe { system_call!(libc::SYS_mprotect, pointer(start), bytes, protection) == 0 }
    };
    let runs = libc::PROT_READ | libc::PROT_EXEC;
    if !protect(runs | libc::PROT_WRITE) {
        return false;
    }
    // SAFETY: writable since the line above; the caller's promise.
    unsafe { ptr::copy_nonoverlapping(code.as_ptr(), at, code.len()) };
    protect(runs);
    true
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
