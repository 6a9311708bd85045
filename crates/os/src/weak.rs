//! What the loader knows and Rust cannot name: weak symbols, and where this thread's block is.
//!
//! A weak symbol is 0 where no library defines it, so that one build runs on C libraries with
//! and without it. `#[linkage]` is not stable, hence the reference is made in assembly, through
//! the global offset table. On architectures whose assembly is not here it is as if nobody defined them.

use crate::loader::Dlsym;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use core::arch::asm;
use core::{
    ffi::{c_char, c_int, c_void},
    mem::transmute,
    sync::atomic::{AtomicI8, Ordering},
};

/// Where a weak symbol stands, as a pointer to its type; null where no library defines it.
macro_rules! weak {
    ($symbol:literal as $type:ty) => {{
        let place: *const $type;
        // SAFETY: loads an entry of this object's own offset table, which the loader filled before
        // any of our code ran; touches no other memory and no flag.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                concat!(".weak ", $symbol),
                concat!("mov {place}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                place = out(reg) place,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: the same entry, by its page and its place in that.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                concat!(".weak ", $symbol),
                concat!("adrp {place}, :got:", $symbol),
                concat!("ldr {place}, [{place}, :got_lo12:", $symbol, "]"),
                place = out(reg) place,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            place = core::ptr::null();
        }
        place
    }};
}

/// Where glibc's `__rseq_offset` stands; `None` on C libraries that register no rseq area.
#[cfg(target_arch = "x86_64")]
pub(crate) fn rseq_offset() -> Option<&'static isize> {
    let place = weak!("__rseq_offset" as isize);
    // SAFETY: null, or glibc's own constant of this type (sys/rseq.h), which is written before
    // any other object's code runs and never after.
    unsafe { place.as_ref() }
}

/// Where glibc's `__rseq_size` stands; `None` on C libraries that register no rseq area.
#[cfg(target_arch = "x86_64")]
pub(crate) fn rseq_size() -> Option<&'static u32> {
    let place = weak!("__rseq_size" as u32);
    // SAFETY: null, or glibc's own constant of this type (sys/rseq.h), which is written before any other object's
    // code runs.
    unsafe { place.as_ref() }
}

/// A function of the C library's that takes nothing and answers nothing.
pub(crate) type Procedure = unsafe extern "C" fn();

/// glibc's `_IO_list_lock`, `_IO_list_unlock` and `_IO_list_resetlock`: the lock around its list of streams, which
/// a thread may take again that has it. `None` on C libraries without them.
pub(crate) fn stream_list_lock() -> Option<[Procedure; 3]> {
    let all = [
        weak!("_IO_list_lock" as ()),
        weak!("_IO_list_unlock" as ()),
        weak!("_IO_list_resetlock" as ()),
    ];
    if all.iter().any(|place| place.is_null()) {
        return None;
    }
    // SAFETY: glibc's functions of this type (libio), all three.
    Some(all.map(|place| unsafe { transmute::<*const (), Procedure>(place) }))
}

/// A handler of forks.
type ForkHandler = unsafe extern "C" fn();

/// glibc's `__register_atfork`, which its `pthread_atfork` calls with the object that it stands in: three handlers
/// and that object; answers 0 or an error. `None` where the name below is nobody's: who makes an archive for static
/// programs gives glibc's function that name (`cargo xtask dist`). Its own name may be defined beside this code,
/// and then is no weak one.
pub(crate) fn register_atfork() -> Option<RegisterAtfork> {
    let place = weak!("strata_register_atfork_of_libc" as ());
    // SAFETY: null, or glibc's function of this type (nptl), part of its binary interface since 2.3.2.
    (!place.is_null()).then(|| unsafe { transmute::<*const (), RegisterAtfork>(place) })
}

/// The same by its own name, for code beside which nobody defines that; `None` where the C library is not glibc.
pub(crate) fn register_atfork_by_name() -> Option<RegisterAtfork> {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn __register_atfork(
                prepare: ForkHandler,
                parent: ForkHandler,
                child: ForkHandler,
                object: *const c_void,
            ) -> c_int;
        }
        Some(__register_atfork)
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// The type of `__register_atfork`.
pub(crate) type RegisterAtfork =
    unsafe extern "C" fn(ForkHandler, ForkHandler, ForkHandler, *const c_void) -> c_int;

/// The type of `gnu_get_libc_version`.
pub(crate) type GlibcVersion = unsafe extern "C" fn() -> *const c_char;

/// glibc's `gnu_get_libc_version`, whose answer is text that stays; `None` on other C libraries, and in a program
/// that was linked statically and does not call it itself.
pub(crate) fn glibc_version() -> Option<GlibcVersion> {
    let place = weak!("gnu_get_libc_version" as c_void);
    // SAFETY: null, or glibc's function, which has this type (gnu/libc-version.h).
    unsafe { transmute::<*const c_void, Option<GlibcVersion>>(place) }
}

/// The loader's `dlsym`; `None` in a program that was linked statically.
pub(crate) fn dlsym() -> Option<Dlsym> {
    let place = weak!("dlsym" as c_void);
    // SAFETY: null, or the C library's function, which has this type (dlsym(3)).
    unsafe { transmute::<*const c_void, Option<Dlsym>>(place) }
}

/// Whether glibc's `__libc_single_threaded` says that the process has one thread; false where nobody says it.
pub(crate) fn is_single_threaded() -> bool {
    let place = weak!("__libc_single_threaded" as AtomicI8);
    // SAFETY: null, or glibc's own byte (sys/single_threaded.h), which it writes when this thread makes another or
    // has joined it.
    let byte = unsafe { place.as_ref() };
    byte.is_some_and(|byte| byte.load(Ordering::Relaxed) != 0)
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
