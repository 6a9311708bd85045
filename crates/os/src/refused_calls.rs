//! A kernel that refuses system calls, for tests.

use core::ffi::{c_long, c_ulong};
use std::io;

/// Most calls that one filter names.
const MOST_CALLS: usize = 13;

/// The instructions of a filter (linux/bpf_common.h): load the call's number, compare it and jump, answer.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Has the kernel answer `errno` to these system calls of this thread, of those that it starts, and of what it
/// executes: for good, as a seccomp filter does (seccomp(2)). At most 13 calls, by their numbers.
///
/// Allocates nothing where it succeeds, so that a child may call it between fork and exec. The filter looks at
/// numbers alone, not at the architecture that they are of.
///
/// ```
/// use strata_os::refuse_calls;
///
/// let name = std::thread::spawn(|| {
///     refuse_calls(&[libc::SYS_uname], libc::EPERM)?;
///     // SAFETY: it is written by the call alone.
///     let mut name = unsafe { core::mem::zeroed() };
///     // SAFETY: room for the answer.
///     Ok::<_, std::io::Error>(unsafe { libc::uname(&raw mut name) })
/// });
/// match name.join().expect("it ends") {
///     Ok(answer) => assert_eq!(answer, -1),
///     Err(error) => println!("no filters are to be had: {error}"),
/// }
/// ```
///
/// # Errors
///
/// The kernel's, where filters are not to be had; `EINVAL` for more calls, or numbers that no call has.
pub fn refuse_calls(calls: &[c_long], errno: i32) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let op = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut program = [op(RETURN, 0, libc::SECCOMP_RET_ALLOW); MOST_CALLS + 3];
    let length = calls.len() + 3;
    let Some([load, compare @ .., _, refuse]) = program.get_mut(..length) else {
        return Err(invalid());
    };
    *load = op(LOAD, 0, 0);
    for (index, (place, &call)) in compare.iter_mut().zip(calls).enumerate() {
        // To the last instruction: over the other calls and the permission.
        let over = u8::try_from(calls.len() - index).map_err(|_| invalid())?;
        *place = op(JUMP_IF_EQUAL, over, u32::try_from(call).map_err(|_| invalid())?);
    }
    *refuse = op(RETURN, 0, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
    let filter = libc::sock_fprog {
        len: u16::try_from(length).map_err(|_| invalid())?,
        filter: program.as_mut_ptr(),
    };
    const YES: c_ulong = 1;
    const UNUSED: c_ulong = 0;
    // SAFETY: numbers alone.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, YES, UNUSED, UNUSED, UNUSED) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mode = c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the program is as long as said, and is copied before the call returns.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(all(test, not(miri)))]
mod tests;
