//! A number that tells threads apart.

/// The calling thread's token: never 0, and never that of another thread that lives.
///
/// In a program it is the thread pointer: one instruction, known before any initialisation, the
/// same in a child after `fork`.
#[cfg(not(strata_loom))]
#[inline(always)]
pub(crate) fn thread_token() -> usize {
    strata_os::thread_pointer()
}

/// The calling thread's token. loom runs its threads as coroutines of one thread of the system,
/// so that the thread pointer would not tell them apart; their ids do.
#[cfg(strata_loom)]
pub(crate) fn thread_token() -> usize {
    use core::hash::{Hash, Hasher};
    use std::hash::DefaultHasher;

    let mut hasher = DefaultHasher::new();
    loom::thread::current().id().hash(&mut hasher);
    usize::from_ne_bytes(hasher.finish().to_ne_bytes()) | 1
}
