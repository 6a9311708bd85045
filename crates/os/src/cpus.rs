//! CPUs: how many there may be, how many are allowed, which one this is.

use crate::kernel_file::KernelFile;
use crate::system_call::system_call;
use crate::{KeepErrno, errno, restraint};

/// Words of the largest CPU mask that Linux can have (8192 CPUs).
pub(crate) const MASK_WORDS: usize = 128;
/// The bits of such a mask.
const MOST_CPUS: u32 = 8192;

/// Words of a mask that is long enough for most machines (1024 CPUs), and takes little of a small thread's stack.
pub(crate) const USUAL_MASK_WORDS: usize = 16;

/// A set of CPUs as the kernel takes and gives it: of as many as there can be, unless it says otherwise.
#[derive(Clone, Copy)]
pub(crate) struct CpuMask<const WORDS: usize = MASK_WORDS>([u64; WORDS]);

impl<const WORDS: usize> CpuMask<WORDS> {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// The set of one CPU; `None` above what fits.
    pub(crate) fn only(cpu: u32) -> Option<Self> {
        let mut mask = Self::EMPTY;
        *mask.0.get_mut(usize::try_from(cpu / 64).ok()?)? = 1 << (cpu % 64);
        Some(mask)
    }

    /// This thread's set, and how many bytes of it the kernel keeps. `EINVAL` where there may be more CPUs than fit.
    pub(crate) fn of_this_thread() -> Result<(Self, usize), i32> {
        let mut mask = Self::EMPTY;
        // SAFETY: the mask is ours to write, as far as its size says. Directly: the C library
        // does not tell how long the kernel's own mask is.
        let bytes = unsafe {
            system_call!(libc::SYS_sched_getaffinity, 0, size_of::<Self>(), mask.0.as_mut_ptr())
        };
        usize::try_from(bytes).map(|bytes| (mask, bytes)).map_err(|_| errno())
    }

    /// Binds this thread to the set, of which the kernel keeps `bytes` bytes.
    pub(crate) fn bind_this_thread(&self) -> Result<(), i32> {
        // SAFETY: the kernel reads the mask, as far as its size says.
        let result = unsafe {
            system_call!(libc::SYS_sched_setaffinity, 0, size_of::<Self>(), self.0.as_ptr())
        };
        if result == 0 { Ok(()) } else { Err(errno()) }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn for_each(&self, mut visit: impl FnMut(u32)) {
        for (first, word) in (0..).step_by(64).zip(self.0) {
            (0..64).filter(|bit| word >> bit & 1 != 0).for_each(|bit| visit(first + bit));
        }
    }
}

/// One more than the highest CPU number that this machine can ever have: the size of an array
/// with a place for each. CPUs that are offline or forbidden count: numbers may have holes, and
/// a cpuset may change underway.
///
/// From `/sys/devices/system/cpu/possible`; where that cannot be read, the width of the kernel's
/// CPU mask, which is as much or more; where that is refused too, the most that Linux can have, since a number too
/// high would lie behind such an array. At least 1. Allocates nothing, keeps `errno`; three system calls: ask once.
// By itself: its text and mask are 2 KiB of stack, which nobody else pays for.
#[inline(never)]
pub fn possible_cpus() -> u32 {
    let _keep = KeepErrno::new();
    from_sysfs().or_else(mask_width).unwrap_or(MOST_CPUS)
}

/// How many CPUs this thread may run on. At least 1, and 1 where the kernel is not asked. One system call.
pub fn allowed_cpus() -> u32 {
    let _keep = KeepErrno::new();
    let mask = restraint::check().and_then(|()| CpuMask::<MASK_WORDS>::of_this_thread());
    mask.map_or(1, |(mask, _)| mask.count().max(1))
}

/// Calls `visit` for each CPU that this thread may run on, by rising number; for none where the kernel does not
/// tell. One system call.
pub fn for_each_allowed_cpu(visit: impl FnMut(u32)) {
    let _keep = KeepErrno::new();
    if let Ok((mask, _)) = restraint::check().and_then(|()| CpuMask::<MASK_WORDS>::of_this_thread())
    {
        mask.for_each(visit);
    }
}

/// The CPU that this thread runs on; it may be another one when the caller looks. `None` where
/// the C library cannot tell.
pub fn current_cpu() -> Option<u32> {
    let _keep = KeepErrno::new();
    // SAFETY: takes nothing.
    u32::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// The CPU that this thread runs on, or ran on at the call: what the kernel says, not what stands in an area that it
/// may not keep up to date, as in a child of `vfork`. `None` where it does not tell. One system call.
pub(crate) fn kernel_cpu() -> Option<u32> {
    let _keep = KeepErrno::new();
    let none = core::ptr::null_mut::<u32>();
    let mut cpu = 0_u32;
    // SAFETY: the kernel writes one number; the others are not wanted.
    let result = unsafe { system_call!(libc::SYS_getcpu, &raw mut cpu, none, none) };
    (result == 0).then_some(cpu)
}

fn from_sysfs() -> Option<u32> {
    let file = KernelFile::open_at_start(c"/sys/devices/system/cpu/possible").ok()?;
    let mut text = [0; 1024];
    highest_of_list(file.read_whole(&mut text).ok()?)?.checked_add(1)
}

fn mask_width() -> Option<u32> {
    let (_, bytes) =
        restraint::check().and_then(|()| CpuMask::<MASK_WORDS>::of_this_thread()).ok()?;
    u32::try_from(bytes).ok()?.checked_mul(8).filter(|&bits| bits > 0)
}

/// The highest number in a list such as `0-3,8-11`; `None` if it is not such a list.
fn highest_of_list(text: &[u8]) -> Option<u32> {
    let numbers = text.trim_ascii().split(|&byte| byte == b',' || byte == b'-');
    numbers.map(whole_number).try_fold(0, |highest, number| Some(highest.max(number?)))
}

fn whole_number(text: &[u8]) -> Option<u32> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
