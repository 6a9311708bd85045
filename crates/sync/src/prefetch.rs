//! Memory that is asked for before it is waited for.

/// Bytes that processors move at a time.
const LINE_BYTES: usize = 64;

/// Asks the processor for the cache line at `place`, which is about to be written. Nothing else comes of it,
/// whatever stands there: the pointer need not be valid. Costs an instruction; where the processor has none for it,
/// nothing.
#[inline(always)]
pub fn prefetch_for_write<T>(place: *const T) {
    // The compiler has no instruction that asks for a line to write it, unless all of a program is built for
    // processors that have it: then another CPU's line comes to be read, and is waited for a second time by the
    // store.
    #[cfg(all(target_arch = "x86_64", not(strata_loom)))]
    // SAFETY: a prefetch reads nothing and never faults; processors that do not know this one do nothing.
    unsafe {
        core::arch::asm!(
            "prefetchw byte ptr [{place}]",
            place = in(reg) place,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(strata_loom))))]
    let _ = place;
}

/// The same for all lines of what stands at `place`: at once, where one after the other would be waited for.
#[inline(always)]
pub fn prefetch_whole_for_write<T>(place: *const T) {
    for line in 0..size_of::<T>().div_ceil(LINE_BYTES) {
        prefetch_for_write(place.cast::<u8>().wrapping_add(line * LINE_BYTES));
    }
}
