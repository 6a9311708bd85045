//! A file that is written while a program runs.

use crate::system_call::system_call;
use crate::{KeepErrno, broken_pipe, errno, new_file::Path};
use core::ffi::{c_int, c_long};
use core::num::NonZeroI32;

/// A file that grows piece by piece, and may be read, or be left behind, at any length.
///
/// Allocates nothing, takes no lock, keeps `errno`. Zero is none of them: an `Option` of it in zeroed memory is `None`.
///
/// ```
/// use strata_os::GrowingFile;
///
/// let path = std::env::temp_dir().join(format!("strata-growing-file-{}", std::process::id()));
/// let file = GrowingFile::create(path.as_os_str().as_encoded_bytes()).expect("a directory to write to");
/// file.write_all(b"one, ").expect("room on the disk");
/// file.write_all(b"two").expect("room on the disk");
/// assert_eq!(std::fs::read_to_string(&path)?, "one, two");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct GrowingFile(
    /// One more than the descriptor.
    NonZeroI32,
);

impl GrowingFile {
    /// Makes the file, or empties one that is there; readable and writable for its owner alone where it is made.
    ///
    /// # Errors
    ///
    /// The system's number; `ENAMETOOLONG` for a path of more than 511 bytes, `EINVAL` for one with a zero byte.
    #[unsafe(link_section = ".text_rarely")]
    pub fn create(path: &[u8]) -> Result<Self, i32> {
        let _keep = KeepErrno::new();
        let path = Path::of(path)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
        let mode: c_int = 0o600;
        // SAFETY: the path ends in a zero byte and outlives the call, which reads nothing else. Directly: the C
        // library's `open` is a point where a thread may be cancelled.
        let descriptor =
            unsafe { system_call!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, mode) };
        c_int::try_from(descriptor)
            .ok()
            .filter(|descriptor| *descriptor >= 0)
            .and_then(|descriptor| NonZeroI32::new(descriptor.checked_add(1)?))
            .map(Self)
            .ok_or_else(errno)
    }

    /// Writes all of `bytes` behind what was written before. A pipe that nobody reads any more is an error, and no signal.
    ///
    /// # Errors
    ///
    /// The system's number; a part may then have been written.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<(), i32> {
        let _keep = KeepErrno::new();
        while !bytes.is_empty() {
            match usize::try_from(broken_pipe::write(self.descriptor(), bytes)) {
                // A file that takes nothing would be asked for ever.
                Ok(0) => return Err(libc::EIO),
                Ok(wrote) => bytes = bytes.get(wrote..).unwrap_or_default(),
                Err(_) if errno() == libc::EINTR => {}
                Err(_) => return Err(errno()),
            }
        }
        Ok(())
    }

    fn descriptor(&self) -> c_int {
        self.0.get() - 1
    }
}

impl Drop for GrowingFile {
    fn drop(&mut self) {
        let _keep = KeepErrno::new();
        let descriptor: c_long = self.descriptor().into();
        // SAFETY: the descriptor is ours alone and not used after this.
        unsafe { system_call!(libc::SYS_close, descriptor) };
    }
}

#[cfg(test)]
mod tests;
