//! A number that tells threads apart.

/// The calling thread's token: never 0, never that of another thread that lives, and a multiple of 8.
///
/// In a program it is the thread pointer: one instruction, known before any initialisation, and
/// the same in a child after `fork`, which a number from the kernel would not be.
#[cfg(not(strata_loom))]
#[inline(always)]
pub(crate) fn thread_token() -> usize {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        strata_os::thread_pointer()
    }
    // Where `os` does not know the register, the kernel's number after all, at a system call each.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        usize::try_from(strata_os::thread_id()).map_or(usize::MAX & !7, |id| id << 3)
    }
}

/// The calling thread's token. loom runs its threads as coroutines of one thread of the system,
/// so that the thread pointer would not tell them apart; their ids do.
#[cfg(strata_loom)]
pub(crate) fn thread_token() -> usize {
    use core::hash::{Hash, Hasher};
    use std::hash::DefaultHasher;

    let mut hasher = DefaultHasher::new();
    loom::thread::current().id().hash(&mut hasher);
    usize::from_ne_bytes(hasher.finish().to_ne_bytes()) & !7 | 8
}
