//! A file that appears whole or not at all.

use crate::system_call::system_call;
use crate::{KeepErrno, errno, kept_stderr::StderrWriter, process_id};
use core::ffi::{CStr, c_int, c_long};
use core::fmt::{self, Write};
use core::mem::MaybeUninit;

/// Bytes of the longest path that is taken, its end included. Longer ones are an error: they would have to stand on the
/// stack twice.
const PATH_BYTES: usize = 512;

/// Names that are tried for the file before it takes its place: as many threads may write to one place at a time.
const TEMPORARY_NAMES: u32 = 64;

/// A file that is written beside its place and takes it when it is whole, so that who reads it never finds half of it.
///
/// Until [`commit`](Self::commit) it is named `PATH.PID.tmp`, or `PATH.PID.1.tmp` and so on where that is
/// somebody's. Dropped before, it is removed, and what stood at the place stays. So does what is no regular file (a
/// device, a pipe, a symbolic link to anything): a file in its place would break what uses it. It is not
/// synchronized with the disk: after a crash of the machine it may be empty, after one of the program it is not.
///
/// Allocates nothing, takes no lock, keeps `errno`; 3 KiB on the stack.
///
/// ```
/// use core::fmt::Write;
/// use strata_os::NewFile;
///
/// let path = std::env::temp_dir().join(format!("strata-new-file-{}", std::process::id()));
/// let mut file = NewFile::create(path.as_os_str().as_encoded_bytes()).expect("a directory to write to");
/// file.write_str("all of it").expect("room on the disk");
/// assert!(!path.exists());
/// file.commit().expect("room on the disk");
/// assert_eq!(std::fs::read_to_string(&path)?, "all of it");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    path: Path,
    temporary: Path,
    /// -1 when it is closed.
    descriptor: c_int,
    writer: StderrWriter,
}

impl NewFile {
    /// The error where something else than a regular file or a directory stands at the place: `EEXIST`.
    pub const NO_REGULAR_FILE: i32 = libc::EEXIST;

