//! A write to a pipe that nobody reads, without the signal that would end the program.
//!
//! What the allocator has to say is not what the program wrote: that nobody listens is no reason to end it, nor to
//! end it by another signal than the one that a misuse ends programs by. The kernel has no such write for pipes
//! that is old enough (`RWF_NOSIGNAL` came with Linux 6.18), but it gives the signal to the writing thread alone:
//! so that thread has it blocked meanwhile, and takes it back before it is let through again (`signal(7)`).

use crate::{KeepErrno, keeps_to_memory_calls, system_call::system_call, thread};
use core::ffi::{c_int, c_long};
use core::ptr;

/// `SIGPIPE` alone, as the kernel has sets of signals.
const SIGPIPE_ALONE: thread::Signals = 1 << (libc::SIGPIPE - 1);

/// One call of write(2): the bytes that the kernel took, or -1 with the error in `errno`, `EPIPE` where nobody
/// reads. Directly: the C library's `write` is a point where a thread may be cancelled.
///
/// Two system calls more than the write; three or four where `SIGPIPE` came, or is blocked by the program, whose
/// own ones stay. Where the process makes no calls but memory's there is the write alone, and its signal.
#[unsafe(link_section = ".text_rarely")]
pub(crate) fn write(descriptor: c_int, bytes: &[u8]) -> c_long {
    if keeps_to_memory_calls() {
        return write_bare(descriptor, bytes);
    }
    let blocked_before = {
        let _keep = KeepErrno::new();
        thread::set_signals(libc::SIG_BLOCK, SIGPIPE_ALONE)
    };
    let Some(blocked_before) = blocked_before else { return write_bare(descriptor, bytes) };
    let is_blocked_by_program = blocked_before & SIGPIPE_ALONE != 0;
    let is_the_programs = is_blocked_by_program && is_pending();
    let had = write_bare(descriptor, bytes);
    let is_broken = had < 0 && crate::errno() == libc::EPIPE;
    let _keep = KeepErrno::new();
    if is_broken && !is_the_programs {
        take();
    }
    if !is_blocked_by_program {
        thread::set_signals(libc::SIG_UNBLOCK, SIGPIPE_ALONE);
    }
    had
}

fn write_bare(descriptor: c_int, bytes: &[u8]) -> c_long {
    // SAFETY: the kernel reads `bytes`, as far as they are long, and nothing else.
    unsafe { system_call!(libc::SYS_write, descriptor, bytes.as_ptr(), bytes.len()) }
}

/// Whether a `SIGPIPE` waits until it is let through.
fn is_pending() -> bool {
    let _keep = KeepErrno::new();
    let mut pending: thread::Signals = 0;
    // SAFETY: the kernel writes the set, of the size that it is told.
    let result = unsafe {
        system_call!(libc::SYS_rt_sigpending, &raw mut pending, size_of::<thread::Signals>())
    };
    result == 0 && pending & SIGPIPE_ALONE != 0
}

/// Takes a waiting `SIGPIPE`, without waiting for one.
fn take() {
    let wanted = SIGPIPE_ALONE;
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let nowhere = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the kernel reads the set and the time, which are ours, and writes nothing.
    unsafe {
        system_call!(
            libc::SYS_rt_sigtimedwait,
            &raw const wanted,
            nowhere,
            &raw const at_once,
            size_of::<thread::Signals>(),
        )
    };
}

#[cfg(test)]
mod tests;
