//! Bits that nobody outside can guess.

use crate::KeepErrno;
use crate::address_space::auxiliary;
use crate::system_call::system_call;

/// 64 random bits: from the kernel's generator, or, where it refuses or has none yet, from those that the kernel gave the
/// program at its start. One system call.
pub fn random_bits() -> u64 {
    let _keep = KeepErrno::new();
    let mut bits = 0_u64;
    // SAFETY: the kernel writes into `bits`, as far as it is long.
    let had = unsafe {
        system_call!(
            libc::SYS_getrandom,
            (&raw mut bits).cast::<u8>(),
            size_of::<u64>(),
            libc::GRND_NONBLOCK,
        )
    };
    if had == size_of::<u64>() as libc::c_long {
        return bits;
    }
    let start = core::ptr::with_exposed_provenance::<u64>(auxiliary(libc::AT_RANDOM) as usize);
    if start.is_null() {
        return core::ptr::from_ref(&bits).addr() as u64;
    }
    // SAFETY: the kernel put 16 random bytes there, which stay as long as the program.
    let given = unsafe { start.read_unaligned() };
    // The C library's canary is made of the same bytes: they are not shown.
    given.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
