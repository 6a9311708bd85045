//! System calls, past every library that defines the C library's functions anew.
//!
//! Libraries that are preloaded for a purpose of their own (another time of day, another user, no network) define
//! `getpid`, `clock_gettime`, `close` or `syscall`, and look for the next definition, allocate or lock in there. An
//! allocation that called them would be called by them. The C library's own allocator does not: its calls stay
//! inside of it.

use crate::set_errno;
use core::ffi::c_long;

/// The greatest error number that the kernel answers with.
const GREATEST_ERRNO: c_long = 4095;

/// Calls the kernel with up to six numbers and pointers; the answer, or -1 with the error in `errno`.
///
/// As unsafe as the call is.
macro_rules! system_call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::system_call::call(
            $number,
            [$($crate::system_call::Argument::word($argument)),*],
        )
    };
}
pub(crate) use system_call;

/// What a call takes.
pub(crate) trait Argument {
    /// As it stands in a register.
    fn word(self) -> u64;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Argument for $number {
            #[inline(always)]
            fn word(self) -> u64 {
                self as u64
            }
        }
    )*};
}
// A signed one is extended with its sign.
numbers!(i32 i64 u32 u64 usize);

impl<T> Argument for *const T {
    #[inline(always)]
    fn word(self) -> u64 {
        self.expose_provenance().word()
    }
}

impl<T> Argument for *mut T {
    #[inline(always)]
    fn word(self) -> u64 {
        self.expose_provenance().word()
    }
}

/// The call behind [`system_call`].
///
/// # Safety
///
/// What the kernel does to the process is sound.
#[inline(always)]
pub(crate) unsafe fn call<const COUNT: usize>(number: c_long, arguments: [u64; COUNT]) -> c_long {
    const { assert!(COUNT <= 6, "the kernel takes six arguments") };
    let mut words = [0; 6];
    words.iter_mut().zip(arguments).for_each(|(word, argument)| *word = argument);
    // SAFETY: what the kernel does to the process is sound, as the caller promises.
    unsafe { call_with(number, words) }
}

/// One instruction, and what the kernel answers: an error is its negative number.
///
/// # Safety
///
/// As [`call`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call_with(number: c_long, [a, b, c, d, e, f]: [u64; 6]) -> c_long {
    let result: c_long;
    // SAFETY: what the kernel does is sound, as the caller promises; it keeps all registers but these three, and does
    // not touch the stack.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer(result)
}

/// By the C library's `syscall`, whoever defines it.
///
/// # Safety
///
/// As [`call`].
#[cfg(not(target_arch = "x86_64"))]
unsafe fn call_with(number: c_long, [a, b, c, d, e, f]: [u64; 6]) -> c_long {
    // SAFETY: what the kernel does to the process is sound, as the caller promises.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

/// What the kernel's answer is to a caller of the C library.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the C library does it"))]
#[inline(always)]
fn answer(result: c_long) -> c_long {
    if (-GREATEST_ERRNO..0).contains(&result) {
        set_errno(i32::try_from(-result).unwrap_or(libc::EINVAL));
        return -1;
    }
    result
}

#[cfg(test)]
mod tests;
