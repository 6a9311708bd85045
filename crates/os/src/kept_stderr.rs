//! Standard error at the end of a program, which by then may have closed it.

use crate::gathered::Gathered;
use crate::system_call::system_call;
use crate::{KeepErrno, broken_pipe, errno};
use core::ffi::c_int;
use core::fmt::{self, Write};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Bytes that are gathered before they are written: 2 KiB, so that a report of 30 KiB is some
/// fifteen system calls and the stack of a small thread still has room for it.
const BUFFER_BYTES: usize = 2048;

/// The lowest descriptor that a kept one gets: above those that programs expect to be given next.
const LOWEST_KEPT: c_int = 100;

/// How long one write waits for a full pipe whose reader sleeps: 10 s, then the rest is lost.
const PATIENCE_SECONDS: i64 = 10;

/// Standard error as it was at start, for a last message of a program that closes it before it
/// ends, as the GNU core utilities do.
///
/// [`keep`](Self::keep) holds one descriptor, closed on exec. What is written goes to descriptor 2
/// if that is open, else to the kept one, if it still is the file that it was: a program that
/// closes all descriptors may have got its number for a file of its own.
///
/// Allocates nothing, takes no lock, keeps `errno`.
///
/// ```
/// use core::fmt::Write;
/// use strata_os::KeptStderr;
/// static STDERR: KeptStderr = KeptStderr::new();
/// STDERR.keep();
/// if let Some(mut out) = STDERR.open() {
///     writeln!(out, "the end").expect("stderr takes it");
/// }
/// ```
#[derive(Debug)]
pub struct KeptStderr {
    /// The kept descriptor, -1 for none. Written by `keep`, before the others; no other order
    /// matters: a program keeps once, before it has threads.
    descriptor: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl KeptStderr {
    /// Nothing is kept yet.
    pub const fn new() -> Self {
        Self { descriptor: AtomicI32::new(-1), device: AtomicU64::new(0), inode: AtomicU64::new(0) }
    }

    /// Keeps standard error as it is now. Nothing happens if it is closed, or if no descriptor is
    /// to be had. Three system calls; call it once.
    pub fn keep(&self) {
        let _keep = KeepErrno::new();
        // SAFETY: copies a descriptor; touches no memory.
        let descriptor = unsafe {
            system_call!(libc::SYS_fcntl, libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, LOWEST_KEPT)
        };
        let descriptor = c_int::try_from(descriptor).unwrap_or(-1);
        let Some((device, inode)) = identity(descriptor) else { return };
        self.descriptor.store(descriptor, Ordering::Relaxed);
        self.device.store(device, Ordering::Relaxed);
        self.inode.store(inode, Ordering::Relaxed);
    }

    /// Where a message goes now; `None` if there is no standard error any more.
    pub fn open(&self) -> Option<StderrWriter> {
        let _keep = KeepErrno::new();
        if identity(libc::STDERR_FILENO).is_some() {
            return Some(StderrWriter::new(libc::STDERR_FILENO));
        }
        let kept = self.descriptor.load(Ordering::Relaxed);
        let then = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        (identity(kept) == Some(then)).then(|| StderrWriter::new(kept))
    }
}

impl Default for KeptStderr {
    fn default() -> Self {
        Self::new()
    }
}

/// Which file an open descriptor stands for.
fn identity(descriptor: c_int) -> Option<(u64, u64)> {
    if descriptor < 0 {
        return None;
    }
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel writes the structure, which is ours, or answers with an error.
    let result = unsafe {
        system_call!(
            libc::SYS_newfstatat,
            descriptor,
            c"".as_ptr(),
            status.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: fstat succeeded, so all of it is written.
    let status = unsafe { status.assume_init() };
    Some((status.st_dev, status.st_ino))
}

/// Text to a descriptor, 2 KiB at a time; what is left when it is dropped is written then.
///
/// After an error, or when a full pipe was not read for ten seconds, the rest is thrown away.
#[derive(Debug)]
pub struct StderrWriter {
    descriptor: c_int,
    text: Gathered<BUFFER_BYTES>,
}

impl StderrWriter {
    pub(crate) const fn new(descriptor: c_int) -> Self {
        Self { descriptor, text: Gathered::new() }
    }

    /// Writes what is left; says whether all that was ever given to it was taken.
    pub(crate) fn finish(&mut self) -> bool {
        self.text.flush(|piece| write(self.descriptor, piece))
    }
}

/// Writes `text`; says whether all of it was taken.
fn write(descriptor: c_int, text: &[u8]) -> bool {
    let _keep = KeepErrno::new();
    let mut rest = text;
    while !rest.is_empty() {
        match usize::try_from(broken_pipe::write(descriptor, rest)) {
            Ok(wrote) => rest = rest.get(wrote..).unwrap_or_default(),
            Err(_) if may_go_on(descriptor, errno()) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Whether a write that failed so is worth another try; waits if the descriptor is full.
fn may_go_on(descriptor: c_int, error: c_int) -> bool {
    match error {
        libc::EINTR => true,
        libc::EAGAIN => {
            let mut wanted = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
            let patience = libc::timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
            let no_mask = ptr::null::<libc::sigset_t>();
            // SAFETY: the kernel reads and writes the two structures, which are ours. Directly, as above; by the
            // call that every architecture has.
            let ready = unsafe {
                system_call!(libc::SYS_ppoll, &raw mut wanted, 1, &raw const patience, no_mask, 0)
            };
            ready > 0
        }
        _ => false,
    }
}

impl Write for StderrWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push(text, |piece| write(self.descriptor, piece))
    }
}

impl Drop for StderrWriter {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests;
