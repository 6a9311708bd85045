//! What the loader knows and Rust cannot name: weak symbols, and where this thread's block is.
//!
//! A weak symbol is 0 where no library defines it, so that one build runs on C libraries with
//! and without it. `#[linkage]` is not stable, hence the reference is made in assembly, through
//! the global offset table.

use core::arch::asm;

/// Where glibc's `__rseq_offset` stands; `None` on C libraries that register no rseq area.
#[cfg(target_arch = "x86_64")]
pub(crate) fn rseq_offset() -> Option<&'static isize> {
    let place: *const isize;
    // SAFETY: loads an entry of this object's own offset table, which the loader filled before
    // any of our code ran; touches no other memory and no flag.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            "mov {place}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            place = out(reg) place,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: null, or glibc's own constant of this type (sys/rseq.h), which is written before
    // any other object's code runs and never after.
    unsafe { place.as_ref() }
}

/// Where glibc's `__rseq_size` stands; `None` on C libraries that register no rseq area.
#[cfg(target_arch = "x86_64")]
pub(crate) fn rseq_size() -> Option<&'static u32> {
    let place: *const u32;
    // SAFETY: loads an entry of this object's own offset table, which the loader filled before
    // any of our code ran; touches no other memory and no flag.
    unsafe {
        asm!(
            ".weak __rseq_size",
            "mov {place}, qword ptr [rip + __rseq_size@GOTPCREL]",
            place = out(reg) place,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: null, or glibc's own constant of this type (sys/rseq.h), which is written before
    // any other object's code runs and never after.
    unsafe { place.as_ref() }
}

/// The address that thread-local offsets count from: `fs:0` on x86-64.
///
/// One instruction. 0 where this crate does not know the architecture's thread register; there
/// no restartable sequences are used either.
#[inline(always)]
pub fn thread_pointer() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let pointer: usize;
        // SAFETY: the x86-64 ABI for thread-local storage puts the block's own address into its
        // first word, which nobody changes while the thread lives.
        unsafe {
            asm!(
                "mov {pointer}, qword ptr fs:[0]",
                pointer = out(reg) pointer,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        pointer
    }
    #[cfg(target_arch = "aarch64")]
    {
        let pointer: usize;
        // SAFETY: reads a register that user space may read.
        unsafe {
            asm!(
                "mrs {pointer}, tpidr_el0",
                pointer = out(reg) pointer,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        pointer
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        0
    }
}
