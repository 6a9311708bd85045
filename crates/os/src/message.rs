//! One line to standard error, from where neither allocation nor a lock can be had.

use crate::system_call::system_call;
use crate::{KeepErrno, broken_pipe, errno, keeps_to_memory_calls};
use core::ffi::{c_int, c_long};
use core::fmt::{self, Write};

/// The longest line, its end included: longer ones are cut off.
pub const LINE_BYTES: usize = 512;

/// Writes `message` and an end of line to standard error, in a single write(2), so that lines of
/// several threads do not mix.
///
/// Formats on the stack; takes no lock, allocates nothing, keeps `errno`. What is longer than
/// [`LINE_BYTES`] is cut off.
pub fn stderr_line(message: fmt::Arguments<'_>) {
    let _keep = KeepErrno::new();
    let mut line = Line::new();
    // Errors come only from what is formatted; what was written before stands.
    let _ = line.write_fmt(message);
    write_once(line.ended());
}

/// Writes `strata: `, `message` and an end of line to standard error, and ends the program by
/// `abort`. Use it through [`crash!`](crate::crash!).
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
pub fn crash(message: fmt::Arguments<'_>) -> ! {
    warn_line(message);
    // SAFETY: ends the program; nothing of it runs on.
    unsafe { libc::abort() }
}

/// Writes `strata: `, `message` and an end of line to standard error. Use it through
/// [`warn_line!`](crate::warn_line!).
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
pub fn warn_line(message: fmt::Arguments<'_>) {
    stderr_line(format_args!("strata: {message}"));
}

/// Ends the program with one line on standard error: for broken invariants, which nobody can act
/// on. Takes what `format!` takes.
///
/// ```no_run
/// let pointer = 0x7f00_0000_1000_usize;
/// strata_os::crash!("double free of {pointer:#x}, class {}", 7);
/// ```
#[macro_export]
macro_rules! crash {
    ($($message:tt)*) => { $crate::crash(::core::format_args!($($message)*)) };
}

/// Writes one line, after `strata: `, to standard error and goes on. Takes what `format!` takes.
///
/// ```
/// strata_os::warn_line!("unknown key {:?}", "pgae_heap");
/// ```
#[macro_export]
macro_rules! warn_line {
    ($($message:tt)*) => { $crate::warn_line(::core::format_args!($($message)*)) };
}

/// A line under construction. One byte is always left for its end.
struct Line {
    bytes: [u8; LINE_BYTES],
    filled: usize,
}

impl Line {
    const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES], filled: 0 }
    }

    fn ended(&mut self) -> &[u8] {
        if let Some(end) = self.bytes.get_mut(self.filled) {
            *end = b'\n';
        }
        self.bytes.get(..=self.filled).unwrap_or(b"\n")
    }
}

impl Write for Line {
    #[unsafe(link_section = ".text_rarely")]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.filled..LINE_BYTES - 1).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            // An end of line inside would let one message pass for two.
            *place = if byte == b'\n' { b' ' } else { byte };
        }
        self.filled += room.len().min(text.len());
        Ok(())
    }
}

/// Writes all of it in one call. A thread with descriptors of its own asks for the process's.
fn write_once(line: &[u8]) {
    let is_closed = write_to(libc::STDERR_FILENO, line) == Err(libc::EBADF);
    if is_closed
        && !keeps_to_memory_calls()
        && let Some(stderr) = stderr_of_process()
    {
        let _ = write_to(stderr, line);
        close(stderr.into());
    }
}

/// Writes `line` to a descriptor in one call, again only where a signal came before the first byte.
fn write_to(descriptor: c_int, line: &[u8]) -> Result<(), i32> {
    loop {
        if broken_pipe::write(descriptor, line) >= 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            error => return Err(error),
        }
    }
}

/// A descriptor of this thread's for the standard error of the process (Linux 5.6), as its main thread has it.
fn stderr_of_process() -> Option<c_int> {
    // SAFETY: takes nothing and cannot fail.
    let this_process = unsafe { system_call!(libc::SYS_getpid) };
    // SAFETY: makes a descriptor; touches no memory.
    let process = unsafe { system_call!(libc::SYS_pidfd_open, this_process, 0) };
    if process < 0 {
        return None;
    }
    // SAFETY: makes a descriptor; touches no memory.
    let stderr = unsafe { system_call!(libc::SYS_pidfd_getfd, process, libc::STDERR_FILENO, 0) };
    close(process);
    c_int::try_from(stderr).ok().filter(|stderr| *stderr >= 0)
}

fn close(descriptor: c_long) {
    // SAFETY: closes a descriptor that was made above, and is used by nobody else.
    unsafe { system_call!(libc::SYS_close, descriptor) };
}

#[cfg(test)]
mod tests;
