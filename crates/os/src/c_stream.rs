//! The C library's streams, for functions whose output goes where a program's own goes.

use crate::KeepErrno;
use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};
use core::ptr;

/// Bytes that are gathered before the C library gets them. At half, a report of some lines is two calls, and so two lines
/// of an unbuffered stream may be torn apart; at twice, small stacks have less.
const BUFFER_BYTES: usize = 1024;

unsafe extern "C" {
    #[link_name = "stderr"]
    static mut STDERR: *mut libc::FILE;
    fn flockfile(stream: *mut libc::FILE);
    fn funlockfile(stream: *mut libc::FILE);
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE`, the same in glibc and musl.
const CANCEL_DISABLE: c_int = 1;

/// Text to a stream of C's, which stays locked until this is dropped, so that other threads' output does not come between.
///
/// The C library may allocate as it writes: hold no lock here that an allocation needs. What the stream does not take is
/// lost, and the stream's own error flag says so; `errno` stays. The thread cannot be cancelled as long as this lives: it
/// would take the stream's lock along, and what is written is no more than a part.
#[derive(Debug)]
pub struct CStream {
    /// A stream, locked by this thread.
    stream: *mut libc::FILE,
    /// Whether the thread could be cancelled before, as the C library says it.
    cancel_state: c_int,
    filled: usize,
    failed: bool,
    buffer: [u8; BUFFER_BYTES],
}

impl CStream {
    /// The program's `stderr`, which it may have pointed elsewhere; none if it has none.
    pub fn stderr() -> Option<Self> {
        // SAFETY: a word of the C library's, which programs change before they have threads, if at all.
        let stream = unsafe { STDERR };
        // SAFETY: a stream of the C library's stays until the program ends.
        unsafe { Self::new(stream.cast()) }
    }

    /// A stream; none if it is null.
    ///
    /// # Safety
    ///
    /// `stream` is null or a stream that is open as long as this lives.
    pub unsafe fn new(stream: *mut c_void) -> Option<Self> {
        if stream.is_null() {
            return None;
        }
        let stream = stream.cast();
        let mut cancel_state = 0;
        // SAFETY: the C library writes the one number, which is ours.
        unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut cancel_state) };
        // SAFETY: the stream is open, as the caller promises.
        unsafe { flockfile(stream) };
        Some(Self { stream, cancel_state, filled: 0, failed: false, buffer: [0; BUFFER_BYTES] })
    }

    fn flush(&mut self) {
        let _keep = KeepErrno::new();
        let text = self.buffer.get(..self.filled).unwrap_or_default();
        if !self.failed && !text.is_empty() {
            // SAFETY: the stream is open, as the maker promised; the C library reads `text`, as far as it is long.
            let wrote = unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), self.stream) };
            self.failed = wrote != text.len();
        }
        self.filled = 0;
    }
}

impl Write for CStream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() && !self.failed {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let part = rest.len().min(room.len());
            for (place, byte) in room.iter_mut().zip(rest) {
                *place = *byte;
            }
            rest = rest.get(part..).unwrap_or_default();
            self.filled += part;
            if self.filled == BUFFER_BYTES {
                self.flush();
            }
        }
        if self.failed { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Drop for CStream {
    fn drop(&mut self) {
        self.flush();
        // SAFETY: this thread locked it in `new`, and it is still open.
        unsafe { funlockfile(self.stream) };
        // SAFETY: what the C library said in `new`; null takes no answer.
        unsafe { pthread_setcancelstate(self.cancel_state, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests;
