//! A pair of fences for two sides of which one is on its way all the time and the other comes rarely: the first one's
//! is free, the second one's is a system call that puts a fence into every thread that runs.
//!
//! Where one side stores to `a` and then loads `b`, with [`light_fence`] between, and the other stores to `b` and then
//! loads `a`, with a [`heavy_fence`] between that succeeded, at least one of them sees the other's store.
//! (membarrier(2), and its use by user-space RCU: Desnoyers et al., *User-Level Implementations of Read-Copy Update*,
//! IEEE TPDS 2012, section 5.) Under `--cfg strata_loom` both are fences.

/// The fence of the side that is on its way all the time: no instruction, the compiler alone keeps the order.
#[inline(always)]
pub fn light_fence() {
    #[cfg(not(strata_loom))]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    // Pairs with the fence in `heavy_fence`.
    #[cfg(strata_loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}

/// Says whether [`heavy_fence`] can be had in this process. To be called once, early: a system call, which waits for all
/// CPUs where threads run already.
pub fn prepare_heavy_fence() -> bool {
    cfg!(strata_loom) || strata_os::membarrier::register()
}

/// The fence of the side that comes rarely. False where the kernel refuses: then nothing may be concluded from what is
/// loaded behind it.
#[must_use]
pub fn heavy_fence() -> bool {
    #[cfg(not(strata_loom))]
    let fenced = strata_os::membarrier::fence().is_ok();
    #[cfg(strata_loom)]
    let fenced = {
        // Pairs with the fence in `light_fence`.
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
        true
    };
    fenced
}
