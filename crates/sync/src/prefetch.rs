//! Memory that is asked for before it is waited for.

/// Asks the processor for the cache line at `place`, which is about to be written. Nothing else comes of it, whatever stands
/// there: the pointer need not be valid. Costs an instruction; where the processor has none for it, nothing.
#[inline(always)]
pub fn prefetch_for_write<T>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", not(strata_loom)))]
    {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(place.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(strata_loom))))]
    let _ = place;
}
