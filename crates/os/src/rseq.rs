//! The restartable-sequence area: where the kernel writes this thread's CPU number.
//!
//! The ABI is `linux/rseq.h`. The words of the area are the kernel's; a user writes only
//! [`RSEQ_CS`], the pointer to the section that is running. glibc 2.35 and later registers an area
//! for each thread; a second registration is refused, so use glibc's where it has one.
//!
//! ```
//! use strata_os::rseq;
//! if let Some(area) = rseq::glibc_area() {
//!     let words = area.of_this_thread();
//!     assert_eq!(words % 4, 0);
//!     assert!(area.bytes >= rseq::LEAST_BYTES);
//! }
//! ```

use crate::address_space::auxiliary;
use crate::system_call::system_call;
use crate::{KeepErrno, errno, restraint};
use core::ffi::c_int;

/// Offset of the CPU number; negative where the thread is not registered (u32).
pub const CPU_ID: usize = 4;
/// Offset of the pointer to the running section's descriptor (u64): the user's word.
pub const RSEQ_CS: usize = 8;
/// Offset of the concurrency id (u32), if [`feature_bytes`] covers it: below the number of
/// threads and below the number of CPUs.
pub const MM_CID: usize = 24;

/// The size and alignment of the area as it was first published: nothing smaller registers.
pub const AREA_BYTES: u32 = 32;

/// As far as the first published fields go: what a kernel without a word on it fills.
pub const LEAST_BYTES: u32 = 20;

/// The four bytes that must stand before every abort handler, as glibc registers them.
#[cfg(not(target_arch = "aarch64"))]
pub const SIGNATURE: u32 = 0x5305_3053;
/// The four bytes that must stand before every abort handler, as glibc registers them.
#[cfg(target_arch = "aarch64")]
pub const SIGNATURE: u32 = 0xd428_bc00;

/// `AT_RSEQ_FEATURE_SIZE` of the auxiliary vector (Linux 6.3).
const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
/// `RSEQ_FLAG_UNREGISTER`.
const UNREGISTER: c_int = 1;

/// Where the C library keeps each thread's area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RseqArea {
    /// From the thread pointer, in bytes.
    pub offset: isize,
    /// How much of it the C library says is used: 32 before glibc 2.40, then the kernel's feature
    /// size. The area itself is never shorter than [`AREA_BYTES`], and the kernel fills all that
    /// [`feature_bytes`] says, whatever stands here.
    pub bytes: u32,
}

impl RseqArea {
    /// The address of this thread's area.
    #[inline]
    pub fn of_this_thread(self) -> usize {
        crate::thread_pointer().wrapping_add_signed(self.offset)
    }
}

/// The areas that glibc registered, if it did: not before 2.35, not where the kernel refused,
/// not where the tunable `glibc.pthread.rseq=0` forbade it.
#[cfg(target_arch = "x86_64")]
pub fn glibc_area() -> Option<RseqArea> {
    let offset = *crate::weak::rseq_offset()?;
    let bytes = *crate::weak::rseq_size()?;
    (bytes >= LEAST_BYTES).then_some(RseqArea { offset, bytes })
}

/// The areas that glibc registered: on this architecture nobody asks, since the sequences are
/// written for x86-64 alone.
#[cfg(not(target_arch = "x86_64"))]
pub fn glibc_area() -> Option<RseqArea> {
    None
}

/// How many bytes of an area this kernel fills: 20 before Linux 6.3, 28 with the concurrency id.
pub fn feature_bytes() -> u32 {
    match u32::try_from(auxiliary(AT_RSEQ_FEATURE_SIZE)) {
        Ok(bytes) if bytes >= LEAST_BYTES => bytes,
        Ok(_) | Err(_) => LEAST_BYTES,
    }
}

/// Registers `area` for this thread with [`SIGNATURE`].
///
/// # Errors
///
/// The system's number: `EBUSY` where this thread has this very area already, `EINVAL` where it has another one (or
/// the area is not aligned), `ENOSYS` or `EPERM` where the kernel refuses, `EPERM` in a process that keeps to the
/// calls of memory.
///
/// # Safety
///
/// `area` is `bytes` bytes long ([`AREA_BYTES`], or more where the kernel says so), aligned to 32,
/// zero, and stays until it is unregistered or the thread has ended.
pub unsafe fn register(area: *mut u8, bytes: u32) -> Result<(), i32> {
    restraint::check()?;
    // SAFETY: the area is zeroed, aligned, and stays until it is unregistered or its thread is gone.
    unsafe { call(area, bytes, 0) }
}

/// Whether the kernel has `area` as this thread's: asked by registering it once more, which it refuses as busy.
/// `None` where the kernel does not say (a filter that denies the call, another length). An id proves nothing: a
/// thread that nobody registered reads 0, which is a CPU.
///
/// One system call; a thread that turns out not to be registered is left so.
///
/// # Safety
///
/// `area` is at least [`AREA_BYTES`] long, and part of this thread's static storage.
pub unsafe fn is_registered(area: *mut u8) -> Option<bool> {
    let longer = feature_bytes().next_multiple_of(AREA_BYTES);
    for bytes in [AREA_BYTES, longer] {
        // SAFETY: the area is the caller's, and stays; if it was not registered, it is taken back at once.
        match unsafe { register(area, bytes) } {
            Ok(()) => {
                // SAFETY: registered just now, with this length.
                let _ = unsafe { unregister(area, bytes) };
                return Some(false);
            }
            Err(libc::EBUSY) => return Some(true),
            Err(libc::EINVAL) => {}
            Err(_) => return None,
        }
    }
    None
}

/// Takes this thread's `area` back from the kernel.
///
/// # Errors
///
/// The system's number: `EINVAL` where another area, or none, was registered.
///
/// # Safety
///
/// No section runs on it, and nobody trusts its numbers any more. The area was registered by
/// [`register`], not by the C library.
pub unsafe fn unregister(area: *mut u8, bytes: u32) -> Result<(), i32> {
    // SAFETY: `register` registered this area, and no section runs on it.
    unsafe { call(area, bytes, UNREGISTER) }
}

/// # Safety
///
/// As `register` says.
unsafe fn call(area: *mut u8, bytes: u32, flags: c_int) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    // SAFETY: the kernel will write into the area when the thread is scheduled; the caller
    // promises that it is long enough and stays.
    let result = unsafe { system_call!(libc::SYS_rseq, area, bytes, flags, SIGNATURE) };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

#[cfg(test)]
mod tests;