    /// Begins a file that is going to stand at `path`, readable and writable for its owner alone: what a program holds
    /// in memory is nobody else's business.
    ///
    /// # Errors
    ///
    /// The system's number; `ENAMETOOLONG` for a path of more than 480 bytes, `EINVAL` for one with a zero byte,
    /// [`NO_REGULAR_FILE`](Self::NO_REGULAR_FILE), `EISDIR` for a directory, and `EBUSY` where 64 temporary names
    /// are taken.
    pub fn create(path: &[u8]) -> Result<Self, i32> {
        let _keep = KeepErrno::new();
        Path::of(path)?.may_be_replaced()?;
        for number in 0..TEMPORARY_NAMES {
            let temporary = Path::beside(path, number).map_err(|_| libc::ENAMETOOLONG)?;
            match temporary.open_new() {
                Ok(descriptor) => {
                    let writer = StderrWriter::new(descriptor);
                    return Ok(Self { path: Path::of(path)?, temporary, descriptor, writer });
                }
                // Another thread's, or left behind by a process of this number, or put there for somebody to write through.
                Err(libc::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(libc::EBUSY)
    }

    /// Writes what is left: `EIO` if something that was written found no room.
    pub fn refusal(&mut self) -> Option<i32> {
        let _keep = KeepErrno::new();
        (!self.writer.finish()).then_some(libc::EIO)
    }

    /// Puts the file in its place, where it takes that of an older one.
    ///
    /// # Errors
    ///
    /// The system's number, or [`NO_REGULAR_FILE`](Self::NO_REGULAR_FILE) for what came there meanwhile; then the
    /// place is as it was. `EIO` if something that was written before found no room.
    pub fn commit(mut self) -> Result<(), i32> {
        let _keep = KeepErrno::new();
        let refusal = self.refusal();
        self.close();
        if let Some(errno) = refusal {
            return Err(errno);
        }
        self.path.may_be_replaced()?;
        // SAFETY: both paths end in a zero byte and outlive the call.
        let renamed = unsafe {
            system_call!(
                libc::SYS_renameat,
                libc::AT_FDCWD,
                self.temporary.as_ptr(),
                libc::AT_FDCWD,
                self.path.as_ptr(),
            )
        };
        if renamed != 0 {
            return Err(errno());
        }
        self.temporary = Path::NONE;
        Ok(())
    }

    fn close(&mut self) {
        if self.descriptor >= 0 {
            let descriptor: c_long = self.descriptor.into();
            self.descriptor = -1;
            // SAFETY: the descriptor is ours alone and not used after this.
            unsafe { system_call!(libc::SYS_close, descriptor) };
        }
    }
}

impl Write for NewFile {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writer.write_str(text)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _keep = KeepErrno::new();
        // What is not written yet goes to the descriptor while it is open, not to another file of its number.
        let _ = self.writer.finish();
        self.close();
        if !self.temporary.is_none() {
            self.temporary.remove();
        }
    }
}

/// A path with a zero byte at its end.
#[derive(Debug)]
pub(crate) struct Path {
    bytes: [u8; PATH_BYTES],
    length: usize,
}

impl Path {
    const NONE: Self = Self { bytes: [0; PATH_BYTES], length: 0 };

    pub(crate) fn of(path: &[u8]) -> Result<Self, i32> {
        if path.is_empty() || path.contains(&0) {
            return Err(libc::EINVAL);
        }
        let mut copy = Self::NONE;
        copy.push(path).map_err(|_| libc::ENAMETOOLONG)?;
        Ok(copy)
    }

    /// The name of a file that this process is going to rename to `path`.
    fn beside(path: &[u8], number: u32) -> Result<Self, fmt::Error> {
        let mut name = Self::of(path).map_err(|_| fmt::Error)?;
        write!(name, ".{}", process_id())?;
        if number != 0 {
            write!(name, ".{number}")?;
        }
        name.push(b".tmp")?;
        Ok(name)
    }

    fn push(&mut self, more: &[u8]) -> fmt::Result {
        let end = self.length.checked_add(more.len()).filter(|end| *end < PATH_BYTES);
        let end = end.ok_or(fmt::Error)?;
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    /// Opens a file of this name that was not there before, to be written; `EEXIST` if anything was.
    fn open_new(&self) -> Result<c_int, i32> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let mode: c_int = 0o600;
        // SAFETY: the path ends in a zero byte and outlives the call, which reads nothing else. Directly: the C
        // library's `open` is a point where a thread may be cancelled.
        let descriptor =
            unsafe { system_call!(libc::SYS_openat, libc::AT_FDCWD, self.as_ptr(), flags, mode) };
        c_int::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0).ok_or_else(errno)
    }

    fn remove(&self) {
        // SAFETY: the path ends in a zero byte and outlives the call.
        unsafe { system_call!(libc::SYS_unlinkat, libc::AT_FDCWD, self.as_ptr(), 0) };
    }

    /// An error if something stands there whose place no file may take.
    fn may_be_replaced(&self) -> Result<(), i32> {
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the path ends in a zero byte and outlives the call; the kernel writes the structure, which is
        // ours, or answers with an error.
        let result = unsafe {
            system_call!(
                libc::SYS_newfstatat,
                libc::AT_FDCWD,
                self.as_ptr(),
                status.as_mut_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
            )
        };
        if result != 0 {
            // What cannot be looked at is found out about by who writes there.
            return Ok(());
        }
        // SAFETY: the call succeeded, so all of it is written.
        let status = unsafe { status.assume_init() };
        match status.st_mode & libc::S_IFMT {
            libc::S_IFREG => Ok(()),
            libc::S_IFDIR => Err(libc::EISDIR),
            _ => Err(NewFile::NO_REGULAR_FILE),
        }
    }

    fn is_none(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn as_ptr(&self) -> *const core::ffi::c_char {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default().as_ptr()
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }
}

#[cfg(test)]
mod tests;
