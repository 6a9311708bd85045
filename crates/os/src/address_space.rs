//! The kernel's page size and the width of an address, found when first asked for.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The kernel's page size in bytes: the granule of mapping, protection and release.
///
/// 4 KiB on x86-64; 16 or 64 KiB on some arm64 kernels. One relaxed load after the first call.
#[inline]
pub fn kernel_page_bytes() -> usize {
    /// 0 until found. Any thread writes the same value, so nothing is published by it.
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    match FOUND.load(Ordering::Relaxed) {
        0 => {
            let bytes = ask_page_bytes();
            FOUND.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}

/// How many bits a user's address has: no mapping ends above `1 << address_bits()`.
///
/// 47 on x86-64, where the kernel gives wider addresses only to those who ask for them by a
/// hint; 39, 42, 48 or 52 on arm64, as the kernel was built. Found by looking where the kernel
/// put this program's stack, which is at the top. One relaxed load after the first call.
#[inline]
pub fn address_bits() -> u32 {
    /// 0 until found. Any thread writes the same value, so nothing is published by it.
    static FOUND: AtomicU32 = AtomicU32::new(0);
    match FOUND.load(Ordering::Relaxed) {
        0 => {
            let bits = width_from_stack(auxiliary(libc::AT_EXECFN));
            FOUND.store(bits, Ordering::Relaxed);
            bits
        }
        bits => bits,
    }
}

/// What the kernel told this program at its start about `key`; 0 if nothing.
pub(crate) fn auxiliary(key: libc::c_ulong) -> u64 {
    let _keep = crate::KeepErrno::new();
    // SAFETY: reads the vector that the kernel wrote before the program began, which nobody
    // changes; any key may be asked for.
    unsafe { libc::getauxval(key) }
}

#[cold]
fn ask_page_bytes() -> usize {
    match usize::try_from(auxiliary(libc::AT_PAGESZ)) {
        Ok(bytes) if bytes.is_power_of_two() => bytes,
        // The smallest that Linux knows: a mapping made in too small steps is refused with an
        // error, one made in too large steps would be too.
        Ok(_) | Err(_) => 4096,
    }
}

/// The width that a stack ending near `address` speaks of.
///
/// The stack's place may be lower than the top allows (valgrind moves it), so never less than
/// what the architecture is known to give: too wide costs a page map some address space, too
/// narrow would cost the program its memory.
const fn width_from_stack(address: u64) -> u32 {
    const LEAST: u32 = if cfg!(target_arch = "x86_64") { 47 } else { 39 };
    const UNKNOWN: u32 = if cfg!(target_arch = "x86_64") { 47 } else { 48 };
    if address == 0 {
        return UNKNOWN;
    }
    let seen = u64::BITS - address.leading_zeros();
    if seen < LEAST { LEAST } else { seen }
}

#[cfg(test)]
mod tests;
