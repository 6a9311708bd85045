//! Whether the kernel makes hugepages of its own accord.

use crate::kernel_file::KernelFile;
use crate::system_call::system_call;
use crate::{KeepErrno, keeps_to_memory_calls};
use core::sync::atomic::{AtomicU8, Ordering};

/// When anonymous memory gets hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ThpMode {
    /// Wherever one fits, unless advised against.
    Always,
    /// Where it was advised.
    Madvise,
    /// Nowhere; `MADV_COLLAPSE` works all the same, unless this process forbade hugepages.
    Never,
    /// The kernel has no such thing, or does not tell.
    Unknown,
}

/// When this process's anonymous memory gets hugepages: the system's mode, and `Never` where the
/// process was told to do without (`PR_SET_THP_DISABLE`).
///
/// Allocates nothing, keeps `errno`; four system calls. The administrator may change it any time. In a process that
/// keeps to the calls of memory, what was found when that began.
///
/// ```
/// assert_eq!(strata_os::thp_mode(), strata_os::thp_mode());
/// ```
pub fn thp_mode() -> ThpMode {
    /// What was found last, as `number_of` has it; 0 before that.
    static FOUND: AtomicU8 = AtomicU8::new(0);
    if keeps_to_memory_calls() {
        return mode_of_number(FOUND.load(Ordering::Relaxed));
    }
    let mode = find_mode();
    FOUND.store(number_of(mode), Ordering::Relaxed);
    mode
}

const fn number_of(mode: ThpMode) -> u8 {
    match mode {
        ThpMode::Always => 1,
        ThpMode::Madvise => 2,
        ThpMode::Never => 3,
        ThpMode::Unknown => 0,
    }
}

const fn mode_of_number(number: u8) -> ThpMode {
    match number {
        1 => ThpMode::Always,
        2 => ThpMode::Madvise,
        3 => ThpMode::Never,
        _ => ThpMode::Unknown,
    }
}

fn find_mode() -> ThpMode {
    let _keep = KeepErrno::new();
    if disabled_for_this_process() {
        return ThpMode::Never;
    }
    let Ok(file) = KernelFile::open(c"/sys/kernel/mm/transparent_hugepage/enabled") else {
        return ThpMode::Unknown;
    };
    let mut text = [0; 128];
    file.read_whole(&mut text).map_or(ThpMode::Unknown, mode_of_text)
}

fn disabled_for_this_process() -> bool {
    const NONE: libc::c_ulong = 0;
    // SAFETY: asks a question about this process; the four numbers must be 0 and point nowhere.
    unsafe { system_call!(libc::SYS_prctl, libc::PR_GET_THP_DISABLE, NONE, NONE, NONE, NONE) == 1 }
}

/// The word in brackets: `always [madvise] never`.
fn mode_of_text(text: &[u8]) -> ThpMode {
    let chosen = text.split(|&byte| byte == b'[').nth(1);
    match chosen.and_then(|rest| rest.split(|&byte| byte == b']').next()) {
        Some(b"always") => ThpMode::Always,
        Some(b"madvise") => ThpMode::Madvise,
        Some(b"never") => ThpMode::Never,
        Some(_) | None => ThpMode::Unknown,
    }
}

#[cfg(test)]
mod tests;
