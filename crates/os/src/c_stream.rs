//! The C library's streams, for functions whose output goes where a program's own goes.

use crate::KeepErrno;
use crate::gathered::Gathered;
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
    text: Gathered<BUFFER_BYTES>,
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
        Some(Self { stream, cancel_state, text: Gathered::new() })
    }
}

/// Hands `text` to a stream that is open and locked by this thread; says whether it took all of it.
///
/// What it did not take it is offered once more, by small pieces: a stream whose buffer could not be written has
/// thrown that away, and takes the next text. So there is some left for `fclose` to fail with, as there is behind a
/// series of `fprintf`.
fn write(stream: *mut libc::FILE, text: &[u8]) -> bool {
    let _keep = KeepErrno::new();
    let offer = |text: &[u8]| {
        // SAFETY: the stream is open, as the maker promised; the C library reads `text`, as far as it is long.
        unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), stream) }
    };
    let rest = text.get(offer(text)..).unwrap_or_default();
    rest.chunks(SMALL_PIECE).all(|piece| {
        let again = piece.get(offer(piece)..).unwrap_or_default();
        again.is_empty() || offer(again) == again.len()
    })
}

/// What a stream is offered that did not take all of a text. At twice, one with a buffer of 16 bytes has none of it left.
const SMALL_PIECE: usize = 16;

impl Write for CStream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push(text, |piece| write(self.stream, piece))
    }
}

impl Drop for CStream {
    fn drop(&mut self) {
        self.text.flush(|piece| write(self.stream, piece));
        // SAFETY: this thread locked it in `new`, and it is still open.
        unsafe { funlockfile(self.stream) };
        // SAFETY: what the C library said in `new`; null takes no answer.
        unsafe { pthread_setcancelstate(self.cancel_state, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests;
