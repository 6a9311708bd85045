//! What a thread does between two looks at a word that another is about to change.

/// Tells the processor, or under `--cfg strata_loom` the scheduler, that this thread only waits.
///
/// Every loop that waits for another thread calls it: without it loom would explore the loop for
/// ever, and a hyperthread would take its sibling's execution slots.
#[inline(always)]
pub fn spin_hint() {
    #[cfg(not(strata_loom))]
    core::hint::spin_loop();
    #[cfg(strata_loom)]
    loom::thread::yield_now();
}
