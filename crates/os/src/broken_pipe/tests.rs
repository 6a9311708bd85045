use super::{SIGPIPE_ALONE, is_pending, take, write};
use crate::{errno, thread};
use core::ffi::c_int;

/// A descriptor to write to, that nobody reads from: one of a pair of sockets whose other way is shut, since a
/// child that another test makes meanwhile may have the end of a pipe for a while.
fn broken_pipe() -> c_int {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two numbers, which are ours.
    let result = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(result, 0, "a pair of sockets can be had");
    // SAFETY: made above.
    assert_eq!(unsafe { libc::shutdown(ends[1], libc::SHUT_WR) }, 0);
    close(ends[0]);
    ends[1]
}

fn close(descriptor: c_int) {
    // SAFETY: made by the test that calls this, which does not use it again.
    unsafe { libc::close(descriptor) };
}

/// The signals that this thread has blocked.
fn blocked() -> thread::Signals {
    thread::set_signals(libc::SIG_BLOCK, 0).expect("a mask can be read")
}

#[test]
fn nothing_is_left_of_a_write_that_nobody_reads() {
    let descriptor = broken_pipe();
    let before = blocked();
    assert_eq!(before & SIGPIPE_ALONE, 0, "this thread has it let through");
    assert_eq!(write(descriptor, b"a line"), -1);
    assert_eq!(errno(), libc::EPIPE);
    assert_eq!(blocked(), before);
    assert!(!is_pending());
    close(descriptor);
}

#[test]
fn a_signal_that_waits_for_the_program_still_does_and_no_other_comes_to_it() {
    let descriptor = broken_pipe();
    thread::set_signals(libc::SIG_BLOCK, SIGPIPE_ALONE);
    assert_eq!(write(descriptor, b"a line"), -1);
    assert!(!is_pending(), "the program would be told of what it did not write");
    // SAFETY: a signal to this thread, which has it blocked.
    unsafe { libc::raise(libc::SIGPIPE) };
    assert_eq!(write(descriptor, b"a line"), -1);
    assert!(is_pending(), "it was the program's");
    assert_ne!(blocked() & SIGPIPE_ALONE, 0, "and stays blocked");
    take();
    assert!(!is_pending());
    close(descriptor);
}
