//! Files that the kernel writes: /proc and /sys, read without allocating.

use crate::system_call::system_call;
use crate::{KeepErrno, errno, restraint};
use core::ffi::{CStr, c_int, c_long};

/// What is read at a time: a kibibyte of stack. At half, /proc/self/smaps of a large process takes as many calls as
/// it has mappings.
const CHUNK_BYTES: usize = 1024;

/// An open file. System calls are made directly: the C library's `read` and `open` are points
/// where a thread may be cancelled, and `malloc` is none.
pub(crate) struct KernelFile(c_long);

impl KernelFile {
    /// Opens `path` for reading; refused (`EPERM`) in a process that keeps to the calls of memory.
    pub(crate) fn open(path: &CStr) -> Result<Self, i32> {
        restraint::check()?;
        Self::open_at_start(path)
    }

    /// The same while the process starts, in any process: the loader makes the same calls a moment before.
    pub(crate) fn open_at_start(path: &CStr) -> Result<Self, i32> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: `path` ends in a zero byte and outlives the call, which reads nothing else.
        let fd = unsafe {
            system_call!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0 as c_int)
        };
        if fd < 0 { Err(errno()) } else { Ok(Self(fd)) }
    }

    /// Opens the file `name` of this process. By way of the thread: when the main thread has
    /// ended, its directory, which is `/proc/self`, tells nothing any more.
    pub(crate) fn open_own(by_thread: &CStr, by_process: &CStr) -> Result<Self, i32> {
        Self::open(by_thread).or_else(|_| Self::open(by_process))
    }

    /// Reads what comes next, at most as much as fits; 0 at the end.
    pub(crate) fn read(&self, into: &mut [u8]) -> Result<usize, i32> {
        loop {
            // SAFETY: `into` is ours to write for the length of the call, as far as it says.
            let had =
                unsafe { system_call!(libc::SYS_read, self.0, into.as_mut_ptr(), into.len()) };
            match usize::try_from(had) {
                Ok(had) => return Ok(had),
                Err(_) if errno() == libc::EINTR => {}
                Err(_) => return Err(errno()),
            }
        }
    }

    /// Reads the beginning of the file, as much as fits.
    pub(crate) fn read_whole<'a>(&self, into: &'a mut [u8]) -> Result<&'a [u8], i32> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest)? {
                0 => break,
                had => filled += had,
            }
        }
        Ok(into.get(..filled).unwrap_or_default())
    }

    /// Calls `each` with every line, without its end. Of a line longer than the buffer (256
    /// bytes: only names of files are) its beginning is given.
    pub(crate) fn for_each_line(&self, each: impl FnMut(&[u8])) -> Result<(), i32> {
        self.for_each_line_up_to::<256>(each)
    }

    /// The same, with `LONGEST` bytes of each line.
    pub(crate) fn for_each_line_up_to<const LONGEST: usize>(
        &self,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), i32> {
        let mut line = [0u8; LONGEST];
        let mut filled = 0;
        let mut chunk = [0u8; CHUNK_BYTES];
        loop {
            let had = self.read(&mut chunk)?;
            if had == 0 {
                break;
            }
            for &byte in chunk.iter().take(had) {
                if byte == b'\n' {
                    each(line.get(..filled).unwrap_or_default());
                    filled = 0;
                } else if let Some(place) = line.get_mut(filled) {
                    *place = byte;
                    filled += 1;
                }
            }
        }
        if filled > 0 {
            each(line.get(..filled).unwrap_or_default());
        }
        Ok(())
    }

    /// The kernel's number for it.
    pub(crate) const fn descriptor(&self) -> c_long {
        self.0
    }
}

impl Drop for KernelFile {
    fn drop(&mut self) {
        let _keep = KeepErrno::new();
        // SAFETY: the descriptor is ours alone and not used after this.
        unsafe { system_call!(libc::SYS_close, self.0) };
    }
}

/// The decimal number that `text` begins with, after blanks.
pub(crate) fn leading_number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    text.iter().take(digits).try_fold(0u64, |number, &digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests;
